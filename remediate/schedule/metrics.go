package schedule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
)

// Metrics returns the metrics of a Scheduler.
func Metrics() []*metric.Family { return []*metric.Family{failing(), failures()} }

func failing() *metric.Family {
	return metric.Gauge("upkeep_schedule_query_failing",
		"1 while the last attempt of a schedule's query failed: its runs do not start.", "schedule")
}

func failures() *metric.Family {
	return metric.Counter("upkeep_schedule_query_failures_total",
		"Failed queries of a schedule, since the start of the process.", "schedule").
		WithoutPanel("beside the gauge of the same, which has an alert")
}

// Describe and Collect make the Scheduler a prometheus.Collector of its queries.
func (s *Scheduler) Describe(ch chan<- *prometheus.Desc) { metric.Describe(ch, Metrics()...) }

// Collect writes how the queries do.
func (s *Scheduler) Collect(ch chan<- prometheus.Metric) {
	s.queries.mu.Lock()
	defer s.queries.mu.Unlock()
	for name, a := range s.queries.all {
		fails := 0.0
		if a.failing {
			fails = 1
		}
		ch <- metric.Sample(failing(), fails, name)
		ch <- metric.Sample(failures(), a.failures, name)
	}
}
