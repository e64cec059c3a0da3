package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// fresh is for how long a write that was kept proves that the next one would be.
	fresh = 2 * time.Second

	// answerIn is how long a write may go without an answer before the store counts as
	// one that takes none.
	answerIn = 3 * time.Second
)

// A proof is what the last writes say of the store.
type proof struct {
	mu     sync.Mutex
	begun  time.Time // of the active commit, or zero
	kept   time.Time // when a write was kept last
	failed error     // why the last write could not be kept; nil where it was

	asked singleflight.Group // of writes that only show whether they are kept
}

func (p *proof) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = time.Now()
}

// end notes why a commit was not kept: nil where it was, or where nothing was to be kept.
func (p *proof) end(away error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.failed = time.Time{}, away
}

func (p *proof) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = time.Now()
}

// says returns what is known without a further write, and whether that is enough.
func (p *proof) says() (enough bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waits := time.Since(p.begun)
	switch {
	case !p.begun.IsZero() && waits > answerIn:
		return true, &AwayError{fmt.Errorf("store: no answer to a write for %s", waits.Round(time.Second))}
	case p.failed == nil && !p.kept.IsZero() && time.Since(p.kept) < fresh:
		return true, nil
	}
	return false, nil
}

// Ping returns nil where the store takes writes, and otherwise why not. It writes where
// nothing was written a moment ago: what can be read may still be full or read-only.
func (s *Store) Ping(ctx context.Context) error {
	s.mu.Lock()
	closed, waiting := s.closed, len(s.waiting)
	s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case waiting >= queueLimit:
		return ErrFull
	}
	if enough, err := s.proof.says(); enough {
		return err
	}
	limit := time.NewTimer(answerIn)
	defer limit.Stop()
	select {
	case answer := <-s.proof.asked.DoChan("", func() (any, error) { return nil, s.touch() }):
		return answer.Err
	case <-limit.C: // a disk that hangs is deaf to contexts
		return &AwayError{fmt.Errorf("store: no answer to a write for %s", answerIn)}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// touch writes something. SQLite writes nothing where a row stays as it is; a fence may
// leave numbers out.
func (s *Store) touch() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerIn)
	defer cancel()
	return s.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec("update fences set last = last + 1 where id = 1")
		return err
	})
}
