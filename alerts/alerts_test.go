package alerts_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"

	"github.com/ai-micro-service/upkeep/alerts"
)

// promtool runs promtool, of Debian's package prometheus.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("promtool is missing: apt-get install prometheus")
	}
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRulesByPromtool(t *testing.T) {
	for kind, pattern := range map[string]string{"check": "*.rules.yaml", "test": "*_test.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v %v", pattern, files, err)
		}
		promtool(t, append([]string{kind, "rules"}, files...)...)
	}
}

// The metrics under old names are what dashboards of other exporters ask for.
func TestOldNamesByPromtool(t *testing.T) {
	promtool(t, "check", "rules", "oldnames/old-names.rules.yaml")
	promtool(t, "test", "rules", "oldnames/old-names_test.yaml")
}

// Where a file has several groups, promtool takes them in any order unless the test names one, and a
// rule then reads values of this evaluation or of the one before.
func TestGroupsAreInOrder(t *testing.T) {
	files, err := filepath.Glob("*.rules.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		parsed, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		if errs != nil {
			t.Fatal(file, errs)
		}
		var names []string
		for _, g := range parsed.Groups {
			names = append(names, g.Name)
		}
		text, err := os.ReadFile(strings.Replace(file, ".rules.yaml", "_test.yaml", 1))
		if err != nil {
			t.Fatal(err)
		}
		line := "\ngroup_eval_order: [" + strings.Join(names, ", ") + "]\n"
		if len(names) > 1 && !strings.Contains(string(text), line) {
			t.Errorf("the test of %s has no line %q", file, line)
		}
	}
}

// Every alert is tested to fire, and at two moments at least not to.
func TestEveryAlertIsTested(t *testing.T) {
	for _, r := range rules(t) {
		text, err := os.ReadFile(strings.Replace(r.File, ".rules.yaml", "_test.yaml", 1))
		if err != nil {
			t.Error(err)
			continue
		}
		quiet := strings.Count(string(text), "alertname: "+r.Name+"}")
		fires := strings.Count(string(text), "alertname: "+r.Name+"\n        exp_alerts:")
		if fires < 1 || quiet < 2 {
			t.Errorf("%s is tested to fire at %d moments and not to at %d, want 1 and 2: before, and when it is over",
				r.Name, fires, quiet)
		}
	}
}

func TestAnnotations(t *testing.T) {
	for _, r := range rules(t) {
		for _, key := range []string{"summary", "runbook_url", "limit", "action"} {
			if r.Annotations[key] == "" {
				t.Errorf("%s has no annotation %s", r.Name, key)
			}
		}
		if (r.Annotations["action"] == "none") != (r.Annotations["reason"] != "") {
			t.Errorf("%s: a reason is given if and only if no action is named", r.Name)
		}
		if r.Labels["severity"] == "" {
			t.Errorf("%s has no severity", r.Name)
		}
		if !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/runbooks/"+r.Name+".md") {
			t.Errorf("%s: runbook_url does not end with /docs/runbooks/%s.md", r.Name, r.Name)
		}
		page, err := os.ReadFile(filepath.Join("..", "docs", "runbooks", r.Name+".md"))
		if err != nil {
			t.Errorf("%s has no runbook: %v", r.Name, err)
			continue
		}
		if a := r.Annotations["action"]; a != "none" && !strings.Contains(string(page), "`"+a+"`") {
			t.Errorf("%s asks for %s, and its runbook does not name it under What upkeep does", r.Name, a)
		}
		if a := r.Annotations["action"]; a != "none" && strings.Contains(string(page), "**What upkeep does.** Nothing") {
			t.Errorf("%s asks for %s, and its runbook says that upkeep does nothing", r.Name, a)
		}
	}
}

// The limit is written once: what the annotation says is what the expression compares.
func TestLimitIsTheOneCompared(t *testing.T) {
	for _, r := range rules(t) {
		limit, err := strconv.ParseFloat(r.Annotations["limit"], 64)
		if err != nil {
			t.Errorf("%s: limit: %v", r.Name, err)
			continue
		}
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
		if err != nil {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		if got, err := first(expr, r.Annotations["action"] != "none"); err != nil || got != limit {
			t.Errorf("%s: limit is %v, the expression compares its first metric with %v (%v)", r.Name, limit, got, err)
		}
	}
}

// first returns the number that the expression's first metric is compared with:
// it is the one whose value the alert carries. What an action lowers is compared
// as it is, and not a rate or an age of it.
func first(e parser.Expr, asItIs bool) (float64, error) {
	b, ok := e.(*parser.BinaryExpr)
	if !ok {
		return 0, fmt.Errorf("%s compares nothing", e)
	}
	if !b.Op.IsComparisonOperator() {
		return first(b.LHS, asItIs)
	}
	_, metric := b.LHS.(*parser.VectorSelector)
	number, ok := b.RHS.(*parser.NumberLiteral)
	if !metric && asItIs || !ok {
		return 0, fmt.Errorf("%s does not compare a metric with a number", e)
	}
	return number.Val, nil
}

func TestNamesAreUnique(t *testing.T) {
	var names []string
	for _, r := range rules(t) {
		if slices.Contains(names, r.Name) {
			t.Errorf("two alerts are called %s", r.Name)
		}
		names = append(names, r.Name)
	}
}

func rules(t *testing.T) []alerts.Rule {
	t.Helper()
	all, err := alerts.Parse(alerts.Files())
	if err != nil || len(all) == 0 {
		t.Fatalf("Parse: %v %v", all, err)
	}
	return all
}

// A service with a native histogram alone, and no counter of requests, can be slow too.
func TestNativeHistogramAlone(t *testing.T) {
	storage := promqltest.LoadedStorage(t, `load 1m
  http_request_duration_seconds{job="native"} {{schema:0 sum:0 count:0 buckets:[0]}}+{{schema:0 sum:180 count:60 buckets:[0 0 60]}}x30
`)
	engine := promqltest.NewTestEngine(t, false, 0, 1000)
	ask := func(expr string) promql.Vector {
		t.Helper()
		q, err := engine.NewInstantQuery(t.Context(), storage, nil, expr, time.UnixMilli(0).Add(20*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	recorded, err := alerts.Recording(alerts.Files())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		if r.Name != "ApiLatencyHigh" {
			continue
		}
		expr := r.Expr
		for range 2 { // what is recorded is not stored here: one may be made of another
			for _, one := range recorded {
				expr = strings.ReplaceAll(expr, one.Name, "("+one.Expr+")")
			}
		}
		got := ask(expr)
		if len(got) != 1 || got[0].Metric.Get("job") != "native" || got[0].F < 1 {
			t.Errorf("%s: %v", expr, got)
		}
	}
}
