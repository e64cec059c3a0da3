package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
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

// proposal puts a run to the guards.
func (e *Engine) proposal(run remediate.Run, a remediate.Action, w remediate.Working) remediate.Proposal {
	return remediate.Proposal{
		Run: run, Action: a, Exclusive: e.exclusive(run.Request), Targets: e.targets(run.Request.Action), Working: w, Now: e.now(),
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
		return &value, plan, remediate.Refuse(remediate.ReasonCannotHelp, "%s is %s, within the step's limit of %s: nothing to clear here", a.Lowers, remediate.Quantity(a.Lowers, value), remediate.Quantity(a.Lowers, *r.Limit))
	case r.Incident != 0 && value <= *r.Limit:
		return &value, plan, &remediate.Refusal{
			Reason: remediate.ReasonNothing,
			Detail: fmt.Sprintf("%s is %s, within its limit of %s", a.Lowers, remediate.Quantity(a.Lowers, value), remediate.Quantity(a.Lowers, *r.Limit)),
			Until:  e.now().Add(within),
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
	case r.Mode == remediate.Observe && missing != nil && refused && refusal.Reason == remediate.ReasonPrivilege && len(plan.Steps) > 0:
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
		e.log.Error("an action panicked", "action", a.Name, "server", a.Target, "err", p, "stack", string(debug.Stack()))
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
		return &remediate.Refusal{Reason: remediate.ReasonNoData, Detail: fmt.Sprintf("%s is not known: %v", a.Lowers, fault), Until: e.now().Add(within)}
	}
	return fmt.Errorf("measure %s: %w", a.Lowers, fault)
}

// refusal says where a refusal leads: to wait, to ask, or to the end.
func (e *Engine) refusal(run remediate.Run, r *remediate.Refusal) move {
	switch {
	case r == nil:
		return move{}
	case r.Reason == remediate.ReasonApproval:
		return e.ask(run, r)
	case r.Until.IsZero():
		return move{to: remediate.Declined, why: r.Detail, reason: r.Reason}
	}
	return move{to: remediate.Waiting, why: r.Detail, reason: r.Reason, due: r.Until}
}

// ask puts the plan to people.
func (e *Engine) ask(run remediate.Run, r *remediate.Refusal) move {
	until := e.now().Add(run.Request.Terms.Approval())
	question := run.Plan.Question()
	return move{to: remediate.Asked, why: r.Detail, reason: r.Reason, due: until, notice: &remediate.Notification{
		Key: fmt.Sprintf("ask/%d/%s/%d", run.ID, question, e.now().UnixMilli()), Kind: remediate.NotificationAsk, Run: run.ID, Incident: run.Request.Incident, Plan: question, At: e.now(), Until: until, Labels: about(run),
		Title: fmt.Sprintf("May run %d do %s on %s?", run.ID, run.Request.Action, journal.Subject(run.Request.Subject)),
		Text:  r.Detail + "\n" + e.planText(run) + fmt.Sprintf("\nAnswer until %s: upkeep approve %d, or upkeep reject %d --why …", until.UTC().Format(time.RFC3339), run.ID, run.ID),
	}}
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

// over reports whether the episode that asked for a run is over.
func (e *Engine) over(ctx context.Context, run remediate.Run) (move, bool, error) {
	if run.Request.Incident == 0 {
		return move{}, false, nil
	}
	episode, err := e.c.Inbox.Incident(ctx, run.Request.Incident)
	if err != nil || episode.Closed.IsZero() {
		return move{}, false, err
	}
	return move{to: remediate.Declined, why: "the episode is over: " + episode.Why, reason: remediate.ReasonResolved}, true, nil
}

// again looks whether what a run waited for still matters, and whether it still
// blocks it.
func (e *Engine) again(ctx context.Context, c *carried) (move, error) {
	if c.run.Begun > 0 {
		return e.resume(ctx, c) // also where the episode is over: what it began is not left half done
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

// asked looks for a person's answer.
func (e *Engine) asked(ctx context.Context, c *carried) (move, error) {
	if c.run.Begun == 0 {
		if m, over, err := e.over(ctx, c.run); err != nil || over {
			return m, err
		}
	}
	w, err := e.c.Journal.Working(ctx, c.run)
	if err != nil {
		return move{}, err
	}
	if a := w.Approval; a != nil && a.Of(c.run.Plan) && !c.run.Plan.Amount.Exceeds(a.Amount.Tolerated()) && a.Until.After(e.now()) {
		return answered(c.run, fmt.Sprintf("%s approved of plan %s", a.By, a.Plan)), nil
	}
	if c.run.Request.Mode == remediate.Auto && w.Demoted == "" {
		return answered(c.run, "the policy is promoted"), nil
	}
	until := c.run.Changed.Add(c.run.Request.Terms.Approval())
	if !until.After(e.now()) {
		return move{to: remediate.Declined, why: "approval not given in time" + so(c.run), reason: remediate.ReasonUnanswered}, nil
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
		return e.unverified(c.run, fmt.Sprintf("the target %q is gone from the configuration", c.run.Request.Subject["server"])), nil
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
	v := policy.Evidence{Metric: a.Lowers, Before: c.run.Before, Limit: r.Limit, Aside: r.Aside, Since: e.now().Sub(c.run.Applied), Settle: settle, Horizon: horizon}
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
	episode, err := e.c.Inbox.Incident(ctx, r.Incident)
	if err != nil || episode.Alert.Expr == "" {
		return v, err
	}
	v.Evaluable = true
	firing, err := e.c.Rules.Firing(ctx, episode.Alert.Expr, r.Subject)
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
	return move{to: remediate.Inconclusive, why: fmt.Sprintf("%s done; the result is unknown: %v", steps(len(run.Plan.Steps)), why)}
}

func steps(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}
