package logs

import (
	"bytes"
	"encoding/json"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// A walker reads the members of a JSON object as the service wrote it. It does not
// validate: the text is valid, or its end is missing.
type walker struct {
	b     []byte
	at    int
	index index
	name  []byte // of the member, with the names of those that it is within
	lists int    // that the walker is within: what is in a list is not looked at
	found []found
}

// A found is a member that has a use, with its value as it is written.
type found struct {
	use   use
	value []byte
}

// deepestWalk is how deep values may be within others, as encoding/json has it.
const deepestWalk = 10000

// object reads an object. It reports false where the text ends before, or is no JSON.
func (w *walker) object(depth int) bool {
	w.at++ // the brace
	if w.next('}') {
		return true
	}
	return w.members(depth)
}

// members reads members to the brace behind them.
func (w *walker) members(depth int) bool {
	within := len(w.name)
	for {
		key, ok := w.text()
		if !ok || !w.next(':') {
			return false
		}
		key = key[1 : len(key)-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = text(w.b[w.at-len(key)-3 : w.at-1])
		}
		var u use
		if w.lists == 0 {
			w.name = append(append(w.name[:within], key...), '.')
			u = w.index[string(w.name[:len(w.name)-1])]
		}
		w.space()
		from := w.at
		if !w.value(depth) {
			return false
		}
		if u.field != none {
			w.found = append(w.found, found{u, w.b[from:w.at]})
		}
		if w.next('}') {
			w.name = w.name[:within]
			return true
		}
		if !w.next(',') {
			return false
		}
	}
}

func (w *walker) list(depth int) bool {
	w.at++ // the bracket
	if w.next(']') {
		return true
	}
	w.lists++
	for w.value(depth) {
		if w.next(']') {
			w.lists--
			return true
		}
		if !w.next(',') {
			return false
		}
	}
	return false
}

func (w *walker) value(depth int) bool {
	w.space()
	if w.at >= len(w.b) || depth > deepestWalk {
		return false
	}
	switch w.b[w.at] {
	case '"':
		_, ok := w.text()
		return ok
	case '{':
		return w.object(depth + 1)
	case '[':
		return w.list(depth + 1)
	}
	from := w.at
	for w.at < len(w.b) && (inNumber(w.b[w.at]) || words.IsLetter(w.b[w.at])) {
		w.at++
	}
	return w.at > from && w.at < len(w.b)
}

// text reads a string, with its quotes.
func (w *walker) text() ([]byte, bool) {
	w.space()
	if w.at >= len(w.b) || w.b[w.at] != '"' {
		return nil, false
	}
	for from, i := w.at, w.at+1; ; i++ {
		n := bytes.IndexAny(w.b[i:], `"\`)
		if n < 0 {
			w.at = len(w.b)
			return nil, false
		}
		if i += n; w.b[i] == '"' {
			w.at = i + 1
			return w.b[from:w.at], true
		}
		i++ // what is escaped
		if i >= len(w.b) {
			w.at = len(w.b)
			return nil, false
		}
	}
}

func (w *walker) next(b byte) bool {
	w.space()
	if w.at < len(w.b) && w.b[w.at] == b {
		w.at++
		return true
	}
	return false
}

func (w *walker) space() {
	for w.at < len(w.b) && (w.b[w.at] == ' ' || w.b[w.at] == '\t' || w.b[w.at] == '\n' || w.b[w.at] == '\r') {
		w.at++
	}
}

// choose writes what counts to the record.
func (w *walker) choose(rec *record) {
	var chosen choice
	for i, m := range w.found {
		chosen.take(i, m.use, m.value, m.value[0] == '"')
	}
	for _, c := range chosen {
		if c.at > 0 {
			m := w.found[c.at-1]
			rec.set(m.use, text(m.value), m.value[0] == '"')
		}
	}
}

// behind reads the last members of an object whose middle is not kept, from the first
// that has a level's name.
func (w *walker) behind(end []byte) bool {
	for name, u := range w.index {
		key := append(append([]byte{'"'}, name...), '"', ':')
		i := bytes.LastIndex(end, key)
		if u.field != level || i < 1 || end[i-1] == '\\' {
			continue
		}
		last := walker{b: end, at: i, index: w.index, name: w.name[:0]}
		if last.members(0) && len(bytes.TrimSpace(end[last.at:])) == 0 {
			w.found = append(w.found, last.found...)
			return true
		}
	}
	return false
}

// text returns a string's value, and any other value as it is written.
func text(raw json.RawMessage) []byte {
	if len(raw) == 0 || raw[0] != '"' {
		return raw
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	return []byte(s)
}
