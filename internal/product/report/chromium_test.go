package report_test

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A pdfPage is one page with the places of its words, in points.
type pdfPage struct {
	Width  float64 `xml:"width,attr"`
	Height float64 `xml:"height,attr"`
	Words  []struct {
		Left   float64 `xml:"xMin,attr"`
		Top    float64 `xml:"yMin,attr"`
		Right  float64 `xml:"xMax,attr"`
		Bottom float64 `xml:"yMax,attr"`
		Text   string  `xml:",chardata"`
	} `xml:"word"`
}

// pages reads a PDF, by another program than made it.
func pages(t *testing.T, pdf []byte) []pdfPage {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.pdf")
	if err := os.WriteFile(path, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), "pdftotext", "-bbox", path, "-").Output()
	if err != nil {
		t.Fatalf("%v (the tests need Debian's packages; make test installs them)", err)
	}
	var read struct {
		Pages []pdfPage `xml:"body>doc>page"`
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict, d.Entity = false, xml.HTMLEntity
	if err := d.Decode(&read); err != nil || len(read.Pages) == 0 {
		t.Fatalf("%v, %d pages", err, len(read.Pages))
	}
	return read.Pages
}

// inside checks that a PDF is A4 and that nothing is beyond its margins, where it would be cut.
func inside(t *testing.T, all []pdfPage) {
	t.Helper()
	const margin = 11.5 / 25.4 * 72 // the style sheet has 12 mm
	for i, p := range all {
		if p.Width < 594 || p.Width > 596 || p.Height < 841 || p.Height > 843 {
			t.Errorf("page %d is %v × %v points", i+1, p.Width, p.Height)
		}
		for _, w := range p.Words {
			if w.Left < margin || w.Right > p.Width-margin || w.Top < margin || w.Bottom > p.Height-margin {
				t.Errorf("page %d: %q is at %.0f–%.0f, %.0f–%.0f", i+1, w.Text, w.Left, w.Right, w.Top, w.Bottom)
			}
		}
	}
}

// The page opens from the disk without a request and without an error, whatever names are in it,
// and is printed on A4 with nothing beyond the margins.
func TestChromiumOpensAndPrints(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour, 12)
	r := f.report("2026-08")
	path := filepath.Join(t.TempDir(), "report.html")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Page(file, r); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	b := servertest.StartBrowser(t)
	b.Open("file://" + path)
	for _, wrong := range b.Wrong("file://" + path) {
		t.Error(wrong)
	}
	if n := b.Value("document.scripts.length + document.images.length + document.links.length"); n != "10" {
		t.Errorf("%s scripts, images and links, want the ten links of the contents", n)
	}
	if color := b.Value("getComputedStyle(document.querySelector('h2')).borderBottomWidth"); color != "2px" {
		t.Errorf("the style sheet does not apply: %s", color)
	}
	if n := b.Value("document.querySelectorAll('svg').length"); n == "0" {
		t.Error("no chart")
	}
	if width := b.Value("document.documentElement.scrollWidth <= innerWidth"); width != "true" {
		t.Error("the page is wider than the window")
	}
	var printed struct{ Data string }
	b.Do("Page.printToPDF", map[string]any{"preferCSSPageSize": true, "printBackground": true}, &printed)
	pdf, err := base64.StdEncoding.DecodeString(printed.Data)
	if err != nil {
		t.Fatal(err)
	}
	inside(t, pages(t, pdf))
}

// No row of a table is cut by the end of a page, and each page with a part of it has its heading.
func TestPrintCutsNoRow(t *testing.T) {
	t.Parallel()
	const rows = 150
	long := report.Figure{Title: "Long", Columns: []report.Column{{Name: "HEADING"}, {Name: "words"},
		{Name: "number", Unit: report.Number}}}
	for i := range rows {
		long.Rows = append(long.Rows, []report.Cell{{Text: fmt.Sprintf("r%d.b", i)},
			{Text: strings.Repeat(fmt.Sprintf("r%d.text ", i), 10+i%60)}, {Text: fmt.Sprintf("r%d.e", i)}})
	}
	pdf, err := report.PDF(t.Context(), "", report.Report{Title: "test", From: month(), To: end(), Until: end(),
		Sections: []report.Section{{Title: "One", Figures: []report.Figure{long}}}})
	if err != nil {
		t.Fatal(err)
	}
	all := pages(t, pdf)
	inside(t, all)
	on, words := make(map[string]map[int]bool), make(map[string]int)
	for i, p := range all {
		heading := false
		for _, w := range p.Words {
			heading = heading || w.Text == "HEADING"
			row, _, ok := strings.Cut(w.Text, ".")
			if !ok || !strings.HasPrefix(row, "r") {
				continue
			}
			if on[row] == nil {
				on[row] = make(map[int]bool)
			}
			on[row][i] = true
			words[row]++
			if !heading {
				t.Errorf("page %d has %s and no heading before it", i+1, w.Text)
			}
		}
	}
	for i := range rows {
		row := fmt.Sprintf("r%d", i)
		if len(on[row]) != 1 || words[row] != 12+i%60 {
			t.Errorf("%s is on the pages %v with %d words", row, on[row], words[row])
		}
	}
	if len(all) < 3 {
		t.Errorf("%d pages", len(all))
	}
}

// Where Chromium is not installed, the error says what to install and what works without.
func TestNoChromium(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := report.PDF(t.Context(), "", report.Report{})
	if err == nil || !strings.Contains(err.Error(), "apt-get install chromium") || !strings.Contains(err.Error(),
		"html") {
		t.Errorf("%v", err)
	}
	if _, err := report.PDF(t.Context(), "chromium", report.Report{}); err == nil ||
		!strings.Contains(err.Error(), "absolute") {
		t.Errorf("%v", err)
	}
	if _, err := report.PDF(t.Context(), "/nonexistent/chromium", report.Report{}); err == nil {
		t.Error("a program that does not exist")
	}
}

// A browser that ends well with half a PDF, as on a full disk, is an error and no report.
func TestHalfAPDF(t *testing.T) {
	t.Parallel()
	half := filepath.Join(t.TempDir(), "browser")
	script := "#!/bin/sh\nfor a; do case $a in --print-to-pdf=*) printf '%%PDF-1.4\\nhalf' >\"${a#*=}\";; esac; done\n"
	if err := sandbox.WriteProgram(half, script, 0o700); err != nil {
		t.Fatal(err)
	}
	pdf, err := report.PDF(t.Context(), half, report.Report{Title: "August 2026"})
	if err == nil || !strings.Contains(err.Error(), "without its end") || len(pdf) > 0 {
		t.Errorf("%d bytes, %v", len(pdf), err)
	}
}
