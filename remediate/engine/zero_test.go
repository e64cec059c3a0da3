package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// There is one series for each action and server, with the last run that acted.
func TestLastRunThatActed(t *testing.T) {
	r := prometheus.NewRegistry()
	m := newMetrics(r)
	count := func(run int64, action, server string, from, to remediate.State, at int64) {
		m.count(remediate.Run{ID: run, Request: remediate.Request{Action: action,
			Subject: map[string]string{"server": server}}}, remediate.Entry{From: from, To: to, At: time.Unix(at, 0)})
	}
	count(1, "a/b", "main", remediate.Allowed, remediate.Applied, 100)
	count(1, "a/b", "main", remediate.Applied, remediate.Applied, 110) // a note, and no transition
	count(1, "a/b", "main", remediate.Applied, remediate.Resolved, 120)
	count(2, "a/b", "main", remediate.Allowed, remediate.Applied, 200)
	count(3, "a/b", "other", remediate.Allowed, remediate.Applied, 300)
	count(4, "a/c", "main", remediate.Planned, remediate.StateRefused, 400)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, one := range f.GetMetric() {
			if f.GetName() == lastActed().Name {
				l := one.GetLabel()
				got[l[0].GetValue()+" "+l[2].GetValue()+" "+l[1].GetValue()] = one.GetGauge().GetValue()
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{"a/b main 2": 200, "a/b other 3": 300}, got); diff != "" {
		t.Errorf("what acted, -want +got:\n%s", diff)
	}
}
