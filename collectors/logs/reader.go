package logs

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"unicode/utf8"
)

// A reader takes lines of Docker's json-file driver apart.
//
// Such a line is a JSON object whose first member holds, as a string, what the
// service wrote, which is itself most often a JSON object. The common case is read
// in one pass in place, without unescaping the outer string: in it every
// quote of the inner object is \" and nothing else is escaped. Whatever is not
// so is undone and read by encoding/json, which is right in every case.
type reader struct {
	fields  Fields
	partial [2][]byte // what was written of a line so far, for stdout and stderr
	skip    [2]bool   // the line was too long: its rest is passed over
	inner   []byte
	shapes  []*shape
	members []member
}

// line reads one line of the file, without its line feed. It reports whether a
// line of the service ended with it.
func (r *reader) line(b []byte, rec *record) bool {
	*rec = record{}
	if r.fast(b, rec) {
		return true
	}
	*rec = record{}
	return r.slow(b, rec)
}

// slow undoes the outer object first.
func (r *reader) slow(b []byte, rec *record) bool {
	b = bytes.TrimLeft(b, "\x00") // a file that was truncated under its writer begins with a hole
	var outer struct{ Log, Stream *string }
	if json.Unmarshal(b, &outer) != nil || outer.Log == nil {
		return r.whole(append(r.inner[:0], b...), rec)
	}
	stream := 0
	if outer.Stream != nil && *outer.Stream == "stderr" {
		stream = 1
	}
	text := *outer.Log
	ends := len(text) > 0 && text[len(text)-1] == '\n'
	if !ends || len(r.partial[stream]) > 0 || r.skip[stream] {
		return r.join(stream, text, ends, rec)
	}
	r.inner = append(r.inner[:0], text...)
	return r.whole(r.inner, rec)
}

// join puts the pieces of a line together that was too long for the driver.
func (r *reader) join(stream int, text string, ends bool, rec *record) bool {
	if !r.skip[stream] {
		r.partial[stream] = append(r.partial[stream], text...)
		r.skip[stream] = len(r.partial[stream]) > longest
	}
	if !ends {
		return false
	}
	all := r.partial[stream]
	r.partial[stream], r.skip[stream] = all[:0], false
	if cap(all) > longest/4 {
		r.partial[stream] = nil
	}
	return r.whole(all, rec)
}

// whole reads a line of the service.
func (r *reader) whole(b []byte, rec *record) bool {
	b = bytes.TrimRight(b, "\r\n")
	if trimmed := bytes.TrimLeft(b, " \t"); len(trimmed) > 0 && trimmed[0] == '{' && r.object(trimmed, rec) {
		return true
	}
	*rec = record{message: b, isError: plainError(b)}
	return true
}

// object reads a line that is one JSON object, by the standard library.
func (r *reader) object(b []byte, rec *record) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(b, &members) != nil {
		return false
	}
	rec.json = true
	if level, ok := members[r.fields.Level]; ok {
		rec.isError = errorLevel(text(level))
	}
	if message, ok := members[r.fields.Message]; ok {
		rec.message = text(message)
	}
	if path, ok := members[r.fields.Path]; ok && len(path) > 0 && path[0] == '"' {
		rec.path = text(path)
	}
	if d, ok := members[r.fields.Duration]; ok {
		rec.duration, rec.timed = milliseconds(d)
	}
	return true
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

// fast reads the common case. It reports false for whatever is not that, also
// after it has written to the record.
func (r *reader) fast(b []byte, rec *record) bool {
	if len(b) < len(prefix)+4 || string(b[:len(prefix)]) != prefix || b[len(prefix)] != '{' {
		return false
	}
	end := r.known(b, rec)
	if end == 0 {
		c := cursor{b: b, at: len(prefix), members: r.members[:0]}
		if !c.object(0, r.fields, rec) {
			return false
		}
		// A quote within a string that is not escaped would have ended the outer one.
		if !plainText(b[:c.at]) || bytes.Count(b[:c.at], []byte{'"'}) != prefixQuotes+2*c.strings {
			return false
		}
		end, r.members = c.at, c.members
		r.learn(b, &c)
	}
	// What follows is the end of the line, and the driver's own members.
	rest := b[end:]
	if len(rest) < 2 || rest[0] != '\\' || rest[1] != 'n' {
		return false
	}
	stream, ok := tail(rest[2:])
	if !ok || len(r.partial[stream]) > 0 || r.skip[stream] {
		return false
	}
	rec.json = true
	return true
}

// tail reads ","stream":"stdout","time":"…"} and returns which stream it is.
func tail(b []byte) (stream int, ok bool) {
	const out, err, at = `","stream":"stdout","time":"`, `","stream":"stderr","time":"`, `"}`
	switch {
	case len(b) > len(out) && string(b[:len(out)]) == out:
	case len(b) > len(err) && string(b[:len(err)]) == err:
		stream = 1
	default:
		return 0, false
	}
	moment := b[len(out):]
	if len(moment) < len(at) || string(moment[len(moment)-len(at):]) != at {
		return 0, false
	}
	moment = moment[:len(moment)-len(at)]
	for len(moment) >= 8 {
		if special(binary.LittleEndian.Uint64(moment)) != 0 {
			return 0, false
		}
		moment = moment[8:]
	}
	for _, c := range moment {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return 0, false
		}
	}
	return stream, true
}

// known reads a line in one of the known shapes. It returns the place after the
// service's object, 0 where no shape fits.
func (r *reader) known(b []byte, rec *record) int {
	for i, s := range r.shapes {
		if end := s.read(b, rec); end > 0 {
			if i > 0 { // those that come often are tried first
				r.shapes[i], r.shapes[i-1] = r.shapes[i-1], s
			}
			return end
		}
	}
	return 0
}

// learn remembers the shape of a line that was read the long way.
func (r *reader) learn(b []byte, c *cursor) {
	if c.nested || len(c.members) == 0 {
		return
	}
	s := &shape{before: make([]separator, 0, len(c.members))}
	at := 0
	for _, m := range c.members {
		s.before = append(s.before, separator{bytes.Clone(b[at:m.from]), m.quoted, m.field})
		at = m.to
	}
	s.after = bytes.Clone(b[at:c.at])
	if len(r.shapes) < shapes {
		r.shapes = append(r.shapes, s)
		return
	}
	r.shapes[shapes-1] = s
}
