package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/advice"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// dropPause is how long a drop that waited too long for somebody leaves the table
// alone before it is tried again.
const dropPause = time.Second

// Apply implements remediate.Executor.
//
// DROP INDEX CONCURRENTLY first marks the index invalid, and then waits for those
// who use the table. Once it is marked there is no way back that does not wait for
// the same ones, and longer; so it goes forward: again and again, within patience.
func (a dropIndex) Apply(ctx context.Context, f remediate.Fence, planned remediate.Step) error {
	s, err := remediate.TypedOf[dropIndexArgs](planned)
	if err != nil {
		return err
	}
	wait := s.Args.Patience
	j := session.Job{
		Target: a.target, Server: session.Planned(s.Step), Action: "postgres/drop_index", Writes: true,
		Place:       s.Args.Place,
		LockTimeout: max(wait/4, time.Second), // of one attempt
	}
	c, err := j.Open(ctx, f, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // the work is done or has failed
	if err := j.Prepare(ctx, c, f); err != nil {
		return err
	}
	for begun := time.Now(); ; {
		x, gone, err := a.planned(ctx, c, s)
		if err != nil || gone {
			return err
		}
		if err := a.still(ctx, c, x, s, wait); err != nil {
			return err
		}
		if err := f.Check(ctx); err != nil {
			return err
		}
		err = j.Exec(ctx, c, s.Do)
		switch {
		case err == nil:
			return nil
		case !session.LockTimedOut(err) || time.Since(begun)+j.LockTimeout > wait:
			return a.half(ctx, c, s, x, wait, err)
		}
		select {
		case <-ctx.Done():
			return a.half(ctx, c, s, x, wait, context.Cause(ctx))
		case <-time.After(dropPause):
		}
	}
}

// planned finds the index of the plan by its number. What has its name and is
// another is not dropped, and neither is one that has another name by now.
func (a dropIndex) planned(ctx context.Context, c *pgx.Conn, s dropIndexStep) (x advice.Traits, gone bool, err error) {
	x, err = advice.ReadTraitsOf(ctx, c, s.Args.OID)
	if err == nil {
		if x.Schema != s.Args.Schema || x.Table != s.Args.Table || x.Index != s.Args.Index {
			return x, false, remediate.Refuse(remediate.ReasonChanged, "index %s has become %s since the plan was made",
				pgx.Identifier{s.Args.Schema, s.Args.Index}.Sanitize(), x.Name())
		}
		return x, false, nil
	}
	if !errors.Is(err, remediate.ErrGone) {
		return x, false, err
	}
	other, err := advice.ReadTraits(ctx, c, s.Args.Schema, s.Args.Table, s.Args.Index)
	switch {
	case errors.Is(err, remediate.ErrGone):
		return x, true, nil
	case err != nil:
		return x, false, err
	}
	return x, false, remediate.Refuse(remediate.ReasonChanged,
		"index %s is another than the plan was made for: it was built anew", other.Name())
}

// still looks whether what the plan was made of holds. An index that our own
// interrupted drop has made invalid is not asked again: it was approved of, and
// nothing can have used it since.
func (a dropIndex) still(ctx context.Context, c *pgx.Conn, x advice.Traits, s dropIndexStep,
	wait time.Duration) error {
	because := s.Args.Because
	if err := x.MayGo(because); err != nil {
		return session.Changed(err)
	}
	if !x.Valid {
		return nil
	}
	_, keeper, err := a.verify(ctx, c, s.Args.Database, x, because, s.Args.Counted)
	if err != nil {
		return session.Changed(err)
	}
	if keeper != s.Args.Keeper {
		return remediate.Refuse(remediate.ReasonChanged, "another index than the plan says would stay in its place")
	}
	return session.TryLock(ctx, c, x.Schema, x.Table, wait)
}

// half says what state a drop that was given up has left.
func (a dropIndex) half(ctx context.Context, c *pgx.Conn, s dropIndexStep, x advice.Traits, wait time.Duration,
	cause error) error {
	cause = fmt.Errorf("%s: %w", s.Do, cause)
	if c.IsClosed() {
		return cause
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CancelWithin)
	defer cancel()
	now, err := advice.ReadTraitsOf(last, c, s.Args.OID)
	switch {
	case errors.Is(err, remediate.ErrGone):
		return nil // it was faster than what stopped it
	case err != nil:
		return errors.Join(cause, err)
	case now.Valid:
		return cause
	}
	who := ""
	if others, err := session.ReadBlockers(last, c, x.TableOID, time.Second); err == nil && len(others.Who) > 0 {
		who = ", behind " + others.Who[0]
	}
	return fmt.Errorf("%w; the index is invalid now%s: no query uses it, and every write maintains it; the next try "+
		"goes on, for %s, and REINDEX INDEX CONCURRENTLY %s would have it back", cause, who, wait, x.Name())
}

// Undo implements remediate.Undoer. A drop that was begun has no way back that does not
// build the index anew, and none forward that somebody allows any more: people decide.
func (a dropIndex) Undo(ctx context.Context, f remediate.Fence, planned remediate.Step) (found string, err error) {
	s, err := remediate.TypedOf[dropIndexArgs](planned)
	if err != nil {
		return "", err
	}
	j := session.Job{Target: a.target, Server: session.Planned(s.Step), Action: "postgres/drop_index",
		Place: s.Args.Place, LockTimeout: session.RowWait}
	err = j.Hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error {
		x, err := advice.ReadTraitsOf(ctx, c, s.Args.OID)
		switch {
		case errors.Is(err, remediate.ErrGone):
			found = "the index is dropped"
			return nil
		case err != nil:
			return err
		case !x.Valid:
			return remediate.Refuse(remediate.ReasonUnfit,
				"index %s is invalid: no query uses it, and every write maintains it", x.Name())
		}
		return nil
	})
	return found, err
}
