package catalog_test

import (
	"encoding/json"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/dashboards"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
)

// declared returns every metric by its name.
func declared(t *testing.T) map[string]*collectors.Metric {
	t.Helper()
	all := make(map[string]*collectors.Metric)
	add := func(m *collectors.Metric) {
		if other := all[m.Name]; other != nil {
			if diff := cmp.Diff(other, m); diff != "" {
				t.Errorf("%s is declared twice and not alike:\n%s", m.Name, diff)
			}
		}
		all[m.Name] = m
	}
	for _, m := range catalog.Own() {
		add(m)
	}
	for _, c := range catalog.EveryCollector() {
		for _, m := range c.Metrics {
			add(m)
		}
	}
	return all
}

func rules(t *testing.T) []alerts.Rule {
	t.Helper()
	all, err := alerts.Parse(alerts.Files())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// panelExprs returns the expressions of all dashboards, variables included, in a
// form that PromQL's parser takes.
func panelExprs(t *testing.T) (exprs []string) {
	t.Helper()
	names, err := fs.Glob(dashboards.Files(), "*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("dashboards: %v %v", names, err)
	}
	times := strings.NewReplacer("$__rate_interval", "5m", "${__range_s}", "604800", "${__range_ms}", "604800000",
		"$__range_s", "604800", "$__range", "7d",
		"$__interval_ms", "60000")
	labelValues := regexp.MustCompile(`^label_values\((.*), \w+\)$`)
	for _, name := range names {
		text, err := fs.ReadFile(dashboards.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels     []struct{ Targets []struct{ Expr string } }
			Templating struct {
				List []struct{ Type, Query string }
			}
			Annotations struct {
				List []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				exprs = append(exprs, times.Replace(q.Expr))
			}
		}
		for _, a := range d.Annotations.List {
			exprs = append(exprs, times.Replace(a.Expr))
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				exprs = append(exprs, labelValues.FindStringSubmatch(v.Query)[1])
			}
		}
	}
	return exprs
}

// selectors returns the metrics that an expression reads and the labels it names.
func selectors(t *testing.T, expr string) map[string][]string {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	found := make(map[string][]string)
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			found[s.Name] = nil
			for _, m := range s.LabelMatchers {
				if m.Name != "__name__" {
					found[s.Name] = append(found[s.Name], m.Name)
				}
			}
		}
		return nil
	})
	return found
}

// exprs returns every expression of rules and panels, and the names that
// recording rules give.
func exprs(t *testing.T) (all []string, recorded map[string]bool) {
	t.Helper()
	all = panelExprs(t)
	for _, r := range rules(t) {
		all = append(all, r.Expr)
	}
	recording, err := alerts.Recording(alerts.Files())
	if err != nil {
		t.Fatal(err)
	}
	recorded = make(map[string]bool)
	for _, r := range recording {
		all = append(all, r.Expr)
		recorded[r.Name] = true
	}
	return all, recorded
}

// family returns the metric that a name in an expression is of: a histogram's
// series have suffixes.
func family(all map[string]*collectors.Metric, name string) (m *collectors.Metric, histogram bool) {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if m := all[strings.TrimSuffix(name, suffix)]; m != nil && m.Type == collectors.Histogram {
			return m, true
		}
	}
	return all[name], false
}

func TestRulesAndPanelsReadWhatIsDeclared(t *testing.T) {
	all := declared(t)
	everywhere, recorded := exprs(t)
	for _, e := range everywhere {
		for name, labels := range selectors(t, e) {
			m, histogram := family(all, name)
			if recorded[name] || scraped(name) {
				continue
			}
			if m == nil {
				t.Errorf("%s: no collector declares %s", e, name)
				continue
			}
			for _, l := range labels {
				if !slices.Contains(m.Labels, l) && !(histogram && l == "le") && l != "job" && l != "instance" {
					t.Errorf("%s: %s has no label %s", e, name, l)
				}
			}
		}
	}
}

// scraped reports whether a metric is that of a scraped service, or of Prometheus itself.
func scraped(name string) bool {
	return name == "up" || strings.HasPrefix(name, "http_request")
}

