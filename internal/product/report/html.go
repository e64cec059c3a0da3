package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	. "maragu.dev/gomponents"
	"maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

//go:embed report.css
var reportCSS string

// Policy is what a browser may do with the page: it has one style of its own, and loads nothing.
func Policy() string {
	sum := sha256.Sum256([]byte(reportCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; " +
		"form-action 'none'"
}

// Page writes the report as one file of HTML, which refers to no other and loads nothing.
func Page(w io.Writer, r Report) error { return r.document().Render(visible.NewWriter(w)) }

func (r Report) document() Node {
	return html.Doctype(El("html", html.Lang("en"),
		html.Head(
			html.Meta(html.Charset("utf-8")),
			html.Meta(Attr("http-equiv", "Content-Security-Policy"), html.Content(Policy())),
			html.Meta(html.Name("viewport"), html.Content("width=device-width, initial-scale=1")),
			html.TitleEl(Text("upkeep: "+r.Title)),
			html.StyleEl(Raw(reportCSS)),
		),
		html.Body(
			html.Header(html.H1(Text("Review of "+r.Title)), html.P(html.Class("soft"), Text(r.subtitle())),
				If(r.missing() != "", html.P(html.Class("bad"), Text(r.missing())))),
			html.Nav(html.Ol(Map(r.Sections,
				func(s Section) Node { return html.Li(html.A(html.Href("#"+anchor(s.Title)), Text(s.Title))) }))),
			Map(r.Sections, r.section),
		),
	))
}

// subtitle says of which time the report is, and when and by what it was made.
func (r Report) subtitle() string {
	text := r.From.Format(time.DateOnly) + " to " + r.Until.AddDate(0, 0, -1).Format(time.DateOnly) + ", days of UTC"
	if r.Until.Before(r.To) {
		text += ". The period is not over: it ends on " + r.To.AddDate(0, 0, -1).Format(time.DateOnly)
	}
	return text + ". Made on " + r.Made.Format("2006-01-02 15:04") + " UTC by upkeep " + visible.Text(r.Version) + "."
}

// missing says how many figures could not be read.
func (r Report) missing() string {
	n, of, _ := r.Unread()
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d figures could not be read; each says why.", n, of)
}

func anchor(title string) string { return strings.ReplaceAll(strings.ToLower(title), " ", "-") }

func (r Report) section(s Section) Node {
	return El("section", html.ID(anchor(s.Title)), html.H2(Text(s.Title)), Map(s.Figures, r.figure))
}

func (r Report) figure(f Figure) Node {
	return El("article",
		html.Div(html.Class("keep"), html.H3(Text(f.Title)), If(f.About != "", html.P(html.Class("soft"),
			Text(f.About))),
			If(r.covers(f) != "", html.P(html.Class(f.mark()), Text(r.covers(f))))),
		If(f.Fault != "", html.P(html.Class("bad"), Text("not read: "+f.Fault))),
		If(f.Note != "", html.P(html.Class("note"), Text(f.Note))),
		If(len(f.Rows) > 0, f.table()),
		If(f.Hidden > 0, html.P(html.Class("soft"), Text(strconv.Itoa(f.Hidden)+" more are not shown."))),
		Map(f.Charts, func(c Chart) Node {
			return El("figure", El("figcaption", Text(c.Title)), c.svg())
		}),
		Map(f.Queries, func(q Query) Node {
			return html.P(html.Class("query"), Text(q.heading()+" "), html.Code(Text(visible.Text(q.Text))))
		}),
	)
}

// covers says which part of the period the data cover.
func (r Report) covers(f Figure) string {
	if f.Share == nil {
		return ""
	}
	of := r.Title
	if r.Until.Before(r.To) {
		of = fmt.Sprintf("the first %d days of %s", int(r.Until.Sub(r.From)/day), r.Title)
	}
	if *f.Share <= 0 {
		return "No data in " + of + "."
	}
	text := "Covers " + percent(*f.Share) + " of " + of + "."
	if f.Before != nil && *f.Before < 1 {
		text = strings.TrimSuffix(text, ".") + ", and " + percent(*f.Before) + " of " + r.Before + "."
	}
	if len(f.Gaps) > 0 {
		text += " No data on " + dates(f.Gaps) + "."
	}
	return text
}

func (f Figure) mark() string {
	if f.Share != nil && *f.Share < 1 {
		return "coverage part"
	}
	return "coverage"
}

func (q Query) heading() string {
	text := q.Language
	if q.About != "" {
		text += ", " + q.About
	}
	switch {
	case !q.At.IsZero():
		text += ", at " + q.At.Format(time.RFC3339)
	case q.Step != "":
		text += ", at the end of each day"
	}
	return text + ":"
}

func (f Figure) table() Node {
	return html.Div(html.Class("scroll"), html.Table(
		html.THead(html.Tr(Map(f.Columns, func(c Column) Node {
			return html.Th(If(c.Unit != Words,
				html.Class("num")), Text(c.Name))
		}))),
		html.TBody(Map(f.Rows, func(row []Cell) Node {
			cells := make(Group, len(row))
			for i, c := range row {
				cells[i] = html.Td(html.Class(class(f.Columns[i].Unit, c)), Text(c.Text))
			}
			return html.Tr(cells)
		})),
	))
}

func class(u Unit, c Cell) string {
	switch {
	case c.Text == unknown:
		return "none"
	case u != Words:
		return "num"
	}
	return "text"
}
