package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/dev/house"
)

const (
	root   = "../../.."
	module = "github.com/ai-micro-service/upkeep/"
)

// A source is one parsed Go file.
type source struct {
	dir, name string
	file      *ast.File
	fset      *token.FileSet
	lines     int
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

func (s source) at(n ast.Node) string { return s.dir + "/" + s.name + ":" + position(s.fset, n) }

func position(fset *token.FileSet, n ast.Node) string {
	_, place, _ := strings.Cut(fset.Position(n.Pos()).String(), ":")
	return place
}

// walk calls f with every file of the tree that git would keep.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "dist"}, rel) {
				return fs.SkipDir
			}
			return nil
		}
		f(filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sources(t *testing.T) []source {
	t.Helper()
	return sourcesIn(t, token.NewFileSet())
}

func sourcesIn(t *testing.T, fset *token.FileSet) (all []source) {
	t.Helper()
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(fset, filepath.Base(path), text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{filepath.ToSlash(filepath.Dir(path)), filepath.Base(path), f, fset,
			strings.Count(string(text), "\n")})
	})
	return all
}

func floors(t *testing.T) *house.Floors {
	t.Helper()
	f, err := os.Open("floors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	plan, err := house.ReadFloors(f)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestFloors(t *testing.T) {
	plan := floors(t)
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		if _, ok := plan.Of(s.dir); !ok {
			t.Errorf("%s is on no floor: add it to internal/dev/house/floors.txt", s.dir)
		}
		for _, spec := range s.file.Imports {
			if to, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module); ours {
				if err := plan.Check(s.dir, to); err != nil {
					t.Errorf("%s: %v", s.at(spec), err)
				}
			}
		}
	}
}

// Each of these edges would be a hole in a floor.
func TestFloorsHold(t *testing.T) {
	plan := floors(t)
	for _, edge := range [][2]string{
		{"collectors/postgres", "remediate"},                      // never, though the ground is lower
		{"collectors/postgres", "collectors/redis"},               // sideways
		{"remediate/engine", "remediate/actions/postgres"},        // sideways, and never
		{"remediate/engine", "collectors/postgres"},               // never
		{"remediate/engine", "internal/product/config"},           // upward
		{"internal/platform/target", "internal/product/config"},   // upward
		{"internal/product/config", "internal/product/catalog"},   // sideways
		{"remediate", "remediate/journal"},                        // upward from the ground
		{"internal/product/app", "internal/product/demo"},         // upward
		{"internal/product/app", "cmd/upkeep"},                    // into the roof
		{"remediate/actions/redis", "remediate/actions/postgres"}, // sideways
		{"misc", "remediate"},                                     // on no floor
		{"internal/product/app", "misc"},
	} {
		if plan.Check(edge[0], edge[1]) == nil {
			t.Errorf("%s may import %s", edge[0], edge[1])
		}
	}
	for _, edge := range [][2]string{{"cmd/upkeep", "internal/product/app"},
		{"remediate/actions/postgres", "collectors/postgres"}, {"remediate/engine", "remediate/journal"}} {
		if err := plan.Check(edge[0], edge[1]); err != nil {
			t.Error(err)
		}
	}
}

func TestPackageComments(t *testing.T) {
	docs := make(map[string]int)
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		docs[s.dir] += 0
		if s.file.Doc != nil {
			docs[s.dir]++
		}
	}
	for dir, n := range docs {
		if n != 1 {
			t.Errorf("%s has %d package comments, want 1", dir, n)
		}
	}
}

func TestHabits(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains([]string{"util", "utils", "common", "helpers", "misc", "types", "models"},
			filepath.Base(s.dir)) {
			t.Errorf("%s: name a package for what it provides", s.dir)
		}
		if s.lines > 500 && !s.test() {
			t.Errorf("%s/%s has %d lines, want 500 at most", s.dir, s.name, s.lines)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				habitsOfFunc(t, s, n)
			case *ast.InterfaceType:
				if n.Methods.NumFields() > 3 {
					t.Errorf("%s: an interface of %d methods, want 3 at most", s.at(n), n.Methods.NumFields())
				}
			}
			return true
		})
	}
}

// What is bound into a folder is deleted with it where the folder is removed with all that is in it: a file that
// binds has no such folder.
func TestBoundFoldersStay(t *testing.T) {
	for _, s := range sources(t) {
		named := make(map[string]bool)
		ast.Inspect(s.file, func(n ast.Node) bool {
			if e, ok := n.(*ast.SelectorExpr); ok {
				named[e.Sel.Name] = true
			}
			return true
		})
		if named["MS_BIND"] && (named["TempDir"] || named["RemoveAll"]) {
			t.Errorf("%s/%s binds folders, and removes a folder with all that is in it", s.dir, s.name)
		}
	}
}

func habitsOfFunc(t *testing.T, s source, f *ast.FuncDecl) {
	t.Helper()
	if f.Recv == nil && f.Name.Name == "init" {
		t.Errorf("%s: an init function", s.at(f))
	}
	if lines := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line; lines > 120 && !s.test() {
		t.Errorf("%s: %s has %d lines, want 120 at most", s.at(f), f.Name.Name, lines)
	}
}

// Every exported name says what it promises, in a sentence that begins with it.
func TestComments(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if exported(d) {
					said(t, s, d, d.Name.Name, d.Doc)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok && spec.Name.IsExported() {
						said(t, s, spec, spec.Name.Name, first(spec.Doc, d.Doc))
					}
					if spec, ok := spec.(*ast.ValueSpec); ok && spec.Names[0].IsExported() && spec.Doc == nil &&
						spec.Comment == nil && d.Doc == nil {
						t.Errorf("%s: %s has no comment", s.at(spec), spec.Names[0].Name)
					}
				}
			}
		}
	}
}

