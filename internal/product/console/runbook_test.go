package console_test

import (
	"html"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/docs"
	"github.com/ai-micro-service/upkeep/docs/runbooks"
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
		for _, m := range link.FindAllStringSubmatch(page, -1) {
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
