package logs

import (
	"bytes"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// bracketHead returns the level of [E 261130 21:59:11 web:31], with which Tornado begins, and
// of [E 2026-11-30 21:59:11].
func bracketHead(b []byte) words.Severity {
	if len(b) < 23 || b[0] != '[' || b[2] != ' ' {
		return words.Unleveled
	}
	if date := bytes.IndexByte(b[3:14], ' '); date != 6 && date != 10 || !first(b[3:], date) || !isClock(b[4+date:]) {
		return words.Unleveled
	}
	return words.LetterLevel(b[1])
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
			rec.open = bytes.Count(b, []byte{'"'})%2 == 1 // b begins with this value
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
// names the writer: a label in brackets, a process, or a category behind a time and before a
// colon: [payments] error:, sshd[12]: error:, 10:00:00 general: error:.
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
	if process && isCategory(head) {
		return true
	}
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

// isCategory reports whether a time and one word are all that a line begins with. A word with
// a quote or a slash may be of a request.
func isCategory(head []byte) bool {
	at := bytes.LastIndexByte(head, ' ') + 1
	if at < len("10:00:00 ") || bytes.ContainsAny(head[at:], `"/=?'`) {
		return false
	}
	date := head[:at]
	if !words.IsDigit(date[0]) && len(date) > 3 && date[3] == ' ' { // Nov 30 10:00:00
		date = date[4:]
	}
	return first(date, len(date)) && bytes.IndexByte(date, ':') > 0
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
func first(b []byte, at int) bool { return timeAt(b[:at]) == at }

// timeAt returns how much of the begin of a line is a time.
func timeAt(b []byte) int {
	for i, c := range b {
		if words.IsDigit(c) {
			continue
		}
		switch c {
		case ' ', '-', ':', '.', ',', '/', '+', '[', ']':
		case 'T', 'Z':
			if i == 0 || !words.IsDigit(b[i-1]) {
				return i
			}
		default:
			return i
		}
	}
	return len(b)
}

// isClock reports whether b begins with a time such as 10:00:00.
func isClock(b []byte) bool {
	return len(b) >= 8 && words.IsDigit(b[0]) && words.IsDigit(b[1]) && b[2] == ':' && words.IsDigit(b[3]) &&
		words.IsDigit(b[4]) &&
		b[5] == ':' && words.IsDigit(b[6]) && words.IsDigit(b[7])
}
