package depot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Folder returns a Store that keeps each object as a file of a folder, which must
// be there: one that is made where a file system is not mounted would fill another
// one. Nothing outside of it is read or written, whatever names and links say.
func Folder(path string) Store { return &folder{path: path} }

type folder struct {
	path  string
	swept sync.Once
}

// open holds the folder open for one operation.
func (f *folder) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("folder %s is not there: make it, or mount what it is on", f.path)
	}
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", f.path, explained(err))
	}
	return root, nil
}

// Lasting returns an error where the store is a folder in memory, whose objects would not
// be there after the machine has restarted.
func Lasting(s Store) error {
	f, ok := s.(*folder)
	if !ok {
		return nil
	}
	root, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // was only looked at
	return f.lasting(root)
}

func (f *folder) lasting(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("folder %s: %w", f.path, explained(err))
	}
	defer func() { _ = dir.Close() }() // was only looked at
	var of unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &of); err != nil {
		return fmt.Errorf("folder %s: its file system: %w", f.path, err)
	}
	if of.Type == unix.TMPFS_MAGIC || of.Type == unix.RAMFS_MAGIC {
		return fmt.Errorf("folder %s: %w: name one on a disk", f.path, ErrVolatile)
	}
	return nil
}

// ErrVolatile says that a folder is in memory.
var ErrVolatile = errors.New("it is on a tmpfs, which is empty after the machine has restarted")

// Put implements Store. The file is written beside under another name, synced,
// linked to its own name, which fails where there is one, and the folder synced.
func (f *folder) Put(ctx context.Context, name string, content []byte) error {
	return f.PutFrom(ctx, name, memory(content))
}

// PutFrom implements Streamer.
func (f *folder) PutFrom(ctx context.Context, name string, content Content) error {
	err := CheckName(name)
	if err == nil {
		err = fits(content)
	}
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	root, err := f.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // was only looked through
	f.swept.Do(func() { sweep(root) })
	beside := part + rand.Text()
	defer func() { _ = root.Remove(beside) }() // it has its name, or is worth nothing
	err = write(root, beside, content)
	if err == nil {
		err = give(root, beside, name)
	}
	if errors.Is(err, fs.ErrExist) {
		err = f.same(root, name, content)
	}
	if err == nil {
		err = syncFolder(root)
	}
	if err != nil {
		return fmt.Errorf("folder %s: object %s: %w", f.path, name, explained(err))
	}
	return nil
}

func write(root *os.Root, name string, content Content) error {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{file}, content.Reader(), make([]byte, chunk))
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		// Who reads it next, to see that it is there, is to read the disk and not the
		// memory. Some file systems have no such advice.
		_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	return errors.Join(err, file.Close())
}

// give gives a file its name, unless another has it.
func give(root *os.Root, from, to string) error {
	err := root.Link(from, to)
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	// There are file systems without a second name for a file. The name says what
	// is in the object, so that one who comes in between has put the same.
	if _, err := root.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fs.ErrExist, err)
	}
	return root.Rename(from, to)
}

// abandoned is the age from which on no process can be writing a file any more.
const abandoned = 24 * time.Hour

// sweep removes what those have left who were killed while they wrote.
func sweep(root *os.Root) {
	entries, _ := fs.ReadDir(root.FS(), ".") // what cannot be read is not swept
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), part) && info.Mode().IsRegular() &&
			time.Since(info.ModTime()) > abandoned {
			_ = root.Remove(e.Name()) // another may be at it too
		}
	}
}

// same makes sure of an object that is there already: that it has this content,
// and has reached the disk. It may have been written by one who was killed before
// he knew.
func (f *folder) same(root *os.Root, name string, content Content) error {
	file, err := regular(root, name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	is, err := same(file, content.Reader())
	if err != nil {
		return err
	}
	if !is {
		return ErrDiffers
	}
	return file.Sync()
}

// regular opens a file that is neither a link nor a device.
func regular(root *os.Root, name string) (*os.File, error) {
	// A pipe of that name must not make us wait for its other end.
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	named, nameErr := root.Lstat(name)
	if err == nil && nameErr == nil && (!info.Mode().IsRegular() || !os.SameFile(info, named)) {
		err = errors.New("it is no plain file")
	}
	err = errors.Join(err, nameErr)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// syncFolder makes names that were given last.
func syncFolder(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Get implements Store.
func (f *folder) Get(ctx context.Context, name string) ([]byte, error) {
	file, err := f.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // read only
	content, err := readAll(file, largest)
	if err != nil {
		return nil, fmt.Errorf("folder %s: object %s: %w", f.path, name, err)
	}
	return content, nil
}

// Open implements Streamer.
func (f *folder) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	root, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // was only looked through
	file, err := regular(root, name)
	if err != nil {
		return nil, fmt.Errorf("folder %s: object %s: %w", f.path, name, err)
	}
	return file, nil
}

// List implements Store.
func (f *folder) List(ctx context.Context, prefix string) ([]Object, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	root, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // was only looked through
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", f.path, err)
	}
	var all []Object
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || CheckName(e.Name()) != nil || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("folder %s: %w", f.path, err)
		}
		all = append(all, Object{Name: e.Name(), Size: info.Size(), Modified: info.ModTime()})
	}
	slices.SortFunc(all, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
