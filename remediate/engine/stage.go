package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/policy"
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
	until := c.run.Changed.Add(c.run.Request.Terms.ApprovalLifetime())
	if !until.After(e.now()) {
		return end("approval not given in time"+so(c.run), remediate.ReasonUnanswered), nil
	}
	return move{stay: true, due: until}, nil
}

// verify measures again, asks the alert's own expression, and judges: the engine,
// not the action, says whether it helped.
func (e *Engine) verify(ctx context.Context, c *carried) (move, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("the target did not answer in time"))
	defer cancel()
	a, err := e.action(c.run.Request)
	if _, refused := remediate.Refused(err); refused {
		return e.unverified(c.run, fmt.Sprintf("the target %q is gone from the configuration",
			c.run.Request.Subject["server"])), nil
	}
	if err != nil {
		return move{}, err
	}
	e.quieten(c.run)
	after := c.run.After
	evidence, err := e.evidence(ctx, c, a)
	v := policy.Judge(evidence)
	if err != nil || v.State != "" {
		if r, refused := remediate.Refused(e.identified(ctx, c.run, a)); refused && away(r) {
			c.run.After = after // it was another server's
			return e.unverified(c.run, r.Detail), nil
		}
	}
	if err != nil {
		return move{}, err
	}
	if v.State == "" {
		pause := max(min(evidence.Since/4, 5*time.Second), 250*time.Millisecond)
		return move{stay: true, due: e.now().Add(pause)}, nil
	}
	proof, err := json.Marshal(policy.Record{Kind: policy.KindJudge, Evidence: &evidence, Verdict: &v})
	if err != nil {
		return move{}, err
	}
	return move{to: v.State, why: v.Why, reason: v.Reason, proof: proof}, nil
}

func (e *Engine) evidence(ctx context.Context, c *carried, a remediate.Action) (policy.Evidence, error) {
	r := c.run.Request
	first := c.run.After == nil
	v := policy.Evidence{Metric: a.Lowers, Before: c.run.Before, Limit: r.Limit, Aside: r.Aside,
		Since: e.now().Sub(c.run.Applied), Settle: settle, Horizon: horizon}
	if r.Terms.Decay > 0 {
		v.Horizon = r.Terms.Decay + horizon
	}
	after, err := e.measure(ctx, a, r)
	switch {
	case errors.Is(err, remediate.ErrGone) && a.Removes:
		v.After, c.run.After = new(0.0), new(0.0)
	case errors.Is(err, remediate.ErrGone):
		v.Gone = true
	case err != nil: // what was done is done: it is measured again, until there is no more to wait for
		v.NoData, v.Unread = errors.Is(err, remediate.ErrNoData), err.Error()
		e.log.Warn("the effect could not be measured", "run", c.run.ID, "err", err)
	case !math.IsNaN(after) && !math.IsInf(after, 0):
		v.After, c.run.After = &after, &after
	}
	if first && e.c.Refresh != nil {
		e.c.Refresh(a.Lowers, a.Target)
	}
	if r.Incident == 0 || e.c.Rules == nil {
		return v, nil
	}
	incident, err := e.c.Inbox.Incident(ctx, r.Incident)
	if err != nil {
		return v, err
	}
	expr := e.setting.Load().book.Expr(r.Policy, e.believed(ctx, incident).Alert)
	if expr == "" {
		return v, nil
	}
	v.Evaluable = true
	firing, err := e.c.Rules.Firing(ctx, expr, r.Subject)
	if err != nil {
		e.log.Warn("the alert's expression could not be evaluated", "run", c.run.ID, "err", err)
	} else {
		v.Firing = &firing
	}
	return v, nil
}

// unknown ends a run whose steps are done and of which it cannot be said whether that
// helped.
func unknown(run remediate.Run, why error) move {
	return move{to: remediate.Inconclusive, why: fmt.Sprintf("%s done; the result is unknown: %v",
		steps(len(run.Plan.Steps)), why)}
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

// unverified returns the next state of a run whose target went away before it was known
// whether it helped.
func (e *Engine) unverified(run remediate.Run, what string) move {
	if e.now().Sub(run.Applied) < absent {
		return move{stay: true, due: e.now().Add(absentAgain)}
	}
	return move{
		to: remediate.Inconclusive, reason: remediate.ReasonTarget,
		why: fmt.Sprintf("%s done; the result is unknown: %s", steps(len(run.Plan.Steps)), what),
	}
}
