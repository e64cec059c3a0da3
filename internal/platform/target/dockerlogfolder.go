package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// A LogFolder is the folder that an engine writes a container's log to, held open, or the folder of
// another log. The engine may be another one than it says: what it names is opened only if it is such a log.
type LogFolder struct {
	root *os.Root
	name string

	extended bool // what was rotated away may have the number before the end of its name: app-20261130.log
}

// OpenLog opens the folder of a container's log. It refuses a path that an engine does not
// give to a log, like /etc/shadow, and a folder that is a link.
func (d *Docker) OpenLog(c Container) (*LogFolder, error) {
	folder, name, err := logPath(c)
	if err != nil {
		return nil, err
	}
	root, err := d.openUnderRoot(folder)
	if err != nil {
		return nil, err
	}
	return &LogFolder{root: root, name: name}, nil
}

// OpenLogs opens the folder in which the engine makes a folder for each container, by the log of
// one of them.
func (d *Docker) OpenLogs(c Container) (*os.File, error) {
	folder, _, err := logPath(c)
	if err != nil {
		return nil, err
	}
	root, err := d.openUnderRoot(filepath.Dir(filepath.Clean(folder)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // only the folder itself is used
	return root.Open(".")
}

// Beside returns what is known of a container that has its folder where another one has its own.
func (c Container) Beside(id string) Container {
	folders := filepath.Dir(filepath.Dir(filepath.Clean(c.LogPath)))
	return Container{ID: id, Name: id, LogDriver: "json-file", LogPath: filepath.Join(folders, id, id+"-json.log")}
}

// logPath returns the folder and the name of a container's log.
func logPath(c Container) (folder, name string, err error) {
	if err := plain(c.ID); err != nil {
		return "", "", err
	}
	if c.LogDriver != "json-file" || !filepath.IsAbs(c.LogPath) {
		return "", "", fmt.Errorf("the log of container %s is %q of driver %q, which is no file of json-file", c.Name,
			c.LogPath, c.LogDriver)
	}
	folder, name = filepath.Split(filepath.Clean(c.LogPath))
	if name != c.ID+"-json.log" || filepath.Base(folder) != c.ID {
		return "", "", fmt.Errorf("the log of container %s is %q, which is not in a folder of its own", c.Name,
			c.LogPath)
	}
	return folder, name, nil
}

// openUnderRoot opens a folder of the engine's machine. Where its root is mounted elsewhere,
// no link leads out of there.
func (d *Docker) openUnderRoot(folder string) (*os.Root, error) {
	path := filepath.Join(d.Root, folder)
	if info, err := os.Lstat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: not a folder", path)
	}
	if filepath.Clean(d.Root) == "/" {
		return os.OpenRoot(path)
	}
	root, err := os.OpenRoot(d.Root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // was only looked through
	return root.OpenRoot(strings.TrimPrefix(filepath.Clean(folder), "/"))
}

// Close gives the folder back.
func (l *LogFolder) Close() { _ = l.root.Close() } // was only looked through

// Open opens the log for reading, or one that was rotated away by the name that Rotated has.
func (l *LogFolder) Open(name string) (*os.File, error) { return files.In(l.root, name) }

// Lstat describes a file of the folder, and follows no link.
func (l *LogFolder) Lstat(name string) (fs.FileInfo, error) { return l.root.Lstat(name) }

// Dir opens the folder itself, to be notified of what happens in it.
func (l *LogFolder) Dir() (*os.File, error) { return l.root.Open(".") }

// Name returns the name of the log in its folder.
func (l *LogFolder) Name() string { return l.name }

// Rotated returns the names of the logs that were rotated away, the oldest first: the log's own with
// a number, the larger the older, or with a date, as logrotate gives it; compressed ones with .gz.
func (l *LogFolder) Rotated() ([]string, error) {
	entries, err := fs.ReadDir(l.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, ok := l.rotation(e.Name()); ok && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		i, _ := l.rotation(a)
		j, _ := l.rotation(b)
		return slices.Compare(i, j)
	})
	return names, nil
}

// rotation returns what the files of a log are ordered by: the 2 of file.2 and file.2.gz, negative,
// or the numbers of a date such as that of file-20261130-1700. Another file has none.
func (l *LogFolder) rotation(name string) (order []int, ok bool) {
	name = strings.TrimSuffix(name, ".gz")
	if rest, found := strings.CutPrefix(name, l.name); found {
		if order, ok = rotation(rest); ok {
			return order, true
		}
	}
	if end := filepath.Ext(l.name); l.extended && end != "" && end != l.name {
		return extended(name, strings.TrimSuffix(l.name, end), end)
	}
	return nil, false
}

// extended returns the same for a name whose number is before its end, as logrotate's extension
// leaves it. app-2.log may well be another log.
func extended(name, stem, end string) (order []int, ok bool) {
	rest, begins := strings.CutPrefix(name, stem)
	rest, ends := strings.CutSuffix(rest, end)
	if !begins || !ends || strings.HasPrefix(rest, "-") && len(rest) <= dateDigits {
		return nil, false
	}
	return rotation(rest)
}

// dateDigits is how many digits a date has.
const dateDigits = 8

// rotation reads a number with the sign before it.
func rotation(rest string) (order []int, ok bool) {
	if rest == "" || rest[0] != '.' && rest[0] != '-' {
		return nil, false
	}
	parts := strings.FieldsFunc(rest[1:], func(r rune) bool { return r == '-' || r == '_' })
	for _, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		if len(parts) == 1 && rest[0] == '.' && len(part) < dateDigits {
			n = -n
		}
		order = append(order, n)
	}
	return order, len(order) > 0
}

