// Package statement makes the text of a statement fit to be shown: it has no literal.
package statement

import (
	"slices"
	"strings"
)

// withoutLiterals returns a statement with ? in the place of each string and
// number, without comments, and with single spaces. The extension has put $1 for
// most literals; what it leaves in place, as in some commands and where a text is
// as a client sent it, goes here. A statement that ends within a string has
// nothing after its beginning.
func withoutLiterals(text string) string {
	var b strings.Builder
	s := scanner{rest: text}
	for !s.end() {
		switch kind, word := s.next(); kind {
		case literal:
			b.WriteByte('?')
		case space:
			b.WriteByte(' ')
		default:
			b.WriteString(word)
		}
	}
	return strings.TrimSpace(strings.Join(strings.Fields(b.String()), " "))
}

type tokenKind int

const (
	other tokenKind = iota // a name, a parameter, a sign
	literal
	space // or a comment
)

// A scanner reads a statement, token by token.
type scanner struct{ rest string }

func (s *scanner) end() bool { return s.rest == "" }

func (s *scanner) take(n int) string {
	word := s.rest[:n]
	s.rest = s.rest[n:]
	return word
}

func (s *scanner) next() (tokenKind, string) {
	c := s.rest[0]
	switch {
	case c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f':
		return space, s.take(1)
	case strings.HasPrefix(s.rest, "--"):
		return space, s.take(until(s.rest, 2, "\n"))
	case strings.HasPrefix(s.rest, "/*"):
		return space, s.take(comment(s.rest))
	case c == '\'':
		// Whether a backslash escapes depends on a setting of the session. Where
		// that decides where the end is, the rest cannot be parsed.
		n := quoted(s.rest, 1, '\'', false)
		if strings.Contains(s.rest[:n], `\'`) {
			n = len(s.rest)
		}
		return literal, s.take(n)
	case c == '"':
		return other, s.take(quoted(s.rest, 1, '"', false))
	case c == '$':
		return s.dollar()
	case isDigit(c) || c == '.' && len(s.rest) > 1 && isDigit(s.rest[1]):
		return literal, s.take(span(s.rest, 1, func(b byte) bool { return isDigit(b) || isLetter(b) || b == '.' }))
	case isLetter(c):
		n := span(s.rest, 1, func(b byte) bool { return isLetter(b) || isDigit(b) || b == '$' })
		prefix := strings.ToLower(s.rest[:n])
		if n < len(s.rest) && s.rest[n] == '\'' && (prefix == "e" || prefix == "b" || prefix == "x" || prefix == "n") {
			return literal, s.take(quoted(s.rest, n+1, '\'', true))
		}
		if strings.HasPrefix(s.rest[n:], "&'") && prefix == "u" {
			return literal, s.take(quoted(s.rest, n+2, '\'', true))
		}
		return other, s.take(n)
	}
	return other, s.take(1)
}

// dollar takes a parameter ($1) or a string between dollar signs ($tag$…$tag$).
func (s *scanner) dollar() (tokenKind, string) {
	n := span(s.rest, 1, func(b byte) bool { return isLetter(b) || isDigit(b) })
	if n < len(s.rest) && s.rest[n] == '$' && !(n > 1 && isDigit(s.rest[1])) {
		return literal, s.take(until(s.rest, n+1, s.rest[:n+1]))
	}
	return other, s.take(n)
}

// until returns the place after the next end, or the length of s.
func until(s string, from int, end string) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// quoted returns the place after the closing quote. A doubled quote does not close.
func quoted(s string, from int, quote byte, backslash bool) int {
	for i := from; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// comment returns the place after a comment, which may have others within.
func comment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(s[i:], "*/"):
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

func span(s string, from int, in func(byte) bool) int {
	for from < len(s) && in(s[from]) {
		from++
	}
	return from
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' || b == '_' || b >= 0x80 }

// textLength is how much of a statement is shown, in characters.
const textLength = 200

// Shown returns what of a statement is shown: nothing of a command, which may
// hold a password, and no literal.
func Shown(text string) string {
	text = withoutLiterals(text)
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimLeft(text, "( ")), " ")
	if !slices.Contains([]string{"select", "insert", "update", "delete", "merge", "with", "values", "table"}, word) {
		return ""
	}
	if r := []rune(text); len(r) > textLength {
		return string(r[:textLength-1]) + "…"
	}
	return text
}
