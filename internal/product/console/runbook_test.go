package console_test

import (
	"fmt"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/docs"
	"github.com/ai-micro-service/upkeep/docs/runbooks"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Every runbook is served, readable and with links that lead somewhere; an unknown name
// is not found.
func TestRunbooks(t *testing.T) {
	c := open(t)
	get := func(path string) (int, string) {
		t.Helper()
		status, text, _ := asAdmin(t, c.page.URL+path)
		return status, text
	}
	_, list := get("/runbooks")
	for _, name := range runbooks.Names() {
		code, page := get("/runbooks/" + name)
		if code != http.StatusOK || !strings.Contains(page, "<h1>"+name+"</h1>") ||
			!strings.Contains(page, "<strong>What it means.</strong>") {
			t.Errorf("%s: %d %s", name, code, page)
		}
		for _, left := range []string{"**", "```", "](", ".md\""} {
			if strings.Contains(page, left) {
				t.Errorf("%s: %q is left of its Markdown", name, left)
			}
		}
		if !strings.Contains(list, `href="/runbooks/`+name+`"`) {
			t.Errorf("%s is not listed", name)
		}
	}
	if code, _ := get("/runbooks/Nothing"); code != http.StatusNotFound {
		t.Errorf("an unknown name: %d", code)
	}
	if code, _ := get("/runbooks/..%2Frunbooks"); code != http.StatusNotFound {
		t.Errorf("a path: %d", code)
	}
	_, page := get("/runbooks/PostgresIndexBloat")
	for _, want := range []string{`<a href="/runbooks/PostgresDeadRows">PostgresDeadRows</a>`,
		"<code>postgres/reindex</code>", "<li>"} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is not in %s", want, page)
		}
	}
}

// Every page of the manual is served, and its links lead to what is there: to a page of upkeep with that
// heading, or to a file of the repository.
func TestManual(t *testing.T) {
	c := open(t)
	pages := make(map[string]string)
	get := func(path string) string {
		text, known := pages[path]
		if !known {
			var status int
			if status, text, _ = asAdmin(t, c.page.URL+path); status != http.StatusOK {
				text = ""
			}
			pages[path] = text
		}
		return text
	}
	list := get("/docs")
	link := regexp.MustCompile(`<a href="([^"]*)"`)
	for _, name := range slices.Concat(docs.Tasks(), docs.Reference()) {
		page := get(docs.Path + name)
		if page == "" || !strings.Contains(list, `href="`+docs.Path+name+`"`) || docs.Title(name) == "" {
			t.Errorf("%s is not listed, or not served: %q", name, docs.Title(name))
		}
		_, content, _ := strings.Cut(page, "<main")
		for _, m := range link.FindAllStringSubmatch(content, -1) {
			to, part, _ := strings.Cut(html.UnescapeString(m[1]), "#")
			file, online := strings.CutPrefix(to, "https://github.com/ai-micro-service/upkeep/blob/main/")
			switch {
			case online:
				if _, err := os.Stat(filepath.Join("..", "..", "..", file)); err != nil {
					t.Errorf("%s leads to %s: %v", name, to, err)
				}
			case strings.Contains(to, "://"):
			case to == "" && !strings.Contains(page, `id="`+part+`"`),
				to != "" && get(to) == "", part != "" && to != "" && !strings.Contains(get(to), `id="`+part+`"`):
				t.Errorf("%s leads to %s, which is not there", name, m[1])
			}
		}
	}
	if status, _, _ := asAdmin(t, c.page.URL+"/docs/..%2Fdocs"); status != http.StatusNotFound {
		t.Errorf("a path: %d", status)
	}
	if page := get("/docs/actions"); !strings.Contains(page, `<div class="scroll" tabindex="0"`) ||
		!strings.Contains(page, "</tbody>") {
		t.Error("the tables of a page do not scroll")
	}
}

