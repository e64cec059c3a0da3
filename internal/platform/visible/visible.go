// Package visible writes what others have named – tables, indexes, labels, annotations, log lines – so
// that it is only shown: a terminal, a chat, a log and a page obey nothing in it.
//
// What is not printable becomes an escape as JSON has it (\u202e), so that a JSON text
// stays one with the same meaning. Letters of every script stay.
package visible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text writes a name or a sentence in one line.
func Text(s string) string { return show(s, "") }

// Lines writes a text of several lines. Newlines and tabs stay: whatever names are part of the text
// must be written by Text before.
func Lines(s string) string { return show(s, "\n\t") }

func show(s, kept string) string {
	if plain(s, kept) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(s[i:])
		}
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[i]) // a byte that is no letter, which JSON does not have
			continue
		}
		if Printable(r) || strings.ContainsRune(kept, r) {
			b.WriteRune(r)
			continue
		}
		escape(&b, r)
	}
	return b.String()
}

// plain reports whether nothing is to be escaped.
func plain(s, kept string) bool {
	for i := range len(s) {
		if (s[i] < ' ' || s[i] > '~') && !strings.ContainsRune(kept, rune(s[i])) {
			return allPrintable(s, kept)
		}
	}
	return true
}

func allPrintable(s, kept string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !Printable(r) && !strings.ContainsRune(kept, r) {
			return false
		}
	}
	return true
}

// escape writes a letter as JSON does, in two halves where it needs them.
func escape(b *strings.Builder, r rune) {
	switch r {
	case '\n':
		b.WriteString(`\n`)
	case '\r':
		b.WriteString(`\r`)
	case '\t':
		b.WriteString(`\t`)
	default:
		if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
			return
		}
		fmt.Fprintf(b, `\u%04x`, r)
	}
}

// Printable reports whether a letter shows itself and nothing else: it is no control letter,
// changes no direction, is no separator of lines, and is not empty.
func Printable(r rune) bool {
	switch r {
	case '\u115f', '\u1160', '\u3164', '\uffa0', '\u2800', '\u034f', '\u17b4', '\u17b5': // letters that show nothing
		return false
	}
	return unicode.IsPrint(r)
}

// Unlinked writes a text so that no program makes a link or a call of it: a URL becomes
// https[:]//host, as reports of incidents write it, and @all becomes [@]all. What begins with one of own stays
// a link.
func Unlinked(s string, own ...string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		rest := s[i:]
		if to := ours(rest, own); to > 0 && begins(s, i) {
			b.WriteString(rest[:to])
			i += to
			continue
		}
		switch {
		case strings.HasPrefix(rest, "://"):
			b.WriteString("[:]//")
			i += len("://")
		case begins(s, i) && len(rest) >= 4 && strings.EqualFold(rest[:4], "www."):
			b.WriteString(rest[:3] + "[.]")
			i += len("www.")
		case begins(s, i) && len(rest) >= 7 && strings.EqualFold(rest[:7], "mailto:"):
			b.WriteString(rest[:6] + "[:]")
			i += len("mailto:")
		case rest[0] == '@' && begins(s, i):
			b.WriteString("[@]")
			i++
		default:
			_, size := utf8.DecodeRuneInString(rest)
			b.WriteString(rest[:size])
			i += size
		}
	}
	return b.String()
}

// begins reports whether a word may begin at a place.
func begins(s string, i int) bool {
	r, _ := utf8.DecodeLastRuneInString(s[:i])
	return i == 0 || !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// ours returns the length of the link of our own that a text begins with.
func ours(s string, own []string) int {
	for _, o := range own {
		if o == "" || !strings.HasPrefix(s, o) {
			continue
		}
		// The host must end where ours does: http://upkeep.example.evil.example is another one.
		next, _ := utf8.DecodeRuneInString(s[len(o):])
		if !strings.HasSuffix(o, "/") && len(s) > len(o) && !strings.ContainsRune("/?# \n\t", next) {
			continue
		}
		end := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`<>"'|()[]*_`, r) })
		if end < 0 {
			end = len(s)
		}
		return max(end, len(o))
	}
	return 0
}