// RotatedFrom returns the names that a log may have of which a file was rotated away: those of app.log.1.gz
// and app.1.log are app.log. Sure is one by which the file can be nothing else.
func RotatedFrom(name string) (sure, maybe string) {
	name = strings.TrimSuffix(name, ".gz")
	for i := len(name) - 1; i > 0; i-- {
		if name[i] != '.' && name[i] != '-' {
			continue
		}
		if _, ok := rotation(name[i:]); ok && (name[i] == '.' || len(name)-i > dateDigits) {
			sure = name[:i]
		}
		end := filepath.Ext(name)
		if i >= len(name)-len(end) || end == "" {
			continue
		}
		if _, ok := extended(name, name[:i], end); ok {
			maybe = name[:i] + end
		}
	}
	return sure, maybe
}

// names returns the names of the log's files that are there, the oldest first.
func (l *LogFolder) names() (names []string, err error) {
	all, err := l.Rotated()
	for _, name := range append(all, l.name) {
		f, fault := l.Open(name)
		if errors.Is(fault, fs.ErrNotExist) {
			continue
		}
		if fault != nil {
			return names, errors.Join(err, fault)
		}
		_ = f.Close() // only opened
		names = append(names, name)
	}
	return names, err
}

// LogBytes adds up the sizes of a container's log file and of those that were
// rotated, as they are seen from here.
func (d *Docker) LogBytes(c Container) (float64, error) {
	l, err := d.OpenLog(c)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	names, err := l.Rotated()
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, name := range append(names, l.name) {
		info, err := l.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) { // rotated meanwhile
			continue
		}
		if err == nil {
			err = files.Plain(info)
		}
		if err != nil {
			return 0, err
		}
		sum += float64(info.Size())
	}
	return sum, nil
}

// LogFiles returns the paths of a container's log files, the oldest first, once they were
// found to be such files.
func (d *Docker) LogFiles(c Container) (paths []string, err error) {
	l, err := d.OpenLog(c)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing was written yet
	}
	if err != nil {
		return nil, err
	}
	defer l.Close()
	names, err := l.names()
	for _, name := range names {
		paths = append(paths, filepath.Join(l.root.Name(), name))
	}
	return paths, err
}
