package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every mutant's text is there, once: a list that is old shows nothing.
func TestMutantsFit(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range mutants() {
		if seen[m.name] {
			t.Errorf("there are two mutants %q", m.name)
		}
		seen[m.name] = true
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", m.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(text), m.search); n != 1 {
			t.Errorf("%s: %s has %d times %q, want once", m.name, m.file, n, m.search)
		}
		if m.search == m.replace {
			t.Errorf("%s changes nothing", m.name)
		}
	}
}

// A mutant that no test catches, one whose text is not there and one that does not
// compile are errors.
func TestMutants(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module m\n\ngo 1.26\n", "m.go": "package m\n\nfunc Twice(n int) int { return 2 * n }\n",
		"m_test.go": "package m\n\nimport \"testing\"\n\nfunc TestTwice(t *testing.T) {\n\tif Twice(2) != 4 " +
			"{\n\t\tt.Error(Twice(2))\n\t}\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := command(t, root, "git", "init", "-q"); err != nil {
		t.Fatal(err)
	}
	base := mutant{name: "m", file: "m.go", search: "2 * n", pkg: ".", run: "TestTwice"}
	for _, c := range []struct{ name, replace, run, want string }{
		{"caught", "3 * n", "TestTwice", "caught by TestTwice"},
		{"survives", "n * 2", "TestTwice", "SURVIVED"},
		{"does not compile", "two", "TestTwice", "was not tested"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := base
			m.replace, m.run = c.replace, c.run
			var out strings.Builder
			err := run(t.Context(), root, []mutant{m}, nil, &out)
			if !strings.Contains(out.String(), c.want) || (err == nil) != (c.name == "caught") {
				t.Errorf("%v: %s, want %q", err, out.String(), c.want)
			}
		})
	}
	old := base
	old.search = "no such text"
	if err := run(t.Context(), root, []mutant{old}, nil, io.Discard); err == nil {
		t.Error("a text that is not there is no error")
	}
	if err := run(t.Context(), root, []mutant{base}, []string{"other"}, io.Discard); err == nil {
		t.Error("a name that is not there is no error")
	}
}

func command(t *testing.T, dir, name string, args ...string) error {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	return c.Run()
}
