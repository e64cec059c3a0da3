package follow

import (
	"bytes"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// A Generation is one file of a log, from when it was begun until it is gone, whatever it is
// called meanwhile: the log itself, or one that was rotated away, a copy, or a compressed one.
type Generation struct {
	Inode   uint64 `json:"inode"`
	Device  uint64 `json:"device"`
	Head    Head   `json:"head"`
	Offset  int64  `json:"offset"`            // of the text, behind what was read
	Mark    []byte `json:"mark,omitempty"`    // the end of what was read
	Rotated bool   `json:"rotated,omitempty"` // it was rotated away
	Closed  bool   `json:"closed"`            // it was read to its end, and is not written any more
	Packed  bool   `json:"packed,omitempty"`
}

// A generation is one that is followed.
type generation struct {
	Generation
	plain bool // its lines need have no time

	name string   // in the folder; "": it is in none any more
	file *os.File // held open; nil: the budget was used up, or nothing is to be read
	info fs.FileInfo

	grew    time.Time // when there was last something to read
	rotated time.Time // when it was first seen to be rotated away; zero: it was not
	emptied bool      // it was truncated, and no copy of it was found

	// What else has the text of a file that is held, and stays when it is closed.
	later       fs.FileInfo
	laterPacked bool
}

const (
	// markLength is how much of the end of what was read is remembered: enough to have
	// a time in it, with its nanoseconds.
	markLength = 256

	// block is what a head that is cut off is a multiple of.
	block = 4096

	// beyond is where no file ends.
	beyond = 1 << 62
)

func numbers(info fs.FileInfo) (device, inode uint64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Dev), s.Ino //nolint:unconvert // it is an uint32 on some machines
	}
	return 0, 0
}

// is reports whether a file has the number of the generation.
func (g *generation) is(info fs.FileInfo) bool {
	device, inode := numbers(info)
	return device == g.Device && inode == g.Inode
}

// was reports whether a file has the number that the generation had, also where it was truncated since.
func (g *generation) was(info fs.FileInfo) bool { return g.info != nil && os.SameFile(g.info, info) }

// same reports whether a file is as it was when it was last looked at.
func (g *generation) same(info fs.FileInfo) bool {
	return g.info != nil && g.info.Size() == info.Size() && g.info.ModTime().Equal(info.ModTime())
}

// remember keeps the end of what was read, and how the file begins.
func (g *generation) remember(file *os.File) {
	g.Mark = make([]byte, min(g.Offset, markLength))
	if _, err := file.ReadAt(g.Mark, g.Offset-int64(len(g.Mark))); err != nil {
		g.Mark = nil // it is being cut: the size tells, the next time
	}
	if g.Head.Length < lengthOf(g.plain) {
		if text, err := beginning(file, false, g.plain); err == nil {
			g.Head = headOf(text, g.plain)
		}
	}
}

// ends reports whether what was read ends at a place of the file.
func (g *generation) ends(file *os.File, at int64, buf []byte) bool {
	buf = buf[:len(g.Mark)]
	n, _ := file.ReadAt(buf, at-int64(len(buf))) // of a file that has just become shorter less is read
	return bytes.Equal(buf[:n], g.Mark)
}

// resume returns where to go on in a file of a size: behind what was read, also where the
// head of the file is gone. It reports false where that is nowhere: the file was truncated, or is
// another one with the same number. Of a plain file the head is not gone.
func (g *generation) resume(file *os.File, size int64) (at int64, cut, ok bool) {
	buf := make([]byte, markLength)
	if size >= g.Offset && g.ends(file, g.Offset, buf) {
		return g.Offset, false, true
	}
	if len(g.Mark) == 0 || g.plain {
		return 0, false, false
	}
	first := g.Offset - block
	if first > size {
		first -= (first - size + block - 1) / block * block
	}
	for at := first; at >= int64(len(g.Mark)); at -= block {
		if g.ends(file, at, buf) {
			return at, true, true
		}
	}
	return 0, false, false
}

// A Budget is how many files may be held open.
type Budget struct{ Free int }

// hold keeps a file open, if there is room in the budget.
func (g *generation) hold(file *os.File, b *Budget) bool {
	if b.Free <= 0 {
		return false
	}
	b.Free--
	g.file = file
	return true
}

// release closes the file, if it is held.
func (g *generation) release(b *Budget) {
	if g.file != nil {
		_ = g.file.Close() // read only
		g.file = nil
		b.Free++
	}
}
