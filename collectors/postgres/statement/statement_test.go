package statement

import (
	"strings"
	"testing"
)

func TestWithoutLiterals(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"select * from t where id = $1 and name = $2", "select * from t where id = $1 and name = $2"},
		{"select 'secret', 42, 1.5e10, .5, 0xff from t2", "select ?, ?, ?, ?, ? from t2"},
		{"select 'it''s a secret' as a", "select ? as a"},
		{`select E'it\'s a secret' as a`, "select ? as a"},
		{`select 'C:\' as a, 'secret' as b`, "select ?"},
		{`select 'C:\dir' as a, 'x' as b`, "select ? as a, ? as b"},
		{"select $$secret$$, $tag$se$$cret$tag$, $1", "select ?, ?, $1"},
		{"select U&'secret', b'101', x'ff', n'name' from \"my 'table'\"", "select ?, ?, ?, ? from \"my 'table'\""},
		{"select 1 -- secret\n from t /* se /* cret */ */ where a = 2", "select ? from t where a = ?"},
		{"select   a\n\t from  t", "select a from t"},
		{"select 'secret without an end", "select ?"},
		{"select \"a\"\"'b\" from täble1", "select \"a\"\"'b\" from täble1"},
		{"select a1, $10, t$1 from t", "select a1, $10, t$1 from t"},
	} {
		if got := withoutLiterals(tc.text); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

func TestShown(t *testing.T) {
	for _, text := range []string{"alter role app password 'secret'", "create user app password 'secret'",
		"set app.key = 'secret'", "call f('secret')", "copy t from program 'secret'", ""} {
		if got := Shown(text); got != "" {
			t.Errorf("%s is shown as %s", text, got)
		}
	}
	long := Shown("select " + strings.Repeat("ü, ", 300))
	if n := len([]rune(long)); n != textLength || !strings.HasSuffix(long, "…") {
		t.Errorf("%d characters: %s", n, long)
	}
	if got := Shown("(select 1)"); got != "(select ?)" {
		t.Errorf("got %s", got)
	}
}

// Text between quotes is never shown.
func FuzzWithoutLiterals(f *testing.F) {
	for _, s := range []string{"", "a", "$$", "--", "/*", "e", "\"", "$a$", "1"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, before, within string) {
		clean := strings.NewReplacer("'", "", `\`, "").Replace(within)
		if strings.ContainsAny(before, "'\"$-/*\\&") || clean == "" || strings.Contains(before, "sEcReT") {
			return
		}
		got := withoutLiterals(before + " 'sEcReT" + clean + "' ")
		if strings.Contains(got, "sEcReT") {
			t.Errorf("%q shows %q", before+" 'sEcReT"+clean+"' ", got)
		}
	})
}
