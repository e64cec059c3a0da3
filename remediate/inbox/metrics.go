package inbox

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
)

// Describe and Collect make the Inbox a prometheus.Collector of what it took in
// and what it holds.
func (i *Inbox) Describe(ch chan<- *prometheus.Desc) { metric.Describe(ch, Metrics()...) }

// Collect writes the number of alerts that were taken in, of open incidents for
// each alert, and of dead letters.
func (i *Inbox) Collect(ch chan<- prometheus.Metric) {
	i.alerts.Collect(ch)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a scrape waits no longer
	defer cancel()
	i.kept.Collect(ch)
	i.refused.Collect(ch)
	var kept int64
	if err := i.one(ctx, &kept, "select count(*) from dead_letters"); err != nil {
		ch <- metric.Unknown(deadLetters(), err)
	} else {
		ch <- metric.Sample(deadLetters(), float64(kept))
	}
	counts, err := i.openByName(ctx)
	if err != nil {
		ch <- metric.Unknown(openIncidents(), err)
		return
	}
	for name, n := range counts {
		ch <- metric.Sample(openIncidents(), float64(n), name)
	}
}
