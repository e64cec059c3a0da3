package logs

import (
	"bytes"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// bracketHead returns the level of [E 261130 21:59:11 web:31], with which Tornado begins.
func bracketHead(b []byte) words.Severity {
	if len(b) < 20 || b[0] != '[' || b[2] != ' ' || len(words.DigitsAt(b[3:])) != 6 || b[9] != ' ' || !isClock(b[10:]) {
		return words.Unleveled
	}
	return words.LetterLevel(b[1])
}

// runtimeHead returns the level of what a runtime writes when it ends a process or warns of it,
// in words of its own.
func runtimeHead(b []byte) words.Severity {
	switch b[0] {
	case 't': // C++
		if bytes.HasPrefix(b, []byte("terminate called after throwing ")) {
			return words.LevelError
		}
	case '=': // AddressSanitizer and its like, Erlang
		id := words.DigitsAt(bytes.TrimLeft(b, "="))
		if bytes.HasPrefix(b, []byte("=ERROR REPORT=")) ||
			len(id) > 0 && bytes.HasPrefix(b[2:], id) && bytes.HasPrefix(b[2+len(id):], []byte("==ERROR: ")) {
			return words.LevelError
		}
	case 'F':
		if bytes.HasPrefix(b, []byte("Fatal Python error: ")) {
			return words.LevelError
		}
	case '*': // Elixir
		if kind, ok := bytes.CutPrefix(b, []byte("** (")); ok && bytes.Contains(kind, []byte("Error) ")) {
			return words.LevelError
		}
	case '(': // Node.js
		if rest, ok := bytes.CutPrefix(b, []byte("(node:")); ok &&
			bytes.HasPrefix(rest[len(words.DigitsAt(rest)):], []byte(") Warning: ")) {
			return words.LevelWarning
		}
	case 'P':
		if bytes.HasPrefix(b, []byte("PHP Notice: ")) {
			return words.LevelInfo
		}
	}
	return words.Unleveled
}

// csvLog reads a line of PostgreSQL's csvlog. Level and message are its 12th and 14th column.
func csvLog(b []byte, rec *record) bool {
	const zone, level, text = 40, 11, 13
	if len(b) < 60 || b[4] != '-' || b[7] != '-' || b[10] != ' ' || !isClock(b[11:]) {
		return false
	}
	comma := bytes.IndexByte(b[:zone], ',')
	if comma < 0 || !words.IsLetter(b[comma-1]) && !words.IsDigit(b[comma-1]) ||
		b[comma+1] != '"' && b[comma+1] != ',' {
		return false
	}
	var found words.Severity
	for column := 0; column <= text; column++ {
		value, rest, ok := csvValue(b)
		switch column {
		case level:
			if found = words.LevelOf(value, words.ScaleAny); found == words.Unleveled {
				return false
			}
		case text:
			rec.severity, rec.message = found, value
			return true
		}
		if !ok {
			return false
		}
		b = rest
	}
	return false
}

// csvValue returns a value, without its quotes but as it is otherwise, and what is behind its
// comma. It reports false where nothing is.
func csvValue(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return bytes.Cut(b, []byte{','})
	}
	for i := 1; i < len(b); i++ {
		if b[i] != '"' {
			continue
		}
		if i+1 < len(b) && b[i+1] == '"' {
			i++
			continue
		}
		return b[1:i], b[min(i+2, len(b)):], i+1 < len(b) && b[i+1] == ','
	}
	return b[1:], nil, false // the message goes on in the next line
}

// labelled reports whether there is nothing but a time before a place, or a time and what
// names the writer: a label in brackets, or a process: [payments] error:, sshd[12]: error:.
func labelled(b []byte, at int) bool {
	if first(b, at) {
		return true
	}
	head := bytes.TrimRight(b[:at], " ")
	if len(head) == at {
		return false
	}
	head, process := bytes.CutSuffix(head, []byte{':'})
	n := len(head)
	if n < 3 || head[n-1] != ']' {
		return false
	}
	begin := bytes.LastIndexByte(head, '[')
	if begin < 0 {
		return false
	}
	if begin > 0 && head[begin-1] != ' ' { // unbound[12:0]
		for _, c := range head[begin+1 : n-1] {
			if !words.IsDigit(c) && c != ':' {
				return false
			}
		}
		return words.IsWord(head[begin-1]) && bytes.IndexByte(head, '"') < 0
	}
	return !process && first(b, begin)
}

// withinBrackets reports whether a bracket with the name of a thread opens before a place and
// does not close. A path is no such name: a client may have written it.
func withinBrackets(b []byte, at int) bool {
	open := bytes.LastIndexByte(b[:at], '[')
	return open > bytes.LastIndexByte(b[:at], ']') && words.IsLetter(b[open+1]) &&
		bytes.Count(b[open:at], []byte{'/'}) == 1
}

// padded reports whether a word is in a column of its own behind a sign that is no
// letter of ASCII, as signale writes it.
func padded(b []byte, from, to int) bool {
	sign := bytes.TrimRight(b[:from], " ")
	return len(sign) > 0 && sign[len(sign)-1] >= 0x80 && from-len(sign) > 1 && bytes.HasPrefix(b[to:], []byte("  "))
}

// first reports whether there is nothing but a time before a place.
func first(b []byte, at int) bool {
	for i, c := range b[:at] {
		if words.IsDigit(c) {
			continue
		}
		switch c {
		case ' ', '-', ':', '.', ',', '/', '+', '[', ']':
		case 'T', 'Z':
			if i == 0 || !words.IsDigit(b[i-1]) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// isClock reports whether b begins with a time such as 10:00:00.
func isClock(b []byte) bool {
	return len(b) >= 8 && words.IsDigit(b[0]) && words.IsDigit(b[1]) && b[2] == ':' && words.IsDigit(b[3]) &&
		words.IsDigit(b[4]) &&
		b[5] == ':' && words.IsDigit(b[6]) && words.IsDigit(b[7])
}
