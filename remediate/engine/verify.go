package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

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
