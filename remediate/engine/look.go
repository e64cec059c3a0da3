package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

const (
	// settle is how long a measure may take to show what was done: PostgreSQL
	// before 15 reports through a process of its own, every half second.
	settle = 3 * time.Second

	// horizon is how long an alert's expression may hold after its cause is gone,
	// where nothing says how far it looks back: samples are stale after five minutes.
	horizon = 5 * time.Minute

	// within is when to look again at a measure that is within its limit while its
	// alert fires: mostly the alert is late and its end comes first, but it may be
	// on its way up again.
	within = 30 * time.Second

	// moment is for how long what was read of the journal is not read again before
	// the plan is made.
	moment = 500 * time.Millisecond

	// lookTimeout bounds everything that only looks.
	lookTimeout = 30 * time.Second

	// patience is the longest that a run waits for others' ends without looking
	// itself; their ends wake it.
	patience = 2 * time.Minute
)

// look measures and plans, and changes nothing. A plan with missing rights is
// returned beside the refusal that says so.
func (e *Engine) look(ctx context.Context, r remediate.Request) (before *float64, plan remediate.Plan, err error) {
	a, err := e.action(r)
	if err != nil {
		return nil, plan, err
	}
	value, err := e.measure(ctx, a, r)
	switch {
	case errors.Is(err, remediate.ErrNoData) && r.Incident == 0: // a person or a schedule wants it done anyway
		plan, err = e.proposeSome(ctx, a, r)
		return nil, plan, err
	case err != nil:
		return nil, plan, e.unmeasured(ctx, a, r, err)
	case math.IsNaN(value) || math.IsInf(value, 0):
		return nil, plan, fmt.Errorf("measure %s: %v is no measure", a.Lowers, value)
	case r.Incident != 0 && value <= *r.Limit && r.Aside:
		return &value, plan, remediate.Refuse(remediate.ReasonCannotHelp,
			"%s is %s, within the step's limit of %s: nothing to clear here", a.Lowers,
			remediate.Quantity(a.Lowers, value), remediate.Quantity(a.Lowers, *r.Limit))
	case r.Incident != 0 && value <= *r.Limit:
		return &value, plan, &remediate.Refusal{
			Reason: remediate.ReasonNothing,
			Detail: fmt.Sprintf("%s is %s, within its limit of %s", a.Lowers, remediate.Quantity(a.Lowers, value),
				remediate.Quantity(a.Lowers, *r.Limit)),
			Until: e.now().Add(within),
		}
	}
	plan, err = e.proposeSome(ctx, a, r)
	return &value, plan, err
}

// proposeSome refuses a plan that has nothing to do, and one with missing rights,
// unless it is only to be seen.
func (e *Engine) proposeSome(ctx context.Context, a remediate.Action, r remediate.Request) (remediate.Plan, error) {
	plan, err := e.propose(ctx, a, r)
	if err == nil && len(plan.Steps) == 0 {
		err = remediate.Refuse(remediate.ReasonNothing, "%s has nothing to do", a.Name)
	}
	missing := plan.Missing()
	switch refusal, refused := remediate.Refused(err); {
	case err == nil && r.Mode != remediate.Observe:
		err = missing
	case r.Mode == remediate.Observe && missing != nil && refused && refusal.Reason == remediate.ReasonPrivilege &&
		len(plan.Steps) > 0:
		err = nil
	}
	return plan, err
}

func (e *Engine) measure(ctx context.Context, a remediate.Action, r remediate.Request) (v float64, err error) {
	defer e.survive(a, &err)
	return a.Measure(ctx, r)
}

func (e *Engine) propose(ctx context.Context, a remediate.Action, r remediate.Request) (p remediate.Plan, err error) {
	defer e.survive(a, &err)
	return a.Plan(ctx, r)
}

func (e *Engine) act(ctx context.Context, a remediate.Action, f remediate.Fence, s remediate.Step) (err error) {
	defer e.survive(a, &err)
	return a.Apply(ctx, f, s)
}

// survive makes an error of an action's panic: one with a bug is to fail its own run,
// and not to end the process, which would meet the same run again when it starts.
func (e *Engine) survive(a remediate.Action, err *error) {
	if p := recover(); p != nil {
		e.log.Error("an action panicked", "action", a.Name, "server", a.Target, "err", p, "stack",
			string(debug.Stack()))
		*err = fmt.Errorf("%s panicked, which is a bug in it: %v", a.Name, p)
	}
}

// unmeasured says what it means that the subject cannot be measured. What is of
// another kind than the action is for has no such measure, and the plan says so; it
// is not waited for as for a fault that may pass.
func (e *Engine) unmeasured(ctx context.Context, a remediate.Action, r remediate.Request, fault error) error {
	_, err := e.propose(ctx, a, r)
	if _, refused := remediate.Refused(err); refused {
		return err
	}
	switch {
	case errors.Is(fault, remediate.ErrGone):
		return remediate.Refuse(remediate.ReasonGone, "%s is not there", journal.Subject(r.Subject))
	case errors.Is(fault, remediate.ErrNoData): // its alert ends, or the target counts again
		return &remediate.Refusal{Reason: remediate.ReasonNoData,
			Detail: fmt.Sprintf("%s is not known: %v", a.Lowers, fault), Until: e.now().Add(within)}
	}
	return fmt.Errorf("measure %s: %w", a.Lowers, fault)
}

// proposal puts a run to the guards.
func (e *Engine) proposal(run remediate.Run, a remediate.Action, w remediate.Working) remediate.Proposal {
	return remediate.Proposal{
		Run: run, Action: a, Exclusive: e.exclusive(run.Request), Targets: e.targets(run.Request.Action), Working: w,
		Now: e.now(),
	}
}

// early asks the guards that need neither measure nor plan, so that a run that
// must wait costs its target nothing. What is only observed is planned anyway.
func (e *Engine) early(ctx context.Context, c *carried, a remediate.Action) (*remediate.Refusal, error) {
	if c.run.Request.Mode == remediate.Observe {
		return nil, nil
	}
	w, err := e.working(ctx, c)
	if err != nil || c.free {
		return nil, err
	}
	r, err := guard.Ask(ctx, e.guards(), e.proposal(c.run, a, w), guard.BeforePlan)
	c.free = r == nil && err == nil
	return r, err
}

// working returns what the guards decide by. What was read a moment ago will do
// for the next stage too: nothing acts on it before it is read once more, where
// no other write can come in between.
func (e *Engine) working(ctx context.Context, c *carried) (remediate.Working, error) {
	if age := e.now().Sub(c.read); !c.read.IsZero() && age >= 0 && age < moment {
		return c.working, nil
	}
	w, err := e.c.Journal.Working(ctx, c.run)
	c.working, c.read, c.free = w, e.now(), false
	if err != nil {
		c.read = time.Time{}
	}
	return w, err
}

// admits returns what is asked in the transaction that lets a run act, without a race: what
// was free may be taken now.
func (e *Engine) admits(ctx context.Context, run remediate.Run, a remediate.Action) func(remediate.Working) error {
	return func(w remediate.Working) error {
		r, err := guard.Ask(ctx, e.guards(), e.proposal(run, a, w), guard.InTransaction)
		if r != nil {
			return r
		}
		return err
	}
}
