package document_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/docs"
	"github.com/ai-micro-service/upkeep/docs/runbooks"
	"github.com/ai-micro-service/upkeep/internal/product/document"
)

// A view is what a browser makes of a document.
type view struct {
	elements map[string]int
	ids      []string
	leads    []string
	text     string
}

// show renders a document, with links to /to/.
func show(t *testing.T, source string, link func(string) string) (v view, html string) {
	t.Helper()
	n, err := document.Render(source, link)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := n.Render(&b); err != nil {
		t.Fatal(err)
	}
	v.elements = make(map[string]int)
	d := xml.NewDecoder(strings.NewReader(b.String()))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return v, b.String()
		}
		if err != nil {
			t.Fatalf("%v in %s", err, &b)
		}
		switch token := token.(type) {
		case xml.StartElement:
			v.elements[token.Name.Local]++
			for _, a := range token.Attr {
				switch {
				case a.Name.Local == "id":
					v.ids = append(v.ids, a.Value)
				case a.Name.Local == "href" || a.Name.Local == "src":
					v.leads = append(v.leads, a.Value)
				case strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style":
					t.Errorf("%s has %s", token.Name.Local, a.Name.Local)
				}
			}
		case xml.CharData:
			v.text += string(token)
		}
	}
}

func same(to string) string { return to }

// A document is shown without its title, with its tables in a part that scrolls, and its links where link says.
func TestDocument(t *testing.T) {
	t.Parallel()
	v, html := show(t, "# Title\n\nText with `code` and [a link](other.md#part).\n\n## Part\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n"+
		"- one\n- two\n\n```sql\nselect 1 < 2;\n```\n", func(to string) string { return "/to/" + to })
	if strings.Contains(v.text, "Title") || v.elements["h1"] != 0 || v.elements["h2"] != 1 || v.elements["td"] != 2 {
		t.Errorf("%+v", v)
	}
	if !slices.Equal(v.leads, []string{"/to/other.md#part"}) || !slices.Equal(v.ids, []string{"part"}) {
		t.Errorf("it leads to %q, from %q", v.leads, v.ids)
	}
	if !strings.Contains(html, `<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>`) ||
		strings.Count(html, "<div") != strings.Count(html, "</div>") {
		t.Errorf("the table does not scroll: %s", html)
	}
	if !strings.Contains(v.text, "select 1 < 2;") {
		t.Errorf("the code is %q", v.text)
	}
	for _, source := range []string{"", "\n", "# Title", "## Part only", "text\n\n# A title that is not first\n"} {
		v, _ := show(t, source, same)
		if want := strings.Count(source, "not first"); v.elements["h1"] != want {
			t.Errorf("%q: %d titles", source, v.elements["h1"])
		}
	}
}

// HTML in a document is left out, and what would run when it is clicked is no link.
func TestDocumentIsOnlyShown(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"<script>alert(1)</script>", "a <b onclick=x>b</b> <img src=x onerror=alert(1)>",
		"<!-- -->", "<style>*{}</style>", "[a](javascript:alert(1))", "[a](<java\nscript:alert(1)>)",
		"[a](JaVaScRiPt:alert)",
		"[a](vbscript:x)", "[a](data:text/html,x)", "![a](javascript:x)", "[a](&#106;avascript:alert(1))",
		"[a](\x01javascript:alert(1))", "<javascript:alert(1)>", "[a]: javascript:x\n\n[a]", "&lt;script&gt;",
		"`<script>`", "```\n<script>\n```", "| <script> |\n| --- |\n| <b> |", "## <script>x</script> {onclick=x}",
		"[a](x \"\\\" onclick=x\")", "<div>\n\n[a](x)\n\n</div>", "[a](file:///etc/passwd)"} {
		v, html := show(t, source, same)
		for _, element := range []string{"script", "style", "b", "div", "iframe", "object"} {
			if v.elements[element] > 0 && !(element == "div" && v.elements["table"] > 0) {
				t.Errorf("%q has the element %s: %s", source, element, html)
			}
		}
		for _, to := range v.leads {
			scheme, _, has := strings.Cut(strings.ToLower(strings.TrimLeft(to, "\x01 ")), ":")
			if has && slices.Contains([]string{"javascript", "vbscript", "data", "file"}, scheme) {
				t.Errorf("%q leads to %q", source, to)
			}
		}
	}
}

// The names of headings are those that GitHub makes, and each is there once.
func TestAnchors(t *testing.T) {
	t.Parallel()
	for heading, want := range map[string]string{"Plain": "plain", "Two Words": "two-words", "a, b & c": "a-b--c",
		"`code` and_more": "code-and_more", "größe": "größe", "A – B": "a--b", "1. First": "1-first", "x/y.z": "xyz",
		"UPPER_case-kept": "upper_case-kept"} {
		if v, _ := show(t, "## "+heading, same); !slices.Equal(v.ids, []string{want}) {
			t.Errorf("%s: %q, want %s", heading, v.ids, want)
		}
	}
	var source strings.Builder
	for range 3 {
		for _, h := range []string{"a", "a 1", "a-1", "A", "a-1-1"} {
			fmt.Fprintf(&source, "## %s\n\n", h)
		}
	}
	v, _ := show(t, source.String(), same)
	if once := slices.Compact(slices.Sorted(slices.Values(v.ids))); len(once) != 15 || len(v.ids) != 15 {
		t.Errorf("the names are %q", v.ids)
	}
}

// Every page of the manual and every runbook is shown, each part of it has a name of its own, and each link within it
// leads to a part that is there, and each to another page to one that is served.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	pages := make(map[string]string)
	for _, name := range slices.Concat(docs.Tasks(), docs.Reference()) {
		pages[docs.Path+name], _ = docs.Read(name)
	}
	for _, name := range runbooks.Names() {
		pages[runbooks.Path+name], _ = runbooks.Read(name)
	}
	views := make(map[string]view)
	for at, source := range pages {
		name := strings.TrimPrefix(at, docs.Path)
		if book, ok := strings.CutPrefix(at, runbooks.Path); ok {
			name = "runbooks/" + book
		}
		views[at], _ = show(t, source, func(to string) string { return docs.Link(name, to) })
	}
	links := 0
	for at, v := range views {
		if v.text == "" || v.elements["h1"] > 0 {
			t.Errorf("%s: shows nothing, or its title twice", at)
		}
		if once := slices.Compact(slices.Sorted(slices.Values(v.ids))); len(once) != len(v.ids) {
			t.Errorf("%s: a part has the name of another: %q", at, v.ids)
		}
		for _, to := range v.leads {
			path, part, _ := strings.Cut(to, "#")
			if path == "" {
				path = at
			}
			there, ours := views[path]
			if links++; ours && part != "" && !slices.Contains(there.ids, part) {
				t.Errorf("%s leads to %s, and no part there has this name", at, to)
			}
			if !ours && strings.HasPrefix(path, "/") && path+"/" != runbooks.Path && path+"/" != docs.Path {
				t.Errorf("%s leads to %s, where there is nothing", at, to)
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links were tried", links)
	}
}
