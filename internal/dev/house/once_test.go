package house_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/remediate"
)

// owner is the folder that says the names of guards, reasons and states.
const owner = "remediate"

// The names of guards, the reasons of refusals and the states of runs are said once: a guard
// or a state that is renamed in package remediate is renamed everywhere, in SQL too.
func TestNamesAreSaidOnce(t *testing.T) {
	var names, states []string
	for _, s := range remediate.States() {
		names, states = append(names, string(s)), append(states, string(s))
	}
	names = append(names, remediate.Guards()...)
	for _, reason := range remediate.Reasons() {
		if strings.Contains(reason, "_") { // the others are ordinary words, and keys
			names = append(names, reason)
		}
	}
	inSQL := regexp.MustCompile(`'(` + strings.Join(states, "|") + `)'`)
	for _, s := range sources(t) {
		if s.test() || s.dir == owner || !strings.HasPrefix(s.dir, "remediate") && !strings.HasPrefix(s.dir,
			"internal/product") {
			continue
		}
		free := notNames(s)
		ast.Inspect(s.file, func(n ast.Node) bool {
			l, ok := n.(*ast.BasicLit)
			if !ok || l.Kind != token.STRING || free[l] {
				return true
			}
			text := strings.Trim(l.Value, "`\"")
			if slices.Contains(names, text) && decides(s) ||
				inSQL.MatchString(l.Value) && strings.Contains(l.Value, "state") {
				t.Errorf("%s: %s: write the constant of package remediate", s.at(l), l.Value)
			}
			return true
		})
	}
}

// decides reports whether a file is of a package in which the words of guards, reasons and
// states mean these, and not something of a target, a flag or a key.
func decides(s source) bool {
	return slices.Contains([]string{
		"remediate/guard", "remediate/engine", "remediate/journal", "remediate/policy", "remediate/inbox",
		"remediate/silence", "internal/product/app",
	}, s.dir)
}

// notNames returns the literals that are the key of an annotation, the name of a target's kind
// or a log key, and the words of a notification.
func notNames(s source) map[*ast.BasicLit]bool {
	free := make(map[*ast.BasicLit]bool)
	add := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok {
			free[l] = true
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IndexExpr:
			add(n.Index)
		case *ast.CallExpr:
			name := ""
			switch f := n.Fun.(type) {
			case *ast.SelectorExpr:
				name = f.Sel.Name
			case *ast.Ident:
				name = f.Name
			}
			if slices.Contains([]string{"Debug", "Info", "Warn", "Error", "With", "take"}, name) {
				for _, a := range n.Args {
					add(a)
				}
			}
		case *ast.ReturnStmt: // the state in the words of a notification
			if len(n.Results) == 2 {
				add(n.Results[1])
			}
		case *ast.Field:
			if n.Tag != nil {
				free[n.Tag] = true
			}
		}
		return true
	})
	return free
}
