package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/catalog"
)

// Each metric of the other exporters has an answer: existing metrics of ours, or the reason why not.
func TestEveryMetricOfOthersHasAnAnswer(t *testing.T) {
	all, err := exporters()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := exporterAnswers()
	if err != nil {
		t.Fatal(err)
	}
	ours := make(map[string]bool)
	for _, m := range catalog.Own() {
		ours[m.Name] = true
	}
	for _, c := range catalog.EveryCollector() {
		for _, m := range c.Metrics {
			ours[m.Name] = true
		}
	}
	used := make(map[string]bool)
	for _, e := range all {
		if len(e.metrics) < 40 {
			t.Errorf("%s has only %d metrics", e.name, len(e.metrics))
		}
		if sorted := slices.Sorted(slices.Values(e.metrics)); !slices.Equal(slices.Compact(sorted), e.metrics) {
			t.Errorf("the metrics of %s are not in their order, each once", e.name)
		}
		of := answered(e.metrics, answers)
		n := 0
		for pattern, metrics := range of {
			used[pattern] = true
			n += len(metrics)
		}
		for _, m := range e.metrics {
			if n != len(e.metrics) && !slices.ContainsFunc(answers, func(a reply) bool {
				return slices.Contains(of[a.pattern], m)
			}) {
				t.Errorf("%s: %s has no answer", e.name, m)
			}
		}
	}
	for _, a := range answers {
		switch {
		case !used[a.pattern]:
			t.Errorf("%s is no metric of an exporter", a.pattern)
		case len(a.ours) == 0 && a.note == "":
			t.Errorf("%s: no metric of ours, and no reason", a.pattern)
		case a.rule != "" && (strings.ContainsAny(a.pattern, "*?[") || len(a.ours) == 0):
			t.Errorf("%s: a rule for no one metric", a.pattern)
		case a.rule == "=" && len(a.ours) != 1:
			t.Errorf("%s: a rule of %d metrics", a.pattern, len(a.ours))
		}
		for _, m := range a.ours {
			if !ours[m] {
				t.Errorf("%s: upkeep has no %s", a.pattern, m)
			}
			if a.rule != "" && a.rule != "=" && !strings.Contains(a.rule, m) {
				t.Errorf("%s: its rule does not read %s", a.pattern, m)
			}
		}
	}
}
