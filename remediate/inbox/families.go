package inbox

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Metrics returns the metrics of an Inbox.
func Metrics() []*metric.Family {
	return []*metric.Family{openIncidents(), received(), refused(), deadLetters(), deadLettersTotal()}
}

func openIncidents() *metric.Family {
	return metric.Gauge("upkeep_incidents_open",
		"Number of open incidents, of the 50 alerts that have the most; the rest is other.", "alertname")
}

func refused() *metric.Family {
	return metric.Counter("upkeep_inbox_alerts_refused_total",
		"Alerts that found no room, since too many incidents are open; each delivery counts, and is answered 503.",
		"alertname")
}

func received() *metric.Family {
	return metric.Counter("upkeep_inbox_alerts_total",
		"Alerts received and stored, duplicates included, by source and status.", "source", "status")
}

func deadLetters() *metric.Family {
	return metric.Gauge("upkeep_inbox_dead_letters",
		"Number of dead letters: webhook payloads that could not be parsed. At most a thousand are kept, a hundred of "+
			"one sender.")
}

func deadLettersTotal() *metric.Family {
	return metric.Counter("upkeep_inbox_dead_letters_total",
		"Webhook payloads, or alerts of one, that could not be parsed and were kept as dead letters; each delivery "+
			"counts.")
}

func alertsVec(sources []string) *prometheus.CounterVec {
	vec := metric.NewCounter(nil, received())
	for _, source := range sources {
		for _, status := range []string{remediate.StatusFiring, remediate.StatusResolved} {
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
