package schedule

import (
	"sync"
)

// queries knows of each schedule with a query whether the last try could be answered.
type queries struct {
	mu  sync.Mutex
	all map[string]*query
}

// A query is that of one schedule.
type query struct {
	text     string
	failing  bool
	failures float64
}

// use forgets schedules that do not exist any more, and the fault of a query that was
// replaced.
func (q *queries) use(schedules []Schedule) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.all
	q.all = make(map[string]*query)
	for _, s := range schedules {
		if s.Query == "" {
			continue
		}
		q.all[s.Name] = &query{text: s.Query}
		if b := before[s.Name]; b != nil {
			q.all[s.Name].failures = b.failures
			q.all[s.Name].failing = b.failing && b.text == s.Query
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
