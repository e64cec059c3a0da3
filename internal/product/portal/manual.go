package portal

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/docs"
	"github.com/ai-micro-service/upkeep/docs/runbooks"
	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/document"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

// ManualRoutes returns where the runbooks and the manual are.
func (p *Portal) ManualRoutes() []web.Route {
	return []web.Route{
		PageAt(strings.TrimSuffix(runbooks.Path, "/"), access.View, "the list of runbooks", p.runbookList),
		PageAt(runbooks.Path+":name", access.View, "one runbook", p.runbook),
		PageAt(strings.TrimSuffix(docs.Path, "/"), access.View, "the list of the pages of the manual", p.docList),
		PageAt(docs.Path+":name", access.View, "one of them", p.doc),
	}
}

func (p *Portal) runbookList(g *gin.Context) {
	p.Plain(g, "Runbooks", Ul(Map(runbooks.Names(), func(name string) Node {
		return Li(A(Href(runbooks.Path+name), Text(name)))
	})))
}

func (p *Portal) runbook(g *gin.Context) {
	name := g.Param("name")
	text, ok := runbooks.Read(name)
	if !ok {
		g.Status(http.StatusNotFound)
		p.Plain(g, "No such runbook", P(Text("There is no runbook of this name. "),
			A(Href(strings.TrimSuffix(runbooks.Path, "/")), Text("All runbooks"))))
		return
	}
	p.document(g, name, text, func(to string) string { return docs.Link("runbooks/"+name, to) })
}

// RunbookOf returns where the runbook of an alert is: here, or where its rule says, then with the host. Only
// a web page is a link, and only of a host that looks like no other one.
func RunbookOf(e remediate.Incident) page.Runbook {
	if _, ok := runbooks.Read(e.Name()); ok {
		return page.Runbook{At: runbooks.Path + e.Name()}
	}
	at := e.Alert.Annotations["runbook_url"]
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Host == "" ||
		len(u.Host) > longestHost || strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return page.Runbook{}
	}
	return page.Runbook{At: at, Host: u.Host}
}

// longestHost is the longest name that there can be, with a port: of a longer one the end would be out of sight.
const longestHost = 253 + len(":65535")

// docList lists the pages of the manual.
func (p *Portal) docList(g *gin.Context) {
	list := func(names []string) Node {
		return Ul(Map(names, func(name string) Node { return Li(A(Href(docs.Path+name), Text(docs.Title(name)))) }))
	}
	p.Plain(g, "Manual", H2(Text("Tasks")), list(docs.Tasks()), H2(Text("Reference")), list(docs.Reference()),
		P(A(Href(strings.TrimSuffix(runbooks.Path, "/")), Text("Runbooks")), Text(": a page on each alert.")))
}

func (p *Portal) doc(g *gin.Context) {
	name := g.Param("name")
	text, ok := docs.Read(name)
	if !ok {
		g.Status(http.StatusNotFound)
		p.Plain(g, "No such page", P(Text("There is no page of this name. "),
			A(Href(strings.TrimSuffix(docs.Path, "/")), Text("All pages"))))
		return
	}
	p.document(g, docs.Title(name), text, func(to string) string { return docs.Link(name, to) })
}

// document writes a page of Markdown.
func (p *Portal) document(g *gin.Context, title, text string, link func(to string) string) {
	content, err := document.Render(text, link)
	if err != nil {
		p.Fail(g, err, strings.TrimSuffix(docs.Path, "/"))
		return
	}
	p.Plain(g, title, content)
}
