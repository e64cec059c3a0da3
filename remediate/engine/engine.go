// Package engine carries a run from request to record. The stages and their
// order are in this file and nowhere else; dispatch.go says which runs are
// carried when.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

const (
	// maxTries is how many faults in a row a run bears before it has failed;
	// with the doubling backoff they take about a minute.
	maxTries = 6

	// settle is how long a measure may take to show what was done: PostgreSQL
	// before 15 reports through a process of its own, every half second.
	settle = 3 * time.Second

	// within is when to look again at a measure that is within its limit while its
	// alert fires: mostly the alert is late and its end comes first, but it may be
	// on its way up again.
	within = 30 * time.Second

	// lookTimeout bounds everything that only looks.
	lookTimeout = 30 * time.Second
)

// A Journal is where each transition is written before the next stage begins.
type Journal interface {
	Create(ctx context.Context, r remediate.Request, why string) (remediate.Run, bool, error)
	Append(ctx context.Context, fence int64, run remediate.Run, e remediate.Entry) error
	Lease(ctx context.Context, subject string, run int64) (remediate.Fence, error)
}

// A Queue tells which runs are to be looked at.
type Queue interface {
	Due(ctx context.Context) ([]remediate.Run, error)
	Ready(ctx context.Context, id int64) (run remediate.Run, still bool, err error)
}

// An Inbox tells which episodes are open.
type Inbox interface {
	Undecided(ctx context.Context) ([]remediate.Episode, error)
	Episode(ctx context.Context, id int64) (remediate.Episode, error)
}

// Config is what an Engine is made of.
type Config struct {
	Journal     Journal
	Queue       Queue
	Inbox       Inbox
	Guards      func(exclusive func(remediate.Request) string) []remediate.Guard
	Refresh     func(metric, server string) // has a metric read again that an action lowers; may be nil
	Concurrency int                         // runs that act at once; 4 where 0
	Now         func() time.Time            // time.Now where nil
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
}

// An Engine carries out runs, one at a time on each subject.
type Engine struct {
	journal     Journal
	queue       Queue
	inbox       Inbox
	guards      []remediate.Guard
	refresh     func(metric, server string)
	concurrency int
	now         func() time.Time
	log         *slog.Logger
	metrics     metrics
	wake        chan struct{}

	mu       sync.Mutex
	actions  map[key]remediate.Action
	book     policy.Book
	edition  int            // of the book
	inFlight map[int64]bool // runs that are being carried
}

// A key finds an action: its name and the target that it acts on.
type key struct{ name, target string }

