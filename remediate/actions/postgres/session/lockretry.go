package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Wait pauses, or returns early why ctx has ended.
func Wait(ctx context.Context, d time.Duration) error {
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
	ShortLock      = 500 * time.Millisecond
	LockPauseFirst = time.Second
	LockPauseMost  = 10 * time.Second
	LongPatience   = 60 // tries, for about ten minutes
	ShortPatience  = 4  // tries, for about seven seconds
)

// RowWait is how long a lock is waited for, of a row or of a table, while the
// rows of a batch are held.
const RowWait = 50 * time.Millisecond

// RetryLock does what wants a lock for a moment, again and again until it gets it,
// with so many tries. Who waits behind it waits for the lock's timeout at most.
func RetryLock(ctx context.Context, c *pgx.Conn, f remediate.Fence, tries int, do func() error) error {
	pause := LockPauseFirst
	for attempt := 1; ; attempt++ {
		if err := f.Check(ctx); err != nil {
			return err
		}
		err := do()
		if !LockTimedOut(err) || attempt == tries {
			return err
		}
		if waited := Pause(ctx, c, pause); waited != nil {
			return errors.Join(waited, err)
		}
		pause = min(2*pause, LockPauseMost)
	}
}

// PauseMost is how long a run pauses, or tries again, before it gives up: what keeps it for
// so long does not go away by itself.
const PauseMost = 10 * time.Minute

// ErrPaused says that a run gave up after PauseMost.
var ErrPaused = errors.New("what has been moved stays moved, and the rest is gone on with later")

// Retries paces the tries at one piece of work that meets others for a moment each.
type Retries struct {
	begun time.Time
	made  int
}

// StartRetries begins to count before the first try.
func StartRetries() *Retries { return &Retries{begun: time.Now()} }

// Again waits before the next try; the second one is made at once. It returns the error of
// the last try, as ErrPaused, when the tries have taken PauseMost.
func (r *Retries) Again(ctx context.Context, what string, err error) error {
	if time.Since(r.begun) > PauseMost {
		return fmt.Errorf("%s: no success after %s of retries: %w: %w", what, PauseMost, err, ErrPaused)
	}
	r.made++
	if r.made == 1 {
		return nil
	}
	return Wait(ctx, min(time.Duration(r.made)*50*time.Millisecond, time.Second))
}

// Pause pauses without looking frozen: a session that says nothing for a while is
// taken for one whose owner has stopped.
func Pause(ctx context.Context, c *pgx.Conn, pause time.Duration) error {
	for end := time.Now().Add(pause); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(Beat, time.Until(end))):
		}
		if _, err := c.Exec(ctx, "select 1"); err != nil {
			return fmt.Errorf("the session with the subject's lock: %w", err)
		}
	}
	return nil
}

// Beat is how often a session with work elsewhere says something. It is well below
// idleFor, so that it is not taken for a frozen one.
const Beat = 250 * time.Millisecond

// Changed says that what is refused now was not when the plan was made, which ends
// the run. What is refused for now is tried again a little later.
func Changed(err error) error {
	r, refused := remediate.Refused(err)
	switch {
	case !refused:
		return err
	case !r.Until.IsZero():
		return errors.New(r.Detail)
	}
	return remediate.Refuse(remediate.ReasonChanged, "since the plan was made: %s", r.Detail)
}
