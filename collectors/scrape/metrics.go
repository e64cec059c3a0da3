package scrape

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/metric"
)

// metrics say how the collectors are doing.
type metrics struct {
	success, duration, last, samples, beyond *prometheus.GaugeVec
}

// Metrics returns the metrics that a Scraper serves about the collectors.
func Metrics() []*collectors.Metric {
	return []*collectors.Metric{success(), duration(), last(), samples(), beyond()}
}

func ofCollector(name, help string) *collectors.Metric {
	return metric.Gauge(name, help, "collector", "server")
}

func success() *collectors.Metric {
	return ofCollector("upkeep_collector_success", "1 when the last collection succeeded completely, else 0.")
}

func duration() *collectors.Metric {
	return ofCollector("upkeep_collector_duration_seconds", "Duration of the last collection.")
}

func last() *collectors.Metric {
	return ofCollector("upkeep_collector_last_success_timestamp_seconds",
		"When a collection last succeeded completely; absent before the first.").
		WithoutPanel("the age of an answer, for rules of one's own")
}

func samples() *collectors.Metric {
	return ofCollector("upkeep_collector_samples", "Number of samples that the last collection wrote.").
		WithoutPanel(collectors.AdHoc)
}

func beyond() *collectors.Metric {
	return ofCollector("upkeep_collector_beyond_limit",
		"Number of tables, statements or other subjects beyond the limit, which are not exported one by one.").
		WithoutPanel("the log reports it")
}

func newMetrics(r *prometheus.Registry) metrics {
	return metrics{
		success:  metric.NewGauge(r, success()),
		duration: metric.NewGauge(r, duration()),
		last:     metric.NewGauge(r, last()),
		samples:  metric.NewGauge(r, samples()),
		beyond:   metric.NewGauge(r, beyond()),
	}
}

func (m metrics) observe(s Status) {
	ok := 0.0
	if s.Err == "" {
		ok = 1
		m.last.WithLabelValues(s.Collector, s.Server).Set(float64(s.At.UnixMilli()) / 1000)
	}
	m.success.WithLabelValues(s.Collector, s.Server).Set(ok)
	m.duration.WithLabelValues(s.Collector, s.Server).Set(s.Took.Seconds())
	m.samples.WithLabelValues(s.Collector, s.Server).Set(float64(s.Samples))
	m.beyond.WithLabelValues(s.Collector, s.Server).Set(float64(s.Beyond))
}

func (m metrics) forget(of id) {
	for _, v := range []*prometheus.GaugeVec{m.success, m.duration, m.last, m.samples, m.beyond} {
		v.DeleteLabelValues(of.name, of.target)
	}
}

// A Status is how the last question to a collector went.
type Status struct {
	Collector string        `json:"collector"`
	Server    string        `json:"server"`
	Every     time.Duration `json:"every"`
	At        time.Time     `json:"at,omitzero"` // when it answered; zero before the first answer
	Took      time.Duration `json:"took"`
	Samples   int           `json:"samples"`
	Beyond    int           `json:"beyond,omitempty"` // subjects beyond the collector's limit
	Err       string        `json:"err,omitempty"`
	Down      string        `json:"down,omitempty"` // why the target does not answer; the collector is well
	Note      string        `json:"note,omitempty"` // what may be wrong in the target's configuration
	Good      time.Time     `json:"good,omitzero"`  // when it last answered without an error
	Since     time.Time     `json:"since,omitzero"` // since when it answers, fails, or its target does not answer
}

// follow fills in what a status has from the one before it.
func (s *Status) follow(before Status) {
	s.Good, s.Since = before.Good, before.Since
	if s.Err == "" {
		s.Good = s.At
	}
	if before.At.IsZero() || (s.Err == "") != (before.Err == "") || (s.Down == "") != (before.Down == "") {
		s.Since = s.At
	}
}

// An id names a collector: there is one of a name for each target.
type id struct{ name, target string }
