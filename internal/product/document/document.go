// Package document shows Markdown of our own, the runbooks and the manual, as parts of a page.
package document

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	table "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
	. "maragu.dev/gomponents"
)

// Render returns a document without its title. Link says where a link of it leads to. HTML in it is left out.
func Render(source string, link func(to string) string) (Node, error) {
	md := goldmark.New(
		goldmark.WithExtensions(extension.Table),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
		goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(wide{}, 1))))
	root := md.Parser().Parse(text.NewReader([]byte(source)),
		parser.WithContext(parser.NewContext(parser.WithIDs(make(anchors)))))
	if first, ok := root.FirstChild().(*ast.Heading); ok && first.Level == 1 {
		root.RemoveChild(root, first)
	}
	err := ast.Walk(root, func(n ast.Node, in bool) (ast.WalkStatus, error) {
		if to, ok := n.(*ast.Link); ok && in {
			to.Destination = []byte(link(string(to.Destination)))
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	var b bytes.Buffer
	if err := md.Renderer().Render(&b, []byte(source), root); err != nil {
		return nil, fmt.Errorf("markdown: %w", err)
	}
	return Raw(b.String()), nil
}

// anchors are the names of headings that links lead to, as GitHub makes them.
type anchors map[string]bool

// Generate implements parser.IDs.
func (a anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, string(value))
	name := plain
	for n := 1; a[name]; n++ {
		name = fmt.Sprint(plain, "-", n)
	}
	a[name] = true
	return []byte(name)
}

// Put implements parser.IDs.
func (a anchors) Put(value []byte) { a[string(value)] = true }

// wide writes tables, which may be wider than a phone: they scroll by themselves, also by the keyboard.
type wide struct{}

// RegisterFuncs implements renderer.NodeRenderer.
func (wide) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(table.KindTable, func(w util.BufWriter, _ []byte, _ ast.Node, in bool) (ast.WalkStatus, error) {
		part := "</table></div>\n"
		if in {
			part = `<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>` + "\n"
		}
		_, err := w.WriteString(part)
		return ast.WalkContinue, err
	})
}
