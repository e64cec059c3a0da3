package logs

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// A shape is how a line was written whose members are strings, numbers and words:
// the text before each value, and after the last. A service writes most
// of its lines in few shapes, and one that is known is read faster than any: all
// the text between the values is compared at once.
type shape struct {
	before []separator
	after  []byte
}

// A separator is the text before a value.
type separator struct {
	text   []byte
	quoted bool // the value is a string, whose quotes are part of the separators
	use    use  // of the value
}

// shapes are how many are tried; a line of none of them is read the long way, and
// takes the place of the one that was met longest ago.
const shapes = 6

// read reads a line in this shape and returns the place after the object, 0 where
// it has another.
func (s *shape) read(b []byte, rec *record) int {
	at := 0
	for i := range s.before {
		sep := &s.before[i]
		if len(b)-at < len(sep.text) || string(b[at:at+len(sep.text)]) != string(sep.text) {
			return 0
		}
		at += len(sep.text)
		from := at
		if sep.quoted {
			if at = value(b, at); at < 0 {
				return 0
			}
		} else if at = scalar(b, at); at < 0 {
			return 0
		}
		if sep.use.field != none {
			rec.set(sep.use, b[from:at], sep.quoted)
		}
	}
	if len(b)-at < len(s.after) || string(b[at:at+len(s.after)]) != string(s.after) {
		return 0
	}
	return at + len(s.after)
}

// value returns the place of the backslash that ends a string, or -1 where
// a character before it is not valid in a JSON string.
func value(b []byte, at int) int {
	from := at
	for ; at+8 <= len(b); at += 8 {
		if odd := special(binary.LittleEndian.Uint64(b[at:])); odd != 0 {
			at += bits.TrailingZeros64(odd) / 8
			break
		}
	}
	if at < len(b) && b[at] == '\\' {
		return at
	}
	// Letters beyond ASCII, or the end of the line.
	n := bytes.IndexByte(b[from:], '\\')
	if n < 0 || bytes.IndexByte(b[from:from+n], '"') >= 0 || !words.Plain(b[from:from+n]) {
		return -1
	}
	return from + n
}

// special marks the first of eight bytes that is a backslash, a quote, a control
// character or beyond ASCII, in its highest bit. Those after it may be marked too.
func special(w uint64) uint64 {
	const each, space, high = 0x0101010101010101, 0x2020202020202020, 0x8080808080808080
	backslash, quote := w^(each*'\\'), w^(each*'"')
	return ((backslash-each)&^backslash | (quote-each)&^quote | (w-space)&^w | w) & high
}

// scalar returns the place after a number, true, false or null, or -1 where none
// of them is there.
func scalar(b []byte, at int) int {
	from := at
	for at < len(b) && words.IsDigit(b[at]) {
		at++
	}
	if whole := at - from; whole > 0 && (whole == 1 || b[from] != '0') && at+1 < len(b) {
		if b[at] == ',' || b[at] == '}' {
			return at
		}
		if b[at] == '.' && words.IsDigit(b[at+1]) {
			for at++; at < len(b) && words.IsDigit(b[at]); {
				at++
			}
			if at < len(b) && (b[at] == ',' || b[at] == '}') {
				return at
			}
		}
	}
	for at < len(b) && (inNumber(b[at]) || words.IsLetter(b[at])) {
		at++
	}
	switch w := b[from:at]; string(w) {
	case "true", "false", "null":
		return at
	default:
		if !words.Number(w) {
			return -1
		}
	}
	return at
}
