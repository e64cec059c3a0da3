package logs

import (
	"hash/maphash"

	"github.com/ai-micro-service/upkeep/collectors/logs/latency"
	"github.com/ai-micro-service/upkeep/collectors/logs/top"
	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

const (
	templateRoom = 500  // of errors that are counted at a time
	endpointRoom = 1000 // of requests
	cacheRoom    = 8192 // of paths whose endpoint is known
)

// A tally is what was counted in the lines of a service.
type tally struct {
	lines, errors, slow, requests uint64
	broken                        uint64 // lines that are no JSON
	missed                        uint64 // files that were gone before they were read
	templates                     *top.List
	endpoints                     *top.List
	durations                     latency.Histogram
	slowest                       float64 // a request is slow beyond it, in milliseconds

	seed    maphash.Seed
	scratch []byte
	known   []cached // endpoints of paths as they were written, by their hash
}

// A cached is a path as it was written, and its endpoint.
type cached struct {
	path     string
	endpoint *top.Entry
}

func newTally(slowest float64) *tally {
	return &tally{templates: top.New(templateRoom), endpoints: top.New(endpointRoom), slowest: slowest,
		seed: maphash.MakeSeed(), known: make([]cached, cacheRoom)}
}

// add counts one line.
func (t *tally) add(r *record) {
	t.lines++
	if !r.json {
		t.broken++
	}
	if len(r.trace) > 0 {
		t.fail(r.trace)
	}
	if r.severity == words.LevelError {
		t.scratch = words.Fold(t.scratch[:0], r.message)
		t.fail(t.scratch)
	}
	slow := r.timed && r.duration > t.slowest
	if len(r.path) > 0 {
		t.requests++
		if e := t.endpoint(r.path); slow {
			e.Slow++
		}
	}
	if slow {
		t.slow++
	}
	if r.timed {
		t.durations.Add(r.duration)
	}
}

// fail counts an error by its template.
func (t *tally) fail(template []byte) {
	t.errors++
	t.templates.Add(template)
}

// endpoint counts a request. Most paths came before: what they fold to is kept.
func (t *tally) endpoint(path []byte) *top.Entry {
	place := maphash.Bytes(t.seed, path) % cacheRoom
	for _, at := range [...]uint64{place, place ^ 1} { // two paths that meet do not drive each other out
		if had := &t.known[at]; had.path == string(path) && had.endpoint != nil && !had.endpoint.Gone() {
			t.endpoints.Again(had.endpoint)
			return had.endpoint
		}
	}
	t.scratch = words.FoldPath(t.scratch[:0], path)
	e := t.endpoints.Add(t.scratch)
	t.known[place^1] = t.known[place]
	t.known[place] = cached{string(path), e}
	return e
}

// merge adds what another has counted.
func (t *tally) merge(o *tally) {
	t.lines, t.errors, t.slow, t.requests, t.broken = t.lines+o.lines, t.errors+o.errors, t.slow+o.slow,
		t.requests+o.requests, t.broken+o.broken
	t.templates.Merge(o.templates)
	t.endpoints.Merge(o.endpoints)
	t.durations.Merge(o.durations)
}
