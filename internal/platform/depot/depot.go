// Package depot keeps objects that are written once and never changed: in a
// folder, or in a bucket of an S3-compatible store. It also knows the form of the
// objects that hold rows, see Parcel.
package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Store keeps objects under their names.
type Store interface {
	// Put keeps content under a name. When it returns nil, the object is there,
	// whole, and would be after a loss of power where the store is Lasting. To put the same content under the
	// same name again is no error; other content gives ErrDiffers, and what is
	// there stays.
	Put(ctx context.Context, name string, content []byte) error

	// Get returns what is kept under a name, or ErrMissing.
	Get(ctx context.Context, name string) ([]byte, error)

	// List returns the objects whose names begin with a prefix, sorted by name.
	List(ctx context.Context, prefix string) ([]Object, error)
}

// An Object is one entry of a list.
type Object struct {
	Name     string
	Size     int64
	Modified time.Time
}

// ErrMissing says that no object has that name.
var ErrMissing = errors.New("there is no such object")

// ErrDiffers says that an object of that name holds something else.
var ErrDiffers = errors.New("an object of that name holds something else")

// ErrTooLarge says that an object is larger than what can be read back.
var ErrTooLarge = errors.New("the object is too large")

// largest is the size of the largest object that is put, and of the largest that is
// read at once. What is read piece by piece may be larger.
const largest = 2 << 30

// A Streamer is a Store that takes and gives objects piece by piece, for those that
// are too large for the memory.
type Streamer interface {
	// PutFrom does what Put does.
	PutFrom(ctx context.Context, name string, content Content) error

	// Open does what Get does. The reader is closed by who opens it.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// PutFrom puts an object into a store, piece by piece where the store can.
func PutFrom(ctx context.Context, s Store, name string, content Content) error {
	if stream, ok := s.(Streamer); ok {
		return stream.PutFrom(ctx, name, content)
	}
	all, err := io.ReadAll(content.Reader())
	if err != nil {
		return err
	}
	return s.Put(ctx, name, all)
}

// Open opens an object of a store for reading, piece by piece where the store can.
func Open(ctx context.Context, s Store, name string) (io.ReadCloser, error) {
	if stream, ok := s.(Streamer); ok {
		return stream.Open(ctx, name)
	}
	all, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(all)), nil
}

// fits refuses to put what could not be read back.
func fits(content Content) error {
	if content.Size() > largest {
		return fmt.Errorf("%w: %d MiB, and %d can be read back", ErrTooLarge, content.Size()>>20, largest>>20)
	}
	return nil
}

// readAll reads an object at once.
func readAll(r io.Reader, most int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(content)) > most {
		return nil, fmt.Errorf("%w: it has more than %d MiB", ErrTooLarge, most>>20)
	}
	return content, err
}

// longestName leaves room for a suffix in the 255 bytes of a file system.
const longestName = 240

// CheckName returns an error for a name that is not one of a plain object: names
// have letters, digits and "._-" only, and do not begin with a dot.
func CheckName(name string) error {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' ||
			r == '-')
	}
	if name == "" || len(name) > longestName || name[0] == '.' || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("%q is no name of an object: letters, digits and ._- are, at most %d, and no dot before them",
			name, longestName)
	}
	return nil
}

// Sum returns the SHA-256 of a text, in hexadecimal digits as sha256sum writes it.
func Sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
