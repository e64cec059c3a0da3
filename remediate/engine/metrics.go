package engine

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Metrics returns the metrics of an Engine.
func Metrics() []*metric.Family {
	return []*metric.Family{transitions(), refusals(), stuckRuns(), lastActed()}
}

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

// lastActed has one series for each action and server, so that graphs of a server can be marked
// where a run acted, with its number.
func lastActed() *metric.Family {
	return metric.Gauge("upkeep_run_acted_timestamp_seconds",
		"When the last run of an action on a server that has changed something was done with its steps, since the "+
			"start "+
			"of the process; run is its number.", "action", "server", "run")
}

// metrics are the engine's own.
type metrics struct {
	transitions, refusals *prometheus.CounterVec
	acted                 *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) metrics {
	return metrics{transitions: metric.NewCounter(r, transitions()), refusals: metric.NewCounter(r, refusals()),
		acted: metric.NewGauge(r, lastActed())}
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
	if entry.From != entry.To && entry.To == remediate.Applied {
		m.mark(run, entry.At)
	}
	if entry.Reason != "" && entry.To != remediate.Inconclusive {
		m.refusals.WithLabelValues(entry.Reason).Inc()
	}
}

// mark sets when a run acted, in the place of the run before it of the same action and server.
func (m metrics) mark(run remediate.Run, at time.Time) {
	action, server := run.Request.Action, run.Request.Subject["server"]
	m.acted.DeletePartialMatch(prometheus.Labels{"action": action, "server": server})
	m.acted.WithLabelValues(action, server, strconv.FormatInt(run.ID, 10)).Set(float64(at.UnixMilli()) / 1000)
}
