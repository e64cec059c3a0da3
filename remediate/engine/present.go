package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
)

const (
	// absent is how long a run waits for a target that is gone from the configuration:
	// long enough for a mistake in a file to be seen and mended, and short enough that
	// what was planned is not done to a server that comes back another day.
	absent = time.Hour

	// absentAgain is how often such a run looks; a reload looks at once.
	absentAgain = 5 * time.Second
)

// A present is the request of a run as the setting in force asks for it.
type present struct {
	mu      sync.Mutex
	setting *setting // for which it was made
	episode remediate.Incident
	request remediate.Request
	err     error // a refusal, where the setting no longer asks for it
}

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
	if r.Policy != "" && r.Incident != 0 && p.episode.ID == 0 {
		episode, err := e.c.Inbox.Incident(ctx, r.Incident)
		if err != nil {
			return r, fmt.Errorf("episode %d: %w", r.Incident, err)
		}
		p.episode = episode
	}
	p.setting = s
	p.request, p.err = s.present(r, p.episode)
	return p.request, p.err
}

// present derives a request anew. What a person asked for is bound by its own terms.
func (s *setting) present(r remediate.Request, episode remediate.Incident) (remediate.Request, error) {
	switch {
	case r.Policy != "":
		return s.book.Present(r, episode)
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
		return r, remediate.Refuse(remediate.ReasonPolicy, "schedule %q is %s now, not %s", r.Schedule, now.Action, r.Action)
	case !ok || r.Wrong == "" && !maps.Equal(now.Subject, r.Subject):
		return r, remediate.Refuse(remediate.ReasonPolicy, "schedule %q is about another subject now", r.Schedule)
	case !maps.Equal(now.Params, r.Params):
		return r, remediate.Refuse(remediate.ReasonPolicy, "schedule %q has other parameters now", r.Schedule)
	case r.Query != "" && now.Query != r.Query:
		return r, remediate.Refuse(remediate.ReasonPolicy, "the query of schedule %q, which found the subject, is another now", r.Schedule)
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
		return a, remediate.Refuse(remediate.ReasonTarget, "the target %q has been gone from the configuration for %s", r.Subject["server"], e.now().Sub(run.Changed).Round(time.Second))
	}
	return a, &remediate.Refusal{
		Reason: remediate.ReasonTarget, Until: e.now().Add(absentAgain),
		Detail: fmt.Sprintf("the configuration has no target %q that takes %s any more; the run goes on if it comes back within %s", r.Subject["server"], r.Action, absent),
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

// withdraw says where a refusal leads a run that may have begun to act.
func (e *Engine) withdraw(run remediate.Run, r *remediate.Refusal) move {
	m := e.refusal(run, r)
	if r == nil {
		return m
	}
	if m.to == remediate.Waiting && run.State == remediate.Waiting && r.Reason == run.Reason {
		return move{stay: true, due: m.due}
	}
	m.why += so(run)
	return m
}

// halted returns the next state of a run that was stopped in the middle of a step.
func (e *Engine) halted(run remediate.Run, r *remediate.Refusal) move {
	stopped := *r
	stopped.Detail = fmt.Sprintf("stopped in step %d: %s", run.Begun, r.Detail)
	return e.withdraw(run, &stopped)
}

// so says how far a run has come that has begun to act.
func so(run remediate.Run) string {
	if run.Begun == 0 {
		return ""
	}
	done := "none of"
	if run.Done > 0 {
		done = fmt.Sprintf("%d of", run.Done)
	}
	return fmt.Sprintf("; %s %s done%s, no further step was started", done, steps(len(run.Plan.Steps)), begun(run)+removed(run))
}

// removed says how much the step has removed that a run was stopped in.
func removed(run remediate.Run) string {
	if run.Begun <= run.Done || run.Begun > len(run.Plan.Steps) {
		return ""
	}
	s := run.Plan.Steps[run.Begun-1]
	gone, err := s.Taken()
	switch {
	case err != nil || gone == remediate.Amount{}:
		return ""
	case s.Exact():
		return fmt.Sprintf(", step %d has removed %s", run.Begun, &gone)
	}
	return fmt.Sprintf(", step %d has removed %s at most", run.Begun, &gone)
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
	if run.State == remediate.Asked || run.Begun > 0 {
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
