package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
)

func (e *Engine) plan(ctx context.Context, c *carried) (move, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("the target did not answer in time"))
	defer cancel()
	a, err := e.action(c.run.Request)
	if r, ok := remediate.Refused(err); ok {
		return e.refusal(c.run, r), nil
	}
	if r, err := e.early(ctx, c, a); err != nil || r != nil {
		return e.refusal(c.run, r), err
	}
	before, plan, err := e.look(ctx, c.run.Request)
	c.run.Before = before
	if err == nil || len(plan.Needs) > 0 {
		c.run.Plan, c.run.Begun, c.run.Done = plan, 0, 0 // people see the whole of it, though it may not act
	}
	if r, ok := remediate.Refused(err); ok {
		return e.refusal(c.run, r), nil
	} else if err != nil {
		return move{}, err
	}
	why := fmt.Sprintf("%s, plan %s", steps(len(plan.Steps)), plan.Question())
	if err := plan.Missing(); err != nil { // it is only observed
		r, _ := remediate.Refused(err)
		why += "; " + r.Detail
	}
	return move{to: remediate.Planned, why: why}, nil
}

func (e *Engine) guarded(ctx context.Context, c *carried) (move, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("a guard did not answer in time"))
	defer cancel()
	a, err := e.action(c.run.Request)
	if r, ok := remediate.Refused(err); ok {
		return e.refusal(c.run, r), nil
	}
	w, err := e.working(ctx, c)
	if err != nil {
		return move{}, err
	}
	if r, err := guard.Ask(ctx, e.guards(), e.proposal(c.run, a, w), guard.BeforeActing); err != nil || r != nil {
		return e.refusal(c.run, r), err
	}
	return move{to: remediate.Allowed, why: "all guards passed", admit: e.admits(ctx, c.run, a)}, nil
}

// over reports whether the incident of a run is closed.
func (e *Engine) over(ctx context.Context, run remediate.Run) (move, bool, error) {
	if run.Request.Incident == 0 {
		return move{}, false, nil
	}
	incident, err := e.c.Inbox.Incident(ctx, run.Request.Incident)
	if err != nil || incident.Closed.IsZero() {
		return move{}, false, err
	}
	return end("the incident is closed: "+incident.Why, remediate.ReasonResolved), true, nil
}

// again looks whether what a run waited for still matters, and whether it still
// blocks it.
func (e *Engine) again(ctx context.Context, c *carried) (move, error) {
	if c.run.Begun > 0 {
		return e.resume(ctx, c) // also where the incident is closed: what it began is not left half done
	}
	if m, over, err := e.over(ctx, c.run); err != nil || over {
		return m, err
	}
	a, err := e.action(c.run.Request)
	if err == nil {
		r, err := e.early(ctx, c, a)
		if err != nil {
			return move{}, err
		}
		if r != nil && !r.Until.IsZero() && r.Reason == c.run.Reason {
			return move{stay: true, due: e.later(c.run, r)}, nil
		}
	}
	return move{to: remediate.Received, why: "ready"}, nil
}

// later says when a run that goes on waiting is looked at again: the longer it
// has waited for others' ends, which wake it, the less often it looks itself.
func (e *Engine) later(run remediate.Run, r *remediate.Refusal) time.Time {
	switch r.Reason {
	case remediate.ReasonBusy, remediate.ReasonLimit, remediate.ReasonBudget:
		waited := min(e.now().Sub(run.Changed), patience)
		if again := e.now().Add(waited); again.After(r.Until) {
			return again
		}
	}
	return r.Until
}

// awaiting looks for a person's answer.
func (e *Engine) awaiting(ctx context.Context, c *carried) (move, error) {
	if c.run.Begun == 0 {
		if m, over, err := e.over(ctx, c.run); err != nil || over {
			return m, err
		}
	}
	w, err := e.c.Journal.Working(ctx, c.run)
	if err != nil {
		return move{}, err
	}
	if a := w.Approval; a != nil && a.Of(c.run.Plan) && !c.run.Plan.Amount.Exceeds(a.Amount.Tolerated()) &&
		a.Until.After(e.now()) {
		return answered(c.run, fmt.Sprintf("%s approved of plan %s", a.By, a.Plan)), nil
	}
	if c.run.Request.Mode == remediate.Auto && w.Demoted == "" {
		return answered(c.run, "the policy is promoted"), nil
	}
	until := c.run.Changed.Add(c.run.Request.Terms.ApprovalTime())
	if !until.After(e.now()) {
		return end("approval not given in time"+so(c.run), remediate.ReasonUnanswered), nil
	}
	return move{stay: true, due: until}, nil
}

// resume lets a run go on that was held while it acted, with the plan that it has: its
// steps are known to be done or not by what the target says.
func (e *Engine) resume(ctx context.Context, c *carried) (move, error) {
	a, err := e.inForce(c.run)
	if r, ok := remediate.Refused(err); ok {
		return e.withdraw(c.run, r), nil
	}
	w, err := e.c.Journal.Working(ctx, c.run)
	if err != nil {
		return move{}, err
	}
	if r, err := e.elsewhere(ctx, c.run, a); err != nil || r != nil {
		return e.withdraw(c.run, r), err
	}
	// Also those that are not asked while it acts: a backup has grown old meanwhile.
	if r, err := guard.Ask(ctx, e.guards(), e.proposal(c.run, a, w), guard.BeforeActing); err != nil || r != nil {
		return e.withdraw(c.run, r), err
	}
	why := fmt.Sprintf("all guards passed; it goes on with step %d", c.run.Done+1)
	return move{to: remediate.Allowed, why: why, admit: e.admits(ctx, c.run, a)}, nil
}

// answered lets a run go on that a person was asked about.
func answered(run remediate.Run, why string) move {
	if run.Begun > 0 {
		return move{to: remediate.Waiting, why: why} // and at once on, with the plan that it has
	}
	return move{to: remediate.Received, why: why}
}
