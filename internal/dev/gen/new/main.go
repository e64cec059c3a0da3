// Command new writes the beginning of a collector or an action: the file of the
// unit, its test and its test data.
//
//	go run ./internal/dev/gen/new collector postgres/locks
//	go run ./internal/dev/gen/new action postgres/analyze
package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
)

//go:embed *.tmpl
var templates embed.FS

func main() {
	if err := run(".", os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "new:", err)
		os.Exit(1)
	}
}

// A unit is what the templates are filled with.
type unit struct {
	Kind, Domain, Name, File, Type string // action, postgres, drop_index, dropindex, DropIndex
	Target                         string // the type in internal/platform/target
	Gauge                          bool   // the domain's package has a function that declares a gauge
}

// A change is a file that is written, or to which a text is appended.
type change struct {
	path, text string
	appended   bool
}

func run(root string, args []string) error {
	u, err := parse(root, args)
	if err != nil {
		return err
	}
	all, err := u.changes(root)
	if err != nil {
		return err
	}
	for _, c := range all {
		if _, err := os.Stat(filepath.Join(root, c.path)); err == nil && !c.appended {
			return fmt.Errorf("%s exists already; choose another name", c.path)
		}
	}
	for _, c := range all {
		if err := c.write(root); err != nil {
			return err
		}
	}
	if u.Kind == "action" {
		fmt.Println(
			"list the action where the process that is killed in its test finds it: in TestMain of its package, or " +
				"where TestMain takes it from",
		)
	}
	fmt.Printf("next: the five steps for a new %s in CONTRIBUTING.md\n", u.Kind)
	return nil
}

func (c change) write(root string) error {
	file := filepath.Join(root, c.path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if !c.appended {
		fmt.Println("wrote", c.path)
		return os.WriteFile(file, []byte(c.text), 0o644) //nolint:gosec // parse has checked the name
	}
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fmt.Println("appended to", c.path)
	return os.WriteFile(file, append(before, c.text...), 0o644) //nolint:gosec // parse has checked the name
}

func parse(root string, args []string) (u unit, err error) {
	name := regexp.MustCompile(`^([a-z]+)/([a-z]+(_[a-z]+)*)$`)
	if len(args) != 2 || args[0] != "collector" && args[0] != "action" || !name.MatchString(args[1]) {
		return u, errors.New("expected collector or action, and a name like postgres/locks or postgres/drop_index")
	}
	m := name.FindStringSubmatch(args[1])
	u = unit{Kind: args[0], Domain: m[1], Name: m[2], File: strings.ReplaceAll(m[2], "_", "")}
	for word := range strings.SplitSeq(m[2], "_") {
		u.Type += strings.ToUpper(word[:1]) + word[1:]
	}
	if u.Target, u.Gauge, err = u.neighbours(root); err != nil {
		return u, err
	}
	return u, nil
}

// dir returns the folder of the unit.
func (u unit) dir() string {
	if u.Kind == "action" {
		return "remediate/actions/" + u.Domain
	}
	return "collectors/" + u.Domain
}

// neighbours returns the kind of target that the domain's collectors take, or the one that is
// called like the domain, and whether the unit's package declares gauges by a function.
func (u unit) neighbours(root string) (kind string, gauge bool, err error) {
	for _, dir := range []string{u.dir(), "collectors/" + u.Domain} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			return "", false, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", false, err
			}
			unit := regexp.MustCompile(
				`(?m)^func [A-Z]\w*\(\w+ \*target\.(\w+)\) (?:collectors\.Collector|remediate\.Action) \{`,
			)
			if m := unit.FindSubmatch(text); m != nil && kind == "" {
				kind = string(m[1])
			}
			gauge = gauge || dir == u.dir() && bytes.Contains(text, []byte("\nfunc gauge(name, help string"))
		}
	}
	if kind != "" {
		return kind, gauge, nil
	}
	targets, err := filepath.Glob(filepath.Join(root, "internal/platform/target/*.go"))
	if err != nil {
		return "", false, err
	}
	kind = strings.ToUpper(u.Domain[:1]) + u.Domain[1:]
	for _, file := range targets {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte("\ntype "+kind+" struct")) {
			return kind, gauge, nil
		}
	}
	return "", false, fmt.Errorf("the target %s does not exist: declare the type %s in "+
		"internal/platform/target/%s.go first", u.Domain, kind, u.Domain)
}

// changes returns what is written.
func (u unit) changes(root string) (all []change, err error) {
	add := func(path, tmpl string, appended bool) {
		var text string
		if err == nil {
			text, err = u.fill(tmpl, appended)
		}
		all = append(all, change{path, text, appended})
	}
	base := u.dir() + "/" + u.File
	add(base+".go", u.Kind+".go.tmpl", false)
	_, hasSuite := suites()[u.Domain]
	tests := u.dir() + "/" + u.Domain + "_test.go"
	//nolint:gosec // parse has checked the name
	if _, missing := os.Stat(filepath.Join(root, tests)); u.Kind == "collector" && hasSuite && missing == nil {
		add(tests, "collector_line.go.tmpl", true)
	} else {
		add(base+"_test.go", u.Kind+"_test.go.tmpl", false)
	}
	if u.Kind == "collector" && u.Domain == "postgres" {
		add(base+".sql", "collector.sql.tmpl", false)
	}
	if u.Kind == "collector" && hasSuite {
		add(u.dir()+"/testdata/"+u.File+".txtar", "collector.txtar.tmpl", false)
	}
	return all, err
}

// suites are the domains whose collectors are tested by a file of what to set up and what to
// expect, with the name of what sets up.
func suites() map[string]string {
	return map[string]string{"postgres": "setup.sql", "redis": "setup.redis"}
}

// Setup returns what a test's file calls what sets up.
func (u unit) Setup() string { return suites()[u.Domain] }

// fill returns the text of a template; a part of a Go file is not formatted.
func (u unit) fill(tmpl string, part bool) (string, error) {
	t, err := template.ParseFS(templates, tmpl)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, u); err != nil {
		return "", err
	}
	if part || !strings.Contains(tmpl, ".go.") {
		return b.String(), nil
	}
	text, err := format.Source(b.Bytes())
	if err != nil {
		return "", fmt.Errorf("%s: %w", tmpl, err)
	}
	return string(text), nil
}
