// Package retention deletes what is older than the store keeps: entries of the journal with their
// runs, closed incidents, notifications and dead letters. It works in small writes while upkeep
// serves, and may be killed between any two of them. What has not ended is never deleted, nor what
// belongs to an open incident. The room is given back to the file system.
package retention

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
)

const (
	// everyMost is how often it is looked for what is old; more often where little is kept.
	everyMost = time.Hour

	// everyLeast bounds that.
	everyLeast = time.Second

	between = 20 * time.Millisecond
)

// Config is what a Sweeper works with.
type Config struct {
	Store   *store.Store
	Journal *journal.Journal
	Inbox   *inbox.Inbox
	Outbox  *notify.Outbox

	Keep   time.Duration    // how long everything is kept
	Pause  time.Duration    // between two writes: deliveries and runs come first; 20 ms where 0
	Now    func() time.Time // time.Now where nil
	Logger *slog.Logger
}

// A Sweeper deletes what is old.
type Sweeper struct {
	c      Config
	oldest atomic.Int64 // what of the journal is too young to be deleted, in milliseconds; 0: not known
}

// New returns a Sweeper. It starts nothing.
func New(c Config) *Sweeper {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Pause = cmp.Or(c.Pause, between)
	return &Sweeper{c: c}
}

// Run sweeps until ctx is done.
func (s *Sweeper) Run(ctx context.Context) error {
	timer := time.NewTicker(min(everyMost, max(everyLeast, s.c.Keep/10)))
	defer timer.Stop()
	for {
		switch entries, err := s.Sweep(ctx); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.c.Logger.Warn("retention has not deleted everything that is old; it is tried again", "err", err)
		case entries > 0:
			s.c.Logger.Info("retention deleted what is old", "entries", entries, "kept", s.c.Keep)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// Sweep deletes everything that is older than what is kept, and returns how many entries of the
// journal were deleted.
func (s *Sweeper) Sweep(ctx context.Context) (entries int, err error) {
	before := s.c.Now().Add(-s.c.Keep)
	if entries, err = s.journal(ctx, before); err != nil {
		return entries, err
	}
	for more := true; more; {
		if more, err = s.c.Inbox.Prune(ctx, before); err != nil {
			return entries, err
		}
		if err := s.rest(ctx); err != nil {
			return entries, err
		}
	}
	if err := s.notifications(ctx, before); err != nil {
		return entries, err
	}
	for more := true; more; {
		if more, err = s.c.Store.GiveBack(ctx); err != nil {
			return entries, err
		}
		if err := s.rest(ctx); err != nil {
			return entries, err
		}
	}
	return entries, nil
}

func (s *Sweeper) journal(ctx context.Context, before time.Time) (entries int, err error) {
	for after := int64(0); ; {
		p, err := s.c.Journal.Prune(ctx, before, after)
		if err != nil {
			return entries, err
		}
		entries += p.Entries
		if p.Done {
			s.oldest.Store(store.Millis(p.Oldest))
			return entries, nil
		}
		after = p.Next
		if err := s.rest(ctx); err != nil {
			return entries, err
		}
	}
}

func (s *Sweeper) notifications(ctx context.Context, before time.Time) error {
	for after, done := int64(0), false; !done; {
		var err error
		if after, done, err = s.c.Outbox.Prune(ctx, before, after, stays(before)); err != nil {
			return err
		}
		if err := s.rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stays reports whether a notification is of a run or an incident that is kept.
func stays(before time.Time) func(tx *store.Tx, n remediate.Notification) (bool, error) {
	return func(tx *store.Tx, n remediate.Notification) (bool, error) {
		keep, err := journal.NewKeeper(tx, before)
		if err != nil {
			return false, err
		}
		if n.Run != 0 {
			if kept, err := keep.Run(n.Run); err != nil || kept {
				return kept, err
			}
		}
		return keep.Incident(n.Incident)
	}
}

// rest lets others write.
func (s *Sweeper) rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("retention: %w", context.Cause(ctx))
	case <-time.After(s.c.Pause):
		return nil
	}
}
