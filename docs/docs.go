// Package docs holds the pages of the manual, as upkeep serves them.
package docs

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/docs/runbooks"
)

//go:embed *.md tasks/*.md
var files embed.FS

const (
	// Path is where upkeep serves them.
	Path = "/docs/"

	// online is where what is not in the binary is read, from the folder of the pages on.
	online = "https://github.com/ai-micro-service/upkeep/blob/main/docs/"

	tasks = "tasks/"
)

// Tasks returns the names of the pages about one task each, in the order in which one comes to need them.
func Tasks() []string {
	return []string{"tour", "installing", "first-week", "one-table", "least-rights", "stop-everything",
		"from-postgres-exporter", "upgrading", "questions"}
}

// Reference returns the names of the other pages, in their order.
func Reference() (names []string) {
	all, err := fs.Glob(files, "*.md")
	if err != nil {
		panic(err) // the pattern is well formed
	}
	for _, file := range all {
		names = append(names, strings.TrimSuffix(file, ".md"))
	}
	return names
}

// Read returns a page as Markdown, and whether there is one of that name.
func Read(name string) (text string, ok bool) {
	file := file(name)
	if file == "" {
		return "", false
	}
	page, err := fs.ReadFile(files, file)
	return string(page), err == nil
}

// Title returns the title of a page.
func Title(name string) string {
	text, _ := Read(name)
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimPrefix(first, "# ")
}

// Link returns where a link on a page, or on a runbook by "runbooks/NAME", leads to: to what upkeep serves, or to
// where the rest is read.
func Link(name, to string) string {
	if to == "" || strings.HasPrefix(to, "#") || strings.Contains(to, "://") {
		return to
	}
	to, part, _ := strings.Cut(to, "#")
	if part != "" {
		part = "#" + part
	}
	folder := path.Dir(name) // of a runbook
	if of := file(name); of != "" {
		folder = path.Dir(of)
	}
	at := path.Join(folder, to)
	page := strings.TrimSuffix(at, ".md")
	if book, ok := strings.CutPrefix(page, "runbooks"); ok {
		return strings.TrimSuffix(runbooks.Path, "/") + book + part
	}
	if here := strings.TrimPrefix(page, tasks); file(here) == at {
		return Path + here + part
	}
	return online + at + part
}

// file returns the file of a page; "" where there is no such page.
func file(name string) string {
	switch {
	case slices.Contains(Tasks(), name):
		return tasks + name + ".md"
	case slices.Contains(Reference(), name):
		return name + ".md"
	}
	return ""
}
