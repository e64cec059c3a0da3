package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A place opens the folder of a log anew: it may have been replaced.
type place func() (*target.LogFolder, error)

// A follower counts what is written to one log file, across rotation and
// truncation, and where its head is cut off under its writer.
type follower struct {
	at      place
	inode   uint64
	offset  int64
	mark    []byte // the end of what was read
	counter counter
	lost    uint64 // rotations after which the rest of the old file could not be found
}

// follow begins at the beginning of a file, or at its end.
func follow(at place, fields Fields, t *tally, atEnd bool) (*follower, error) {
	folder, err := at()
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	file, err := folder.Open(folder.Name())
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	f := &follower{at: at, inode: inode(info), counter: counter{reader: reader{fields: fields}, tally: t}}
	if atEnd {
		f.offset = info.Size()
		f.remember(file)
	}
	return f, nil
}

const (
	// markLength is how much of the end of what was read is remembered: enough to have
	// a time in it, with its nanoseconds.
	markLength = 256

	// block is what a head that is cut off is a multiple of.
	block = 4096
)

// remember keeps the end of what was read.
func (f *follower) remember(file *os.File) {
	f.mark = make([]byte, min(f.offset, markLength))
	if _, err := file.ReadAt(f.mark, f.offset-int64(len(f.mark))); err != nil {
		f.mark = nil // it is being cut: the size tells, the next time
	}
}

// ends reports whether what was read ends at a place of the file.
func (f *follower) ends(file *os.File, at int64, buf []byte) bool {
	buf = buf[:len(f.mark)]
	n, _ := file.ReadAt(buf, at-int64(len(buf))) // of a file that has just become shorter less is read
	return bytes.Equal(buf[:n], f.mark)
}

// resume is where to go on in a file of a size: behind what was read, also where the
// head of the file is gone, or at the beginning of one that was truncated.
func (f *follower) resume(file *os.File, size int64) int64 {
	buf := make([]byte, markLength)
	if size >= f.offset && f.ends(file, f.offset, buf) {
		return f.offset
	}
	if len(f.mark) == 0 {
		return 0
	}
	first := f.offset - block
	if first > size {
		first -= (first - size + block - 1) / block * block
	}
	for at := first; at >= int64(len(f.mark)); at -= block {
		if f.ends(file, at, buf) {
			return at
		}
	}
	return 0
}

func inode(info os.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}

// catchUp counts what was written since the last time. The buffer is shared by
// those that are read one after the other.
func (f *follower) catchUp(ctx context.Context, buf *[]byte) error {
	f.counter.buf = *buf
	defer func() { *buf, f.counter.buf = f.counter.buf, nil }()
	folder, err := f.at()
	if err != nil {
		return err
	}
	defer folder.Close()
	file, err := folder.Open(folder.Name())
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if now := inode(info); now != f.inode {
		if err := f.finish(ctx, folder); err != nil {
			return err
		}
		f.inode, f.offset, f.mark = now, 0, nil
	}
	f.offset = f.resume(file, info.Size())
	defer f.remember(file)
	return f.read(ctx, file)
}

// finish counts the rest of the file that was rotated away.
func (f *follower) finish(ctx context.Context, folder *target.LogFolder) error {
	others, err := folder.Rotated()
	if err != nil {
		return err
	}
	for _, other := range others {
		if strings.HasSuffix(other, ".gz") {
			continue // what was compressed is another file
		}
		file, err := folder.Open(other)
		if err != nil {
			continue // rotated once more
		}
		info, err := file.Stat()
		if err == nil && inode(info) == f.inode {
			err = f.read(ctx, file)
			_ = file.Close() // read only
			return err
		}
		_ = file.Close() // read only
	}
	f.lost++
	return nil
}

func (f *follower) read(ctx context.Context, file *os.File) error {
	if _, err := file.Seek(f.offset, io.SeekStart); err != nil {
		return err
	}
	n, err := f.counter.read(ctx, file, false)
	f.offset += n
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file.Name()), err)
	}
	return nil
}
