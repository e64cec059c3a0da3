package visible_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"public.orders":                   "public.orders",
		"größe 表 таблица 🐘":               "größe 表 таблица 🐘",
		"a\x1b[2Jb\x07":                   `a\u001b[2Jb\u0007`,
		"a\nb\r\tc":                       `a\nb\r\tc`,
		"x\u202ey\u2028\u200bz\u00ad":     `x\u202ey\u2028\u200bz\u00ad`,
		"\xff\xc3(":                       `\xff\xc3(`,
		"\ufffd":                          "\ufffd",
		"\U000e0041":                      `\udb40\udc41`,
		"\u0085\u009b31m":                 `\u0085\u009b31m`,
		strings.Repeat("a", 10000) + "\n": strings.Repeat("a", 10000) + `\n`,
	} {
		if got := visible.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
	if got := visible.Lines("a\n\tb\r\x1b"); got != "a\n\tb\\r\\u001b" {
		t.Errorf("Lines: %q", got)
	}
}

func TestUnlinked(t *testing.T) {
	own := []string{"https://upkeep.example", "https://docs.example/runbooks/"}
	for in, want := range map[string]string{
		"see https://evil.example/x":         "see https[:]//evil.example/x",
		"www.evil.example, WWW.evil.example": "www[.]evil.example, WWW[.]evil.example",
		"mailto:a@b.example":                 "mailto[:]a@b.example",
		"@all, @channel and a@b":             "[@]all, [@]channel and a@b",
		"https://upkeep.example/runs/7 ok":   "https://upkeep.example/runs/7 ok",
		"https://upkeep.example":             "https://upkeep.example",
		"https://upkeep.example.evil.com/":   "https[:]//upkeep.example.evil.com/",
		"https://upkeep.example@evil.com/":   "https[:]//upkeep.example@evil.com/",
		"https://docs.example/runbooks/a.md": "https://docs.example/runbooks/a.md",
		"xhttps://upkeep.example/":           "xhttps[:]//upkeep.example/",
		"a://b://c":                          "a[:]//b[:]//c",
	} {
		if got := visible.Unlinked(in, own...); got != want {
			t.Errorf("Unlinked(%q) = %q, want %q", in, got, want)
		}
	}
}

// A letter may be written in parts.
func TestWriter(t *testing.T) {
	visibletest.Names(t, func(name string) {
		var whole, parts bytes.Buffer
		w := visible.NewWriter(&whole)
		if _, err := w.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		w = visible.NewWriter(&parts)
		for i := range len(name) {
			if n, err := w.Write([]byte{name[i]}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if whole.String() != visible.Lines(name) || parts.String() != whole.String() {
			t.Errorf("%q: %q, and in parts %q", name, whole.String(), parts.String())
		}
		visibletest.Terminal(t, whole.String())
	})
}

// What is shown of a JSON text is one, with the same values where they are printable.
func TestJSON(t *testing.T) {
	visibletest.Names(t, func(name string) {
		text, err := json.Marshal(map[string]any{name: []any{name, 12345678901234567, map[string]any{"a": name}}})
		if err != nil {
			t.Fatal(err)
		}
		shown, err := visible.JSON(text)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		var v map[string][]any
		if err := json.Unmarshal(shown, &v); err != nil || len(v) != 1 {
			t.Fatalf("%q: %v in %s", name, err, shown)
		}
		for key, values := range v {
			visibletest.Line(t, key)
			visibletest.Line(t, values[0].(string))
		}
		if !bytes.Contains(shown, []byte("12345678901234567")) {
			t.Errorf("the number is another in %s", shown)
		}
		var through bytes.Buffer // a program's answer stays what it was
		if _, err := visible.NewWriter(&through).Write(text); err != nil {
			t.Fatal(err)
		}
		var before, after any
		if err := json.Unmarshal(text, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(through.Bytes(), &after); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		b, _ := json.Marshal(before)
		a, _ := json.Marshal(after)
		if !bytes.Equal(a, b) {
			t.Errorf("%q: %s, want %s", name, a, b)
		}
	})
}
