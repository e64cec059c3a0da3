package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/docs"
	"github.com/ai-micro-service/upkeep/docs/runbooks"
	"github.com/ai-micro-service/upkeep/internal/product/document"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/remediate"
)

func (c *Console) runbookList(g *gin.Context) {
	c.plain(g, "Runbooks", Ul(Map(runbooks.Names(), func(name string) Node {
		return Li(A(Href(runbooks.Path+name), Text(name)))
	})))
}

func (c *Console) runbook(g *gin.Context) {
	name := g.Param("name")
	text, ok := runbooks.Read(name)
	if !ok {
		g.Status(http.StatusNotFound)
		c.plain(g, "No such runbook", P(Text("There is no runbook of this name. "),
			A(Href(strings.TrimSuffix(runbooks.Path, "/")), Text("All runbooks"))))
		return
	}
	c.document(g, name, text, func(to string) string { return docs.Link("runbooks/"+name, to) })
}

// runbookOf returns where the runbook of an alert is: here, or where its rule says, then with the host. Only
// a web page is a link, and only of a host that looks like no other one.
func runbookOf(e remediate.Incident) page.Runbook {
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
func (c *Console) docList(g *gin.Context) {
	list := func(names []string) Node {
		return Ul(Map(names, func(name string) Node { return Li(A(Href(docs.Path+name), Text(docs.Title(name)))) }))
	}
	c.plain(g, "Manual", H2(Text("Tasks")), list(docs.Tasks()), H2(Text("Reference")), list(docs.Reference()),
		P(A(Href(strings.TrimSuffix(runbooks.Path, "/")), Text("Runbooks")), Text(": a page on each alert.")))
}

func (c *Console) doc(g *gin.Context) {
	name := g.Param("name")
	text, ok := docs.Read(name)
	if !ok {
		g.Status(http.StatusNotFound)
		c.plain(g, "No such page", P(Text("There is no page of this name. "),
			A(Href(strings.TrimSuffix(docs.Path, "/")), Text("All pages"))))
		return
	}
	c.document(g, docs.Title(name), text, func(to string) string { return docs.Link(name, to) })
}

// document writes a page of Markdown.
func (c *Console) document(g *gin.Context, title, text string, link func(to string) string) {
	content, err := document.Render(text, link)
	if err != nil {
		c.fail(g, err, strings.TrimSuffix(docs.Path, "/"))
		return
	}
	c.plain(g, title, content)
}
