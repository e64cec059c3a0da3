package logs

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"unicode/utf8"

	"github.com/ai-micro-service/upkeep/collectors/logs/trace"
	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// A reader takes lines of Docker's json-file driver apart.
//
// Such a line is a JSON object whose first member holds, as a string, what the
// service wrote, which is itself most often a JSON object. The common case is read
// in one pass in place, without unescaping the outer string: in it every
// quote of the inner object is \" and nothing else is escaped. Whatever is not
// so is undone and validated by encoding/json.
type reader struct {
	fields    Fields
	raw       bool           // the lines are as services wrote them, and not in the driver's objects
	otherwise words.Severity // the level of a line that says none
	partial   [2][]byte      // what was written of a line so far, for stdout and stderr
	skip      [2]bool        // the line was too long: its rest is passed over
	last      [2][]byte      // the end of what is passed over
	traces    [2]trace.Trace
	csv       [2]int // lines of a record of csvlog that goes on; 0: none does
	inner     []byte
	shapes    []*shape
	members   []member
	name      []byte // of a member
	found     []found
	closed    []byte // template of a trace
	index     index
}

// line reads one line of the file, without its line feed. It reports whether a
// line of the service ended with it.
func (r *reader) line(b []byte, rec *record) bool {
	*rec = record{}
	if r.raw {
		r.whole(0, bytes.TrimLeft(b, "\x00"), nil, rec) // a truncated file may begin with a hole
		return true
	}
	if r.fast(b, rec) {
		return true
	}
	return r.slow(b, rec)
}

// slow undoes the outer object first.
func (r *reader) slow(b []byte, rec *record) bool {
	b = bytes.TrimLeft(b, "\x00") // a file that was truncated under its writer begins with a hole
	var outer struct{ Log, Stream *string }
	if json.Unmarshal(b, &outer) != nil || outer.Log == nil {
		r.whole(0, append(r.inner[:0], b...), nil, rec)
		return true
	}
	stream := 0
	if outer.Stream != nil && *outer.Stream == "stderr" {
		stream = 1
	}
	text := *outer.Log
	if ends(text) && len(r.partial[stream]) == 0 && !r.skip[stream] {
		r.inner = append(r.inner[:0], text...)
		r.whole(stream, r.inner, nil, rec)
		return true
	}
	return r.join(stream, text, rec)
}

// piece is where the driver splits a line. A shorter one without a line feed is the last
// of its stream: the driver writes it when the service has closed that.
const piece = 16 << 10

func ends(text string) bool { return len(text) < piece || text[len(text)-1] == '\n' }

// join puts the pieces of a line together that was too long for the driver.
func (r *reader) join(stream int, text string, rec *record) bool {
	if r.skip[stream] {
		r.last[stream] = append(r.last[stream], text...)
		if n := len(r.last[stream]); n > 2*piece {
			r.last[stream] = append(r.last[stream][:0], r.last[stream][n-piece:]...)
		}
	} else {
		r.partial[stream] = append(r.partial[stream], text...)
		r.skip[stream] = len(r.partial[stream]) > longest
	}
	if !ends(text) {
		return false
	}
	all, last := r.partial[stream], []byte(nil)
	if r.skip[stream] {
		last = append([]byte{}, r.last[stream]...) // not nil: the line is cut
	}
	r.partial[stream], r.skip[stream], r.last[stream] = all[:0], false, nil
	if cap(all) > longest/4 {
		r.partial[stream] = nil
	}
	r.whole(stream, all, last, rec)
	return true
}

// whole reads a line of the service. Of one that was too long, last is what is kept of
// its end.
func (r *reader) whole(stream int, b, last []byte, rec *record) {
	t := &r.traces[stream]
	coloured := words.ColouredLevel(b)
	b = words.Uncoloured(bytes.TrimRight(b, "\r\n"))
	if r.goesOn(stream, b) {
		*rec = record{message: b}
		return
	}
	if t.IsOpen() && t.Takes(b) {
		*rec = record{message: b}
		return
	}
	*rec = record{trace: r.close(t)}
	object := bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\ufeff")), " \t")
	if len(object) > 0 && object[0] == '{' && r.object(object, last, rec) {
		if rec.severity == words.Unleveled {
			rec.severity = r.otherwise
		}
		t.After(nil, words.Unleveled)
		return
	}
	if t.Begins(b) {
		rec.message = b
		return
	}
	if t.Continues(b) {
		rec.message = b
		return
	}
	readPlain(b, r.names(), rec)
	if rec.severity == words.Unleveled && len(rec.path) == 0 {
		rec.severity = coloured
	}
	if rec.severity == words.Unleveled && len(b) > 0 && b[0] != ' ' && b[0] != '\t' {
		rec.severity = r.otherwise
	}
	if rec.open {
		r.csv[stream] = 1
	}
	t.After(b, rec.severity)
}

