package house_test

import (
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	mostFiles     = 20   // of a package, besides its units and tests
	mostLines     = 4000 // of a package, without tests
	mostColumns   = 120
	mostOfOneFunc = 50 // lines of all functions but one in a hundred
	tabWidth      = 4
)

// isUnit reports whether a file is a collector, an action or a subcommand.
func isUnit(s source) bool {
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
			continue
		}
		result := f.Type.Results.List[0].Type
		if star, ok := result.(*ast.StarExpr); ok {
			result = star.X
		}
		if of, ok := result.(*ast.SelectorExpr); ok {
			pkg, _ := of.X.(*ast.Ident)
			if slices.Contains([]string{"collectors.Collector", "remediate.Action", "cobra.Command"},
				pkg.Name+"."+of.Sel.Name) {
				return true
			}
		}
	}
	return false
}

// A package can be read in an afternoon, and a function without scrolling.
func TestSizes(t *testing.T) {
	lines, files := make(map[string]int), make(map[string]int)
	var functions []int
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		lines[s.dir] += s.lines
		if !isUnit(s) {
			files[s.dir]++
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				functions = append(functions, s.fset.Position(f.End()).Line-s.fset.Position(f.Pos()).Line+1)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(lines)) {
		if lines[dir] > mostLines || files[dir] > mostFiles {
			t.Errorf("%s has %d lines and %d files besides its units, want %d and %d at most: move what "+
				"several units share into a package beside it, as collectors/postgres/bloat", dir,
				lines[dir], files[dir], mostLines, mostFiles)
		}
	}
	slices.Sort(functions)
	if n := functions[len(functions)*99/100]; n > mostOfOneFunc {
		t.Errorf("one function in a hundred is longer than %d lines, want %d", n, mostOfOneFunc)
	}
}

// A line fits beside another file: but for raw strings, which have lines of their own, and what
// cannot be wrapped.
func TestColumns(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, s.dir, s.name))
		if err != nil {
			t.Fatal(err)
		}
		n, apart := 0, apart(s)
		for line := range strings.Lines(string(text)) {
			if n++; apart[n] {
				continue
			}
			line, _, _ = strings.Cut(strings.TrimRight(line, "\n"), " //nolint:")
			if columns := utf8.RuneCountInString(line) + strings.Count(line, "\t")*(tabWidth-1); columns > mostColumns {
				t.Errorf("%s/%s:%d has %d columns, want %d at most", s.dir, s.name, n, columns, mostColumns)
			}
		}
	}
}

// apart are the lines of raw strings, and those that end in the tag of a field.
func apart(s source) map[int]bool {
	lines := make(map[int]bool)
	ast.Inspect(s.file, func(n ast.Node) bool {
		if raw, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(raw.Value, "`") {
			for line := s.fset.Position(raw.Pos()).Line; line <= s.fset.Position(raw.End()).Line; line++ {
				lines[line] = true
			}
		}
		return true
	})
	return lines
}
