// Package share cuts large log files into pieces that are read at the same time.
package share

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// A Part is a piece of a file that begins with a line of the service.
type Part struct {
	File     string
	From, To int64
}

// share is what one worker takes of a large file.
const share = 64 << 20

// Split cuts a large file where a line of the service ends. In a plain one each line is one.
func Split(file string, plain bool) ([]Part, error) {
	f, err := files.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if strings.HasSuffix(file, ".gz") {
		return []Part{{file, 0, size}}, nil
	}
	var parts []Part
	for from := int64(0); from < size; {
		to := size
		if from+share < size {
			if to, err = Boundary(f, from+share, size, plain); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		parts = append(parts, Part{file, from, to})
		from = to
	}
	return parts, nil
}

// Boundary returns the first place from at on where a line of the file begins
// and the one before it ended a line of the service.
func Boundary(f *os.File, at, size int64, plain bool) (int64, error) {
	const end = "\\n\","
	buf := make([]byte, 64<<10)
	var last []byte // of the line before
	for at < size {
		n, err := f.ReadAt(buf, at)
		if n == 0 {
			return size, err
		}
		for rest := buf[:n]; ; {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				last = append(last, rest...)
				break
			}
			whole := append(last, rest[:i]...) //nolint:gocritic // last is of no use any more
			rest = rest[i+1:]
			if plain || bytes.Contains(whole, []byte(end)) {
				return at + int64(n-len(rest)), nil
			}
			last = last[:0]
		}
		at += int64(n)
	}
	return size, nil
}
