package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// stages says what is done in each state. It is the pipeline, whole and in order.
func (e *Engine) stages() map[remediate.State]stage {
	return map[remediate.State]stage{
		remediate.Received:         e.plan,     // look; change nothing
		remediate.Planned:          e.guarded,  // every guard must agree
		remediate.AwaitingApproval: e.awaiting, // a person must agree
		remediate.Waiting:          e.again,    // the due time has come: evaluate again
		remediate.Allowed:          e.apply,    // one step after the other, under the fence
		remediate.Applied:          e.verify,   // measure again, and ask the alert's expression
	}
}

// Do carries a run as far as it will go now. It can be called again after any
// crash: each transition is in the journal before the next stage begins, and a
// step that was begun is begun again, which is the same as once.
func (e *Engine) Do(ctx context.Context, run remediate.Run, f remediate.Fence) error {
	whole := ctx // a person's cancel does not end it
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &carried{run: run, fence: f, cancel: cancel}
	e.note(c)
	defer e.forget(c)
	for !c.run.State.Ended() {
		m, err := e.next(ctx, c)
		cancelled, stop := errors.AsType[*cancelError](context.Cause(ctx))
		switch {
		case errors.Is(err, remediate.ErrFenced) || store.Away(err) || ctx.Err() != nil && !stop:
			// Nothing is written, and a store that cannot be had is no fault of the run's:
			// the next instance that carries it goes on from here.
			return fmt.Errorf("run %d: %w", run.ID, errors.Join(err, context.Cause(ctx)))
		case err != nil && stop:
			c.run.Cancel = cancelled.who
			m = e.halt(c.run)
		case err != nil:
			m = e.fault(c, err)
		}
		if m, err = e.ending(whole, c, m, err); err != nil {
			return err
		}
		left, err := e.move(context.WithoutCancel(ctx), c, m)
		if err != nil || left {
			return err
		}
	}
	return nil
}

// next asks the stage of the run's state, unless a person wants it to stop or the
// configuration of now does not let it go on.
func (e *Engine) next(ctx context.Context, c *carried) (move, error) {
	defer e.uses.begin()()
	if c.run.Cancel != "" {
		if m, stop := stopped(c.run); stop {
			return m, nil
		}
	}
	if c.run.State != remediate.Applied { // there is nothing left to stop
		if m, stop, err := e.hold(ctx, c); err != nil || stop {
			return m, err
		}
	}
	return e.stages()[c.run.State](ctx, c)
}

// stopped returns the next state of a run that a person has cancelled.
func stopped(run remediate.Run) (move, bool) {
	switch run.State {
	case remediate.AwaitingApproval:
		return end(run.Cancel, remediate.ReasonPerson), true
	case remediate.Received, remediate.Planned, remediate.Waiting:
		return end("stopped by "+run.Cancel, remediate.ReasonCancelled), true
	case remediate.Allowed:
		return end("stopped by "+run.Cancel+removed(run), remediate.ReasonCancelled), true
	default: // every step is done: there is nothing to stop
		return move{}, false
	}
}

// halt returns the next state of a run whose stage was interrupted by a cancel.
func (e *Engine) halt(run remediate.Run) move {
	if m, stop := stopped(run); stop {
		return m
	}
	return move{stay: true, due: e.now().Add(tick)}
}

// fault returns the next state of a run after an error: the same state again a little
// later, or failed. A refusal while acting holds or ends the run; the step's own deadline
// and ErrFinal are not tried again.
func (e *Engine) fault(c *carried, err error) move {
	r, refused := remediate.Refused(err)
	if refused && c.run.State == remediate.Allowed {
		return e.halted(c.run, r)
	}
	c.run.Tries++
	if c.run.State == remediate.Applied && (refused || c.run.Tries >= maxTries) {
		return unknown(c.run, err) // what was done is done
	}
	_, late := errors.AsType[*lateError](err)
	if refused || errors.Is(err, remediate.ErrFinal) || c.run.Tries >= maxTries ||
		late && c.run.State == remediate.Allowed {
		return move{to: remediate.Failed, why: err.Error() + removed(c.run)}
	}
	return move{to: c.run.State, why: fmt.Sprintf("try %d of %d: %v", c.run.Tries, maxTries, err),
		due: e.now().Add(time.Second << c.run.Tries)}
}

// move writes a transition to the journal, and then to the run. It reports
// whether the run was left for now.
func (e *Engine) move(ctx context.Context, c *carried, m move) (left bool, err error) {
	left = m.due.After(e.now())
	if m.stay {
		return true, e.c.Journal.Postpone(ctx, c.run, c.fence.Token, m.due)
	}
	entry := remediate.Entry{Run: c.run.ID, At: e.now(), From: c.run.State, To: m.to, Why: m.why, Reason: m.reason,
		Case: m.proof}
	next := c.run
	next.State, next.Why, next.Reason, next.Due, next.Changed = m.to, m.why, m.reason, m.due, entry.At
	if m.to != c.run.State {
		next.Tries, next.Lost = 0, 0
	}
	if m.notification == nil && m.to != c.run.State {
		m.notification = e.outcome(next)
	}
	c.writing.Lock()
	err = e.c.Journal.Append(ctx, journal.Change{
		Run: next, Entry: entry, Fence: c.fence.Token, Exclusive: e.exclusive(c.run.Request), Leave: left,
		Notification: m.notification, Admit: m.admit,
	})
	c.writing.Unlock()
	if r, refused := remediate.Refused(err); refused && m.admit != nil {
		return e.move(ctx, c, e.withdraw(c.run, r)) // it was free a moment ago
	}
	if err != nil {
		return true, fmt.Errorf("run %d: %w", c.run.ID, err)
	}
	c.run = next
	e.report(next, entry)
	e.after(ctx, c, m)
	return left, nil
}
