package store

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// text returns a statement as the database wants it.
func (s *Store) text(query string) string {
	if s.dialect.text == nil {
		return query
	}
	if text, ok := s.texts.Load(query); ok {
		return text.(string) //nolint:forcetypeassert // nothing else is stored there
	}
	text := s.dialect.text(query)
	s.texts.Store(query, text)
	return text
}

// clean makes parameters mean the same to both databases: what is true is 1, and
// text is UTF-8 without NUL, of which PostgreSQL takes no other. A target's error
// may hold anything, and must not keep a run from being written.
func clean(args []any) []any {
	cleaned := false
	for i, a := range args {
		var to any
		switch a := a.(type) {
		case bool:
			to = int64(0)
			if a {
				to = int64(1)
			}
		case string:
			if utf8.ValidString(a) && strings.IndexByte(a, 0) < 0 {
				continue
			}
			to = strings.ReplaceAll(strings.ToValidUTF8(a, "\uFFFD"), "\x00", "\uFFFD")
		default:
			continue
		}
		if !cleaned { // the caller's are not ours to change
			args, cleaned = slices.Clone(args), true
		}
		args[i] = to
	}
	return args
}

// numbered turns each ? parameter into $1, $2 and so on.
func numbered(query string) string {
	n := 0
	return outside(query, func(code string) string {
		var b strings.Builder
		for {
			before, after, found := strings.Cut(code, "?")
			b.WriteString(before)
			if !found {
				return b.String()
			}
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			code = after
		}
	})
}

// outside lets f change the parts of a statement that are neither quoted nor a
// comment.
func outside(query string, f func(code string) string) string {
	var b strings.Builder
	for query != "" {
		code, rest, length := quoted(query)
		b.WriteString(f(code))
		b.WriteString(rest[:length])
		query = rest[length:]
	}
	return b.String()
}

// quoted returns the text before the first quoted part or comment, what
// begins with it, and its length. A quote that is doubled inside of a quoted part
// ends it and begins another one, which comes to the same.
func quoted(query string) (code, rest string, length int) {
	for i := range len(query) {
		for _, pair := range [...][2]string{{"'", "'"}, {`"`, `"`}, {"--", "\n"}, {"/*", "*/"}} {
			inside, begins := strings.CutPrefix(query[i:], pair[0])
			if !begins {
				continue
			}
			before, _, ends := strings.Cut(inside, pair[1])
			if !ends {
				return query[:i], query[i:], len(query) - i // the database will say so
			}
			return query[:i], query[i:], len(pair[0]) + len(before) + len(pair[1])
		}
	}
	return query, "", 0
}
