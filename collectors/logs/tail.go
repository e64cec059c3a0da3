package logs

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A follower counts what is written to one log file, across rotation and
// truncation.
type follower struct {
	path    string
	inode   uint64
	offset  int64
	counter counter
	lost    uint64 // rotations after which the rest of the old file could not be found
}

// follow begins at the beginning of a file, or at its end.
func follow(path string, fields Fields, t *tally, atEnd bool) (*follower, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	f := &follower{path: path, inode: inode(info), counter: counter{reader: reader{fields: fields}, tally: t}}
	if atEnd {
		f.offset = info.Size()
	}
	return f, nil
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
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if now := inode(info); now != f.inode {
		if err := f.finish(ctx); err != nil {
			return err
		}
		f.inode, f.offset = now, 0
	}
	if info.Size() < f.offset { // truncated under its writer
		f.offset = 0
	}
	return f.read(ctx, file)
}

// finish counts the rest of the file that was rotated away.
func (f *follower) finish(ctx context.Context) error {
	others, err := filepath.Glob(escapeGlob(f.path) + ".*")
	if err != nil {
		return err
	}
	for _, other := range others {
		if strings.HasSuffix(other, ".gz") {
			continue // what was compressed is another file
		}
		file, err := os.Open(other)
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

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func (f *follower) read(ctx context.Context, file *os.File) error {
	if _, err := file.Seek(f.offset, io.SeekStart); err != nil {
		return err
	}
	n, err := f.counter.read(ctx, file, false)
	f.offset += n
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(f.path), err)
	}
	return nil
}
