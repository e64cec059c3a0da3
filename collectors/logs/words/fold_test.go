package words

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// A template is valid UTF-8 of bounded length without control characters, whatever the
// message is: two that differ in what is no letter would be two series of one name.
func TestTemplatesAreText(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	parts := []string{"a", "é", "€", "𝄞", " ", "7", "\x00", "\n", "\xff", "\xe2\x82", "\xf0\x9d", "deadbeef12",
		"10.0.0.1", "ü@x", "-", "�", "\xed\xa0\x80", "Ω1", "::"}
	for n := range 3000 {
		var b strings.Builder
		for b.Len() < random.IntN(3*TemplateLength) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		message := b.String()
		got := Fold(nil, []byte(message))
		switch {
		case !utf8.Valid(got):
			t.Fatalf("message %d, %q: %q is no UTF-8", n, message, got)
		case len(got) > TemplateLength:
			t.Fatalf("message %d, %q: %d bytes", n, message, len(got))
		case bytes.ContainsFunc(got, func(r rune) bool { return r < ' ' }):
			t.Fatalf("message %d, %q: %q has a control character", n, message, got)
		}
		path := FoldPath(nil, []byte(strings.ToValidUTF8(message, "")))
		if !utf8.Valid(path) || len(path) > PathLength {
			t.Fatalf("path %d, %q: %q", n, message, path)
		}
	}
}

// A message that is cut keeps every letter that fits whole, in every script.
func TestTemplateIsCutBetweenLetters(t *testing.T) {
	for _, letter := range []string{"x", "é", "€", "𝄞"} {
		for begin := range 4 {
			message := strings.Repeat("a", begin) + strings.Repeat(letter, TemplateLength)
			want := strings.Repeat("a", begin) + strings.Repeat(letter, (TemplateLength-begin)/len(letter))
			if got := string(Fold(nil, []byte(message))); got != want {
				t.Errorf("%d letters and %q: %q (%d bytes), want %d bytes", begin, letter, got, len(got), len(want))
			}
		}
	}
}

// Messages that differ only in an id, a number, a time or an address have one template, and
// those that differ in a word have two.
func TestOneTemplateForOneCause(t *testing.T) {
	for _, same := range [][]string{
		{"user 1 not found", "user 42 not found", "user 007 not found", "user 1.5 not found"},
		{"at 2026-01-02T03:04:05Z", "at 2026-01-02T03:04:05.123456Z", "at 2026-12-31", "at 23:59:60"},
		{"from 10.0.0.1", "from 192.168.100.200:65535", "from fe80::1", "from ann@example.org", "from 2001:db8::8a2e:370"},
		{"took 5ms", "took 12s", "took 1.5h", "took 3"},
		{"at 1:27:48 PM", "at 11:27:48 PM"},
		{"at 1:27:48:123", "at 11:27:48:5"},
		{"db UTC:10.0.0.1(12) joe@shop", "db UTC:192.168.0.1(7) joe@shop"},
		{"panic 0x1b2", "panic 0xc"},
		{"id 550e8400-e29b-41d4-a716-446655440000", "id 00000000-0000-0000-0000-000000000000"},
		{"node worker-1 left", "node worker-99 left"},
		{"a b", "a  b", "a\tb ", "a\r\nb"},
	} {
		first := string(Fold(nil, []byte(same[0])))
		for _, message := range same[1:] {
			if got := string(Fold(nil, []byte(message))); got != first {
				t.Errorf("%q is %q, and %q is %q", same[0], first, message, got)
			}
		}
	}
	for _, other := range [][2]string{{"user gone", "role gone"}, {"face", "faded"}, {"v1beta", "v1alpha"},
		{"bad key a", "bad key b"}, {"über", "uber"}} {
		if a, b := Fold(nil, []byte(other[0])), Fold(nil, []byte(other[1])); bytes.Equal(a, b) {
			t.Errorf("%q and %q are both %q", other[0], other[1], a)
		}
	}
}

func TestIsID(t *testing.T) {
	for part, want := range map[string]bool{"users": false, "v2": false, "v10": false, "V1": false, "v100": true,
		"42": true, "a1b2": true, "user-7": true, strings.Repeat("x", 40): false, strings.Repeat("x", 41): true, "v": false,
		"2v": true, "größe": false} {
		if got := IsID([]byte(part)); got != want {
			t.Errorf("%q: %v, want %v", part, got, want)
		}
	}
}
