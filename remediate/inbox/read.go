package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Incidents returns every open incident, the oldest first.
func (i *Inbox) Incidents(ctx context.Context) ([]remediate.Incident, error) {
	return i.episodes(ctx, "where closed = 0 order by id")
}

// Undecided returns the open episodes that want a decision, the oldest first and
// limit of them at most: their hold-down is over, no run of theirs is under way,
// and they were not settled under this edition of the policies. Incidents that are over
// before their hold-down is, again and again, are among them after a while, with
// FlappingSince set.
func (i *Inbox) Undecided(ctx context.Context, edition string, limit int) ([]remediate.Incident, error) {
	var unfinished []string
	for _, s := range remediate.States() {
		if !s.Final() {
			unfinished = append(unfinished, "'"+string(s)+"'")
		}
	}
	// Two ranges instead of an inequality: an index finds them, however many are settled.
	rest := "? and ripe <= ? and not exists (select 1 from runs where runs.episode = episodes.id and runs.state in (" + strings.Join(unfinished, ", ") + "))"
	now := store.Millis(i.now())
	all, err := i.episodes(ctx, "where closed = 0 and settled < "+rest+" union all select "+columns+" from episodes where closed = 0 and settled > "+rest+" order by 1 limit ?",
		edition, now, edition, now, limit)
	if err != nil {
		return nil, err
	}
	flapping, err := i.flapping(ctx)
	return append(all, flapping...), err
}

// Incident returns one episode, open or closed.
func (i *Inbox) Incident(ctx context.Context, id int64) (remediate.Incident, error) {
	all, err := i.episodes(ctx, "where id = ?", id)
	if err != nil {
		return remediate.Incident{}, err
	}
	if len(all) == 0 {
		return remediate.Incident{}, fmt.Errorf("there is no episode %d", id)
	}
	return all[0], nil
}

func (i *Inbox) episodes(ctx context.Context, condition string, args ...any) ([]remediate.Incident, error) {
	rows, err := i.read(ctx, condition, args...)
	all := make([]remediate.Incident, len(rows))
	for n, e := range rows {
		all[n] = e.Incident
	}
	return all, err
}

func (i *Inbox) read(ctx context.Context, condition string, args ...any) (all []incident, err error) {
	rows, err := i.store.Query(ctx, "select "+columns+" from episodes "+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("episodes: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("episodes: %w", err)
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// one reads one number.
func (i *Inbox) one(ctx context.Context, into *int64, query string, args ...any) (err error) {
	rows, err := i.store.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(into); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Describe and Collect make the Inbox a prometheus.Collector of what it took in
// and what it holds.
func (i *Inbox) Describe(ch chan<- *prometheus.Desc) {
	ch <- openDesc()
	ch <- lettersDesc()
	i.alerts.Describe(ch)
	i.kept.Describe(ch)
}

// Collect writes the number of alerts that were taken in, of open episodes for
// each alert, and of letters.
func (i *Inbox) Collect(ch chan<- prometheus.Metric) {
	i.alerts.Collect(ch)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a scrape waits no longer
	defer cancel()
	i.kept.Collect(ch)
	var letters int64
	if err := i.one(ctx, &letters, "select count(*) from letters"); err != nil {
		ch <- prometheus.NewInvalidMetric(lettersDesc(), err)
	} else {
		ch <- prometheus.MustNewConstMetric(lettersDesc(), prometheus.GaugeValue, float64(letters))
	}
	open, err := i.Incidents(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(openDesc(), err)
		return
	}
	count := make(map[string]int)
	for _, e := range open {
		count[e.Name()]++
	}
	for name, n := range count {
		ch <- prometheus.MustNewConstMetric(openDesc(), prometheus.GaugeValue, float64(n), name)
	}
}

func openDesc() *prometheus.Desc {
	return prometheus.NewDesc("upkeep_incidents_open", "Number of open incidents.", []string{"alertname"}, nil)
}

func lettersDesc() *prometheus.Desc {
	return prometheus.NewDesc("upkeep_inbox_dead_letters", "Number of dead letters: webhook payloads that could not be parsed. At most a thousand are kept.", nil, nil)
}

func keptCounter() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "upkeep_inbox_dead_letters_total",
		Help: "Webhook payloads, or alerts of one, that could not be parsed and were kept as dead letters; each delivery counts.",
	})
}

func alertsVec() *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "upkeep_inbox_alerts_total",
		Help: "Alerts received and stored, duplicates included, by source and status.",
	}, []string{"source", "status"})
	for _, source := range []string{"alertmanager", "grafana"} {
		for _, status := range []string{"firing", "resolved"} {
			vec.WithLabelValues(source, status) // a counter that appears at 1 has not increased
		}
	}
	return vec
}
