package terminal_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/terminal"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
)

// fill writes a table of two columns that yield.
func fill(t *testing.T, s *terminal.Screen, whole bool) {
	t.Helper()
	table := s.Table("RUN", "ON", "WHY").Yield("ON", "WHY").Whole(whole)
	table.Row(7, terminal.Cell{Text: "database.schema.orders on main", Tail: true},
		terminal.Cell{Text: "the table has no dead rows", Style: terminal.Bad})
	table.Row(12, "表表表表表表表表表表", "")
	table.Row(13, "", "größe")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
}

// Columns that yield become narrower until the table fits; names keep their end, and letters of two columns
// are not cut through.
func TestTable(t *testing.T) {
	for _, test := range []struct {
		name  string
		width int
		whole bool
		want  string
	}{
		{"fits", 40, false, ""},
		{"no terminal", 0, false, `
RUN  ON                              WHY
7    database.schema.orders on main  the table has no dead rows
12   表表表表表表表表表表
13                                   größe
`},
		{"whole", 40, true, `
RUN  ON                              WHY
7    database.schema.orders on main  the table has no dead rows
12   表表表表表表表表表表
13                                   größe
`},
		{"too narrow", 20, false, `
RUN  ON        WHY
7    …on main  the …
12   表表表…
13             größe
`},
	} {
		var b bytes.Buffer
		fill(t, terminal.Sized(&b, test.width, false), test.whole)
		if test.name == "fits" {
			for line := range strings.Lines(b.String()) {
				if n := terminal.Width(strings.TrimRight(line, "\n")); n > 40 {
					t.Errorf("%d columns: %q", n, line)
				}
			}
			if !strings.Contains(b.String(), "orders on main") || !strings.Contains(b.String(), "…") {
				t.Error(b.String())
			}
			continue
		}
		if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), b.String()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", test.name, diff)
		}
	}
}

// Colours are around a text and never in a column's width; without them nothing is written but the text.
func TestColours(t *testing.T) {
	var plain, coloured bytes.Buffer
	fill(t, terminal.Sized(&plain, 60, false), false)
	fill(t, terminal.Sized(&coloured, 60, true), false)
	sequence := regexp.MustCompile("\x1b\\[[0-9;]*m")
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(coloured.String(), "\x1b[31mthe table") {
		t.Errorf("%q", coloured.String())
	}
	if diff := cmp.Diff(plain.String(), sequence.ReplaceAllString(coloured.String(), "")); diff != "" {
		t.Error(diff)
	}
	var b bytes.Buffer
	s := terminal.New(&b) // no terminal
	s.Say(terminal.Bad, "a")
	s.Rewrite("b")
	s.Clear()
	if b.String() != "a" || s.Live() {
		t.Errorf("%q", b.String())
	}
}

// No name reaches the terminal unescaped, cut or not; an escape is not cut through.
func TestNames(t *testing.T) {
	sequence := regexp.MustCompile("\x1b\\[(3[1-3]m|1;35m|2m|0m|K)|\r")
	visibletest.Names(t, func(name string) {
		for _, width := range []int{0, 30, 80} {
			var b bytes.Buffer
			s := terminal.Sized(&b, width, true)
			table := s.Table("A", "B").Yield("A", "B")
			table.Row(terminal.Cell{Text: name, Style: terminal.Busy, Tail: true}, name)
			if err := table.Flush(); err != nil {
				t.Fatal(err)
			}
			s.Say(terminal.Ask, name)
			fmt.Fprintln(s, name)
			s.Rewrite(name)
			text := sequence.ReplaceAllString(b.String(), "")
			visibletest.Terminal(t, text)
			if n := strings.Count(text, "\n"); n != 3+strings.Count(name, "\n") {
				t.Errorf("%q makes %d lines: %q", name, n, text)
			}
		}
	})
	for columns, want := range map[int]string{0: "", 1: "…", 3: "a…", 7: "a…", 8: `a\u001b…`, 9: `a\u001bbc`} {
		if got := terminal.Cut(visible.Text("a\x1bbc"), columns); got != want {
			t.Errorf("%d columns: %q, want %q", columns, got, want)
		}
	}
	for columns, want := range map[int]string{0: "", 1: "…", 4: "…bc", 8: "…bc", 9: `a\u001bbc`} {
		if got := terminal.CutFront(visible.Text("a\x1bbc"), columns); got != want {
			t.Errorf("the end in %d columns: %q, want %q", columns, got, want)
		}
	}
	if got := terminal.Cut("e\u0301e\u0301e\u0301", 2); got != "e\u0301…" {
		t.Errorf("%q", got)
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]string{0: "now", 59 * time.Second: "59s ago", 119 * time.Second: "1m ago",
		3 * time.Hour: "3h ago", 49 * time.Hour: "2d ago", -time.Minute: "in 1m"} {
		if got := terminal.Age(now, now.Add(-ago)); got != want {
			t.Errorf("%s: %q, want %q", ago, got, want)
		}
	}
	if got := terminal.Age(now, time.Time{}); got != "never" {
		t.Error(got)
	}
}