// New returns an Engine without actions and policies. It starts nothing.
func New(c Config) *Engine {
	e := &Engine{
		journal: c.Journal, queue: c.Queue, inbox: c.Inbox, refresh: c.Refresh, concurrency: c.Concurrency, now: c.Now, log: c.Logger,
		metrics: newMetrics(c.Registerer), wake: make(chan struct{}, 1), inFlight: make(map[int64]bool),
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.concurrency == 0 {
		e.concurrency = 4
	}
	e.guards = c.Guards(e.exclusive)
	return e
}

// Use sets the actions that there are and the policies that ask for them, in
// place of those before. Runs that are being carried keep theirs.
func (e *Engine) Use(actions []remediate.Action, policies []policy.Policy) error {
	all := make(map[key]remediate.Action, len(actions))
	subjects := make(map[string][]string)
	for _, a := range actions {
		k := key{a.Name, a.Target}
		if _, ok := all[k]; ok {
			return fmt.Errorf("action %s for %s is there twice", a.Name, a.Target)
		}
		if a.Timeout <= 0 {
			return fmt.Errorf("action %s for %s has no timeout", a.Name, a.Target)
		}
		all[k] = a
		subjects[a.Name] = a.Subject
	}
	e.mu.Lock()
	e.actions, e.book = all, policy.Book{Policies: policies, Subjects: subjects}
	e.edition++
	e.mu.Unlock()
	e.Wake()
	return nil
}

// action returns the action that a request names, or a refusal that says what is
// wrong with the request.
func (e *Engine) action(r remediate.Request) (remediate.Action, error) {
	e.mu.Lock()
	a, ok := e.actions[key{r.Action, r.Subject["server"]}]
	_, known := e.book.Subjects[r.Action]
	names := slices.Sorted(maps.Keys(e.book.Subjects))
	e.mu.Unlock()
	switch {
	case !ok && !known:
		return a, remediate.Refuse(remediate.ReasonAction, "there is no action %q for any target; there are %s", r.Action, strings.Join(names, ", "))
	case !ok && r.Subject["server"] == "":
		return a, remediate.Refuse(remediate.ReasonSubject, "%s needs the label server, which is not there", r.Action)
	case !ok:
		return a, remediate.Refuse(remediate.ReasonAction, "%s: no target %q takes it", r.Action, r.Subject["server"])
	}
	for _, name := range a.Subject {
		switch value := r.Subject[name]; {
		case value == "":
			return a, remediate.Refuse(remediate.ReasonSubject, "%s needs the label %s, which is not there", r.Action, name)
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return a, remediate.Refuse(remediate.ReasonSubject, "%s: the label %s is no name that a target could have", r.Action, name)
		}
	}
	if len(r.Subject) != len(a.Subject) {
		return a, remediate.Refuse(remediate.ReasonSubject, "%s takes %v, not %v", r.Action, a.Subject, journal.Subject(r.Subject))
	}
	if r.Episode != 0 && r.Limit == nil {
		return a, remediate.Refuse(remediate.ReasonSubject, "the alert has no annotation \"limit\" that is a number, so nothing could be called cleared")
	}
	return a, nil
}

// exclusive names what of the subject no other run may work on meanwhile.
func (e *Engine) exclusive(r remediate.Request) string {
	e.mu.Lock()
	a := e.actions[key{r.Action, r.Subject["server"]}]
	e.mu.Unlock()
	part := make(map[string]string, len(a.Exclusive))
	for _, name := range a.Exclusive {
		part[name] = r.Subject[name]
	}
	return journal.Subject(part)
}

// A move is what a stage asks for: a transition with its reason, or to stop here
// because another process goes on with the run.
type move struct {
	to     remediate.State
	why    string
	reason string
	due    time.Time
}

// A stage does what is done in one state and says where the run goes. An error
// is a fault: the stage is tried again, until it has failed too often.
type stage func(ctx context.Context, c *carried) (move, error)

// A carried is a run while it is carried, with the right to act that it holds.
type carried struct {
	run   remediate.Run
	fence remediate.Fence
}

// stages says what is done in each state. It is the pipeline, whole and in order.
func (e *Engine) stages() map[remediate.State]stage {
	return map[remediate.State]stage{
		remediate.Received: e.plan,   // look; change nothing
		remediate.Planned:  e.guard,  // every guard must agree
		remediate.Waiting:  e.again,  // it is due: look again
		remediate.Allowed:  e.apply,  // one step after the other, under a lease
		remediate.Applied:  e.verify, // measure again
	}
}

// Do carries a run as far as it will go now. It can be called again after any
// crash: each transition is in the journal before the next stage begins, and a
// step that was begun is begun again, which is the same as once.
func (e *Engine) Do(ctx context.Context, run remediate.Run) error {
	c := &carried{run: run}
	for !c.run.State.Final() {
		m, err := e.stages()[c.run.State](ctx, c)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx) // nothing is written: the next process goes on from here
		case errors.Is(err, remediate.ErrFenced):
			return fmt.Errorf("run %d: %w", run.ID, err)
		case err != nil:
			m = e.fault(c, err)
		}
		if err := e.move(ctx, c, m); err != nil {
			return err
		}
		if c.run.Due.After(e.now()) {
			return nil
		}
	}
	return nil
}

// fault says what becomes of a run after an error: the same state again a little
// later, or failed. A refusal while acting and a deadline are not tried again.
func (e *Engine) fault(c *carried, err error) move {
	c.run.Tries++
	_, refused := remediate.Refused(err)
	if refused || c.run.Tries >= maxTries || errors.Is(err, context.DeadlineExceeded) && c.run.State == remediate.Allowed {
		return move{to: remediate.Failed, why: err.Error()}
	}
	return move{to: c.run.State, why: fmt.Sprintf("try %d of %d: %v", c.run.Tries, maxTries, err), due: e.now().Add(time.Second << c.run.Tries)}
}

