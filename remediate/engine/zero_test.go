package engine

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/remediate"
)

// The counters of an action exist at zero before its first run: one that appears at 1
// has not increased for Prometheus, and the first run of each action was not counted.
func TestCountersExistFromTheStart(t *testing.T) {
	r := prometheus.NewRegistry()
	m := newMetrics(r)
	m.begin(Setting{Actions: []remediate.Action{{Name: "a/b", Target: "x"}, {Name: "a/b", Target: "y"}},
		Guards: []remediate.Guard{{Name: "window"}}})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := make(map[string]int)
	for _, f := range families {
		for _, one := range f.GetMetric() {
			series[f.GetName()]++
			if v := one.GetCounter().GetValue(); v != 0 {
				t.Errorf("%s begins at %v", f.GetName(), v)
			}
		}
	}
	if n := series["upkeep_run_transitions_total"]; n != len(remediate.States()) {
		t.Errorf("%d counters of transitions, want one for each state", n)
	}
	if n := series["upkeep_run_refusals_total"]; n != len(remediate.Reasons())+1 {
		t.Errorf("%d counters of refusals, want one for each reason and the guard", n)
	}
}
