package journal

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// Metrics returns the metrics of a Journal and of what it keeps. They are computed from the
// store when they are asked for, so that they outlive a restart.
func Metrics() []*metric.Family { return append(computed(), Intact()) }

func computed() []*metric.Family {
	return []*metric.Family{paused(), active(), ended(), acted(), resolving(), cameBack(), demoted(), replicas()}
}

// Intact is 1 when the whole journal was unchanged. Verify, which reads it, takes long: it is
// registered by the caller, once it is known.
func Intact() *metric.Family {
	return metric.Gauge("upkeep_journal_intact",
		"1 when every entry of the journal was unchanged at the start of the process, else 0.")
}

func paused() *metric.Family {
	return metric.Gauge("upkeep_paused", "1 for each active pause; its scope is all, a policy, an action or a target.",
		"scope")
}

func active() *metric.Family {
	return metric.Gauge("upkeep_runs_active",
		"Number of runs that have not ended, by state; runs that wait or await approval are included.", "action",
		"state")
}

func ended() *metric.Family {
	return metric.Counter("upkeep_policy_runs_total",
		"Runs of a policy that have ended, by outcome; since the store was created.", "policy", "action", "outcome")
}

func acted() *metric.Family {
	return metric.Counter("upkeep_policy_acted_total",
		"Runs of a policy that have changed something, since the store was created.", "policy", "action")
}

func resolving() *metric.Family {
	return metric.Counter("upkeep_policy_resolve_seconds_total",
		"Time from the request to the resolution, summed over the runs of a policy that resolved the incident.",
		"policy", "action")
}

func cameBack() *metric.Family {
	return metric.Counter("upkeep_policy_came_back_total",
		"Runs of a policy that resolved an incident which needed another run within 24 hours.", "policy", "action")
}

func demoted() *metric.Family {
	return metric.Gauge("upkeep_policy_demoted",
		"1 for each policy that is demoted: too few of its runs helped, or a person demoted it.", "policy")
}

func replicas() *metric.Family {
	return metric.Gauge("upkeep_replicas", "Number of processes that execute runs from this store.")
}

// Describe and Collect make the Journal a prometheus.Collector of what it holds.
func (j *Journal) Describe(ch chan<- *prometheus.Desc) { metric.Describe(ch, computed()...) }

// Collect writes the samples. What cannot be read is an invalid metric, never zero.
func (j *Journal) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a scrape waits no longer
	defer cancel()
	pauses, err := j.Pauses(ctx)
	if err != nil {
		ch <- metric.Unknown(paused(), err)
	}
	for _, p := range pauses {
		ch <- metric.Sample(paused(), 1, p.Scope)
	}
	all, err := j.PolicyStates(ctx)
	if err != nil {
		ch <- metric.Unknown(demoted(), err)
	}
	for _, s := range all {
		if !s.Demoted.IsZero() {
			ch <- metric.Sample(demoted(), 1, s.Policy)
		}
	}
	j.sums(ctx, ch, active(), "select count(*), action, state from runs where "+isUnfinished()+
		" group by action, state")
	// These are kept, so that they cost the same with any number of runs and outlive retention.
	j.counts(ctx, ch, ended(), ends(), "select ended, policy, action, outcome from policy_ends")
	j.counts(ctx, ch, acted(), nil, "select acted, policy, action from policy_sums")
	j.counts(ctx, ch, resolving(), nil, "select resolving / 1000.0, policy, action from policy_sums")
	j.counts(ctx, ch, cameBack(), nil, "select came_back, policy, action from policy_sums")
	now, err := j.outsideClock(ctx)
	if err != nil {
		ch <- metric.Unknown(replicas(), err)
		return
	}
	j.sums(ctx, ch, replicas(), "select count(*) from instances where expires > ?", store.Millis(now))
}
