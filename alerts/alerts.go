// Package alerts holds the rules that say when something matters, in Prometheus'
// own rule files, and their tests in promtool's format beside them.
//
// A rule's annotations are part of the contract: summary is for people, runbook_url
// tells them more, limit is the number that the rule compares with, and action
// names what upkeep can do about it, or is "none" and reason says why.
package alerts

import (
	"embed"
	"fmt"
	"io/fs"

	"go.yaml.in/yaml/v3"
)

//go:embed *.rules.yaml
var files embed.FS

// Files returns the shipped rule files.
func Files() fs.FS { return files }

//go:embed oldnames/*.rules.yaml
var oldNames embed.FS

// OldNames returns the recording rules that give metrics the names of other exporters. They are for
// those who load them: nothing of upkeep reads these names.
func OldNames() fs.FS {
	in, err := fs.Sub(oldNames, "oldnames")
	if err != nil {
		panic(err) // the folder is in the program
	}
	return in
}

// A Rule is one alerting rule.
type Rule struct {
	File        string            `yaml:"-"`
	Name        string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Parse returns the alerting rules of all rule files, in their order. It looks
// at the form alone; whether an expression is right, Prometheus tells.
func Parse(in fs.FS) (all []Rule, err error) {
	all, _, err = read(in)
	return all, err
}

// A Recorded is one recording rule: what is dear to ask, under a name of its own.
type Recorded struct {
	Name     string            `yaml:"record"`
	Expr     string            `yaml:"expr"`
	Labels   map[string]string `yaml:"labels"`
	Interval string            `yaml:"-"` // of its group; empty: the server's
}

// Recording returns the recording rules of all rule files, in their order.
func Recording(in fs.FS) (all []Recorded, err error) {
	_, all, err = read(in)
	return all, err
}

func read(in fs.FS) (all []Rule, recorded []Recorded, err error) {
	names, err := fs.Glob(in, "*.rules.yaml")
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(in, name)
		if err != nil {
			return nil, nil, err
		}
		var content struct {
			Groups []struct {
				Interval string `yaml:"interval"`
				Rules    []struct {
					Rule     `yaml:",inline"`
					Recorded string `yaml:"record"`
				} `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := yaml.Unmarshal(text, &content); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, g := range content.Groups {
			for _, r := range g.Rules {
				if r.Recorded != "" {
					recorded = append(recorded, Recorded{r.Recorded, r.Expr, r.Labels, g.Interval})
					continue
				}
				r.File = name
				all = append(all, r.Rule)
			}
		}
	}
	return all, recorded, nil
}
