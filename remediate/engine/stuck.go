package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// unmovedFor is how long a run may stay as it is beyond what its step may take, or
	// beyond the moment at which it was to be looked at: a look takes half a minute at
	// most, and some others may be before it.
	unmovedFor = 5 * time.Minute

	// longestStep is how long a step may take of which nothing is known, because the
	// configuration no longer has its target.
	longestStep = 12 * time.Hour

	// mostStuck is how many are looked for: one is bad enough.
	mostStuck = 1000
)

// A Stuck is a run that has not moved for longer than what it does may take.
type Stuck struct {
	Run   remediate.Run `json:"run"`
	Since time.Time     `json:"since"` // from then on it should have moved
	Why   string        `json:"why"`
}

// Stuck returns the runs that have not moved for longer than what they do may take,
// those that were written about longest ago first.
func (e *Engine) Stuck(ctx context.Context) (all []Stuck, err error) {
	now := e.now()
	runs, err := e.c.Journal.Unmoved(ctx, now.Add(-unmovedFor), mostStuck)
	if err != nil {
		return nil, fmt.Errorf("stuck runs: %w", err)
	}
	for _, run := range runs {
		if s := e.deadline(run); now.Sub(s.Since) > unmovedFor {
			all = append(all, s)
		}
	}
	return all, nil
}

// deadline says until when a run should have moved.
func (e *Engine) deadline(run remediate.Run) Stuck {
	s := Stuck{Run: run, Since: run.Changed}
	switch i := run.Begun - 1; {
	case run.State == remediate.Allowed && run.Begun > run.Done && i < len(run.Plan.Steps):
		may := e.stepTime(run)
		s.Since = run.Changed.Add(may)
		s.Why = fmt.Sprintf("step %d (%s) has a timeout of %s, and no progress was recorded since %s", run.Begun,
			run.Plan.Steps[i].Do, may, run.Changed.UTC().Format(time.RFC3339))
	case run.Due.After(run.Changed):
		s.Since = run.Due
		s.Why = fmt.Sprintf("it was due at %s and was not picked up", run.Due.UTC().Format(time.RFC3339))
	default:
		s.Why = fmt.Sprintf("no progress was recorded since %s", run.Changed.UTC().Format(time.RFC3339))
	}
	return s
}

// stepTime is how long a step of a run may take.
func (e *Engine) stepTime(run remediate.Run) time.Duration {
	if a, ok := e.setting.Load().actions[key{run.Request.Action, run.Request.Subject["server"]}]; ok {
		return a.Timeout
	}
	return longestStep
}

// Stopping says why a run that a person wants to stop has not ended yet.
func (e *Engine) Stopping(run remediate.Run) string {
	e.mu.Lock()
	c := e.carried[run.ID]
	e.mu.Unlock()
	switch {
	case run.State.Ended():
		return ""
	case run.State == remediate.Applied:
		return "all its steps are done; only the verification is pending"
	case c == nil:
		return "it stops when a replica picks it up: at once if no replica owns it, else with the next heartbeat of " +
			"its owner"
	}
	if d := c.doing.Load(); d != nil {
		return fmt.Sprintf("step %d (%s) was cancelled and has not ended; it began at %s and may take until %s",
			d.step+1, d.run.Plan.Steps[d.step].Do, d.since.UTC().Format(time.RFC3339),
			d.since.Add(d.action.Timeout).UTC().Format(time.RFC3339))
	}
	return "it is being evaluated, which takes at most half a minute"
}

// stuckMetric counts the runs that do not move.
type stuckMetric struct{ e *Engine }

// Describe implements prometheus.Collector.
func (m stuckMetric) Describe(ch chan<- *prometheus.Desc) { metric.Describe(ch, stuckRuns()) }

// Collect writes the number. One that cannot be read is an invalid metric, never zero.
func (m stuckMetric) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a scrape waits no longer
	defer cancel()
	all, err := m.e.Stuck(ctx)
	if err != nil {
		ch <- metric.Unknown(stuckRuns(), err)
		return
	}
	ch <- metric.Sample(stuckRuns(), float64(len(all)))
}
