package logs

import (
	"hash/maphash"

	"github.com/ai-micro-service/upkeep/collectors/logs/top"
	"github.com/ai-micro-service/upkeep/collectors/logs/words"
)

// Bounds are the ends of the buckets of a request's duration, in seconds.
func Bounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

// buckets is len(Bounds()) and one beyond them.
const buckets = 12

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
	counts                        [buckets]uint64 // of durations
	sum                           float64         // of durations, in seconds
	slowest                       float64         // a request is slow beyond it, in milliseconds

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
		t.counts[bucketOf(r.duration)]++
		t.sum += r.duration / 1000
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

// bucketOf returns the bucket of a duration in milliseconds.
func bucketOf(ms float64) int {
	switch {
	case ms <= 5:
		return 0
	case ms <= 10:
		return 1
	case ms <= 25:
		return 2
	case ms <= 50:
		return 3
	case ms <= 100:
		return 4
	case ms <= 250:
		return 5
	case ms <= 500:
		return 6
	case ms <= 1000:
		return 7
	case ms <= 2500:
		return 8
	case ms <= 5000:
		return 9
	case ms <= 10000:
		return 10
	}
	return 11
}

// merge adds what another has counted.
func (t *tally) merge(o *tally) {
	t.lines, t.errors, t.slow, t.requests, t.broken = t.lines+o.lines, t.errors+o.errors, t.slow+o.slow,
		t.requests+o.requests, t.broken+o.broken
	t.templates.Merge(o.templates)
	t.endpoints.Merge(o.endpoints)
	for i, n := range o.counts {
		t.counts[i] += n
	}
	t.sum += o.sum
}
