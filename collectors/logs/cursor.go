package logs

import (
	"bytes"
)

// deepest is how deep values may be within others before the slow way is taken.
const deepest = 32

// A cursor reads a JSON object inside a JSON string, in which every
// quote is escaped by a backslash and nothing else is. Each method leaves the
// cursor behind what it read and reports whether it could; a backslash that
// belongs to anything else is more than it can.
type cursor struct {
	b       []byte
	at      int
	strings int // that were read
	members []member
	nested  bool // a member of the outermost object is made of several
}

// A member is the position of the value of a member of the outermost object, without
// quotes.
type member struct {
	from, to int
	quoted   bool
	field    field
}

// object reads an object. The members of the outermost are looked at.
func (c *cursor) object(depth int, f Fields, rec *record) bool {
	c.at++ // the brace
	c.space()
	if c.next('}') {
		return true
	}
	for {
		key, ok := c.text()
		if !ok {
			return false
		}
		c.space()
		if !c.next(':') {
			return false
		}
		c.space()
		from := c.at
		if !c.value(depth, f, rec) {
			return false
		}
		if depth == 0 && !c.member(f.of(key), from, rec) {
			return false
		}
		c.space()
		if c.next('}') {
			return true
		}
		if !c.next(',') {
			return false
		}
		c.space()
	}
}

func (c *cursor) array(depth int, f Fields, rec *record) bool {
	c.at++ // the bracket
	c.space()
	if c.next(']') {
		return true
	}
	for {
		if !c.value(depth, f, rec) {
			return false
		}
		c.space()
		if c.next(']') {
			return true
		}
		if !c.next(',') {
			return false
		}
		c.space()
	}
}

// value reads any value.
func (c *cursor) value(depth int, f Fields, rec *record) bool {
	if c.at >= len(c.b) || depth > deepest {
		return false
	}
	switch c.b[c.at] {
	case '\\':
		_, ok := c.text()
		return ok
	case '{':
		return c.object(depth+1, f, rec)
	case '[':
		return c.array(depth+1, f, rec)
	case 't':
		return c.word("true")
	case 'f':
		return c.word("false")
	case 'n':
		return c.word("null")
	}
	from := c.at
	for c.at < len(c.b) && inNumber(c.b[c.at]) {
		c.at++
	}
	return number(c.b[from:c.at])
}

// text reads a string, without its quotes. That it contains no quote is found
// out for the whole line at its end.
func (c *cursor) text() ([]byte, bool) {
	if c.at+1 >= len(c.b) || c.b[c.at] != '\\' || c.b[c.at+1] != '"' {
		return nil, false
	}
	from := c.at + 2
	n := bytes.IndexByte(c.b[from:], '\\')
	if n < 0 || from+n+1 >= len(c.b) || c.b[from+n+1] != '"' {
		return nil, false
	}
	c.at = from + n + 2
	c.strings++
	return c.b[from : from+n], true
}

func (c *cursor) next(b byte) bool {
	if c.at < len(c.b) && c.b[c.at] == b {
		c.at++
		return true
	}
	return false
}

func (c *cursor) space() {
	for c.at < len(c.b) && c.b[c.at] == ' ' {
		c.at++
	}
}

func (c *cursor) word(w string) bool {
	if len(c.b)-c.at < len(w) || string(c.b[c.at:c.at+len(w)]) != w {
		return false
	}
	c.at += len(w)
	return true
}

// member notes a member of the outermost object, whose value ends here. Where one
// that is counted is made of several, whose quotes would have to be undone, it
// reports false.
func (c *cursor) member(f field, from int, rec *record) bool {
	m := member{from: from, to: c.at, field: f}
	switch c.b[from] {
	case '{', '[':
		c.nested = true
		return f == none
	case '\\':
		m.from, m.to, m.quoted = from+2, c.at-2, true
	}
	c.members = append(c.members, m)
	rec.set(f, c.b[m.from:m.to], m.quoted)
	return true
}
