package logs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A record of PostgreSQL's csvlog is one, whatever is written in its texts.
func TestCSVRecords(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 5))
		texts := []string{"select 1", "ERROR:  no", "\n", "\nERROR: it is late\n", `""`, `"",`, "\n\n", "FATAL", "level=error", ",",
			"\nTraceback (most recent call last):\n", "\nselect * from a\nwhere b = 'ERROR'\n", "\r\n"}
		text := func() string {
			var all strings.Builder
			for range random.IntN(6) {
				all.WriteString(texts[random.IntN(len(texts))])
			}
			return `"` + all.String() + `"`
		}
		var lines strings.Builder
		errors := uint64(0)
		for range 30 {
			level := []string{"LOG", "ERROR", "WARNING", "FATAL"}[random.IntN(4)]
			if level == "ERROR" || level == "FATAL" {
				errors++
			}
			fmt.Fprintf(&lines, `2026-11-30 21:57:30.123 UTC,"ann","shop",1,"10.0.0.9:1",6b.7b,1,"SELECT",2026-11-30 21:57:30 UTC,3/3,0,`+
				`%s,22012,%s,,,,,,%s,,,"psql","client backend",,0`+"\n", level, text(), text())
			if random.IntN(9) == 0 { // of another service
				lines.WriteString("ERROR: of another\n")
				errors++
			}
		}
		file := filepath.Join(t.TempDir(), "postgresql.csv")
		if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Analyze(t.Context(), []string{file}, Options{Plain: random.IntN(2) == 0})
		if err != nil || r.Errors != errors {
			t.Fatalf("seed %d: %d errors, want %d: %v\n%s", seed, r.Errors, errors, err, lines.String())
		}
	}
}

// What could not be read as it is written is said.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, one := range map[string]struct{ text, want string }{
		"long.log":  {"ERROR: " + strings.Repeat("x", 10<<20) + "\nok\n", "1 lines are longer than 4 MiB"},
		"utf16.log": {"\xff\xfeE\x00R\x00R\x00O\x00R\x00\n\x00", "UTF-16"},
		"no.log.gz": {"ERROR: it is no gzip\n", "gzip: invalid header"},
		"cut.gz":    {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x4c", "unexpected EOF"},
		"absent":    {"", "no such file"},
	} {
		file := filepath.Join(dir, name)
		if one.text != "" {
			if err := os.WriteFile(file, []byte(one.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Analyze(t.Context(), []string{file}, Options{})
		if err == nil || !strings.Contains(err.Error(), one.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %q", name, err, one.want)
		}
	}
}
