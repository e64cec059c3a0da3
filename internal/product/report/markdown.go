package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// Markdown writes the report for a wiki or an issue. Texts of others are escaped, so that they
// are no markup.
func Markdown(w io.Writer, r Report) error {
	p := &printer{w: w}
	p.printf("# Review of %s\n\n%s\n", r.Title, escaped(r.subtitle()))
	if missing := r.missing(); missing != "" {
		p.printf("\n%s\n", missing)
	}
	for _, s := range r.Sections {
		p.printf("\n## %s\n", s.Title)
		for _, f := range s.Figures {
			p.figure(r, f)
		}
	}
	return p.err
}

// A printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) figure(r Report, f Figure) {
	p.printf("\n### %s\n\n", escaped(f.Title))
	for _, text := range []string{f.About, r.covers(f), f.Note} {
		if text != "" {
			p.printf("%s\n\n", escaped(text))
		}
	}
	if f.Fault != "" {
		p.printf("Not read: %s\n\n", escaped(f.Fault))
	}
	if len(f.Rows) > 0 {
		p.table(f)
	}
	if f.Hidden > 0 {
		p.printf("%d more are not shown.\n\n", f.Hidden)
	}
	for _, q := range f.Queries {
		p.printf("- %s %s\n", q.heading(), code(q.Text))
	}
}

func (p *printer) table(f Figure) {
	names, lines := make([]string, len(f.Columns)), make([]string, len(f.Columns))
	for i, c := range f.Columns {
		names[i], lines[i] = escaped(c.Name), "---"
		if c.Unit != Words {
			lines[i] = "---:"
		}
	}
	p.printf("| %s |\n| %s |\n", strings.Join(names, " | "), strings.Join(lines, " | "))
	for _, row := range f.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = escaped(c.Text)
		}
		p.printf("| %s |\n", strings.Join(cells, " | "))
	}
	p.printf("\n")
}

// escaped writes a text so that nothing in it is markup: each letter that could be has a backslash
// or is an entity before it, and nothing is a link.
func escaped(text string) string {
	text = visible.Unlinked(visible.Text(text))
	var b strings.Builder
	for _, r := range text {
		switch r {
		case '&':
			b.WriteString("&amp;")
			continue
		case '<':
			b.WriteString("&lt;")
			continue
		case '>':
			b.WriteString("&gt;")
			continue
		case '\\', '`', '*', '_', '[', ']', '|', '#', '~', '!', '$':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// code writes a query as code: longer marks than any within it hold it in.
func code(text string) string {
	text = visible.Text(text)
	marks := "`"
	for strings.Contains(text, marks) {
		marks += "`"
	}
	return marks + " " + text + " " + marks
}
