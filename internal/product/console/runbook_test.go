package console_test

import (
	"net/http"
	"strings"
	"testing"

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
			text := strings.ReplaceAll(page, runbooks.Online+"../collectors.md\"", "")
			if strings.Contains(text, left) {
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
