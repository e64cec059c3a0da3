package logs

import (
	"bytes"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
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
	index   index
	name    []byte // of the member, with the names of those that it is within
	members []member
	lists   int  // that the cursor is within: what is in a list is not looked at
	list    bool // there is one, so that the next line may well have another shape
}

// A member is the position of a value that is no object and in no list, without
// quotes.
type member struct {
	from, to int
	quoted   bool
	use      use
}

// object reads an object and notes its members.
func (c *cursor) object(depth int) bool {
	c.at++ // the brace
	within := len(c.name)
	defer func() { c.name = c.name[:within] }()
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
		if c.lists == 0 {
			c.name = append(append(c.name[:within], key...), '.')
		}
		from := c.at
		if !c.value(depth) || c.lists == 0 && !c.member(c.index[string(c.name[:within+len(key)])], from) {
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

func (c *cursor) array(depth int) bool {
	c.at++ // the bracket
	c.list = true
	c.lists++
	defer func() { c.lists-- }()
	c.space()
	if c.next(']') {
		return true
	}
	for {
		if !c.value(depth) {
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
func (c *cursor) value(depth int) bool {
	if c.at >= len(c.b) || depth > deepest {
		return false
	}
	switch c.b[c.at] {
	case '\\':
		_, ok := c.text()
		return ok
	case '{':
		return c.object(depth + 1)
	case '[':
		return c.array(depth + 1)
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
	return words.Number(c.b[from:c.at])
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

// member notes a member whose value ends here. Where one that is counted is made of
// several, whose quotes would have to be undone, it reports false.
func (c *cursor) member(u use, from int) bool {
	m := member{from: from, to: c.at, use: u}
	switch c.b[from] {
	case '{', '[':
		return u.field == none
	case '\\':
		m.from, m.to, m.quoted = from+2, c.at-2, true
	}
	c.members = append(c.members, m)
	return true
}

// choose writes what counts to the record; the other members have no use from then on.
func (c *cursor) choose(rec *record) {
	var chosen choice
	for i, m := range c.members {
		if m.use.field != none {
			chosen.take(i, m.use, c.b[m.from:m.to], m.quoted)
		}
	}
	for i := range c.members {
		m := &c.members[i]
		if m.use.field == none {
			continue
		}
		if chosen[m.use.field].at != i+1 {
			m.use = use{}
			continue
		}
		rec.set(m.use, c.b[m.from:m.to], m.quoted)
	}
}