func TestEveryMetricIsUsedOrSaysWhyNot(t *testing.T) {
	read := make(map[string]bool)
	all := declared(t)
	everywhere, _ := exprs(t)
	for _, e := range everywhere {
		for name := range selectors(t, e) {
			if m, _ := family(all, name); m != nil {
				read[m.Name] = true
			}
		}
	}
	for name, m := range all {
		if read[name] == (m.NoPanel != "") {
			t.Errorf("%s is in a rule or panel: %v; has a reason not to be, its NoPanel: %q", name, read[name],
				m.NoPanel)
		}
	}
}

func TestActionsAndRulesFitEachOther(t *testing.T) {
	all := declared(t)
	byHand := map[string]bool{ // actions that no rule names
		"postgres/purge":            true, // what is gone is gone: a policy has to say so
		"postgres/reset_statements": true, // a schedule, after the review
		"postgres/restore_archived": true, // a person's wish
		"postgres/vacuum_full":      true, // the last step of a chain, or a person's wish
		"redis/restart":             true, // the last step of a chain
	}
	asked := make(map[string]bool)
	for _, r := range rules(t) {
		asked[r.Annotations["action"]] = true
	}
	for _, a := range catalog.EveryAction() {
		for _, lowered := range a.Metrics() {
			m := all[lowered]
			if m == nil {
				t.Errorf("%s lowers %s, which is not declared", a.Name, lowered)
				continue
			}
			for _, l := range a.Subject {
				if !slices.Contains(m.Labels, l) {
					t.Errorf("%s needs the label %s, and %s has none", a.Name, l, lowered)
				}
			}
		}
		for _, l := range a.Exclusive {
			if !slices.Contains(a.Subject, l) {
				t.Errorf("%s: %s is exclusive and not in the subject", a.Name, l)
			}
		}
		if !asked[a.Name] && !byHand[a.Name] {
			t.Errorf("no rule names %s: name it in the action annotation of a rule, or list it in byHand with the "+
				"reason", a.Name)
		}
		if asked[a.Name] && byHand[a.Name] {
			t.Errorf("a rule names %s: take it out of byHand", a.Name)
		}
		if asked[a.Name] && !strings.Contains(config.Example(), "action: "+a.Name) {
			t.Errorf("a rule names %s, and the example has no policy for it: write one in "+
				"internal/product/config/reference.go", a.Name)
		}
	}
	for _, r := range rules(t) {
		name := r.Annotations["action"]
		if name == "none" {
			continue
		}
		i := slices.IndexFunc(catalog.EveryAction(), func(a remediate.Action) bool { return a.Name == name })
		if i < 0 {
			t.Errorf("%s: unknown action %s", r.Name, name)
			continue
		}
		read := selectors(t, r.Expr)
		if !slices.ContainsFunc(catalog.EveryAction()[i].Metrics(),
			func(m string) bool { _, ok := read[m]; return ok }) {
			t.Errorf("%s asks for %s, which lowers another metric", r.Name, name)
		}
	}
}

// The value that an alert carries is the one that the action lowers: it is
// first in the expression.
func TestAlertCarriesTheLoweredMetric(t *testing.T) {
	for _, r := range rules(t) {
		for _, a := range catalog.EveryAction() {
			first := func(m string) bool { return strings.HasPrefix(strings.TrimSpace(r.Expr), m) }
			if a.Name == r.Annotations["action"] && !slices.ContainsFunc(a.Metrics(), first) {
				t.Errorf("%s does not begin with one of %s", r.Name, a.Metrics())
			}
		}
	}
}

func TestUnitsHaveNamesAndTexts(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+/[a-z_]+$`)
	seen := make(map[string]bool)
	check := func(n, kind, doc string) {
		if !name.MatchString(n) || seen[kind+n] {
			t.Errorf("%s %q is no name, or not the first of that name", kind, n)
		}
		seen[kind+n] = true
		if summary, rest, ok := strings.Cut(doc, "\n\n"); !ok || !strings.HasSuffix(summary, ".") ||
			!strings.Contains(rest, "Rights:") {
			t.Errorf("%s %s: the text has no summary, or does not say which rights it needs", kind, n)
		}
	}
	for _, c := range catalog.EveryCollector() {
		check(c.Name, "collector", c.Doc)
	}
	for _, a := range catalog.EveryAction() {
		check(a.Name, "action", a.Doc)
		for _, text := range []string{a.Effects.Lock, a.Effects.Blocks, a.Effects.WAL, a.Effects.Disk, a.Effects.Undo} {
			if text == "" {
				t.Errorf("action %s does not say all of its effects: %+v", a.Name, a.Effects)
			}
		}
	}
}
