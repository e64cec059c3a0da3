package journal

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A description is one metric of the journal, computed from the store when it is
// asked for, so that it outlives a restart.
type description struct {
	paused, active, ended, acted, clearing, back, demoted, members *prometheus.Desc
}

func describe() description {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return description{
		paused:   d("upkeep_paused", "1 for each active pause; its scope is all, a policy, an action or a target.", "scope"),
		active:   d("upkeep_runs_active", "Number of runs that have not ended, by state; runs that wait or await approval are included.", "action", "state"),
		ended:    d("upkeep_policy_runs_total", "Runs of a policy that have ended, by outcome; since the store was created.", "policy", "action", "outcome"),
		acted:    d("upkeep_policy_acted_total", "Runs of a policy that have changed something, since the store was created.", "policy", "action"),
		clearing: d("upkeep_policy_resolve_seconds_total", "Time from the request to the resolution, summed over the runs of a policy that resolved the incident.", "policy", "action"),
		back:     d("upkeep_policy_came_back_total", "Runs of a policy that resolved an incident which needed another run within 24 hours.", "policy", "action"),
		demoted:  d("upkeep_policy_demoted", "1 for each policy that is demoted because too few of its runs helped.", "policy"),
		members:  d("upkeep_replicas", "Number of processes that execute runs from this store."),
	}
}

// Describe and Collect make the Journal a prometheus.Collector of what it holds.
func (j *Journal) Describe(ch chan<- *prometheus.Desc) {
	d := describe()
	for _, one := range []*prometheus.Desc{d.paused, d.active, d.ended, d.acted, d.clearing, d.back, d.demoted, d.members} {
		ch <- one
	}
}

// Collect writes the samples. What cannot be read is an invalid metric, never zero.
func (j *Journal) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a scrape waits no longer
	defer cancel()
	d := describe()
	pauses, err := j.Pauses(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(d.paused, err)
	}
	for _, p := range pauses {
		ch <- prometheus.MustNewConstMetric(d.paused, prometheus.GaugeValue, 1, p.Scope)
	}
	all, err := j.PolicyStates(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(d.demoted, err)
	}
	for _, s := range all {
		if !s.Demoted.IsZero() {
			ch <- prometheus.MustNewConstMetric(d.demoted, prometheus.GaugeValue, 1, s.Policy)
		}
	}
	states := unfinished()
	j.sums(ctx, ch, d.active, prometheus.GaugeValue, 2, "select count(*), action, state from runs where state in ("+marks(len(states))+") group by action, state", states...)
	j.counts(ctx, ch, d.ended, ends(), "select count(*), policy, action, state from runs where policy <> '' and state not in ("+marks(len(states))+") group by policy, action, state", states...)
	j.counts(ctx, ch, d.acted, nil, "select count(*), policy, action from runs where policy <> '' and begun > 0 group by policy, action")
	j.counts(ctx, ch, d.clearing, nil, "select sum(changed - created) / 1000.0, policy, action from runs where policy <> '' and state = ? group by policy, action", string(remediate.Cleared))
	j.counts(ctx, ch, d.back, nil, `select count(*), policy, action from runs r where policy <> '' and state = ? and exists (select 1 from runs n
		where n.subject = r.subject and n.action = r.action and n.policy = r.policy and n.id > r.id and n.begun > 0 and n.created > r.changed and n.created <= r.changed + ?) group by policy, action`,
		string(remediate.Cleared), comeBack.Milliseconds())
	j.sums(ctx, ch, d.members, prometheus.GaugeValue, 0, "select count(*) from instances where expires > ?", store.Millis(j.now()))
}

// sums writes a sample for each row: a number, and as many labels. It returns the labels
// that were written, and whether all rows could be read.
func (j *Journal) sums(ctx context.Context, ch chan<- prometheus.Metric, d *prometheus.Desc, kind prometheus.ValueType, labels int, query string, args ...any) (written [][]string, ok bool) {
	rows, err := j.store.Query(ctx, query, args...)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(d, err)
		return nil, false
	}
	for rows.Next() {
		var value float64
		names := make([]string, labels)
		into := []any{&value}
		for i := range names {
			into = append(into, &names[i])
		}
		if err = rows.Scan(into...); err != nil {
			break
		}
		ch <- prometheus.MustNewConstMetric(d, kind, value, names...)
		written = append(written, names)
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		ch <- prometheus.NewInvalidMetric(d, err)
		return nil, false
	}
	return written, true
}
