// Package engine carries a run from request to record. The stages and their
// order are in this file and nowhere else: stage.go holds what each does,
// dispatch.go says which runs are carried when, member.go keeps this process
// among those that may carry them.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// maxTries is how many faults in a row a run bears before it has failed; with the
// doubling backoff they take about a minute.
const maxTries = 6

// A cancelError is the cause of a context that a person's cancel has ended.
type cancelError struct{ who string }

func (e *cancelError) Error() string { return "stopped by " + e.who }

// An Inbox tells which episodes are open.
type Inbox interface {
	Undecided(ctx context.Context, edition string, n int) ([]remediate.Incident, error)
	Incident(ctx context.Context, id int64) (remediate.Incident, error)
}

// Rules tell whether the expression of an alert still holds for a subject.
type Rules interface {
	Firing(ctx context.Context, expr string, subject map[string]string) (bool, error)
}

// Silences keep an alert silent while a run works on it.
type Silences interface {
	Hold(ctx context.Context, run remediate.Run, alert remediate.Alert) error
	Release(ctx context.Context, run int64) error
}

// Config is what an Engine is made of.
type Config struct {
	Journal  Journal
	Inbox    Inbox
	Rules    Rules    // nil: the measure alone decides whether a run helped
	Silences Silences // nil: nothing is silenced

	Guards      func() []remediate.Guard              // those that hold now, in the order in which they are asked
	Refresh     func(metric, server string)           // has a metric read again that an action lowers; may be nil
	Notified    func()                                // called after a notice was written; may be nil
	Announce    func(remediate.NotificationKind) bool // whether people are notified of what a run did and what came of it; nil: they are not
	Concurrency int                                   // runs that act at once
	Alone       bool                                  // no other process works on the store: a lease that cannot be renewed passes to no other

	Now        func() time.Time // time.Now where nil
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// An Engine carries out runs, one at a time on each subject.
type Engine struct {
	c       Config
	now     func() time.Time
	log     *slog.Logger
	metrics metrics
	wake    chan struct{}
	hush    chan struct{} // a silence is needed

	turned  chan struct{} // another setting is in force
	setting atomic.Pointer[setting]
	uses    uses // of the settings

	looked *setting // against which waiting runs were held last; the watcher's
	pauses pauses

	mu       sync.Mutex
	expected map[int64]bool // runs that are carried here, or are about to be claimed
	carried  map[int64]*carried
	silent   map[int64]remediate.Run // that act and have their alert silenced
	renewed  time.Time               // when the last beat began that renewed the lease
	lapsed   bool                    // the lease is over, and what was carried was let go
}

// A key finds an action: its name and the target that it acts on.
type key struct{ name, target string }

// New returns an Engine without actions and policies. It starts nothing.
func New(c Config) *Engine {
	if c.Now == nil {
		c.Now = time.Now
	}
	e := &Engine{
		turned: make(chan struct{}, 1),
		c:      c, now: c.Now, log: c.Logger, metrics: newMetrics(c.Registerer), wake: make(chan struct{}, 1), hush: make(chan struct{}, 1),
		expected: make(map[int64]bool), carried: make(map[int64]*carried), silent: make(map[int64]remediate.Run),
	}
	c.Registerer.MustRegister(stuckMetric{e})
	e.setting.Store(&setting{})
	return e
}

// action returns the action that a request names, or a refusal that says what is
// wrong with the request.
func (e *Engine) action(r remediate.Request) (remediate.Action, error) {
	now := e.setting.Load()
	a, ok := now.actions[key{r.Action, r.Subject["server"]}]
	_, known := now.book.Actions[r.Action]
	names := slices.Sorted(maps.Keys(now.book.Actions))
	switch {
	case r.Wrong != "":
		return a, remediate.Refuse(remediate.ReasonSubject, "%s", r.Wrong)
	case !ok && len(names) == 0:
		return a, remediate.Refuse(remediate.ReasonAction, "unknown action %q: the configuration has no target with actions", r.Action)
	case !ok && !known:
		return a, remediate.Refuse(remediate.ReasonAction, "unknown action %q; the targets have %s", r.Action, strings.Join(names, ", "))
	case !ok && r.Subject["server"] == "":
		return a, remediate.Refuse(remediate.ReasonSubject, "%s needs the label server, which is not there", r.Action)
	case !ok:
		return a, remediate.Refuse(remediate.ReasonAction, "%s: no target %q takes it", r.Action, r.Subject["server"])
	}
	return a.For(r), checkRequest(a, r)
}

func checkRequest(a remediate.Action, r remediate.Request) error {
	for _, name := range a.Subject {
		switch value := r.Subject[name]; {
		case value == "":
			return remediate.Refuse(remediate.ReasonSubject, "%s needs the label %s, which is not there", r.Action, name)
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return remediate.Refuse(remediate.ReasonSubject, "%s: the label %s is no name that a target could have", r.Action, name)
		}
	}
	if len(r.Subject) != len(a.Subject) {
		return remediate.Refuse(remediate.ReasonSubject, "%s takes %v, not %v", r.Action, a.Subject, journal.Subject(r.Subject))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		i := slices.IndexFunc(a.Params, func(p remediate.Param) bool { return p.Name == name })
		if i < 0 {
			return remediate.Refuse(remediate.ReasonSubject, "%s has no parameter %q", r.Action, name)
		}
		if err := policy.Check(a.Params[i], r.Params[name]); err != nil {
			return remediate.Refuse(remediate.ReasonSubject, "%s: %v", r.Action, err)
		}
	}
	if r.Incident != 0 && r.Limit == nil {
		return remediate.Refuse(remediate.ReasonSubject, "the alert has no annotation \"limit\" that is a number, so nothing could be called cleared")
	}
	return nil
}

func exclusive(a remediate.Action, r remediate.Request) string {
	part := make(map[string]string, len(a.Exclusive))
	for _, name := range a.Exclusive {
		part[name] = r.Subject[name]
	}
	return journal.Subject(part)
}

// A move is what a stage asks for: a transition with its reason, or to stay.
type move struct {
	to     remediate.State
	why    string
	reason string
	due    time.Time
	stay   bool // nothing has happened: evaluate again at the due time, without an entry

	notice *remediate.Notification
	admit  func(remediate.Working) error
	proof  json.RawMessage // what a verdict was made of
}

// A stage does what is done in one state and says where the run goes. An error
// is a fault: the stage is tried again, until it has failed too often.
type stage func(ctx context.Context, c *carried) (move, error)

// A carried is a run while it is carried, with the right to act that it holds.
type carried struct {
	run    remediate.Run
	fence  remediate.Fence
	cancel context.CancelCauseFunc

	current present // what is asked for now
	doing   atomic.Pointer[doing]
	writing sync.Mutex // held while an entry is written

	working remediate.Working // as it was read last
	read    time.Time         // and when that was; zero where it was not
	free    bool              // the early guards have agreed to what was read
}

// stages says what is done in each state. It is the pipeline, whole and in order.
func (e *Engine) stages() map[remediate.State]stage {
	return map[remediate.State]stage{
		remediate.Received: e.plan,    // look; change nothing
		remediate.Planned:  e.guarded, // every guard must agree
		remediate.Asked:    e.asked,   // a person must agree
		remediate.Waiting:  e.again,   // the due time has come: evaluate again
		remediate.Allowed:  e.apply,   // one step after the other, under the fence
		remediate.Applied:  e.verify,  // measure again, and ask the alert's expression
	}
}

// Do carries a run as far as it will go now. It can be called again after any
// crash: each transition is in the journal before the next stage begins, and a
// step that was begun is begun again, which is the same as once.
func (e *Engine) Do(ctx context.Context, run remediate.Run, f remediate.Fence) error {
	whole := ctx // a person's cancel does not end it
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &carried{run: run, fence: f, cancel: cancel}
	e.note(c)
	defer e.forget(c)
	for !c.run.State.Final() {
		m, err := e.next(ctx, c)
		cancelled, stop := errors.AsType[*cancelError](context.Cause(ctx))
		switch {
		case errors.Is(err, remediate.ErrFenced) || store.Away(err) || ctx.Err() != nil && !stop:
			// Nothing is written, and a store that cannot be had is no fault of the run's:
			// the next instance that carries it goes on from here.
			return fmt.Errorf("run %d: %w", run.ID, errors.Join(err, context.Cause(ctx)))
		case err != nil && stop:
			c.run.Cancel = cancelled.who
			m = e.halt(c.run)
		case err != nil:
			m = e.fault(c, err)
		}
		if m, err = e.ending(whole, c, m, err); err != nil {
			return err
		}
		left, err := e.move(context.WithoutCancel(ctx), c, m)
		if err != nil || left {
			return err
		}
	}
	return nil
}

// next asks the stage of the run's state, unless a person wants it to stop or the
// configuration of now does not let it go on.
func (e *Engine) next(ctx context.Context, c *carried) (move, error) {
	defer e.uses.begin()()
	if c.run.Cancel != "" {
		if m, stop := stopped(c.run); stop {
			return m, nil
		}
	}
	if c.run.State != remediate.Applied { // there is nothing left to stop
		if m, stop, err := e.hold(ctx, c); err != nil || stop {
			return m, err
		}
	}
	return e.stages()[c.run.State](ctx, c)
}

// stopped returns the next state of a run that a person has cancelled.
func stopped(run remediate.Run) (move, bool) {
	switch run.State {
	case remediate.Asked:
		return move{to: remediate.Declined, why: run.Cancel, reason: remediate.ReasonPerson}, true
	case remediate.Received, remediate.Planned, remediate.Waiting:
		return move{to: remediate.Declined, why: "stopped by " + run.Cancel, reason: remediate.ReasonCancelled}, true
	case remediate.Allowed:
		return move{to: remediate.Failed, why: "stopped by " + run.Cancel + removed(run), reason: remediate.ReasonCancelled}, true
	default: // every step is done: there is nothing to stop
		return move{}, false
	}
}

// halt returns the next state of a run whose stage was interrupted by a cancel.
func (e *Engine) halt(run remediate.Run) move {
	if m, stop := stopped(run); stop {
		return m
	}
	return move{stay: true, due: e.now().Add(tick)}
}

// fault returns the next state of a run after an error: the same state again a little
// later, or failed. A refusal while acting holds or ends the run; the step's own deadline
// and ErrFinal are not tried again.
func (e *Engine) fault(c *carried, err error) move {
	r, refused := remediate.Refused(err)
	if refused && c.run.State == remediate.Allowed {
		return e.halted(c.run, r)
	}
	c.run.Tries++
	if c.run.State == remediate.Applied && (refused || c.run.Tries >= maxTries) {
		return unknown(c.run, err) // what was done is done
	}
	_, late := errors.AsType[*lateError](err)
	if refused || errors.Is(err, remediate.ErrFinal) || c.run.Tries >= maxTries || late && c.run.State == remediate.Allowed {
		return move{to: remediate.Failed, why: err.Error() + removed(c.run)}
	}
	return move{to: c.run.State, why: fmt.Sprintf("try %d of %d: %v", c.run.Tries, maxTries, err), due: e.now().Add(time.Second << c.run.Tries)}
}

// move writes a transition to the journal, and then to the run. It reports
// whether the run was left for now.
func (e *Engine) move(ctx context.Context, c *carried, m move) (left bool, err error) {
	left = m.due.After(e.now())
	if m.stay {
		return true, e.c.Journal.Postpone(ctx, c.run, c.fence.Token, m.due)
	}
	entry := remediate.Entry{Run: c.run.ID, At: e.now(), From: c.run.State, To: m.to, Why: m.why, Reason: m.reason, Case: m.proof}
	next := c.run
	next.State, next.Why, next.Reason, next.Due, next.Changed = m.to, m.why, m.reason, m.due, entry.At
	if m.to != c.run.State {
		next.Tries, next.Lost = 0, 0
	}
	if m.notice == nil && m.to != c.run.State {
		m.notice = e.outcome(next)
	}
	c.writing.Lock()
	err = e.c.Journal.Append(ctx, journal.Change{
		Run: next, Entry: entry, Fence: c.fence.Token, Exclusive: e.exclusive(c.run.Request), Leave: left, Notification: m.notice, Admit: m.admit,
	})
	c.writing.Unlock()
	if r, refused := remediate.Refused(err); refused && m.admit != nil {
		return e.move(ctx, c, e.withdraw(c.run, r)) // it was free a moment ago
	}
	if err != nil {
		return true, fmt.Errorf("run %d: %w", c.run.ID, err)
	}
	c.run = next
	e.tell(next, entry)
	e.after(ctx, c, m)
	return left, nil
}
