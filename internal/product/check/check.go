// Package check says what is wrong with what a configuration means: metrics, alerts and
// targets that do not exist, policies that nothing reaches, files that are missing. How
// it is written, package config says; what it connects to, Connect asks.
package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Config returns what is wrong with what a configuration means, in the order of its
// lines. The configuration and its source are what config.Read has returned. It reads
// the files that the configuration names and connects to nothing.
func Config(c *config.Config, source *config.Source) ([]Finding, error) {
	words, err := newVocabulary(c)
	if err != nil {
		return nil, err
	}
	k := &checker{config: c, source: source, words: words}
	k.files()
	k.found = append(k.found, Danger(c, source)...)
	k.parts()
	k.targets()
	k.rules()
	k.windows()
	k.policies()
	k.schedules()
	slices.SortStableFunc(k.found, func(a, b Finding) int {
		if a.File != b.File {
			return 0 // rule files are in the order in which they were read
		}
		return cmp.Compare(a.Line, b.Line)
	})
	return slices.Compact(k.found), nil
}

// Start refuses a configuration with which serve must not start, as dangerous. Else it returns what is weak in it, as
// warnings, and what of it cannot work, as errors: the rest works, and a start is no time to lose it.
func Start(c *config.Config, source *config.Source) ([]Finding, error) {
	danger := Danger(c, source)
	var lines []string
	for _, f := range danger {
		if !f.Warning {
			lines = append(lines, f.String())
		}
	}
	if len(lines) > 0 {
		return nil, fmt.Errorf("the configuration is dangerous:\n%s", strings.Join(lines, "\n"))
	}
	all, err := Config(c, source)
	return slices.DeleteFunc(all, func(f Finding) bool { return f.Warning && !slices.Contains(danger, f) }), err
}

func newVocabulary(c *config.Config) (*vocabulary, error) {
	v := &vocabulary{
		embedded: c.Embedded.Enabled, others: scrapesOthers(c), metrics: make(map[string]metric),
		recorded: make(map[string][]*rule), given: make(map[string]series),
		actions: make(map[string]remediate.Action), targets: targetNames(c.Targets),
		every: make(map[string]time.Duration),
	}
	for _, m := range catalog.Own() {
		v.metrics[m.Name] = metric{Metric: m}
	}
	for _, k := range catalog.EveryCollector() {
		v.every[k.Name] = cmp.Or(c.Collectors.Settings[k.Name].Every, c.Collectors.Interval, k.Every)
		for _, m := range k.Metrics {
			v.metrics[m.Name] = metric{m, kindOf(k.Name), k.Name}
		}
	}
	for _, a := range catalog.EveryAction() {
		v.actions[a.Name] = a
	}
	shipped, err := shippedRules()
	if err != nil {
		return nil, err
	}
	all := shipped
	if c.Embedded.Enabled {
		v.user = userRules(c.Embedded.RuleFiles)
		all = append(all, v.user...)
	}
	for _, r := range all {
		switch {
		case r.record != "":
			v.recorded[r.record] = append(v.recorded[r.record], r)
		case r.alert != "":
			v.alerts = append(v.alerts, r)
		}
	}
	for _, r := range all { // after all recording rules are known
		r.gives = v.infer(r.expr).with(r)
	}
	return v, nil
}

// shippedRules returns the rules of package alerts.
func shippedRules() (all []*rule, err error) {
	recording, err := alerts.Recording(alerts.Files())
	if err != nil {
		return nil, err
	}
	alerting, err := alerts.Parse(alerts.Files())
	if err != nil {
		return nil, err
	}
	for _, r := range recording {
		all = append(all, &rule{record: r.Name, text: r.Expr, labels: r.Labels, shipped: true})
	}
	for _, r := range alerting {
		all = append(all, &rule{file: r.File, alert: r.Name, text: r.Expr, labels: r.Labels, annotations: r.Annotations,
			shipped: true})
	}
	for _, r := range all {
		if r.expr, err = promql(r.text); err != nil {
			return nil, err
		}
	}
	return all, nil
}