// exported reports whether others see the function: a method of an unexported
// type is seen through an interface, which says what it promises.
func exported(f *ast.FuncDecl) bool {
	if !f.Name.IsExported() || f.Recv == nil {
		return f.Name.IsExported()
	}
	e := f.Recv.List[0].Type
	if p, ok := e.(*ast.StarExpr); ok {
		e = p.X
	}
	i, ok := e.(*ast.Ident)
	return ok && i.IsExported() && !slices.Contains([]string{"String", "Error", "Unwrap"}, f.Name.Name)
}

func first(docs ...*ast.CommentGroup) *ast.CommentGroup {
	for _, d := range docs {
		if d != nil {
			return d
		}
	}
	return nil
}

func said(t *testing.T, s source, n ast.Node, name string, doc *ast.CommentGroup) {
	t.Helper()
	words := strings.Fields(doc.Text())
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	if len(words) < 3 || words[0] != name && words[0] != "Describe" {
		t.Errorf("%s: %s has no comment that begins with it", s.at(n), name)
	}
}

// Nothing at package level changes: embedded files, errors, the version that the
// linker sets and what the compiler checks are allowed; the rest says why in
// a nolint.
func TestNoStateAtPackageLevel(t *testing.T) {
	for _, s := range sources(t) {
		comments := ast.NewCommentMap(s.fset, s.file, s.file.Comments)
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				if v.Names[0].Name != "_" && v.Names[0].Name != "version" &&
					!strings.HasPrefix(strings.ToLower(v.Names[0].Name), "err") && !excused(comments[g], comments[v]) {
					t.Errorf("%s: %s is state at package level", s.at(v), v.Names[0].Name)
				}
			}
		}
	}
}

func excused(groups ...[]*ast.CommentGroup) bool {
	for _, g := range slices.Concat(groups...) {
		for _, c := range g.List {
			if strings.HasPrefix(c.Text, "//go:embed") || strings.HasPrefix(c.Text, "//nolint:gochecknoglobals // ") {
				return true
			}
		}
	}
	return false
}

// Every unit is tested against the promises of its kind.
func TestUnitsKeepTheirPromises(t *testing.T) {
	tests := make(map[string]string) // what the tests of a folder say
	for _, s := range sources(t) {
		if s.test() {
			text, err := os.ReadFile(filepath.Join(root, s.dir, s.name))
			if err != nil {
				t.Fatal(err)
			}
			tests[s.dir] += string(text)
		}
	}
	units := 0
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results.NumFields() != 1 {
				continue
			}
			result, ok := f.Type.Results.List[0].Type.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			var call string
			switch pkg := s.file.Name.Name; {
			case result.Sel.Name == "Collector" && strings.HasPrefix(s.dir, "collectors/"):
				call = `collectortest\.\w+\(t, ` + pkg + `\.` + f.Name.Name + `\b`
			case result.Sel.Name == "Action" && strings.HasPrefix(s.dir, "remediate/actions/"):
				call = `(?s)actiontest\.Run\(t, actiontest\.Case\{\s*Action:\s*` + pkg + `\.` + f.Name.Name + `\(`
			default:
				continue
			}
			units++
			if !regexp.MustCompile(call).MatchString(tests[s.dir]) {
				t.Errorf("%s: no test of %s calls its suite", s.dir, f.Name.Name)
			}
		}
	}
	if units < 10 {
		t.Errorf("%d units were found; this test looks in the wrong place", units)
	}
}

// What the pages name is there.
func TestPagesNameWhatThereIs(t *testing.T) {
	name := regexp.MustCompile("`((?:cmd|collectors|remediate|alerts|dashboards|internal|docs|tools|deploy)(?:/[\\w.-]+)*/?)`|\\]\\(([^)#:]+)(?:#[^)]*)?\\)")
	pages := []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "docs/actions.md",
		"docs/alerts.md", "docs/collectors.md", "docs/metrics.md", "docs/config.md"}
	walk(t, func(path string) {
		if strings.HasPrefix(path, "docs/decisions/") || strings.HasPrefix(path, "docs/runbooks/") {
			pages = append(pages, path)
		}
	})
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			path := filepath.Join(root, m[1])
			if m[2] != "" {
				path = filepath.Join(root, filepath.Dir(page), m[2])
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s names %s%s, which is not there", page, m[1], m[2])
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if lines := strings.Count(string(text), "\n"); err != nil || lines > 110 {
		t.Errorf("ARCHITECTURE.md has %d lines (%v), want two pages", lines, err)
	}
}

// The floors of the page are those of floors.txt.
func TestArchitectureShowsTheFloors(t *testing.T) {
	plan := floors(t)
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	plans, _, _ := strings.Cut(string(text), "\nNever:")
	row := regexp.MustCompile(`(?m)^\| (roof|ground|\d+) \| ([^|]*) \|$`)
	code := regexp.MustCompile("`([^`]+)`")
	for _, m := range row.FindAllStringSubmatch(plans, -1) {
		heights := make(map[int]bool)
		for _, name := range code.FindAllStringSubmatch(m[2], -1) {
			h, ok := plan.Of(name[1])
			if !ok {
				t.Errorf("ARCHITECTURE.md: %s is on no floor", name[1])
			}
			heights[h] = true
		}
		if len(heights) != 1 {
			t.Errorf("ARCHITECTURE.md puts on floor %s what is on %d: %s", m[1], len(heights), m[2])
		}
	}
}
