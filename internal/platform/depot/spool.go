package depot

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A Content is what an object holds. It can be read any number of times, so that a
// store that fails can be tried again.
type Content interface {
	Size() int64
	Reader() io.Reader // from the beginning
}

type memory []byte

func (m memory) Size() int64       { return int64(len(m)) }
func (m memory) Reader() io.Reader { return bytes.NewReader(m) }

// both is one content behind another.
type both struct{ first, second Content }

func (b both) Size() int64       { return b.first.Size() + b.second.Size() }
func (b both) Reader() io.Reader { return io.MultiReader(b.first.Reader(), b.second.Reader()) }

// spoolMemory is how much a spool keeps in memory: as much as most objects have.
const spoolMemory = 8 << 20

// A spool keeps what is written to it until it is read: the first part in memory,
// and all of it in a file without a name as soon as it is more.
type spool struct {
	folder string // where the file is made; "" for the system's folder of temporary files
	memory []byte
	file   *os.File
	size   int64
}

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	if s.memory == nil {
		s.memory = make([]byte, 0, spoolMemory) // once; memory that is not written to costs nothing
	}
	if s.file == nil && len(s.memory)+len(p) <= cap(s.memory) {
		s.memory = append(s.memory, p...)
		s.size += int64(len(p))
		return len(p), nil
	}
	if s.file == nil {
		if err := s.spill(); err != nil {
			return 0, fmt.Errorf("a temporary file for an object of more than %d MiB: %w", spoolMemory>>20,
				explained(err))
		}
	}
	n, err := s.file.Write(p)
	s.size += int64(n)
	return n, err
}

func (s *spool) spill() (err error) {
	folder := s.folder
	if folder == "" {
		folder = os.TempDir()
	}
	name := filepath.Join(folder, part+rand.Text())
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// Without a name it goes when the process does, however that ends.
	if err := os.Remove(name); err != nil {
		return errors.Join(err, file.Close())
	}
	if _, err := file.Write(s.memory); err != nil {
		return errors.Join(err, file.Close())
	}
	s.file = file
	return nil
}

// Size implements Content.
func (s *spool) Size() int64 { return s.size }

// Reader implements Content.
func (s *spool) Reader() io.Reader {
	if s.file == nil {
		return bytes.NewReader(s.memory)
	}
	return io.NewSectionReader(s.file, 0, s.size)
}

// reset empties the spool and keeps its memory for what comes next.
func (s *spool) reset() {
	s.memory, s.size = s.memory[:0], 0
	if s.file != nil {
		_ = s.file.Close() // nothing of it is of use any more
		s.file = nil
	}
}

// same reports whether two readers give the same, to the end.
func same(a, b io.Reader) (bool, error) {
	x, y := make([]byte, chunk), make([]byte, chunk)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return false, err
			}
		}
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if errA != nil {
			return true, nil
		}
	}
}

// chunk is how much is read or written at once.
const chunk = 64 << 10

// part is what the names of unfinished files begin with. CheckName lets no object
// be called so.
const part = ".part-"

// explained says what to do about what a file system answers.
func explained(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: give the user that upkeep runs as the right to write there", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: nothing was moved that did not fit; make room there", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: mount it for writing", err)
	}
	return err
}
