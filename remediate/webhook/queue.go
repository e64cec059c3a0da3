package webhook

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// patience is how long a commit may take. Alertmanager's peers send a second
	// copy when the first is not answered within 15 s.
	patience = 5 * time.Second

	// shortPatience is the shorter timeout used when the queue is over half full; a fast 503 makes
	// the sender retry.
	shortPatience = 90 * time.Millisecond

	// eachAlert is how much longer it may take for each alert of a large delivery, of
	// which each is written: ten thousand take no longer than a peer waits.
	eachAlert = 800 * time.Microsecond
)

var (
	errBusy = errors.New("too many deliveries are waiting; send it again")
	errSlow = errors.New("the store did not answer in time; send it again")
)

// A queue bounds how many deliveries wait for the store, and for how long.
type queue struct{ places chan struct{} }

func newQueue(places int) *queue { return &queue{make(chan struct{}, places)} }

func (q *queue) full() bool { return len(q.places) == cap(q.places) }

// do calls f and returns what it does, errBusy where the queue is full, or errSlow
// where f does not return in time. Then f may still succeed: a repeated
// delivery changes nothing. The place is held until f has returned, so that a
// store that hangs fills the queue, and no more than that. A delivery of many alerts has
// more time.
func (q *queue) do(ctx context.Context, alerts int, f func(context.Context) error) error {
	select {
	case q.places <- struct{}{}:
	default:
		return errBusy
	}
	limit := patience
	if len(q.places) > cap(q.places)/2 {
		limit = shortPatience
	}
	limit += time.Duration(alerts) * eachAlert
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() { <-q.places }()
		done <- f(ctx)
	}()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// most is how many lines about refusals are logged within a second: a flood of
// deliveries is no reason for a flood of lines.
const most = 20

// A sparing logger leaves lines out where there are too many, and says so in the
// next one that it writes.
type sparing struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	since   time.Time
	written int
	left    int
}

func (s *sparing) warn(ctx context.Context, message string, attrs ...slog.Attr) {
	left, ok := s.take()
	if !ok {
		return
	}
	if left > 0 {
		attrs = append(attrs, slog.Int("lines_left_out", left))
	}
	s.log.LogAttrs(ctx, slog.LevelWarn, message, attrs...) //nolint:sloglint // constants of the callers
}

func (s *sparing) take() (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.since) >= time.Second {
		s.since, s.written = now, 0
	}
	if s.written == most {
		s.left++
		return 0, false
	}
	s.written++
	left, s.left = s.left, 0
	return left, true
}
