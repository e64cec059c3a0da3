package engine

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// A flood is this many deliveries between two looks, at this rate. Fewer are decided about at once.
	floodAtLeast = 16
	floodRate    = 200 // a second

	// floodLook is how often it is looked whether a flood goes on.
	floodLook = 50 * time.Millisecond

	// floodWaits is how long a decision waits for the end of a flood.
	floodWaits = 2 * time.Second
)

// A flood of alerts is acknowledged first: deciding about each takes the store and the processor from the
// deliveries that wait, and an alert that was acknowledged is on disk.
type flood struct {
	came atomic.Int64 // deliveries that changed something

	// of the loop that decides
	seen    int64
	looked  time.Time
	decided time.Time
	rises   bool
}

// rising reports whether decisions wait for the end of a flood.
func (f *flood) rising(now time.Time) bool {
	came := f.came.Load()
	n, since := came-f.seen, now.Sub(f.looked)
	f.seen, f.looked = came, now
	f.rises = n >= floodAtLeast && float64(n) > floodRate*since.Seconds()
	if f.rises && now.Sub(f.decided) < floodWaits {
		return true
	}
	f.decided = now
	return false
}

// rest waits a moment in a flood, of which each delivery wakes the engine, and reports whether there is none.
func (f *flood) rest(ctx context.Context) (calm bool) {
	if !f.rises || ctx.Err() != nil {
		return true
	}
	select {
	case <-ctx.Done():
	case <-time.After(floodLook):
	}
	return false
}

// Alerted wakes the engine for a delivery that opened or closed incidents.
func (e *Engine) Alerted() {
	e.flood.came.Add(1)
	e.Wake()
}
