package journal

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Expected is a policy in force with an action of its steps.
type Expected struct{ Policy, Action string }

// Expect says which policies are in force: their counters exist at zero before their
// first run has ended, so that an increase over time counts that run.
func (j *Journal) Expect(all []Expected) { j.expected.Store(&all) }

// counts writes a counter of each policy and action, and a zero for those in force that
// have none yet. Where there are outcomes, each has a counter of its own.
func (j *Journal) counts(ctx context.Context, ch chan<- prometheus.Metric, f *metric.Family, outcomes []string, query string, args ...any) {
	written, ok := j.sums(ctx, ch, f, query, args...)
	all := j.expected.Load()
	if !ok || all == nil {
		return // what could not be read is not zero
	}
	zero := func(names ...string) {
		if slices.ContainsFunc(written, func(w []string) bool { return slices.Equal(w, names) }) {
			return
		}
		ch <- metric.Sample(f, 0, names...)
		written = append(written, names)
	}
	for _, e := range *all {
		if len(outcomes) == 0 {
			zero(e.Policy, e.Action)
		}
		for _, outcome := range outcomes {
			zero(e.Policy, e.Action, outcome)
		}
	}
}

// ends are the outcomes that a run can have.
func ends() (all []string) {
	for _, s := range remediate.States() {
		if s.Final() {
			all = append(all, string(s))
		}
	}
	return all
}
