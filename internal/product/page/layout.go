// Package page makes the pages that people see: what is put into them is text that others have named, and
// is escaped when it is written. It reads nothing; package console has what a page shows.
package page

import (
	_ "embed"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"time"

	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

// Where what the pages need beside themselves is. A page may use no style and no script that is written in it.
const (
	StylePath  = "/static/upkeep.css"
	ScriptPath = "/static/upkeep.js"
	IconPath   = "/static/upkeep.svg"
)

// Policy is the Content-Security-Policy of the pages that keep themselves up to date.
const Policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// The static files.
var (
	//go:embed page.css
	css string
	//go:embed page.js
	js string
	//go:embed icon.svg
	icon string
)

// A File is one that pages refer to.
type File struct{ Path, Type, Text, Doc string }

// Files returns what pages refer to.
func Files() []File {
	return []File{
		{StylePath, "text/css; charset=utf-8", css, "the style sheet of the pages"},
		{ScriptPath, "text/javascript; charset=utf-8", js, "the script that keeps pages up to date"},
		{IconPath, "image/svg+xml", icon, "the icon of the pages"},
	}
}

// edition is the address of a file, another one for each text: a browser may keep it.
func edition(path, text string) string {
	return fmt.Sprintf("%s?%08x", path, crc32.ChecksumIEEE([]byte(text)))
}

// Sheet is the link to the style sheet.
func Sheet() Node { return Link(Rel("stylesheet"), Href(edition(StylePath, css))) }

// A Frame is what all pages have around their content.
type Frame struct {
	Title   string
	Path    string // of the entry of the navigation that the page belongs to
	Version string
	Now     time.Time
	Plain   bool // of text only, in narrow lines

	Identity string // of who looks; "" for no one
	Login    string // where one logs in and out
	Links    []Entry

	// Events is where the page hears that something has happened; "" where it is not kept up to
	// date. Again has a browser without JavaScript load it again after some time; 0: not.
	Events string
	Again  time.Duration
}

// An Entry is one of the navigation.
type Entry struct{ Name, Path string }

// Where pages are. See LookPath, RunsPath and RunPath too.
const (
	PoliciesPath = "/policies"
	CalendarPath = "/calendar"
	ReportsPath  = "/reports"
	InboxPath    = "/inbox"
	JournalPath  = "/journal"
	SettingsPath = "/settings"
)

// Write writes a page. Parts of it that have an id are replaced while it is open.
func Write(w io.Writer, f Frame, content ...Node) error { return Render(w, f.document(content)) }

// Render writes a document. Its texts are escaped as HTML already; letters that turn the direction
// of what follows, or show nothing, become visible.
func Render(w io.Writer, page Node) error { return page.Render(visible.NewWriter(w)) }

func (f Frame) document(content []Node) Node {
	class := Class("page")
	if f.Plain {
		class = Class("plain")
	}
	return Doctype(HTML(Lang("en"),
		Head(
			Meta(Charset("utf-8")),
			Meta(Name("viewport"), Content("width=device-width, initial-scale=1")),
			TitleEl(Text(f.Title+" – upkeep")),
			Sheet(),
			Link(Rel("icon"), Href(edition(IconPath, icon))),
			If(f.Events != "", Script(Src(edition(ScriptPath, js)), Defer())),
			If(f.Again > 0, NoScript(Meta(Attr("http-equiv", "refresh"), Content(fmt.Sprint(int(f.Again.Seconds())))))),
		),
		Body(
			A(Class("skip"), Href("#main"), Text("Skip to the content")),
			Header(Class("top"), A(Class("brand"), Href("/"), Text("upkeep")), f.navigation(), f.identity()),
			Main(ID("main"), class, TabIndex("-1"), If(f.Events != "", Data("events", f.Events)), Group(content)),
			Footer(Text("upkeep "+f.Version+" · made at "), moment(f.Now), Text(" "),
				If(f.Events != "", Span(ID("live"), Role("status")))),
		),
	))
}

func (f Frame) navigation() Node {
	return Nav(Aria("label", "Pages"), Map(f.Links, func(e Entry) Node {
		return A(Href(e.Path), If(e.Path == f.Path, Aria("current", "page")), Text(e.Name))
	}))
}

func (f Frame) identity() Node {
	if f.Login == "" {
		return nil
	}
	text := "log in"
	if f.Identity != "" {
		text = f.Identity
	}
	return Span(Class("identity"), A(Href(f.Login), Text(text)))
}

// Say is a page with one message, in the place of what was asked for.
func Say(class, title, text string, back string) Node {
	return Group{H1(Text(title)), Div(Class("card "+class), Role("alert"), P(Text(text))),
		P(A(Href(back), Text("Back")))}
}

// link returns a path with a query.
func link(path string, query url.Values) string {
	if text := query.Encode(); text != "" {
		return path + "?" + text
	}
	return path
}

// Heading is that of a page of text.
func Heading(text string) Node { return H1(Text(text)) }