// move writes a transition to the journal, and then to the run.
func (e *Engine) move(ctx context.Context, c *carried, m move) error {
	entry := remediate.Entry{Run: c.run.ID, At: e.now(), From: c.run.State, To: m.to, Why: m.why, Reason: m.reason}
	next := c.run
	next.State, next.Why, next.Due, next.Changed = m.to, m.why, m.due, entry.At
	if m.to != c.run.State {
		next.Tries = 0
	}
	if err := e.journal.Append(ctx, c.fence.Token, next, entry); err != nil {
		return fmt.Errorf("run %d: %w", c.run.ID, err)
	}
	c.run = next
	if m.to != remediate.Allowed && m.to != remediate.Applied {
		c.fence = remediate.Fence{}
	}
	e.tell(next, entry)
	return nil
}

func (e *Engine) plan(ctx context.Context, c *carried) (move, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("the target did not answer in time"))
	defer cancel()
	before, plan, err := e.look(ctx, c.run.Request)
	c.run.Before = before
	if r, ok := remediate.Refused(err); ok {
		return refusal(r), nil
	} else if err != nil {
		return move{}, err
	}
	c.run.Plan, c.run.Begun, c.run.Done = plan, 0, 0
	return move{to: remediate.Planned, why: fmt.Sprintf("%s, plan %s", steps(len(plan.Steps)), plan.Hash())}, nil
}

// look measures and plans, and changes nothing.
func (e *Engine) look(ctx context.Context, r remediate.Request) (before *float64, plan remediate.Plan, err error) {
	a, err := e.action(r)
	if err != nil {
		return nil, plan, err
	}
	value, err := a.Measure(ctx, r)
	switch {
	case errors.Is(err, remediate.ErrGone):
		return nil, plan, remediate.Refuse(remediate.ReasonGone, "%s is not there", journal.Subject(r.Subject))
	case err != nil:
		return nil, plan, fmt.Errorf("measure %s: %w", a.Lowers, err)
	case math.IsNaN(value) || math.IsInf(value, 0):
		return nil, plan, fmt.Errorf("measure %s: %v is no measure", a.Lowers, value)
	case r.Episode != 0 && value <= *r.Limit:
		return &value, plan, &remediate.Refusal{
			Reason: remediate.ReasonNothing,
			Detail: fmt.Sprintf("%s is %s, within its limit of %s", a.Lowers, remediate.Quantity(a.Lowers, value), remediate.Quantity(a.Lowers, *r.Limit)),
			Until:  e.now().Add(within),
		}
	}
	plan, err = a.Plan(ctx, r)
	if err == nil && len(plan.Steps) == 0 {
		err = remediate.Refuse(remediate.ReasonNothing, "%s has nothing to do", a.Name)
	}
	return &value, plan, err
}

func refusal(r *remediate.Refusal) move {
	m := move{to: remediate.Declined, why: r.Detail, reason: r.Reason}
	if !r.Until.IsZero() {
		m.to, m.due = remediate.Waiting, r.Until
	}
	return m
}

func (e *Engine) guard(ctx context.Context, c *carried) (move, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("a guard did not answer in time"))
	defer cancel()
	for _, g := range e.guards {
		err := g.Check(ctx, c.run)
		if r, ok := remediate.Refused(err); ok {
			return refusal(r), nil
		} else if err != nil {
			return move{}, fmt.Errorf("guard %s: %w", g.Name, err)
		}
	}
	return move{to: remediate.Allowed, why: "every guard agreed"}, nil
}

// again looks whether what a run waited for still matters.
func (e *Engine) again(ctx context.Context, c *carried) (move, error) {
	if c.run.Request.Episode == 0 {
		return move{to: remediate.Received, why: "it is due"}, nil
	}
	episode, err := e.inbox.Episode(ctx, c.run.Request.Episode)
	if err != nil {
		return move{}, err
	}
	if !episode.Closed.IsZero() {
		return move{to: remediate.Declined, why: "the episode is over: " + episode.Why, reason: remediate.ReasonResolved}, nil
	}
	return move{to: remediate.Received, why: "it is due"}, nil
}

