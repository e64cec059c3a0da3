package page_test

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	. "maragu.dev/gomponents"

	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
	"github.com/ai-micro-service/upkeep/internal/product/page"
)

// An outline is what a browser makes of a page, apart from its text.
type outline struct {
	elements []string // with the names of their attributes
	text     string
	leads    []string // where links, forms and files lead
	ids      []string
	points   []string // the ids that labels and links within the page point to
	forms    []string // the actions of forms
	classes  []string
}

// write returns a page as it is sent.
func write(t *testing.T, f page.Frame, content ...Node) string {
	t.Helper()
	var b strings.Builder
	if err := page.Write(&b, f, content...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// read reads what a page is made of. Every element of the pages is closed, so that a reader of XML understands
// them.
func read(t *testing.T, text string) (o outline) {
	t.Helper()
	visibletest.Terminal(t, text)
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var shown strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %.2000s", err, text)
		}
		switch token := token.(type) {
		case xml.StartElement:
			o.take(token)
		case xml.CharData:
			shown.Write(token)
		case xml.Comment, xml.ProcInst:
			t.Errorf("the page has %T", token)
		}
	}
	o.text = shown.String()
	return o
}

func (o *outline) take(e xml.StartElement) {
	line := e.Name.Local
	for _, a := range e.Attr {
		line += " " + a.Name.Local
		switch a.Name.Local {
		case "href", "src", "action", "formaction", "data-events":
			o.leads = append(o.leads, a.Value)
			if id, within := strings.CutPrefix(a.Value, "#"); within {
				o.points = append(o.points, id)
			}
			if e.Name.Local == "form" {
				o.forms = append(o.forms, a.Value)
			}
		case "id":
			o.ids = append(o.ids, a.Value)
		case "for":
			o.points = append(o.points, a.Value)
		case "class":
			o.classes = append(o.classes, a.Value)
		}
	}
	o.elements = append(o.elements, line)
}

// sound tests what holds for every page: an id is there once, and what is pointed to is there.
func (o outline) sound(t *testing.T) {
	t.Helper()
	ids := slices.Sorted(slices.Values(o.ids))
	if once := slices.Compact(slices.Clone(ids)); len(once) != len(ids) {
		t.Errorf("an id is there twice: %q", ids)
	}
	for _, id := range o.points {
		if !slices.Contains(ids, id) {
			t.Errorf("nothing has the id %q", id)
		}
	}
	for _, line := range o.elements {
		for _, name := range strings.Fields(line)[1:] {
			if strings.HasPrefix(name, "on") || name == "style" || name == "srcdoc" {
				t.Errorf("a page may have no %s of its own: %s", name, line)
			}
		}
		if name, _, _ := strings.Cut(line, " "); slices.Contains([]string{"style", "iframe", "object", "embed", "base"},
			name) || name == "script" && line != "script src defer" {
			t.Errorf("a page may have no %s", line)
		}
	}
}
