package words

import "bytes"

// RuntimeLevel returns the level of what a runtime writes when it ends a process or warns of it,
// in words of its own.
func RuntimeLevel(b []byte) Severity {
	switch b[0] {
	case 't': // C++
		if bytes.HasPrefix(b, []byte("terminate called after throwing ")) {
			return LevelError
		}
	case '=': // AddressSanitizer and its like, Erlang
		id := DigitsAt(bytes.TrimLeft(b, "="))
		if bytes.HasPrefix(b, []byte("=ERROR REPORT=")) ||
			len(id) > 0 && bytes.HasPrefix(b[2:], id) && bytes.HasPrefix(b[2+len(id):], []byte("==ERROR: ")) {
			return LevelError
		}
	case 'F':
		if bytes.HasPrefix(b, []byte("Fatal Python error: ")) {
			return LevelError
		}
	case '*': // Elixir
		if kind, ok := bytes.CutPrefix(b, []byte("** (")); ok && bytes.Contains(kind, []byte("Error) ")) {
			return LevelError
		}
	case '(': // Node.js
		if rest, ok := bytes.CutPrefix(b, []byte("(node:")); ok &&
			bytes.HasPrefix(rest[len(DigitsAt(rest)):], []byte(") Warning: ")) {
			return LevelWarning
		}
	case 'P':
		if bytes.HasPrefix(b, []byte("PHP Notice: ")) {
			return LevelInfo
		}
	}
	return Unleveled
}

// IsContext reports whether a line is such as handle: <Handle load()>, which asyncio writes
// between an error and its traceback.
func IsContext(b []byte) bool {
	i := bytes.IndexByte(b[:min(len(b), 24)], ':')
	return i > 0 && bytes.HasPrefix(b[i:], []byte(": <")) && !bytes.ContainsFunc(b[:i],
		func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') })
}