// The runbook that a delivery names is a link only if it leads to a page on the web, and then its text says on which
// host, in letters that look like no others. No other text of an alert is one.
func TestRunbooksOfDeliveries(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 60) + "."
	all := []struct{ at, host string }{
		{"https://wiki.example/runbooks/disk?a=b&c=d#e", "wiki.example"},
		{"http://wiki.example:8443/", "wiki.example:8443"},
		{"HTTPS://Wiki.example/", "Wiki.example"},
		{"https://xn--e1awd7f.example/", "xn--e1awd7f.example"},
		{"https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443"},
		{"https://evil.example/#@wiki.example/", "evil.example"},
		{"https://evil.example/?https://wiki.example/", "evil.example"},
		{`https://evil.example/"><script>alert(1)</script>`, "evil.example"},
		{"https://" + long + long + long + long + "example/", strings.Repeat(long, 4) + "example"},
		{"https://wiki.example." + strings.Repeat(long, 5) + "evil.example/", ""},
		{"", ""}, {" ", ""}, {"/runbooks/x", ""}, {"wiki.example", ""},
		{"javascript:alert(1)", ""}, {"JaVaScRiPt:alert(1)//https://wiki.example/", ""}, {" javascript:alert(1)", ""},
		{"java\nscript:alert(1)", ""}, {"\x01javascript:alert(1)", ""}, {"javascript://wiki.example/%0aalert(1)", ""},
		{"data:text/html,<script>alert(1)</script>", ""}, {"data://wiki.example/text/html,x", ""},
		{"vbscript:x", ""}, {"file:///etc/passwd", ""}, {"file://wiki.example/etc/passwd", ""}, {"blob:https://evil.example/x", ""},
		{"ftp://evil.example/", ""}, {"//evil.example/x", ""}, {`/\evil.example/`, ""}, {`\\evil.example`, ""},
		{"https:evil.example", ""}, {"https:///evil.example/", ""}, {`https:\\evil.example`, ""}, {`https://wiki.example\@evil.example/`, ""},
		{"https://wiki.example@evil.example/", ""}, {"https://wiki.example:pass@evil.example/", ""}, {"https://@evil.example/", ""},
		{"https://wiki.example%00.evil.example/", ""}, {"https://wiki.example%2eevil.example/", ""},
		{"https://wiki.example\t.evil.example/", ""}, {"https://wiki.example\r\nX: y/", ""}, {"https://wiki.example\x00/", ""},
		{"https://w\u0456ki.example/", ""}, {"https://wiki\u2024example/", ""}, {"https://wiki.example\u2215evil.example/", ""},
		{"https://\u202eelpmaxe.ikiw/", ""}, {"https://wiki\u200b.example/", ""}, {"https://\uff57iki.example/", ""},
		{"https://%d1%96.example/", ""}, {"https://wiki.example\xff/", ""}, {"https://[::1/", ""},
	}
	c := openViews(t, figures{})
	var alerts []remediate.Alert
	for n, one := range all {
		alerts = append(alerts, remediate.Alert{Source: remediate.SourceAlertmanager, Firing: true, StartsAt: time.Now(),
			Labels:      map[string]string{"alertname": fmt.Sprint("Runbook", n), "severity": "warning", "url": one.at},
			Annotations: map[string]string{"summary": one.at, "runbook_url": one.at}})
	}
	if err := c.inbox.Accept(t.Context(), alerts); err != nil {
		t.Fatal(err)
	}
	entry := regexp.MustCompile(`(?s)<strong>(Runbook[0-9]+)</strong>.*?</div></li>`)
	anchor := regexp.MustCompile(`(?s)<a ([^>]*)>(.*?)</a>`)
	href := regexp.MustCompile(`href="([^"]*)"`)
	further := regexp.MustCompile(`href="(/\?after=[^"#]*)`)
	got := make(map[string]string) // of each alert, where its links lead and what they say
	for path := "/"; path != ""; {
		status, text, _ := asAdmin(t, c.page.URL+path)
		if status != http.StatusOK {
			t.Fatalf("%s: %d", path, status)
		}
		if strings.Contains(text, "<script>") {
			t.Errorf("%s: a script of an alert", path)
		}
		for _, m := range entry.FindAllStringSubmatch(text, -1) {
			var links []string
			for _, a := range anchor.FindAllStringSubmatch(m[0], -1) {
				to := href.FindStringSubmatch(a[1])
				links = append(links, html.UnescapeString(to[1]+" "+a[2]))
				if !strings.Contains(a[1], `rel="noopener noreferrer"`) {
					t.Errorf("%s: %s", m[1], a[0])
				}
			}
			got[m[1]] = strings.Join(links, ", ")
		}
		path = ""
		if m := further.FindStringSubmatch(text); m != nil {
			path = html.UnescapeString(m[1])
		}
	}
	for n, one := range all {
		want := ""
		if one.host != "" {
			want = one.at + " runbook at " + one.host
		}
		if links, shown := got[fmt.Sprint("Runbook", n)]; links != want || !shown {
			t.Errorf("%q: the links are %q, want %q; it is shown: %v", one.at, links, want, shown)
		}
	}
}
