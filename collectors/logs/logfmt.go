package logs

import (
	"bytes"
	"strconv"

	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// logfmt reads a line of key=value pairs, as logrus, go-kit and slog write it. It reports
// whether the line is one and names a level.
func logfmt(b []byte, x index, rec *record) bool {
	var chosen choice
	var at [fieldCount]found
	pairs, asked, answered, failed := 0, false, false, false
	var before []byte // the key before
	for rest := behindTime(b); len(rest) > 0; {
		rest = bytes.TrimLeft(rest, " ")
		i, quoted := 0, len(rest) > 0 && rest[0] == '"'
		if quoted {
			rest = rest[1:]
		}
		for i < len(rest) && (words.IsWord(rest[i]) || rest[i] == '.' || rest[i] == '-' || rest[i] == '@' ||
			rest[i] == '/') {
			i++
		}
		key := rest[:i]
		if quoted && bytes.HasPrefix(rest[i:], []byte(`"=`)) { // logr
			i++
			failed = failed || string(before) == "msg" && string(key) == "error"
		} else if quoted {
			i = 0
		}
		if i == 0 || i >= len(rest) || rest[i] != '=' {
			if pairs == 0 {
				return false
			}
			if i = bytes.IndexByte(rest, ' '); i < 0 {
				break
			}
			rest = rest[i:]
			continue
		}
		u := x[string(key)]
		var value []byte
		value, rest = pairValue(rest[i+1:])
		if pairs++; pairs == 1 && string(key) == "at" && words.WordLevel(value) != words.Unleveled { // Heroku
			u = use{field: level}
		}
		before = key
		asked = asked || string(key) == "method" && isMethod(value)
		answered = answered || string(key) == "status"
		if u.field == none {
			continue
		}
		had := chosen[u.field].at
		if chosen.take(pairs, u, value, true); chosen[u.field].at != had {
			at[u.field] = found{u, value}
		}
	}
	if chosen[level].at == 0 && !failed && !(asked && answered) { // lograge names no level
		return false
	}
	for _, f := range at {
		if f.use.field != none {
			rec.set(f.use, f.value, true)
		}
	}
	switch {
	case failed: // logr has no level for it
		rec.severity = words.LevelError
	case string(at[level].value) == "0": // logr; GELF, whose 0 is the worst, is JSON
		rec.severity = words.LevelInfo
	}
	return true
}

// behindTime returns what is behind the date, the time and the place in a source of Go with
// which a line begins. An address is no time.
func behindTime(b []byte) []byte {
	for len(b) > 0 && words.IsDigit(b[0]) {
		word, rest, _ := bytes.Cut(b, []byte{' '})
		if timeAt(word) < len(word) || len(word)-len(words.DigitsAt(word)) < 4 || bytes.Count(word, []byte{'.'}) > 1 {
			return b
		}
		b = rest
	}
	if place, rest, ok := bytes.Cut(b, []byte(": ")); ok && bytes.Contains(place, []byte(".go:")) &&
		bytes.IndexByte(place, ' ') < 0 {
		return rest
	}
	return b
}

// pairValue returns a value and what follows it.
func pairValue(b []byte) (value, rest []byte) {
	if len(b) > 1 && b[0] == '\'' { // Python's repr, as structlog writes it
		for i := 1; i < len(b); i++ {
			switch {
			case b[i] == '\\':
				i++
			case b[i] == '\'' && (i+1 == len(b) || b[i+1] == ' '):
				return b[1:i], b[i+1:]
			}
		}
	}
	if len(b) == 0 || b[0] != '"' {
		if i := bytes.IndexByte(b, ' '); i >= 0 {
			return b[:i], b[i:]
		}
		return b, nil
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			if value = b[1:i]; bytes.IndexByte(value, '\\') >= 0 {
				if s, err := strconv.Unquote(string(b[:i+1])); err == nil {
					value = []byte(s)
				}
			}
			return value, b[i+1:]
		}
	}
	return b[1:], nil
}