func (e *Engine) apply(ctx context.Context, c *carried) (move, error) {
	a, err := e.action(c.run.Request)
	if err != nil {
		return move{}, err
	}
	c.fence, err = e.journal.Lease(ctx, e.exclusive(c.run.Request), c.run.ID)
	if _, busy := errors.AsType[*journal.BusyError](err); busy {
		return move{to: remediate.Received, why: err.Error()}, nil // the guard says when to come back
	} else if err != nil {
		return move{}, err
	}
	if c.run.Begun == 0 {
		same, err := e.unchanged(ctx, c.run)
		if _, refused := remediate.Refused(err); err != nil && !refused {
			return move{}, err
		}
		if !same {
			return move{to: remediate.Received, why: "the target has changed since the plan was made", due: e.now().Add(tick)}, nil
		}
	}
	for i := c.run.Done; i < len(c.run.Plan.Steps); i++ {
		if err := e.step(ctx, c, a, i); err != nil {
			return move{}, fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return move{to: remediate.Applied, why: steps(len(c.run.Plan.Steps)) + " done"}, nil
}

// unchanged makes the plan again, now that nobody else may act, and compares.
func (e *Engine) unchanged(ctx context.Context, run remediate.Run) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("the target did not answer in time"))
	defer cancel()
	_, plan, err := e.look(ctx, run.Request)
	return err == nil && plan.Hash() == run.Plan.Hash(), err
}

// step carries out one step: begun is in the journal before, done after.
func (e *Engine) step(ctx context.Context, c *carried, a remediate.Action, i int) error {
	s := c.run.Plan.Steps[i]
	if err := e.note(ctx, c, i+1, false, s.Do); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, a.Timeout, fmt.Errorf("the step took longer than %s: %w", a.Timeout, context.DeadlineExceeded))
	defer cancel()
	began := e.now()
	if err := a.Apply(limited, c.fence, s); err != nil {
		if cause := context.Cause(limited); cause != nil && ctx.Err() == nil {
			return fmt.Errorf("%w: %w", cause, err) // whose deadline it was
		}
		return err
	}
	return e.note(ctx, c, i+1, true, fmt.Sprintf("took %s", e.now().Sub(began).Round(time.Millisecond)))
}

func (e *Engine) note(ctx context.Context, c *carried, step int, done bool, why string) error {
	entry := remediate.Entry{Run: c.run.ID, At: e.now(), From: c.run.State, To: c.run.State, Step: step, Done: done, Why: why}
	next := c.run
	next.Begun, next.Why, next.Changed, next.Due = step, why, entry.At, time.Time{}
	if done {
		next.Done = step
	}
	if err := e.journal.Append(ctx, c.fence.Token, next, entry); err != nil {
		return err
	}
	c.run = next
	e.tell(next, entry)
	return nil
}

// verify measures again and judges: the engine, not the action, says whether it helped.
func (e *Engine) verify(ctx context.Context, c *carried) (move, error) {
	a, err := e.action(c.run.Request)
	if err != nil {
		return move{}, err
	}
	after, err := e.measured(ctx, a, c.run)
	if errors.Is(err, remediate.ErrGone) {
		return move{to: remediate.Uncleared, why: "the subject is no longer there"}, nil
	} else if err != nil {
		return move{}, fmt.Errorf("measure %s: %w", a.Lowers, err)
	}
	c.run.After = &after
	if e.refresh != nil {
		e.refresh(a.Lowers, a.Target)
	}
	why := effect(a.Lowers, c.run)
	if !helped(c.run, after) {
		return move{to: remediate.Uncleared, why: why}, nil
	}
	return move{to: remediate.Cleared, why: why}, nil
}

// measured reads the metric until it shows what was done, or settle is over.
func (e *Engine) measured(ctx context.Context, a remediate.Action, run remediate.Run) (value float64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errors.New("the target did not answer in time"))
	defer cancel()
	for waited := time.Duration(0); ; waited += settle / 6 {
		value, err = a.Measure(ctx, run.Request)
		if err != nil || helped(run, value) || waited >= settle {
			return value, err
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(settle / 6):
		}
	}
}

// helped judges a measure: against the limit, or where there is none against what was.
func helped(run remediate.Run, after float64) bool {
	if run.Request.Limit != nil {
		return after <= *run.Request.Limit
	}
	return run.Before == nil || after <= *run.Before
}

func effect(metric string, run remediate.Run) string {
	quantity := func(v *float64) string {
		if v == nil {
			return "unknown"
		}
		return remediate.Quantity(metric, *v)
	}
	why := fmt.Sprintf("%s went from %s to %s", metric, quantity(run.Before), quantity(run.After))
	if run.Request.Limit != nil {
		why += ", limit " + quantity(run.Request.Limit)
	}
	return why
}

func steps(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

// Actions returns the actions that there are.
func (e *Engine) Actions() (all []remediate.Action) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for a := range maps.Values(e.actions) {
		all = append(all, a)
	}
	return all
}
