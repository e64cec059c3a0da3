package words

import "bytes"

// TypeLength returns the length of a type such as ValueError or java.io.IOException that a
// line begins with and that a colon, a bracket or nothing follows.
func TypeLength(b []byte) int {
	i, part := 0, 0
	for i < len(b) && (IsWord(b[i]) || b[i] == '.' || b[i] == '$' || b[i] == ':' && i+2 < len(b) && b[i+1] == ':' &&
		IsLetter(b[i+2]) || b[i] == ':' && i > 0 && b[i-1] == ':') {
		if b[i] == '.' || b[i] == ':' || b[i] == '$' {
			part = i + 1
		}
		i++
	}
	name := b[part:i]
	if !bytes.HasSuffix(name, []byte("Error")) && !bytes.HasSuffix(name, []byte("Exception")) || name[0] < 'A' ||
		name[0] > 'Z' {
		return 0
	}
	switch rest := b[i:]; {
	case len(rest) == 0:
		if len(name) == len("Error") {
			return 0
		}
	case bytes.HasPrefix(rest, []byte(": ")), bytes.Equal(rest, []byte(":")), bytes.HasPrefix(rest, []byte(" [")):
	default:
		return 0
	}
	return i
}

// TypeWithin returns where the first type in a line is, its length where none is.
func TypeWithin(b []byte) int {
	for i := range b {
		if (i == 0 || b[i-1] == ' ') && TypeLength(b[i:]) > 0 {
			return i
		}
	}
	return len(b)
}

// ScriptFrame reports whether a line is a frame of JavaScript: at load (/app/x.js:2:9).
func ScriptFrame(b []byte) bool {
	frame, ok := bytes.CutPrefix(bytes.TrimLeft(b, " "), []byte("at "))
	if !ok || b[0] != ' ' {
		return false
	}
	place := bytes.TrimSuffix(frame, []byte{')'})
	return len(WithoutColumn(place)) < len(place)
}

// RubyHead reports whether a line is such as /app/x.rb:1:in 'load': message (RuntimeError).
func RubyHead(b []byte) bool {
	i := bytes.Index(b, []byte(":in "))
	if i < 5 || b[0] == ' ' || b[0] == '\t' || bytes.IndexByte(b[:i], ' ') >= 0 {
		return false
	}
	file, line, ok := bytes.Cut(bytes.TrimPrefix(b[:i], []byte("<internal:")), []byte(":"))
	return ok && bytes.HasSuffix(bytes.TrimSuffix(file, []byte{'>'}), []byte(".rb")) &&
		len(DigitsAt(line)) == len(line) && bytes.Contains(b[i:], []byte(": "))
}

// NodeSource reports whether a line is the place that node writes before the line of the
// source and the type: /app/x.js:3, node:internal/modules/cjs/loader:1228.
func NodeSource(b []byte) bool {
	i := bytes.LastIndexByte(b, ':')
	if i <= 0 || i+1 == len(b) || len(DigitsAt(b[i+1:])) != len(b)-i-1 || bytes.IndexByte(b, ' ') >= 0 {
		return false
	}
	if bytes.HasPrefix(b, []byte("node:")) {
		return true
	}
	for _, end := range []string{".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx"} {
		if bytes.HasSuffix(b[:i], []byte(end)) {
			return true
		}
	}
	return false
}

// WithoutColumn returns file:line of file:line:column.
func WithoutColumn(b []byte) []byte {
	i := bytes.LastIndexByte(b, ':')
	if i <= 0 || len(DigitsAt(b[i+1:])) != len(b)-i-1 {
		return b
	}
	j := bytes.LastIndexByte(b[:i], ':')
	if j <= 0 || j+1 == i || len(DigitsAt(b[j+1:i])) != i-j-1 {
		return b
	}
	return b[:i]
}

// AppendPlace appends the last two parts of a path with its line: what is before them
// differs between machines.
func AppendPlace(into, place []byte) []byte {
	if i := bytes.LastIndexByte(place, '/'); i >= 0 {
		place = place[bytes.LastIndexByte(place[:i], '/')+1:]
	} else if i := bytes.LastIndexByte(place, '\\'); i >= 0 {
		place = place[bytes.LastIndexByte(place[:i], '\\')+1:]
	}
	return append(into, place[:min(len(place), TemplateLength/2-8)]...)
}
