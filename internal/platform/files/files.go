// Package files opens files that others name or own, and looks who may read and write ours.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrNotPlain says that a name is that of a link, a pipe, a device or a folder, or is one of
// several names of a file.
var ErrNotPlain = errors.New("not a plain file")

// In opens a file in a folder that is held open, for reading. It refuses a link, a pipe, a
// device, and a file that has other names; it waits for nothing.
func In(root *os.Root, name string) (*os.File, error) { return InWith(root, name, os.O_RDONLY) }

// InWith is In with flags of one's own. O_CREATE and O_TRUNC must not be among them, because the
// file is checked once it is open.
func InWith(root *os.Root, name string, flags int) (*os.File, error) {
	// A pipe must not make us wait for its other end.
	file, err := root.OpenFile(name, flags|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		if info, lost := root.Lstat(name); lost == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s: %w: %s", name, ErrNotPlain, kind(info.Mode()))
		}
		return nil, err
	}
	info, err := file.Stat()
	named, lost := root.Lstat(name)
	switch {
	case err != nil || lost != nil:
		err = errors.Join(err, lost)
	case !os.SameFile(info, named):
		err = fmt.Errorf("%s: %w: it was replaced", name, ErrNotPlain)
	default:
		err = errors.Join(Plain(named), Plain(info))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Plain refuses what is no regular file, and one that has other names.
func Plain(info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: %w: %s", info.Name(), ErrNotPlain, kind(info.Mode()))
	case links(info) != 1:
		return fmt.Errorf("%s: %w: it has %d names", info.Name(), ErrNotPlain, links(info))
	}
	return nil
}

// kind says what a name is that is no plain file.
func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m.IsDir():
		return "a folder"
	}
	return m.Type().String()
}

func links(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink)
	}
	return 1
}

// Open opens a file that a person or the configuration names, which may be reached by a link.
// A pipe or a device is refused.
func Open(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w: %s", path, ErrNotPlain, kind(info.Mode()))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Read reads a file that the configuration names, which may be reached by a link. A pipe does
// not make it wait, and it reads no more than most bytes.
func Read(path string, most int64) ([]byte, fs.FileInfo, error) {
	file, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	text, err := whole(file, path, most)
	return text, info, err
}

// ReadIn reads a file of a folder that belongs to others, as In opens it.
func ReadIn(root *os.Root, name string, most int64) ([]byte, error) {
	file, err := In(root, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only
	return whole(file, filepath.Join(root.Name(), name), most)
}

func whole(file *os.File, path string, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s: larger than %d bytes", path, most)
	}
	return text, err
}
