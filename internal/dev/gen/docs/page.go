package main

import (
	"fmt"
	"strings"
)

// A page is Markdown that is being written.
type page struct{ strings.Builder }

func (p *page) f(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// cell makes a text fit a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(strings.TrimSpace(s))
}

// doc splits a reference text into its summary and the rest.
func doc(text string) (summary, rest string) {
	summary, rest, _ = strings.Cut(text, "\n\n")
	return strings.ReplaceAll(summary, "\n", " "), rest
}

func anchor(name string) string {
	return strings.NewReplacer("/", "", "_", "_").Replace(strings.ToLower(name))
}

func code(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = "`" + n + "`"
	}
	return strings.Join(quoted, ", ")
}
