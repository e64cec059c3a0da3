package inbox

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
)

// Metrics returns the metrics of an Inbox.
func Metrics() []*metric.Family {
	return []*metric.Family{openIncidents(), received(), deadLetters(), deadLettersTotal()}
}

func openIncidents() *metric.Family {
	return metric.Gauge("upkeep_incidents_open", "Number of open incidents.", "alertname")
}

func received() *metric.Family {
	return metric.Counter("upkeep_inbox_alerts_total",
		"Alerts received and stored, duplicates included, by source and status.", "source", "status")
}

func deadLetters() *metric.Family {
	return metric.Gauge("upkeep_inbox_dead_letters",
		"Number of dead letters: webhook payloads that could not be parsed. At most a thousand are kept.")
}

func deadLettersTotal() *metric.Family {
	return metric.Counter("upkeep_inbox_dead_letters_total",
		"Webhook payloads, or alerts of one, that could not be parsed and were kept as dead letters; each delivery counts.")
}

// Describe and Collect make the Inbox a prometheus.Collector of what it took in
// and what it holds.
func (i *Inbox) Describe(ch chan<- *prometheus.Desc) { metric.Describe(ch, Metrics()...) }

// Collect writes the number of alerts that were taken in, of open episodes for
// each alert, and of letters.
func (i *Inbox) Collect(ch chan<- prometheus.Metric) {
	i.alerts.Collect(ch)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a scrape waits no longer
	defer cancel()
	i.kept.Collect(ch)
	var letters int64
	if err := i.one(ctx, &letters, "select count(*) from letters"); err != nil {
		ch <- metric.Unknown(deadLetters(), err)
	} else {
		ch <- metric.Sample(deadLetters(), float64(letters))
	}
	open, err := i.Incidents(ctx)
	if err != nil {
		ch <- metric.Unknown(openIncidents(), err)
		return
	}
	count := make(map[string]int)
	for _, e := range open {
		count[e.Name()]++
	}
	for name, n := range count {
		ch <- metric.Sample(openIncidents(), float64(n), name)
	}
}

func alertsVec(sources []string) *prometheus.CounterVec {
	vec := metric.NewCounter(nil, received())
	for _, source := range sources {
		for _, status := range []string{"firing", "resolved"} {
			vec.WithLabelValues(source, status) // a counter that appears at 1 has not increased
		}
	}
	return vec
}

func keptVec() *prometheus.CounterVec {
	vec := metric.NewCounter(nil, deadLettersTotal())
	vec.WithLabelValues()
	return vec
}
