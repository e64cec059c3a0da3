// Package depot keeps objects that are written once and never changed: in a
// folder, or in a bucket of a store that speaks S3. It also knows the form of the
// objects that hold rows, see Parcel.
package depot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Store keeps objects under their names.
type Store interface {
	// Put keeps content under a name. When it returns nil, the object is there,
	// whole, and would be after a loss of power. To put the same content under the
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

// ErrMissing says that there is no object of that name.
var ErrMissing = errors.New("there is no such object")

// ErrDiffers says that an object of that name holds something else.
var ErrDiffers = errors.New("an object of that name holds something else")

// largest is the size of the largest object that is read back: what is put is
// bounded far below, and what is larger is none of ours.
const largest = 2 << 30

// longestName leaves room for a suffix in the 255 bytes of a file system.
const longestName = 240

// CheckName returns an error for a name that is not one of a plain object: names
// have letters, digits and "._-" only, and do not begin with a dot.
func CheckName(name string) error {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}
	if name == "" || len(name) > longestName || name[0] == '.' || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("%q is no name of an object: letters, digits and ._- are, at most %d, and no dot before them", name, longestName)
	}
	return nil
}

// Sum returns the SHA-256 of a text, in hexadecimal digits as sha256sum writes it.
func Sum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
