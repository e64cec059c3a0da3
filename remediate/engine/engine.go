// Package engine carries a run from request to record. The stages and their
// order are in carry.go and nowhere else: stage.go and apply.go hold what each does,
// dispatch.go says which runs are carried when, member.go keeps this process
// among those that may carry them.
package engine

import (
	"context"
	"encoding/json"
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

// An Inbox has the incidents.
type Inbox interface {
	Idler // no incident is open, or may want a decision later
	Incidents
}

// Incidents are what is to be decided about.
type Incidents interface {
	Undecided(ctx context.Context, edition string, n int) ([]remediate.Incident, error)
	Incident(ctx context.Context, id int64) (remediate.Incident, error)

	// Waiting is how many deliveries wait to be written at this moment.
	Waiting() int
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
	Journal Journal
	Inbox   Inbox
	Rules   Rules // nil: the measure alone decides whether a run helped

	// Known returns the alerting rules that are loaded or shipped: their limits and expressions
	// hold, and not those of a delivery. nil: deliveries are believed.
	Known func(context.Context) []remediate.Rule

	Silences Silences // nil: nothing is silenced

	Guards   func() []remediate.Guard    // those that hold now, in the order in which they are asked
	Refresh  func(metric, server string) // has a metric read again that an action lowers; may be nil
	Notified func()                      // called after a notification was written; may be nil
	// whether people are notified of what a run did and what came of it; nil: they are not
	Announce    func(remediate.NotificationKind) bool
	Concurrency int // runs that act at once
	// no other process works on the store: a lease that cannot be renewed passes to no other
	Alone bool

	Now        func() time.Time // time.Now where nil
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// A rest is what a look for work has left, where no other process works on the store.
type rest struct {
	writes int64 // before the look
	idle   bool  // no incident was open and no run unfinished: without a write there is no work
}

// An Engine carries out runs, one at a time on each subject.
type Engine struct {
	c       Config
	now     func() time.Time
	log     *slog.Logger
	metrics metrics
	wake    chan struct{}
	flood   flood
	hush    chan struct{} // a silence is needed

	turned  chan struct{}             // another setting is in force
	acts    chan struct{}             // a step has begun
	stirred chan struct{}             // a run is expected
	rest    rest                      // of the loop of Run
	looped  atomic.Pointer[time.Time] // when the loop of Run last went on
	setting atomic.Pointer[setting]
	uses    uses // of the settings

	looked    *setting // against which waiting runs were held last; the watcher's
	overrides overrides

	mu       sync.Mutex
	expected map[int64]bool // runs that are carried here, or are about to be claimed
	carried  map[int64]*carried
	silent   map[int64]remediate.Run // that act and have their alert silenced
	stirs    int64                   // how often a run was expected
	calm     int64                   // how often when a beat found no run that is this process'
	renewed  time.Time               // when the last beat began that renewed the lease
	lapsed   bool                    // the lease is over, and what was carried was let go
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
		return a, remediate.Refuse(remediate.ReasonAction,
			"unknown action %q: the configuration has no target with actions", r.Action)
	case !ok && !known:
		return a, remediate.Refuse(remediate.ReasonAction, "unknown action %q; the targets have %s", r.Action,
			strings.Join(names, ", "))
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
			return remediate.Refuse(remediate.ReasonSubject, "%s needs the label %s, which is not there", r.Action,
				name)
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return remediate.Refuse(remediate.ReasonSubject, "%s: the label %s is no name that a target could have",
				r.Action, name)
		}
	}
	if len(r.Subject) != len(a.Subject) {
		return remediate.Refuse(remediate.ReasonSubject, "%s takes %v, not %v", r.Action, a.Subject,
			journal.Subject(r.Subject))
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
		return remediate.Refuse(remediate.ReasonSubject,
			"the alert has no annotation \"limit\" that is a number, so nothing could be called resolved")
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

	notification *remediate.Notification
	admit        func(remediate.Working) error
	proof        json.RawMessage // what a verdict was made of
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

// A doing is a step under way, as the watcher sees it.
type doing struct {
	run    remediate.Run // as it was when the step began
	action remediate.Action
	step   int // counted from 0
	since  time.Time
	cancel context.CancelCauseFunc

	approval *remediate.Approval
	plan     remediate.Plan // that of run, with what the step has kept; carried.writing is held for it

	noted  string       // the reason of the refusal that the journal has; the watcher's
	checks atomic.Int32 // how often the action asked for the right to go on
	moved  atomic.Bool  // progress was written
}

// A stopError is the cause of a step's context that the rules of now have ended.
type stopError struct{ refusal *remediate.Refusal }

func (e *stopError) Error() string { return "the statement was cancelled: " + e.refusal.Error() }

// Unwrap makes the refusal known that is behind it.
func (e *stopError) Unwrap() error {
	r := *e.refusal
	r.Detail = "the statement was cancelled: " + r.Detail
	return &r
}

// A lateError is the cause of a step's context whose own time is over. Other deadlines,
// for example of a connection while the process was frozen, are faults and are retried.
type lateError struct{ limit time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("the step took longer than %s", e.limit) }

// Unwrap makes it a deadline.
func (e *lateError) Unwrap() error { return context.DeadlineExceeded }

// A present is the request of a run as the setting in force asks for it.
type present struct {
	mu       sync.Mutex
	setting  *setting // for which it was made
	incident remediate.Incident
	request  remediate.Request
	err      error // a refusal, where the setting no longer asks for it
}

// overrides are the pauses and demotions that hold, as they were read a moment ago.
type overrides struct {
	mu   sync.Mutex
	all  journal.Overrides
	read time.Time
}

// tick is how often the engine looks for work that nothing woke it for: runs
// whose time to look again has come.
const tick = time.Second

// idleTick is how long the engine's loop waits at most where there is no work before something is written.
const idleTick = 15 * time.Second

// Wake makes the engine look for work now.
func (e *Engine) Wake() {
	select {
	case e.wake <- struct{}{}:
	default: // it will look anyway
	}
}

const (
	// A flood is this many deliveries that wait at once, or that came between two looks at this rate. Fewer are
	// decided about at once.
	floodAtLeast = 16
	floodRate    = 200 // a second

	// floodLook is how often it is looked whether a flood goes on.
	floodLook = 50 * time.Millisecond

	// floodWaits is how long a decision waits for the end of a flood.
	floodWaits = 2 * time.Second
)

// A flood of alerts is acknowledged first: deciding about each takes the store and the processor from the
// deliveries that wait, and an alert that was acknowledged is on disk.
type flood struct {
	came atomic.Int64 // deliveries that changed something

	// of the loop that decides
	seen    int64
	looked  time.Time
	decided time.Time
	rises   bool
}

// rising reports whether decisions wait for the end of a flood, while so many deliveries wait.
func (f *flood) rising(now time.Time, waiting int) bool {
	came := f.came.Load()
	n, since := came-f.seen, now.Sub(f.looked)
	f.seen, f.looked = came, now
	f.rises = waiting >= floodAtLeast || n >= floodAtLeast && float64(n) > floodRate*since.Seconds()
	if f.rises && now.Sub(f.decided) < floodWaits {
		return true
	}
	f.decided = now
	return false
}

// rest waits a moment in a flood, of which each delivery wakes the engine, and reports whether it is calm.
func (f *flood) rest(ctx context.Context) (calm bool) {
	if !f.rises || ctx.Err() != nil {
		return true
	}
	select {
	case <-ctx.Done():
	case <-time.After(floodLook):
	}
	return false
}

// Alerted wakes the engine for a delivery that opened or closed incidents.
func (e *Engine) Alerted() {
	e.flood.came.Add(1)
	e.Wake()
}
