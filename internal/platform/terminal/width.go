package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Width returns how many columns a visible text takes.
func Width(text string) (columns int) {
	for _, r := range text {
		columns += columnsOf(r)
	}
	return columns
}

// columnsOf is how many columns a letter takes: none, one or two.
func columnsOf(r rune) int {
	switch {
	case r < utf8.RuneSelf:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}

// ellipsis is in the place of what was cut off.
const ellipsis = "…"

// Cut shortens a visible text to so many columns at its end.
func Cut(text string, columns int) string {
	if Width(text) <= columns {
		return text
	}
	var b strings.Builder
	left := columns - 1
	for _, unit := range units(text) {
		if left -= Width(unit); left < 0 {
			break
		}
		b.WriteString(unit)
	}
	if columns < 1 {
		return ""
	}
	return b.String() + ellipsis
}

// CutFront shortens a visible text to so many columns at its beginning: the end of a name with its
// schema says most.
func CutFront(text string, columns int) string {
	if Width(text) <= columns {
		return text
	}
	if columns < 1 {
		return ""
	}
	all := units(text)
	from, left := len(all), columns-1
	for from > 0 {
		if left -= Width(all[from-1]); left < 0 {
			break
		}
		from--
	}
	return ellipsis + strings.Join(all[from:], "")
}

// units splits a visible text where it may be cut: a letter with the marks on it, or an escape that package
// visible wrote, stays whole.
func units(text string) (all []string) {
	for text != "" {
		size := escape(text)
		if size == 0 {
			_, size = utf8.DecodeRuneInString(text)
			for size < len(text) {
				r, n := utf8.DecodeRuneInString(text[size:])
				if columnsOf(r) > 0 {
					break
				}
				size += n
			}
		}
		all = append(all, text[:size])
		text = text[size:]
	}
	return all
}

// escape returns the length of the escape that a text begins with, or 0.
func escape(text string) int {
	if len(text) < 2 || text[0] != '\\' {
		return 0
	}
	digits := map[byte]int{'u': 4, 'x': 2, 'n': 0, 'r': 0, 't': 0}
	n, known := digits[text[1]]
	if !known || len(text) < 2+n || strings.Trim(text[2:2+n], "0123456789abcdef") != "" {
		return 0
	}
	return 2 + n
}
