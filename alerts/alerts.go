// Package alerts holds the rules that say when something matters, in Prometheus'
// own rule files, and their tests in promtool's format beside them.
//
// A rule's annotations are part of the contract: summary is for people, runbook
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
	names, err := fs.Glob(in, "*.rules.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(in, name)
		if err != nil {
			return nil, err
		}
		var content struct {
			Groups []struct {
				Rules []Rule `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := yaml.Unmarshal(text, &content); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, g := range content.Groups {
			for _, r := range g.Rules {
				if r.Name == "" {
					continue // a recording rule
				}
				r.File = name
				all = append(all, r)
			}
		}
	}
	return all, nil
}
