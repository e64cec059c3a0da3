package console

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/gin-gonic/gin"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/docs/runbooks"
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
	c.plain(g, name, markdown(text))
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

// markdown shows what the runbooks are written in: paragraphs, lists, code, emphasis and
// links. Everything else is text.
func markdown(text string) Node {
	var all []Node
	var lines []string // of the paragraph or list that is read
	list := false
	flush := func() {
		if len(lines) == 0 {
			return
		}
		if list {
			all = append(all, Ul(Map(lines, func(item string) Node { return Li(inline(item)) })))
		} else {
			all = append(all, P(inline(strings.Join(lines, " "))))
		}
		lines, list = nil, false
	}
	rest := strings.Split(strings.TrimSpace(text), "\n")
	for i := 0; i < len(rest); i++ {
		line := rest[i]
		item, isItem := strings.CutPrefix(line, "- ")
		switch {
		case strings.HasPrefix(line, "```"):
			flush()
			var code []string
			for i++; i < len(rest) && !strings.HasPrefix(rest[i], "```"); i++ {
				code = append(code, rest[i])
			}
			all = append(all, Pre(Code(Text(strings.Join(code, "\n")))))
		case strings.HasPrefix(line, "# "): // the title of the page
			flush()
		case strings.HasPrefix(line, "#"):
			flush()
			all = append(all, H2(inline(strings.TrimSpace(strings.TrimLeft(line, "#")))))
		case strings.TrimSpace(line) == "":
			flush()
		case isItem:
			if !list {
				flush()
			}
			list = true
			lines = append(lines, item)
		case list: // an item goes on
			lines[len(lines)-1] += " " + strings.TrimSpace(line)
		default:
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	flush()
	return Group(all)
}

// inline shows emphasis, code and links within a line.
func inline(text string) Node {
	marks := regexp.MustCompile("`([^`]+)`|\\*\\*([^*]+)\\*\\*|\\*([^*\\s][^*]*)\\*|\\[([^\\]]+)\\]\\(([^)\\s]+)\\)")
	var all []Node
	for text != "" {
		m := marks.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		part := func(n int) string { return text[m[2*n]:m[2*n+1]] }
		all = append(all, Text(text[:m[0]]))
		switch {
		case m[2] >= 0:
			all = append(all, Code(Text(part(1))))
		case m[4] >= 0:
			all = append(all, Strong(Text(part(2))))
		case m[6] >= 0:
			all = append(all, Em(Text(part(3))))
		default:
			all = append(all, A(Href(target(part(5))), inline(part(4))))
		}
		text = text[m[1]:]
	}
	return Group(append(all, Text(text)))
}

// target returns where a link of a runbook leads to from the page.
func target(to string) string {
	if name, ok := strings.CutSuffix(to, ".md"); ok {
		if _, here := runbooks.Read(name); here {
			return runbooks.Path + name
		}
	}
	if strings.Contains(to, "://") {
		return to
	}
	return runbooks.Online + to
}
