package follow

import (
	"errors"
	"io/fs"
	"os"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// An entry is a file of the log's folder.
type entry struct {
	name string
	info fs.FileInfo
}

// A hole is a file without text, by its number and when it was written: another one may have the number.
type hole struct {
	inode   uint64
	written int64
}

func holeOf(info fs.FileInfo) hole {
	_, inode := numbers(info)
	return hole{inode, info.ModTime().UnixNano()}
}

// errMoved says that a file was renamed or removed since the files were listed.
var errMoved = errors.New("a file was renamed meanwhile")

var errBusy = errors.New("the log is rotated faster than its files can be listed: raise its max-size")

func list(folder *target.LogFolder) ([]entry, error) {
	names, err := folder.Rotated()
	if err != nil {
		return nil, err
	}
	all := make([]entry, 0, len(names)+1)
	for _, name := range append(names, folder.Name()) {
		info, err := folder.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, entry{name, info})
	}
	return all, nil
}

// open opens a file that was listed.
func open(folder *target.LogFolder, e entry) (*os.File, error) {
	file, err := folder.Open(e.name)
	if err != nil {
		if now, lost := folder.Lstat(e.name); lost != nil || !os.SameFile(now, e.info) {
			return nil, errMoved
		}
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(info, e.info) {
		err = errMoved
	}
	if err != nil {
		_ = file.Close() // read only
		return nil, err
	}
	return file, nil
}
