// Package visibletest makes hostile names, and says what no name may do to what people read.
package visibletest

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// parts are what names are made of to shape what they are shown in.
func parts() []string {
	return []string{
		"\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x07",
		"\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\",
		"\r", "\n", "\r\n", "\t", "\x00", "\x7f", "\b\b\b", "\u0085", "\u009b31m", "\u202e", "\u2066", "\u2069",
		"\u200f",
		"\u2028", "\u2029", "\u200b", "\u200d", "\ufeff", "\u00ad", "\U000e0041", "\u3164",
		"`", "```", "*bold*", "_it_", "~gone~", "> quote", "# head", "<!channel>", "<!here>", "<@U012>", "<#C01>",
		"<https://evil.example|Approve or reject>", "[Approve](https://evil.example)",
		"https://evil.example/approve?token=1",
		"http://127.0.0.1/", "www.evil.example", "mailto:a@evil.example", "@channel", "@all", "@everyone", ":smile:",
		"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "<script>alert(1)</script>",
		"<img src=x onerror=alert(1)>", "</pre>", "&lt;",
		"\"", "'", "\\", "\\n", "{{.}}", "${x}", "%s%n", "\xff", "\xc3\x28", "\xed\xa0\x80", "a", "orders", " ",
		"größe", "表",
		"Approve or reject: ", "Run: ", "✅", strings.Repeat("x", 500), strings.Repeat("é", 10_000/2),
	}
}

// Names calls f with every part and with a few hundred names that are made of them. The seed
// is fixed, so that a failure comes again.
func Names(t *testing.T, f func(name string)) {
	t.Helper()
	all := parts()
	for _, p := range all {
		f(p)
		f("a" + p + "b")
	}
	r := rand.New(rand.NewPCG(15, 5))
	for range 300 {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			p := all[r.IntN(len(all))]
			if len(p) > 600 && r.IntN(4) > 0 {
				continue
			}
			b.WriteString(p)
		}
		f(b.String())
		if t.Failed() {
			return
		}
	}
}

// Line says what a name must be where it is part of a line.
func Line(t *testing.T, s string) {
	t.Helper()
	if strings.ContainsAny(s, "\n\t") {
		t.Errorf("it breaks its line: %q", s)
	}
	Terminal(t, s)
}

// Terminal says what may be written to a terminal or a log.
func Terminal(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("it is no UTF-8: %.200q", s)
	}
	for _, r := range s {
		if r != '\n' && r != '\t' &&
			(unicode.Is(unicode.C, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)) {
			t.Errorf("it has the letter %U: %.200q", r, s)
			return
		}
	}
}

// Unlinked says what may be in a text that a chat or a mail program makes links of, beside
// links to own.
func Unlinked(t *testing.T, s, own string) {
	t.Helper()
	Terminal(t, s)
	rest := regexp.MustCompile(regexp.QuoteMeta(own)+`(/[!-~]*)?`).ReplaceAllString(s, "")
	if found := regexp.MustCompile(`(?i)://|(^|[^\pL\pN])(www\.|mailto:|@\w)`).FindString(
		strings.ReplaceAll(rest, "[@]", "")); found != "" {
		t.Errorf("it has a link or a call, %q: %.400q", found, s)
	}
}
