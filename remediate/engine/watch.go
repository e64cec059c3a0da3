package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

const (
	// watchEvery is how often runs that act are held against pauses, demotions and windows; a
	// reload is noticed at once. A person may pause or demote through another replica.
	watchEvery = 250 * time.Millisecond

	// manyChecks is how often an action asks for the right to go on in a step that
	// makes progress: before its first batch it asks a few times.
	manyChecks = 32

	// longStep is how long a step goes on that makes progress though it asks seldom.
	longStep = 5 * time.Minute
)

// overridden returns the pauses and demotions that hold, which are not older than watchEvery.
func (e *Engine) overridden(ctx context.Context, anew bool) (journal.Overrides, error) {
	e.overrides.mu.Lock()
	defer e.overrides.mu.Unlock()
	if age := e.now().Sub(e.overrides.read); !anew && age >= 0 && age < watchEvery {
		return e.overrides.all, nil
	}
	all, err := e.c.Journal.Overrides(ctx)
	if err != nil {
		return all, err
	}
	e.overrides.all, e.overrides.read = all, e.now()
	return all, nil
}

// against holds a run that acts against what holds now, before a step or in it. It is
// asked of memory, but for the pauses and demotions.
func (e *Engine) against(ctx context.Context, c *carried, run remediate.Run, approval *remediate.Approval, step int,
	anew bool) (*remediate.Refusal, error) {
	request, err := e.today(ctx, &c.current, run.Request)
	if err == nil {
		run.Request = request
		err = e.allows(ctx, run, approval, step, anew)
	}
	if r, ok := remediate.Refused(err); ok {
		return r, nil
	}
	return nil, err
}

func (e *Engine) allows(ctx context.Context, run remediate.Run, approval *remediate.Approval, step int,
	anew bool) error {
	a, err := e.inForce(run)
	if err != nil {
		return err
	}
	if r, err := configured(a, run.Request, run.Plan.Steps[step]); err != nil {
		return err
	} else if r != nil {
		return r
	}
	beside, err := e.overridden(ctx, anew)
	if err != nil {
		return err
	}
	now := remediate.Working{Pauses: beside.Pauses, Demoted: beside.Demoted[run.Request.Policy], Approval: approval}
	when := guard.DuringStep
	if anew {
		when = guard.BeforeStep
	}
	r, err := guard.Ask(ctx, e.guards(), e.proposal(run, a, now), when)
	if r != nil {
		return r
	}
	return err
}

// under holds a step under way against what holds now. One that acts at an address that
// the configuration no longer has stops, and begins again at the new one, where it is
// compared whether the same server answers.
func (e *Engine) under(ctx context.Context, c *carried, d *doing) (*remediate.Refusal, error) {
	r, err := e.against(ctx, c, d.run, d.approval, d.step, false)
	if err != nil || r != nil {
		return r, err
	}
	if a, err := e.inForce(d.run); err == nil && a.At != d.action.At {
		return &remediate.Refusal{
			Reason: remediate.ReasonTarget, Until: e.now().Add(tick),
			Detail: fmt.Sprintf("the configuration has another address of the target %q now", a.Target),
		}, nil
	}
	return nil, nil
}

// held is asked by an action before it changes anything: the store, whether the right
// is still this run's, and then the rules of now. In this order, so that a refusal says
// that the right is held.
func (e *Engine) held(ctx context.Context, c *carried, d *doing) error {
	if err := c.fence.Held(ctx); err != nil {
		return err
	}
	r, err := e.under(ctx, c, d)
	if err != nil {
		return err
	}
	if r != nil {
		return r
	}
	if d.checks.Add(1) == manyChecks {
		return e.progress(ctx, c, d)
	}
	return nil
}

// progress keeps that the step goes on, where upkeep had ended in it before.
func (e *Engine) progress(ctx context.Context, c *carried, d *doing) error {
	if d.run.Lost == 0 || d.moved.Swap(true) {
		return nil
	}
	return e.c.Journal.Progress(ctx, d.run.ID, c.fence.Token)
}

// watch holds what acts, and what waits, against the rules of now until ctx is done.
func (e *Engine) watch(ctx context.Context) {
	for {
		acting, err := e.overlook(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.Warn("runs could not be checked against the configuration", "err", err)
		}
		var again <-chan time.Time
		if acting || err != nil {
			again = time.After(watchEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-e.acts:
		case <-e.turned:
		}
	}
}

// overlook looks once, and reports whether a step is under way. What waits is looked at where another setting is
// in force.
func (e *Engine) overlook(ctx context.Context) (acts bool, err error) {
	if s := e.setting.Load(); e.looked != s {
		if err := e.c.Journal.Hurry(ctx, func(run remediate.Run) bool { return e.affected(ctx, run) }); err != nil {
			return false, err
		}
		e.looked = s
		e.Wake()
	}
	e.mu.Lock()
	acting := make(map[*carried]*doing)
	for _, c := range e.carried {
		if d := c.doing.Load(); d != nil {
			acting[c] = d
		}
	}
	e.mu.Unlock()
	if len(acting) == 0 {
		return false, nil
	}
	if _, err := e.overridden(ctx, true); err != nil {
		return true, err
	}
	for c, d := range acting {
		if err := e.overrule(ctx, c, d); err != nil {
			return true, fmt.Errorf("run %d: %w", d.run.ID, err)
		}
	}
	return true, nil
}

// overrule stops a step under way that the rules of now do not allow: it is cancelled,
// or where that would leave something behind, the journal says what is waited for.
func (e *Engine) overrule(ctx context.Context, c *carried, d *doing) error {
	if e.now().Sub(d.since) > longStep {
		if err := e.progress(ctx, c, d); err != nil {
			return err
		}
	}
	r, err := e.under(ctx, c, d)
	if err != nil {
		return err
	}
	if r == nil {
		d.noted = ""
		return nil
	}
	if d.action.Cancel == remediate.CancelAnytime {
		d.cancel(&stopError{r})
		return nil
	}
	if d.noted == r.Reason {
		return nil
	}
	d.noted = r.Reason
	return e.noteHeld(ctx, c, d, r)
}

// noteHeld lets the run say why it ends as soon as its statement has.
func (e *Engine) noteHeld(ctx context.Context, c *carried, d *doing, r *remediate.Refusal) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.doing.Load() != d {
		return nil // it has ended meanwhile
	}
	why := fmt.Sprintf("%s; the statement of step %d runs to its end, because cancelling it would leave something "+
		"behind, and no further step is started", r.Detail, d.step+1)
	entry := remediate.Entry{Run: d.run.ID, At: e.now(), From: d.run.State, To: d.run.State, Note: remediate.NoteHeld,
		Reason: r.Reason, Why: why}
	next := d.run
	next.Plan = d.plan
	next.Why, next.Reason, next.Changed, next.Due = why, r.Reason, entry.At, time.Time{}
	if d.moved.Load() {
		next.Lost = 0
	}
	err := e.c.Journal.Append(ctx, journal.Change{Run: next, Entry: entry, Fence: c.fence.Token,
		Exclusive: exclusive(d.action, d.run.Request)})
	if err == nil {
		e.report(next, entry)
	}
	return err
}
