package store

import (
	"context"
	"fmt"
	"time"
)

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
// leave numbers out. On a full disk so little may still find room in SQLite's log.
func (s *Store) touch() error {
	if full := room(s.opening.dir); full != "" {
		return &AwayError{fmt.Errorf("store %s: no room for more than a few writes%s", s.name, full)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerIn)
	defer cancel()
	return s.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec("update fences set last = last + 1 where id = 1")
		return err
	})
}
