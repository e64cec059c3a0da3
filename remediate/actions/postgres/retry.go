package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

// wait pauses, or returns early why ctx has ended.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// How a lock is got that others queue behind: waited for a moment, and tried
// again after a pause, in which those pass who have queued.
const (
	shortLock      = 500 * time.Millisecond
	lockPauseFirst = time.Second
	lockPauseMost  = 10 * time.Second
	longPatience   = 60 // tries, for about ten minutes
	shortPatience  = 4  // tries, for about seven seconds
)

// rowWait is how long a lock is waited for, of a row or of a table, while the
// rows of a batch are held.
const rowWait = 50 * time.Millisecond

// patiently does what wants a lock for a moment, again and again until it gets it,
// with so many tries. Who waits behind it waits for the lock's timeout at most.
func patiently(ctx context.Context, c *pgx.Conn, f remediate.Fence, tries int, do func() error) error {
	pause := lockPauseFirst
	for attempt := 1; ; attempt++ {
		if err := f.Check(ctx); err != nil {
			return err
		}
		err := do()
		if !unlocked(err) || attempt == tries {
			return err
		}
		if waited := stay(ctx, c, pause); waited != nil {
			return errors.Join(waited, err)
		}
		pause = min(2*pause, lockPauseMost)
	}
}

// stay pauses without looking frozen: a session that says nothing for a while is
// taken for one whose owner has stopped.
func stay(ctx context.Context, c *pgx.Conn, pause time.Duration) error {
	for end := time.Now().Add(pause); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(beat, time.Until(end))):
		}
		if _, err := c.Exec(ctx, "select 1"); err != nil {
			return fmt.Errorf("the session with the subject's lock: %w", err)
		}
	}
	return nil
}

// beat is how often a session with work elsewhere says something. It is well below
// idleFor, so that it is not taken for a frozen one.
const beat = 250 * time.Millisecond

// changed says that what is refused now was not when the plan was made, which ends
// the run. What is refused for now is tried again a little later.
func changed(err error) error {
	r, refused := remediate.Refused(err)
	switch {
	case !refused:
		return err
	case !r.Until.IsZero():
		return errors.New(r.Detail)
	}
	return remediate.Refuse(remediate.ReasonChanged, "since the plan was made: %s", r.Detail)
}
