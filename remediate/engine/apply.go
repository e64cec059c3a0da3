package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// maxLost bounds how often in a row upkeep may end without a word in one step that
// makes no progress: what kills the process each time is taken up no more often than a
// fault is tried. A step that goes on for long or in many batches makes progress.
const maxLost = maxTries * journal.LostLong

func (e *Engine) apply(ctx context.Context, c *carried) (move, error) {
	a, err := e.action(c.run.Request)
	if err != nil {
		return move{}, err
	}
	w, err := e.c.Journal.Working(ctx, c.run)
	if err != nil {
		return move{}, err
	}
	c.working, c.read = w, e.now()
	c.fence.Most = bound(c.run, w.Approval)
	if r, err := e.takenUp(ctx, c, a, w); err != nil || r != nil {
		return e.withdraw(c.run, r), err
	}
	if c.run.Begun == 0 {
		same, err := e.unchanged(ctx, c)
		if _, refused := remediate.Refused(err); err != nil && !refused {
			return move{}, err
		}
		if !same {
			return move{to: remediate.Received, why: "the target has changed since the plan was made",
				due: e.now().Add(tick)}, nil
		}
	}
	e.quieten(c.run)
	for i := c.run.Done; i < len(c.run.Plan.Steps); i++ {
		if c.run.Lost >= maxLost && c.run.Begun == i+1 {
			return move{to: remediate.Failed,
				why: fmt.Sprintf("step %d was interrupted repeatedly: upkeep was stopped each time before the step "+
					"made progress%s", i+1, so(c.run))}, nil
		}
		if r, err := e.against(ctx, c, c.run, w.Approval, i, true); err != nil || r != nil {
			return e.withdraw(c.run, r), err
		}
		// Which action it is was asked of the configuration of now.
		if a, err = e.action(c.run.Request); err != nil {
			return move{}, err
		}
		if err := e.step(ctx, c, a, i); err != nil {
			return move{}, fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	c.run.Applied = e.now()
	return move{to: remediate.Applied, why: steps(len(c.run.Plan.Steps)) + " done"}, nil
}

// takenUp asks every guard again before a run goes on that removes something for good
// and had begun before: since then a backup may have grown old, or a disk full.
func (e *Engine) takenUp(ctx context.Context, c *carried, a remediate.Action,
	w remediate.Working) (*remediate.Refusal, error) {
	if c.run.Begun == 0 || a.Risk != remediate.Destructive {
		return nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("a guard did not answer in time"))
	defer cancel()
	return guard.Ask(ctx, e.guards(), e.proposal(c.run, a, w), guard.BeforeActing)
}

// bound is how much a run may remove: what was approved, and what its policy allows.
func bound(run remediate.Run, a *remediate.Approval) *remediate.Amount {
	most := run.Request.Terms.Most(run.Plan.Amount)
	if a != nil && a.Of(run.Plan) {
		most = most.Least(a.Amount.Tolerated())
	}
	return most
}

// unchanged makes the plan again, now that no other run may act, and compares what it
// would do, and whether it would remove more than may go.
func (e *Engine) unchanged(ctx context.Context, c *carried) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("the target did not answer in time"))
	defer cancel()
	_, plan, err := e.look(ctx, c.run.Request)
	return err == nil && plan.Hash() == c.run.Plan.Hash() && !plan.Amount.Exceeds(c.fence.Most), err
}

// step carries out one step: begun is in the journal before, done after.
func (e *Engine) step(ctx context.Context, c *carried, a remediate.Action, i int) error {
	s := c.run.Plan.Steps[i]
	if err := e.write(ctx, c, i+1, false, s.Do); err != nil {
		return err
	}
	limited, end := context.WithTimeoutCause(ctx, a.Timeout, &lateError{a.Timeout})
	defer end()
	limited, cancel := context.WithCancelCause(limited)
	defer cancel(nil)
	f := c.fence
	var err error
	if f.Taken, err = c.run.Plan.TakenBeside(i); err != nil {
		return err
	}
	began := e.now()
	d := &doing{run: c.run, plan: c.run.Plan, action: a, step: i, since: began, cancel: cancel,
		approval: c.working.Approval}
	c.doing.Store(d)
	select {
	case e.acts <- struct{}{}:
	default: // the watcher is about to look
	}
	f.Held = func(ctx context.Context) error { return e.held(ctx, c, d) }
	f.Keep = e.keeper(c, d, i)
	err = e.act(limited, a, f, s)
	c.doing.Store(nil)
	if err != nil {
		if cause := context.Cause(limited); cause != nil {
			return fmt.Errorf("%w: %w", cause, err) // whose deadline it was, or whose cancel
		}
		return err
	}
	return e.write(ctx, c, i+1, true, fmt.Sprintf("took %s", e.now().Sub(began).Round(time.Millisecond)))
}

// write notes a step that begins or is done. What is done is written also when a
// person has stopped the run meanwhile.
func (e *Engine) write(ctx context.Context, c *carried, step int, done bool, why string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	entry := remediate.Entry{Run: c.run.ID, At: e.now(), From: c.run.State, To: c.run.State, Step: step, Done: done,
		Why: why}
	next := c.run
	next.Begun, next.Why, next.Reason, next.Changed, next.Due = step, why, "", entry.At, time.Time{}
	if done {
		next.Done, next.Lost = step, 0
		ctx = context.WithoutCancel(ctx)
	}
	if err := e.c.Journal.Append(ctx, journal.Change{Run: next, Entry: entry, Fence: c.fence.Token,
		Exclusive: e.exclusive(c.run.Request)}); err != nil {
		return err
	}
	c.run = next
	e.report(next, entry)
	return nil
}

// keeper returns how one step of a run writes what it saw to the journal. The plan
// there holds it from then on, so each later try of the step gets it.
func (e *Engine) keeper(c *carried, d *doing, i int) func(context.Context, map[string]string, string) error {
	return func(ctx context.Context, kept map[string]string, why string) error {
		c.writing.Lock()
		defer c.writing.Unlock()
		entry := remediate.Entry{Run: c.run.ID, At: e.now(), From: c.run.State, To: c.run.State, Step: i + 1, Why: why}
		next := c.run
		next.Plan.Steps = slices.Clone(next.Plan.Steps)
		next.Plan.Steps[i].Kept = kept
		if d.moved.Load() {
			next.Lost = 0
		}
		next.Why, next.Changed = why, entry.At
		if err := e.c.Journal.Append(ctx, journal.Change{Run: next, Entry: entry, Fence: c.fence.Token,
			Exclusive: e.exclusive(c.run.Request)}); err != nil {
			return err
		}
		c.run, d.plan = next, next.Plan
		e.report(next, entry)
		return nil
	}
}
