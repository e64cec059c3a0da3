package portal

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	. "maragu.dev/gomponents"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/page"
)

// LoginPath is where people log in.
const LoginPath = "/login"

// Files are what pages refer to. Their addresses change with their texts.
func Files() (all []web.Route) {
	for _, f := range page.Files() {
		all = append(all, web.Route{Methods: []string{http.MethodGet}, Path: f.Path, Open: true, Doc: f.Doc,
			Handler: func(g *gin.Context) {
				g.Header("Content-Type", f.Type)
				g.Header("Cache-Control", "max-age=3600")
				_, _ = g.Writer.WriteString(f.Text) // who hung up needs no answer
			}})
	}
	return all
}

// Frame is what is around a page.
func (p *Portal) Frame(g *gin.Context, title, path string) page.Frame {
	f := page.Frame{Title: title, Path: path, Version: p.Version, Now: time.Now()}
	id, in := web.Identity(g)
	if p.Guard != nil {
		f.Login = LoginPath
	}
	if in {
		f.Identity = id.String() + " (" + id.Role.String() + ")"
		f.Links = p.Bar
	}
	return f
}

// May is what who looks may do.
func May(g *gin.Context) page.May {
	id, _ := web.Identity(g)
	return page.May{Operate: id.Role.Includes(access.Operate), Approve: id.Role.Includes(access.Approve)}
}

// Write writes a page, compressed for those who can read it so. No page has a secret in it that
// its length could give away.
func (p *Portal) Write(g *gin.Context, status int, f page.Frame, content ...Node) {
	web.PageHeaders(g)
	g.Header("Content-Security-Policy", page.Policy)
	var w io.Writer = g.Writer
	g.Header("Vary", "Accept-Encoding")
	if strings.Contains(g.GetHeader("Accept-Encoding"), "gzip") {
		g.Header("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(g.Writer, gzip.BestSpeed) // it is a level
		defer func() { _ = z.Close() }()                      // who hung up needs no answer
		w = z
	}
	g.Status(status)
	if err := page.Write(w, f, content...); err != nil {
		p.Logger.Debug("page not delivered", "err", err)
	}
}

// Plain writes a page of text.
func (p *Portal) Plain(g *gin.Context, title string, content ...Node) {
	f := p.Frame(g, title, "")
	f.Plain = true
	p.Write(g, g.Writer.Status(), f, append([]Node{page.Heading(title)}, content...)...)
}

// Fail writes a page that says what is wrong in the place of what was asked for.
func (p *Portal) Fail(g *gin.Context, err error, back string) {
	status, text := p.Fault(g, err)
	f := p.Frame(g, http.StatusText(status), "")
	f.Plain = true
	p.Write(g, status, f, page.Say("bad", "This was not done", text, back))
}
