// Package runbooks holds the page on each alert: what it means and what to look at.
package runbooks

import (
	"bytes"
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.md
var files embed.FS

// Online is where the pages of the newest version are read.
const Online = "https://github.com/ai-micro-service/upkeep/blob/main/docs/runbooks/"

// Path is where upkeep serves them.
const Path = "/runbooks/"

// Names returns the names of all pages, in their order.
func Names() (names []string) {
	all, err := fs.Glob(files, "*.md")
	if err != nil {
		panic(err) // the pattern is well formed
	}
	for _, file := range all {
		names = append(names, strings.TrimSuffix(file, ".md"))
	}
	slices.Sort(names)
	return names
}

// Read returns a page as Markdown, and whether there is one of that name.
func Read(name string) (text string, ok bool) {
	if !slices.Contains(Names(), name) {
		return "", false
	}
	page, err := fs.ReadFile(files, name+".md")
	return string(page), err == nil
}

// At returns what makes the links of rules to the pages lead to the upkeep at an address.
func At(external string) func(rules []byte) []byte {
	here := []byte(strings.TrimSuffix(external, "/") + Path)
	return func(rules []byte) []byte {
		var b bytes.Buffer
		for line := range bytes.Lines(rules) {
			if i := bytes.Index(line, []byte(Online)); i >= 0 {
				line = bytes.ReplaceAll(line, []byte(Online), here)
				line = bytes.Replace(line, []byte(".md"), nil, 1)
			}
			b.Write(line)
		}
		return b.Bytes()
	}
}