// csvMost is how many lines a record of csvlog has at most; what looks like more was cut.
const csvMost = 10000

// goesOn reports whether a line belongs to a record of csvlog that began before: a statement, say, of several lines.
// Another record ends one that was cut.
func (r *reader) goesOn(stream int, b []byte) bool {
	n := &r.csv[stream]
	if *n == 0 {
		return false
	}
	if *n++; *n > csvMost || csvLog(b, new(record)) {
		*n = 0
		return false
	}
	if bytes.Count(b, []byte{'"'})%2 == 1 {
		*n = 0
	}
	return true
}

// close ends an open trace and returns its template where it counts.
func (r *reader) close(t *trace.Trace) []byte {
	closed, counts := t.Close(r.closed[:0])
	r.closed = closed
	if !counts {
		return nil
	}
	return closed
}

// finish returns the template of a trace that no line has ended, when no other follows.
func (r *reader) finish(stream int) []byte { return r.close(&r.traces[stream]) }

// joining reports whether the pieces of a line are put together.
func (r *reader) joining() bool {
	return len(r.partial[0]) > 0 || len(r.partial[1]) > 0 || r.skip[0] || r.skip[1]
}

// names returns what the members are counted as.
func (r *reader) names() index {
	if r.index == nil {
		r.index = r.fields.index()
	}
	return r.index
}

// object reads a line that is one JSON object.
func (r *reader) object(b, last []byte, rec *record) bool {
	cut := last != nil
	if !cut && !json.Valid(b) {
		return false
	}
	w := walker{b: b, index: r.names(), name: r.name[:0], found: r.found[:0]}
	if !w.object(0) && (!cut || w.at < len(b)) {
		return false
	}
	if cut {
		w.behind(bytes.TrimRight(last, "\r\n"))
	}
	r.name, r.found = w.name[:0], w.found[:0]
	rec.json = true
	w.choose(rec)
	return true
}

// fast reads the common case. It reports false for whatever is not that, also
// after it has written to the record.
func (r *reader) fast(b []byte, rec *record) bool {
	if len(b) < len(prefix)+4 || string(b[:len(prefix)]) != prefix || b[len(prefix)] != '{' {
		return false
	}
	end := r.known(b, rec)
	if end == 0 {
		c := cursor{b: b, at: len(prefix), members: r.members[:0], index: r.names(), name: r.name[:0]}
		if !c.object(0) {
			return false
		}
		// A quote within a string that is not escaped would have ended the outer one.
		if !words.Plain(b[:c.at]) || bytes.Count(b[:c.at], []byte{'"'}) != prefixQuotes+2*c.strings {
			return false
		}
		c.choose(rec)
		end, r.members, r.name = c.at, c.members, c.name[:0]
		r.learn(b, &c)
	}
	// What follows is the end of the line, and the driver's own members.
	rest := b[end:]
	if len(rest) < 2 || rest[0] != '\\' || rest[1] != 'n' {
		return false
	}
	stream, ok := tail(rest[2:])
	if !ok || len(r.partial[stream]) > 0 || r.skip[stream] || r.traces[stream].Busy() || r.csv[stream] > 0 {
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

// mostMembers is how many a shape has at most.
const mostMembers = 64

// learn remembers the shape of a line that was read the long way.
func (r *reader) learn(b []byte, c *cursor) {
	if c.list || len(c.members) == 0 || len(c.members) > mostMembers {
		return
	}
	s := &shape{before: make([]separator, 0, len(c.members))}
	at := 0
	for _, m := range c.members {
		s.before = append(s.before, separator{bytes.Clone(b[at:m.from]), m.quoted, m.use})
		at = m.to
	}
	s.after = bytes.Clone(b[at:c.at])
	if len(r.shapes) < shapes {
		r.shapes = append(r.shapes, s)
		return
	}
	r.shapes[shapes-1] = s
}
