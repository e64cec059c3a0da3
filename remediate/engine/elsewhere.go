package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// elsewhere looks, before a run goes on that was held for its target, whether the server
// answers that its plan was made for. A run waits an hour for that.
func (e *Engine) elsewhere(ctx context.Context, run remediate.Run, a remediate.Action) (*remediate.Refusal, error) {
	if run.Reason != remediate.ReasonTarget {
		return nil, nil
	}
	err := e.identified(ctx, run, a)
	if err == nil {
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r, refused := remediate.Refused(err)
	switch {
	case !refused:
		r = &remediate.Refusal{Reason: remediate.ReasonTarget, Detail: fmt.Sprintf("the target %q does not answer: %v", a.Target, err), Until: e.now().Add(absentAgain)}
	case !away(r):
		return r, nil
	}
	if waited := e.now().Sub(run.Changed); waited >= absent {
		r = &remediate.Refusal{Reason: r.Reason, Detail: fmt.Sprintf("%s; the run has waited %s for the server of its plan", r.Detail, waited.Round(time.Second))}
	}
	return r, nil
}

// away reports whether a refusal says that another server answers for now.
func away(r *remediate.Refusal) bool {
	return r.Reason == remediate.ReasonTarget && !r.Until.IsZero()
}

// identified asks an action whether the server answers that the next step of a run is
// for, or the last one where all are done.
func (e *Engine) identified(ctx context.Context, run remediate.Run, a remediate.Action) (err error) {
	asks, ok := a.Executor.(remediate.Identifier)
	if !ok || len(run.Plan.Steps) == 0 {
		return nil
	}
	defer e.survive(a, &err)
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("the target did not answer in time"))
	defer cancel()
	return asks.Identified(ctx, run.Plan.Steps[min(run.Done, len(run.Plan.Steps)-1)])
}
