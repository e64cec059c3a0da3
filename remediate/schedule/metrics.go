package schedule

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
)

// queries knows of each schedule with a query whether the last try could be answered.
type queries struct {
	mu  sync.Mutex
	all map[string]*asked
}

type asked struct {
	query    string
	failing  bool
	failures float64
}

// use forgets schedules that do not exist any more, and the fault of a query that was
// replaced.
func (q *queries) use(schedules []Schedule) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.all
	q.all = make(map[string]*asked)
	for _, s := range schedules {
		if s.Query == "" {
			continue
		}
		q.all[s.Name] = &asked{query: s.Query}
		if b := before[s.Name]; b != nil {
			q.all[s.Name].failures = b.failures
			q.all[s.Name].failing = b.failing && b.query == s.Query
		}
	}
}

// note takes how a try has ended.
func (q *queries) note(name string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.all[name]
	if a == nil {
		return
	}
	a.failing = err != nil
	if err != nil {
		a.failures++
	}
}

// Metrics returns the metrics of a Scheduler.
func Metrics() []*metric.Family { return []*metric.Family{failing(), failures()} }

func failing() *metric.Family {
	return metric.Gauge("upkeep_schedule_query_failing",
		"1 while the last attempt of a schedule's query failed: its runs do not start.", "schedule")
}

func failures() *metric.Family {
	return metric.Counter("upkeep_schedule_query_failures_total",
		"Failed queries of a schedule, since the start of the process.", "schedule")
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
