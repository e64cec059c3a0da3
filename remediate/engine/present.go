package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// absent is how long a run waits for a target that is gone from the configuration:
	// long enough for a mistake in a file to be seen and mended, and short enough that
	// what was planned is not done to a server that comes back another day.
	absent = time.Hour

	// absentAgain is how often such a run looks; a reload looks at once.
	absentAgain = 5 * time.Second
)

// today returns the request of a run as the setting in force asks for it, or a refusal
// with ReasonPolicy. It asks the store once in the life of a carried run, for the
// labels of the alert, which never change.
func (e *Engine) today(ctx context.Context, p *present, r remediate.Request) (remediate.Request, error) {
	s := e.setting.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.setting == s {
		return p.request, p.err
	}
	if r.Policy != "" && r.Incident != 0 && p.incident.ID == 0 {
		incident, err := e.c.Inbox.Incident(ctx, r.Incident)
		if err != nil {
			return r, fmt.Errorf("incident %d: %w", r.Incident, err)
		}
		p.incident = e.believed(ctx, incident)
	}
	p.setting = s
	p.request, p.err = s.present(r, p.incident)
	return p.request, p.err
}

// believed returns an incident with what the rule of its alert says, and not its delivery.
func (e *Engine) believed(ctx context.Context, incident remediate.Incident) remediate.Incident {
	if e.c.Known != nil {
		incident.Alert = incident.Alert.Believed(e.c.Known(ctx))
	}
	return incident
}

// present derives a request anew. What a person asked for is bound by its own terms.
func (s *setting) present(r remediate.Request, incident remediate.Incident) (remediate.Request, error) {
	switch {
	case r.Policy != "":
		return s.book.Present(r, incident)
	case r.Schedule == "" || s.Schedules == nil:
		return r, nil
	}
	ask, ok := s.Schedules[r.Schedule]
	if !ok {
		return r, remediate.Refuse(remediate.ReasonPolicy, "schedule %q is no longer in the configuration", r.Schedule)
	}
	now, ok := ask(r.Subject)
	switch {
	case now.Action != r.Action:
		return r, remediate.Refuse(remediate.ReasonPolicy, "schedule %q is %s now, not %s", r.Schedule, now.Action,
			r.Action)
	case !ok || r.Wrong == "" && !maps.Equal(now.Subject, r.Subject):
		return r, remediate.Refuse(remediate.ReasonPolicy, "schedule %q is about another subject now", r.Schedule)
	case !maps.Equal(now.Params, r.Params):
		return r, remediate.Refuse(remediate.ReasonPolicy, "schedule %q has other parameters now", r.Schedule)
	case r.Query != "" && now.Query != r.Query:
		return r, remediate.Refuse(remediate.ReasonPolicy,
			"the query of schedule %q, which found the subject, is another now", r.Schedule)
	case now.Mode == remediate.Observe && r.Mode != remediate.Observe:
		return r, remediate.Refuse(remediate.ReasonPolicy, "schedule %q only observes now", r.Schedule)
	}
	if r.Mode != remediate.Observe {
		r.Mode = now.Mode
	}
	r.Limit, r.Terms = now.Limit, now.Terms
	return r, nil
}

// hold holds a run against the configuration of now, before its stage is asked, and
// reports whether that stops it. From then on the run's request is the present one.
func (e *Engine) hold(ctx context.Context, c *carried) (move, bool, error) {
	request, err := e.today(ctx, &c.current, c.run.Request)
	if r, ok := remediate.Refused(err); ok {
		return e.withdraw(c.run, r), true, nil
	} else if err != nil {
		return move{}, false, err
	}
	c.run.Request = request
	if c.run.State == remediate.Received {
		return move{}, false, nil // it is planned, and a target that never was is refused there
	}
	a, err := e.inForce(c.run)
	if r, ok := remediate.Refused(err); ok {
		return e.withdraw(c.run, r), true, nil
	}
	if c.run.State == remediate.Waiting && c.run.Begun == 0 {
		return move{}, false, nil // it is planned anew
	}
	for _, s := range c.run.Plan.Steps[min(c.run.Done, len(c.run.Plan.Steps)):] {
		if r, err := configured(a, request, s); r != nil || err != nil {
			return e.withdraw(c.run, r), r != nil, err
		}
	}
	return move{}, false, nil
}

// inForce returns the action of the configuration in force, or a refusal that lets the
// run wait for its target to come back.
func (e *Engine) inForce(run remediate.Run) (remediate.Action, error) {
	r := run.Request
	a, ok := e.setting.Load().actions[key{r.Action, r.Subject["server"]}]
	if ok {
		return a.For(r), nil
	}
	if run.State == remediate.Waiting && run.Reason == remediate.ReasonTarget && e.now().Sub(run.Changed) >= absent {
		return a, remediate.Refuse(remediate.ReasonTarget, "the target %q has been gone from the configuration for %s",
			r.Subject["server"], e.now().Sub(run.Changed).Round(time.Second))
	}
	return a, &remediate.Refusal{
		Reason: remediate.ReasonTarget, Until: e.now().Add(absentAgain),
		Detail: fmt.Sprintf("the configuration has no target %q that takes %s any more; the run goes on if it comes "+
			"back within %s", r.Subject["server"], r.Action, absent),
	}
}

// configured asks the action whether the configuration still asks for what a step does.
func configured(a remediate.Action, r remediate.Request, s remediate.Step) (*remediate.Refusal, error) {
	asked, ok := a.Executor.(remediate.Configurer)
	if !ok {
		return nil, nil
	}
	err := asked.Configured(r, s)
	if refusal, ok := remediate.Refused(err); ok {
		return refusal, nil
	}
	return nil, err
}

// StillAllowed returns nil if the current configuration allows a run to act once its plan is
// approved, and otherwise a *Refusal that says why not.
func (e *Engine) StillAllowed(ctx context.Context, run remediate.Run) error {
	request, err := e.today(ctx, new(present), run.Request)
	if err != nil {
		return err
	}
	run.Request = request
	a, err := e.inForce(run)
	if err != nil {
		return err
	}
	for _, s := range run.Plan.Steps {
		if r, err := configured(a, request, s); err != nil {
			return err
		} else if r != nil {
			return r
		}
	}
	return nil
}

// affected reports whether a run that waits or is asked about is to be looked at now,
// because the setting in force does not ask for what it was.
func (e *Engine) affected(ctx context.Context, run remediate.Run) bool {
	switch run.Reason {
	case remediate.ReasonWindow, remediate.ReasonTarget:
		return true
	}
	if run.State == remediate.AwaitingApproval || run.Begun > 0 {
		if e.StillAllowed(ctx, run) != nil {
			return true
		}
	}
	request, err := e.today(ctx, new(present), run.Request)
	if err != nil {
		return true
	}
	if _, err := e.inForce(run); err != nil {
		return true
	}
	was, err1 := json.Marshal(run.Request)
	is, err2 := json.Marshal(request)
	return err1 != nil || err2 != nil || !bytes.Equal(was, is)
}

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
		r = &remediate.Refusal{Reason: remediate.ReasonTarget,
			Detail: fmt.Sprintf("the target %q does not answer: %v", a.Target, err), Until: e.now().Add(absentAgain)}
	case !away(r):
		return r, nil
	}
	if waited := e.now().Sub(run.Changed); waited >= absent {
		r = &remediate.Refusal{Reason: r.Reason,
			Detail: fmt.Sprintf("%s; the run has waited %s for the server of its plan", r.Detail,
				waited.Round(time.Second))}
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
