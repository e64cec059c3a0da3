// Package follow reads logs that are rotated while they are written: each byte once, across
// renaming, compression, copying and truncation, removal, and a restart of the reader.
package follow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
)

const (
	// headLength is how much of the beginning of a file is compared, and at least its first
	// line, since the driver writes the time at the end of a line.
	headLength = 1024

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
}

// headOf returns the head of a text, none where it has no whole line.
func headOf(text []byte) Head {
	line := bytes.IndexByte(text, '\n') + 1
	if line == 0 && len(text) >= headMost {
		line = headMost
	}
	if line == 0 || len(bytes.Trim(text, "\x00")) == 0 {
		return Head{}
	}
	all := text[:max(line, min(len(text), headLength))]
	return Head{len(all), sum(all), line, sum(text[:line])}
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
		return sum(text[:h.Line]) == h.LineSum
	}
	return sum(text[:h.Length]) == h.Sum
}

func isPacked(name string) bool { return strings.HasSuffix(name, ".gz") }

// beginning reads so much of a file as a head may have, unpacked. A file that is being compressed
// has less than it will have.
func beginning(file *os.File, packed bool) ([]byte, error) {
	var in io.Reader = io.NewSectionReader(file, 0, 1<<62)
	if packed {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil //nolint:nilerr // it is being written, or is no such file: it has no head
		}
		in = unpacked
	}
	text, err := io.ReadAll(io.LimitReader(in, headLength))
	if err == nil && len(text) == headLength && bytes.IndexByte(text, '\n') < 0 {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(in, headMost-headLength))
		text = append(text, rest...)
	}
	if err != nil && packed {
		return nil, nil //nolint:nilerr // its end is not written yet
	}
	return text, err
}
