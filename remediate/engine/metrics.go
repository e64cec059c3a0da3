package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Metrics returns the metrics of an Engine.
func Metrics() []*metric.Family { return []*metric.Family{transitions(), refusals(), stuckRuns()} }

func transitions() *metric.Family {
	return metric.Counter("upkeep_run_transitions_total",
		"Transitions of runs into a state, since the start of the process.", "action", "to")
}

func refusals() *metric.Family {
	return metric.Counter("upkeep_run_refusals_total", "Runs that were refused or have to wait, by reason.", "reason")
}

func stuckRuns() *metric.Family {
	return metric.Gauge("upkeep_runs_stuck",
		"Number of stuck runs: no progress for longer than the timeout of their step, or not picked up when due.")
}

// metrics are the engine's own.
type metrics struct {
	transitions, refusals *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) metrics {
	return metrics{transitions: metric.NewCounter(r, transitions()), refusals: metric.NewCounter(r, refusals())}
}

// begin makes the counters of a setting exist at zero: a counter that appears with its
// first event at 1 has not increased for Prometheus.
func (m metrics) begin(s Setting) {
	for _, a := range s.Actions {
		for _, state := range remediate.States() {
			m.transitions.WithLabelValues(a.Name, string(state))
		}
	}
	for _, reason := range remediate.Reasons() {
		m.refusals.WithLabelValues(reason)
	}
	for _, g := range s.Guards {
		m.refusals.WithLabelValues(g.Name)
	}
}

func (m metrics) count(run remediate.Run, entry remediate.Entry) {
	if entry.From != entry.To {
		m.transitions.WithLabelValues(run.Request.Action, string(entry.To)).Inc()
	}
	if entry.Reason != "" && entry.To != remediate.Inconclusive {
		m.refusals.WithLabelValues(entry.Reason).Inc()
	}
}
