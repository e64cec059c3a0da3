package house_test

import (
	"go/ast"
	"go/build/constraint"
	"slices"
	"strings"
	"testing"
)

// The six packages that upkeep is built on are imported by what is delivered, and not by
// tests and generators alone.
func TestNamedPackages(t *testing.T) {
	byWhom := make(map[string][]string)
	for _, s := range sources(t) {
		if s.test() || strings.HasPrefix(s.dir, "internal/dev/gen") ||
			strings.HasPrefix(s.dir, "internal/testbed/") {
			continue
		}
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			byWhom[path] = append(byWhom[path], s.dir)
		}
	}
	for _, name := range []string{
		"github.com/prometheus/client_golang",
		"github.com/prometheus/alertmanager",
		"github.com/jackc/pgx/v5",
		"github.com/redis/go-redis/v9",
		"github.com/docker/docker",
		"github.com/gin-gonic/gin",
		// What is asked, served and stored by a library, and not by code of our own.
		"github.com/prometheus/client_golang/api/prometheus/v1",
		"github.com/prometheus/alertmanager/api/v2/client",
		"github.com/prometheus/exporter-toolkit/web",
		"github.com/prometheus/prometheus/promql/parser",
		"github.com/minio/minio-go/v7",
	} {
		found := false
		for path := range byWhom {
			found = found || path == name || strings.HasPrefix(path, name+"/")
		}
		if !found {
			t.Errorf("nothing that is delivered imports %s", name)
		}
	}
}

// There is one build: no file is left out of it but for another operating system.
func TestOneBuild(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if constraint.IsGoBuild(c.Text) && c.Pos() < s.file.Package {
					t.Errorf("%s: %s", s.at(c), c.Text)
				}
			}
		}
	}
}

// Everything is routed by internal/platform/web: it trusts no proxy and redirects nothing.
func TestOneRouter(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || s.dir == "internal/platform/web" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.SelectorExpr); ok {
				pkg, _ := call.X.(*ast.Ident)
				name := call.Sel.Name
				if pkg != nil && (pkg.Name == "gin" && (name == "New" || name == "Default") || pkg.Name == "http" &&
					(name == "NewServeMux" || name == "DefaultServeMux" || name == "HandleFunc" || name == "Handle")) {
					t.Errorf("%s: %s.%s; web.New makes the router", s.at(n), pkg.Name, name)
				}
			}
			return true
		})
	}
}

// One file calls Docker engines, so that another client is a change of one file; and
// what changes something there is asked for by actions alone.
func TestDockerByOneFile(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, spec := range s.file.Imports {
			if strings.Trim(spec.Path.Value, `"`) == "github.com/docker/docker/client" &&
				s.dir+"/"+s.name != "internal/platform/target/docker.go" {
				t.Errorf("%s imports docker's client; internal/platform/target/docker.go asks the engine", s.at(spec))
			}
		}
		if !strings.HasPrefix(s.dir, "collectors") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Changes" {
					t.Errorf("%s: a collector only reads", s.at(n))
				}
			}
			return true
		})
	}
}

// A program is started by internal/platform/child only, which gives it an environment of its
// own, a group that ends with it, and no shell.
func TestProgramsAreStartedInOnePlace(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || s.dir == "internal/platform/child" || s.dir == "remediate/actiontest" ||
			s.dir == "collectors/collectortest" || strings.HasPrefix(s.dir, "internal/testbed/") || strings.HasPrefix(s.dir, "internal/dev/") {
			continue
		}
		for _, spec := range s.file.Imports {
			if spec.Path.Value == `"os/exec"` {
				t.Errorf("%s imports os/exec: start the program by internal/platform/child", s.at(spec))
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"StartProcess", "ForkExec", "Exec"},
				sel.Sel.Name) {
				if p, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"os", "syscall", "unix"}, p.Name) {
					t.Errorf("%s calls %s.%s", s.at(n), p.Name, sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// A program that is to end with us is started where the thread is kept that starts it. Elsewhere
// it would be killed when that thread ends, which another test may bring about.
func TestProgramsEndWithUsAndNotBefore(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir == "internal/platform/child" || s.dir == "internal/testbed/sandbox" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if name, ok := n.(*ast.Ident); ok && name.Name == "Pdeathsig" {
				t.Errorf("%s sets Pdeathsig: start the program by sandbox.Start", s.at(n))
			}
			return true
		})
	}
}
