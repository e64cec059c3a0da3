package journal

import (
	"context"
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Expect says which policies are in force: their counters exist at zero before their
// first run has ended, so that an increase over time counts that run.
func (j *Journal) Expect(all []Expected) { j.expected.Store(&all) }

// counts writes a counter of each policy and action, and a zero for those in force that
// have none yet. Where there are outcomes, each has a counter of its own.
func (j *Journal) counts(ctx context.Context, ch chan<- prometheus.Metric, f *metric.Family, outcomes []string,
	query string, args ...any) {
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
		if s.Ended() {
			all = append(all, string(s))
		}
	}
	return all
}

// sums writes a sample for each row: a number, and the labels of the metric. It returns the
// labels that were written, and whether all rows could be read.
func (j *Journal) sums(ctx context.Context, ch chan<- prometheus.Metric, f *metric.Family, query string,
	args ...any) (written [][]string, ok bool) {
	rows, err := j.store.Query(ctx, query, args...)
	if err != nil {
		ch <- metric.Unknown(f, err)
		return nil, false
	}
	for rows.Next() {
		var value float64
		names := make([]string, len(f.Labels))
		into := []any{&value}
		for i := range names {
			into = append(into, &names[i])
		}
		if err = rows.Scan(into...); err != nil {
			break
		}
		ch <- metric.Sample(f, value, names...)
		written = append(written, names)
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		ch <- metric.Unknown(f, err)
		return nil, false
	}
	return written, true
}
