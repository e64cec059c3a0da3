package inbox

import (
	"sync"
	"time"
)

// restless are the alerts that came back soon after their end, by their keys, and when
// each is looked at. It is kept in memory: after a restart the next return is noted.
type restless struct {
	mu  sync.Mutex
	all map[string]time.Time
}

// mostRestless is how many flapping alerts are looked at: in a flood a page about each is of no
// use.
const mostRestless = 1000

func (r *restless) add(key string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[string]time.Time)
	}
	if _, known := r.all[key]; !known && len(r.all) < mostRestless {
		r.all[key] = now
	}
}

func (r *restless) due(now time.Time) (keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, at := range r.all {
		if !at.After(now) {
			keys = append(keys, key)
		}
	}
	return keys
}

// any reports whether there is one.
func (r *restless) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all) > 0
}

// again looks at an alert later; a zero time forgets it.
func (r *restless) again(key string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.IsZero() {
		delete(r.all, key)
		return
	}
	r.all[key] = at
}
