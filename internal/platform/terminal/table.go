package terminal

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// A Cell is a text of a table.
type Cell struct {
	Text  string
	Style Style
	Tail  bool // where it is shortened, its end stays
}

// A Table is written when all its rows are known.
type Table struct {
	screen *Screen
	heads  []string
	rows   [][]Cell
	yield  []int
	whole  bool
}

// Table begins a table with the headings of its columns.
func (s *Screen) Table(heads ...string) *Table { return &Table{screen: s, heads: heads} }

// Yield names the columns that are shortened where the terminal is too narrow, the widest first. The last
// column yields what is missing then.
func (t *Table) Yield(heads ...string) *Table {
	for _, head := range heads {
		if i := slices.Index(t.heads, head); i >= 0 {
			t.yield = append(t.yield, i)
		}
	}
	return t
}

// Whole makes a table that shortens nothing.
func (t *Table) Whole(whole bool) *Table { t.whole = whole; return t }

// Row adds a row. A value that is no Cell is written as fmt.Sprint does.
func (t *Table) Row(values ...any) {
	row := make([]Cell, len(values))
	for i, value := range values {
		cell, ok := value.(Cell)
		if !ok {
			cell.Text = fmt.Sprint(value)
		}
		cell.Text = visible.Text(cell.Text)
		row[i] = cell
	}
	t.rows = append(t.rows, row)
}

// least is how narrow a column that yields may become, beside its heading.
const least = 8

// gap is between two columns.
const gap = 2

// widths returns how wide the columns are.
func (t *Table) widths() []int {
	widths := make([]int, len(t.heads))
	for i, head := range t.heads {
		widths[i] = Width(head)
	}
	total := gap * (len(widths) - 1)
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], Width(cell.Text))
		}
	}
	for _, w := range widths {
		total += w
	}
	if t.whole || t.screen.width == 0 {
		return widths
	}
	for ; total > t.screen.width; total-- {
		widest := -1
		for _, i := range t.yield {
			if widths[i] > max(least, Width(t.heads[i])) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	if over, last := total-t.screen.width, len(widths)-1; over > 0 {
		widths[last] = max(1, widths[last]-over)
	}
	return widths
}

// Flush writes the table.
func (t *Table) Flush() error {
	widths := t.widths()
	var b strings.Builder
	heads := make([]Cell, len(t.heads))
	for i, head := range t.heads {
		heads[i] = Cell{Text: head, Style: Faint}
	}
	for _, row := range append([][]Cell{heads}, t.rows...) {
		var line strings.Builder
		pad := 0
		for i, cell := range row {
			text := Cut(cell.Text, widths[i])
			if cell.Tail {
				text = CutFront(cell.Text, widths[i])
			}
			if text != "" {
				line.WriteString(strings.Repeat(" ", pad))
				line.WriteString(t.screen.styled(cell.Style, text))
				pad = 0
			}
			pad += widths[i] - Width(text) + gap
		}
		b.WriteString(line.String() + "\n")
	}
	if err := t.screen.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(t.screen.raw, b.String())
	return err
}
