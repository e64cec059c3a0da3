package inbox

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Episodes returns every open episode, the oldest first.
func (i *Inbox) Episodes(ctx context.Context) ([]remediate.Episode, error) {
	return i.read(ctx, "where closed = 0 order by id")
}

// Undecided returns the open episodes for which no run was made yet, the oldest first.
func (i *Inbox) Undecided(ctx context.Context) ([]remediate.Episode, error) {
	return i.read(ctx, "where closed = 0 and not exists (select 1 from runs where runs.episode = episodes.id) order by id")
}

// Episode returns one episode, open or closed.
func (i *Inbox) Episode(ctx context.Context, id int64) (remediate.Episode, error) {
	all, err := i.read(ctx, "where id = ?", id)
	if err != nil {
		return remediate.Episode{}, err
	}
	if len(all) == 0 {
		return remediate.Episode{}, fmt.Errorf("there is no episode %d", id)
	}
	return all[0], nil
}

func (i *Inbox) read(ctx context.Context, condition string, args ...any) ([]remediate.Episode, error) {
	rows, err := i.store.Query(ctx, "select id, alert, opened, seen, closed, why from episodes "+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("episodes: %w", err)
	}
	return scan(rows)
}

// Describe and Collect make the Inbox a prometheus.Collector of the number of
// open episodes.
func (i *Inbox) Describe(ch chan<- *prometheus.Desc) { ch <- openDesc() }

// Collect writes the number of open episodes for each alert.
func (i *Inbox) Collect(ch chan<- prometheus.Metric) {
	open, err := i.Episodes(context.Background())
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
	return prometheus.NewDesc("upkeep_episodes_open", "Number of troubles that alerts have told of and that are not over.", []string{"alertname"}, nil)
}
