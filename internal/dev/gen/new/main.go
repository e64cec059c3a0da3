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
	Kind, Domain, File, Type string // collector, postgres, locks, Locks
	Target                   string // the type in internal/platform/target
}

func run(root string, args []string) error {
	u, err := parse(root, args)
	if err != nil {
		return err
	}
	files, err := u.files()
	if err != nil {
		return err
	}
	for name := range files {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return fmt.Errorf("%s is there already", name)
		}
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
		fmt.Println("wrote", name)
	}
	fmt.Printf("next: the five steps for a new %s in CONTRIBUTING.md\n", u.Kind)
	return nil
}

func parse(root string, args []string) (u unit, err error) {
	name := regexp.MustCompile(`^([a-z]+)/([a-z]+)$`)
	if len(args) != 2 || args[0] != "collector" && args[0] != "action" || !name.MatchString(args[1]) {
		return u, errors.New("want collector or action, and a name like postgres/locks")
	}
	m := name.FindStringSubmatch(args[1])
	u = unit{Kind: args[0], Domain: m[1], File: m[2], Type: strings.ToUpper(m[2][:1]) + m[2][1:]}
	u.Target = strings.ToUpper(u.Domain[:1]) + u.Domain[1:]
	if _, err := os.Stat(filepath.Join(root, "internal", "platform", "target", u.Domain+".go")); err != nil && u.Domain != "host" {
		return u, fmt.Errorf("there is no target for %s: write internal/platform/target/%s.go first", u.Domain, u.Domain)
	}
	return u, nil
}

// files returns what is written, by path.
func (u unit) files() (map[string][]byte, error) {
	dir := "collectors/" + u.Domain
	if u.Kind == "action" {
		dir = "remediate/actions/" + u.Domain
	}
	files := map[string]string{dir + "/" + u.File + ".go": u.Kind + ".go.tmpl", dir + "/" + u.File + "_test.go": u.Kind + "_test.go.tmpl"}
	if u.Kind == "collector" && u.Domain == "postgres" {
		files[dir+"/"+u.File+".sql"] = "collector.sql.tmpl"
	}
	if u.Kind == "collector" && u.Domain != "host" {
		files[dir+"/testdata/"+u.File+".txtar"] = "collector.txtar.tmpl"
	}
	all := make(map[string][]byte)
	for name, tmpl := range files {
		t, err := template.ParseFS(templates, tmpl)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, u); err != nil {
			return nil, err
		}
		all[name] = b.Bytes()
		if strings.HasSuffix(name, ".go") {
			if all[name], err = format.Source(b.Bytes()); err != nil {
				return nil, fmt.Errorf("%s: %w", tmpl, err)
			}
		}
	}
	return all, nil
}
