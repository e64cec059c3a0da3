package house_test

import (
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// blind imports nothing: what a file uses of other packages does not matter here.
type blind struct{ types.Importer }

// Import implements types.Importer.
func (blind) Import(name string) (*types.Package, error) {
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

// uses returns for each file of a package the files that declare what it uses.
func uses(dir string, fset *token.FileSet, files []*ast.File) map[string][]string {
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: blind{importer.Default()}, Error: func(error) {}} // other packages are not known
	pkg, _ := config.Check(dir, fset, files, info)
	all := make(map[string]map[string]bool)
	for ident, object := range info.Uses {
		from := path.Base(fset.Position(ident.Pos()).Filename)
		if v, ok := object.(*types.Var); object.Pkg() != pkg || !object.Pos().IsValid() || ok && !v.IsField() &&
			v.Parent() != pkg.Scope() {
			continue
		}
		if to := path.Base(fset.Position(object.Pos()).Filename); to != from {
			if all[from] == nil {
				all[from] = make(map[string]bool)
			}
			all[from][to] = true
		}
	}
	sorted := make(map[string][]string)
	for from, to := range all {
		sorted[from] = slices.Sorted(maps.Keys(to))
	}
	return sorted
}

// circle returns files each of which uses the next one, and the last the first; nil where all
// run one way.
func circle(uses map[string][]string) []string {
	done := make(map[string]bool)
	var trail []string
	var walk func(file string) []string
	walk = func(file string) []string {
		if at := slices.Index(trail, file); at >= 0 {
			return append(slices.Clone(trail[at:]), file)
		}
		if done[file] {
			return nil
		}
		trail = append(trail, file)
		for _, next := range uses[file] {
			if found := walk(next); found != nil {
				return found
			}
		}
		trail = trail[:len(trail)-1]
		done[file] = true
		return nil
	}
	for _, file := range slices.Sorted(maps.Keys(uses)) {
		if found := walk(file); found != nil {
			return found
		}
	}
	return nil
}

// The files of a package use one another in one direction, so that it can be read from the
// bottom up: what is declared in a file rests on nothing that rests on it.
func TestFilesUseOneAnotherOneWay(t *testing.T) {
	fset := token.NewFileSet()
	packages := make(map[string][]*ast.File)
	for _, s := range sourcesIn(t, fset) {
		if !s.test() {
			packages[s.dir] = append(packages[s.dir], s.file)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		if found := circle(uses(dir, fset, packages[dir])); found != nil {
			t.Errorf("%s: %s; move what the last one needs into a file below both", dir, strings.Join(found, " uses "))
		}
	}
}

func TestCircleIsFound(t *testing.T) {
	for _, test := range []struct {
		uses map[string][]string
		want string
	}{
		{map[string][]string{"a": {"b", "c"}, "b": {"c"}}, ""},
		{map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}}, "a b c a"},
		{map[string][]string{"a": {"d"}, "b": {"c"}, "c": {"b"}, "d": nil}, "b c b"},
	} {
		if got := strings.Join(circle(test.uses), " "); got != test.want {
			t.Errorf("%v: %q, want %q", test.uses, got, test.want)
		}
	}
}
