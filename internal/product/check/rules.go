package check

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// userRules reads the rule files of the configuration, as far as they can be read.
func userRules(patterns []string) (all []*rule) {
	for _, file := range ruleFiles(patterns) {
		if text, err := os.ReadFile(file); err == nil { // else it is said by ruleSyntax
			all = append(all, fileRules(file, text)...)
		}
	}
	return all
}

func ruleFiles(patterns []string) (all []string) {
	for _, pattern := range patterns {
		if files, err := filepath.Glob(pattern); err == nil {
			all = append(all, files...)
		}
	}
	return all
}

// ruleSyntax says what Prometheus would not take of the rule files.
func (k *checker) ruleSyntax() {
	place := regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors:\s+)?(?:line )?(\d+)(?::\d+)?: (?s:(.*))$`)
	for _, file := range ruleFiles(k.config.Embedded.RuleFiles) {
		text, err := os.ReadFile(file)
		if err != nil {
			k.add(file, 0, false, fmt.Sprintf("the rule file cannot be read: %v; let the user that runs upkeep read it",
				err))
			continue
		}
		_, faults := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}),
			slog.New(slog.DiscardHandler))
		for _, fault := range faults {
			line, what := 0, fault.Error()
			if m := place.FindStringSubmatch(what); m != nil {
				line, _ = strconv.Atoi(m[1]) // it is digits
				what = m[2]
			}
			k.add(file, line, false,
				strings.Join(strings.Fields(what), " ")+
					"; Prometheus would not take the file (promtool check rules says the same)")
		}
	}
}

func fileRules(file string, text []byte) (all []*rule) {
	var content struct {
		Groups []struct {
			Rules []yaml.Node `yaml:"rules"`
		} `yaml:"groups"`
	}
	if yaml.Unmarshal(text, &content) != nil {
		return nil
	}
	for _, g := range content.Groups {
		for i := range g.Rules {
			if r := nodeRule(file, &g.Rules[i]); r != nil {
				all = append(all, r)
			}
		}
	}
	return all
}

// nodeRule returns nil for a rule that does not parse.
func nodeRule(file string, n *yaml.Node) *rule {
	var content struct {
		Alert       string            `yaml:"alert"`
		Record      string            `yaml:"record"`
		Expr        string            `yaml:"expr"`
		Labels      map[string]string `yaml:"labels"`
		Annotations map[string]string `yaml:"annotations"`
	}
	if n.Decode(&content) != nil {
		return nil
	}
	expr, err := promql(content.Expr)
	if err != nil {
		return nil
	}
	r := &rule{
		file: file, alert: content.Alert, record: content.Record, text: content.Expr, labels: content.Labels,
		annotations: content.Annotations,
		expr:        expr, nodes: map[string]*yaml.Node{"": n},
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		r.nodes[key] = value
		for j := 0; value.Kind == yaml.MappingNode && j+1 < len(value.Content); j += 2 {
			r.nodes[key+"."+value.Content[j].Value] = value.Content[j+1]
		}
	}
	return r
}

// rules checks the rule files of the configuration.
func (k *checker) rules() {
	if k.outside() && len(k.config.Embedded.RuleFiles) > 0 {
		k.warn(in("embedded", "rule_files"),
			"embedded.rule_files has no effect while embedded.enabled is false; give the files to your own Prometheus")
	}
	if !k.outside() {
		k.ruleSyntax()
	}
	first := make(map[string]*rule)
	for _, r := range k.words.alerts {
		if first[r.alert] == nil {
			first[r.alert] = r
		}
	}
	for _, r := range k.words.user {
		k.userRule(r, first[r.alert])
	}
}

func (k *checker) userRule(r, first *rule) {
	say := func(key string, warning bool, format string, args ...any) {
		k.add(r.file, r.line(key), warning, fmt.Sprintf(format, args...))
	}
	k.expr(r.expr, r.name(), func(offset int, warning bool, format string, args ...any) {
		line := r.line("expr")
		if n := r.nodes["expr"]; n != nil && n.Style == yaml.LiteralStyle {
			line += 1 + strings.Count(r.text[:min(offset, len(r.text))], "\n")
		}
		k.add(r.file, line, warning, fmt.Sprintf(format, args...))
	})
	if r.alert == "" {
		return
	}
	if first != nil && first != r && first.shipped {
		say("alert", true, "%s: upkeep ships a rule of this name, and a policy for one matches both; choose another "+
			"name", r.name())
	}
	if r.labels["severity"] == "" {
		say("alert", true, "%s has no label severity; add severity: info, warning or critical, by which alerts are "+
			"routed and sorted", r.name())
	}
	action := r.annotations["action"]
	if _, ok := k.words.actions[action]; action != "" && action != "none" && !ok {
		say("annotations.action", false, "%s: the annotation action names %q, which does not exist; %s", r.name(),
			action, meant(action, k.actionNames(),
				"docs/actions.md lists the actions; write none for an alert without an action"))
	}
	if limit, ok := r.annotations["limit"]; ok {
		if !isNumber(limit) {
			say("annotations.limit", false,
				"%s: the annotation limit is %q; write the number that the expression compares with, like \"0.2\"",
				r.name(), limit)
		}
	}
}

// isNumber reports whether a value can be compared with a text.
func isNumber(text string) bool {
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

func (k *checker) actionNames() (names []string) {
	for name := range k.words.actions {
		names = append(names, name)
	}
	return names
}
