// Package follow reads logs that are rotated while they are written: each byte once, across
// renaming, compression, copying and truncation, removal, and a restart of the reader.
package follow

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
)

const (
	// headLength is how much of the beginning of a file is compared, and at least its first
	// line, since the driver writes the time at the end of a line.
	headLength = 1024

	// plainLength is the same of files whose lines need have no time: many begin with the same lines.
	plainLength = 16 << 10

	// steps is at how many line ends of such a head there is a sum.
	steps = 128

	// headMost is more than the driver writes on one line: 16 KiB, six times as long where
	// each letter is escaped.
	headMost = 128 << 10
)

// A Head tells a file from others by how it begins: a copy and a compressed file have
// the same one, and a copy may be shorter.
type Head struct {
	Length  int    `json:"length"` // 0: there was no whole line yet
	Sum     string `json:"sum"`
	Line    int    `json:"line"` // length of the first line
	LineSum string `json:"line_sum"`

	// Steps are sums up to the end of each of the first lines, of a file whose lines need have no time.
	Steps []byte `json:"steps,omitempty"`
}

// headOf returns the head of a text, none where it has no whole line.
func headOf(text []byte, plain bool) Head {
	line := bytes.IndexByte(text, '\n') + 1
	if line == 0 && len(text) >= headMost {
		line = headMost
	}
	if line == 0 || len(bytes.Trim(text, "\x00")) == 0 {
		return Head{}
	}
	all := text[:max(line, min(len(text), lengthOf(plain)))]
	h := Head{Length: len(all), Sum: sum(all), Line: line, LineSum: sum(text[:line])}
	if plain {
		h.Steps = stepsOf(all)
	}
	return h
}

func lengthOf(plain bool) int {
	if plain {
		return plainLength
	}
	return headLength
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:16])
}

// begins reports whether a text has the head, or its beginning.
func (h Head) begins(text []byte) bool {
	switch {
	case h.Length == 0 || len(text) < h.Line:
		return false
	case len(text) < h.Length:
		return sum(text[:h.Line]) == h.LineSum && h.step(text)
	}
	return sum(text[:h.Length]) == h.Sum
}

// step compares the lines that a shorter text has.
func (h Head) step(text []byte) bool {
	n := stepsOf(text)
	at := min(len(n), len(h.Steps))
	return bytes.Equal(n[max(0, at-crc32.Size):at], h.Steps[max(0, at-crc32.Size):at])
}

func stepsOf(text []byte) (all []byte) {
	sum := uint32(0)
	for line := range bytes.Lines(text) {
		if len(all) == steps*crc32.Size || line[len(line)-1] != '\n' {
			break
		}
		sum = crc32.Update(sum, crc32.IEEETable, line)
		all = binary.LittleEndian.AppendUint32(all, sum)
	}
	return all
}

func isPacked(name string) bool { return strings.HasSuffix(name, ".gz") }

// beginning reads so much of a file as a head may have, unpacked. A file that is being compressed
// has less than it will have.
func beginning(file *os.File, packed, plain bool) ([]byte, error) {
	var in io.Reader = io.NewSectionReader(file, 0, 1<<62)
	if packed {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil //nolint:nilerr // it is being written, or is no such file: it has no head
		}
		in = unpacked
	}
	length := lengthOf(plain)
	text, err := io.ReadAll(io.LimitReader(in, int64(length)))
	if err == nil && len(text) == length && bytes.IndexByte(text, '\n') < 0 {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(in, int64(headMost-length)))
		text = append(text, rest...)
	}
	if err != nil && packed {
		return nil, nil //nolint:nilerr // its end is not written yet
	}
	return text, err
}

// holds reports whether a compressed file has so much text, or at least so much. How much it has is at its end.
func holds(file *os.File, size int64, exactly bool) bool {
	const length, most = 4, 1 << 32
	end := make([]byte, length)
	info, err := file.Stat()
	if err != nil {
		return false
	}
	if _, err := file.ReadAt(end, max(0, info.Size()-length)); err != nil {
		return false
	}
	has := int64(binary.LittleEndian.Uint32(end))
	return has == size%most || !exactly && (has > size || size >= most)
}
