// Package remediate is the vocabulary of change: what an alert, an episode, an
// action, a plan and a run are, what an action promises, and the states that a
// run passes. It does nothing by itself. Package engine executes runs;
// the packages under actions do the work.
package remediate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Request asks for one action on one subject. An alert, a schedule or a person
// makes it. Two requests with the same Key are one run.
type Request struct {
	Key      string            `json:"key"`
	Action   string            `json:"action"`             // "postgres/reindex"
	Subject  map[string]string `json:"subject"`            // the labels that say on what
	Params   map[string]string `json:"params,omitempty"`   // further parameters of the action; checked against its Params
	Limit    *float64          `json:"limit,omitempty"`    // the limit in the rule; the action's metric should fall to it
	Policy   string            `json:"policy,omitempty"`   // the policy that asked, if one did
	Step     int               `json:"step,omitempty"`     // of the policy's chain, counted from 0
	Mode     Mode              `json:"mode"`               // whether it may act
	Incident int64             `json:"episode,omitempty"`  // the episode that asks; 0 when none does
	Schedule string            `json:"schedule,omitempty"` // the schedule that asks, if one does
	Query    string            `json:"query,omitempty"`    // of the schedule, by which it found the subject
	By       string            `json:"by"`                 // "alert/PostgresIndexBloat", "schedule/nightly", "user/ann"
	Terms    Terms             `json:"terms,omitzero"`

	// Aside says that Limit is the step's own and not the alert's: the step clears
	// the way for the next one, and need not end the alert by itself.
	Aside bool `json:"aside,omitempty"`

	// Wrong says what is wrong with the labels or parameters that the request was
	// made of. Such a run is declined with this as its reason.
	Wrong string `json:"wrong,omitempty"`
}

// Mode says how far a request may go.
type Mode string

// The modes of a request.
const (
	Auto    Mode = "auto"    // plan, then act when every guard agrees
	Ask     Mode = "ask"     // plan, and act when a person has approved of this plan
	Observe Mode = "observe" // plan and journal what would be done, and stop there
)

// An Action is a remedy for one target, with its name, its text and its risk.
type Action struct {
	Name   string // "domain/verb"
	Target string // the name of the target that it acts on; the subject's "server" label
	At     string // the target's address, without secrets: a step stops where the configuration has another
	Doc    string // the reference text; its first sentence is the summary
	Lowers string // the metric that falls when it helps; a collector declares it
	Risk   Risk

	// LowersBy names the metric that falls in the place of Lowers where a parameter
	// has a value, by "name=value".
	LowersBy map[string]string

	// Asks makes every run need approval, whatever its policy says and for every
	// requester.
	Asks bool

	// Windowed makes every run wait for a maintenance window: one that names none
	// is declined.
	Windowed bool

	// Removes says that the subject no longer exists when the action is done:
	// that it is gone counts as a measure of 0.
	Removes bool

	// Rights are what the target must allow beyond a connection. Plan refuses with
	// ReasonPrivilege and names the missing one; the plan that it also returns is
	// complete, with the missing rights in Needs, unless it cannot look without them.
	Rights []Right

	// Params are the parameters of the action in addition to its subject.
	Params []Param

	// Subject lists the labels that say on what the action works. Each must be
	// there and not be empty: an empty subject never means "all".
	Subject []string

	// Exclusive lists those of Subject that no other run may work on meanwhile:
	// an index and its table are one, so reindex names the table here.
	Exclusive []string

	Timeout time.Duration // of one step

	// Cancel says what happens to an active statement when a person, a pause, a
	// closed window or a changed configuration stops the run.
	Cancel Cancel

	Executor
}

// Cancel says whether a statement under way may be cancelled.
type Cancel string

// How a run is stopped in the middle of a step.
const (
	CancelNever   Cancel = ""        // cancelling leaves something behind: the statement ends, and nothing is started after it
	CancelAnytime Cancel = "anytime" // cancelling leaves nothing behind: the statement is cancelled at once
)

// For returns the action as it is for a request: Lowers is the metric that falls
// with the request's parameters.
func (a Action) For(r Request) Action {
	for name, value := range r.Params {
		if metric, ok := a.LowersBy[name+"="+value]; ok {
			a.Lowers = metric
		}
	}
	return a
}

// Metrics returns every metric that the action may lower, Lowers first.
func (a Action) Metrics() []string {
	return append([]string{a.Lowers}, slices.Sorted(maps.Values(a.LowersBy))...)
}

// A Right is one thing that a target must allow. Grant is what gives it: for
// PostgreSQL a statement with psql variables: :"role" is the role that
// acts, :"owner" who owns the table, :"database", :"schema" and :"table"; for Redis
// a rule of an access control list, like "+memory|purge".
type Right struct {
	Grant string `json:"grant"`
	Since int    `json:"since,omitempty"` // least major version of the server that it is for; 0: any
	Until int    `json:"until,omitempty"` // greatest; 0: any
	For   string `json:"for,omitempty"`   // what it is needed for, for people
}

// A Param is one parameter of an action. If it is not set, it is Default.
type Param struct {
	Name    string
	Type    ParamType
	Default string // "" where the action does without
	Doc     string
}

// ParamType says what a parameter may be.
type ParamType string

// The types of parameters.
const (
	Text     ParamType = "text"     // any text without a zero byte
	Name     ParamType = "name"     // a name as a target has them: not empty, at most 63 bytes
	Int      ParamType = "int"      // a whole number of at least 0
	Ratio    ParamType = "ratio"    // a number from 0 to 1
	Duration ParamType = "duration" // as Prometheus writes them: 30s, 5m, 1h30m, 15d
	Bool     ParamType = "bool"     // true or false
)

// A Executor is the part of an action that touches the world.
type Executor interface {
	// Plan looks and changes nothing. It returns a *Refusal where the action
	// cannot or need not be taken. The same state of the target gives the same
	// steps, so that a plan can be made again and compared.
	Plan(ctx context.Context, r Request) (Plan, error)

	// Apply carries out one step. Applying a step twice is the same as once, and
	// a step applied under an old fence has no effect.
	Apply(ctx context.Context, f Fence, s Step) error

	// Measure reads the lowered metric for the subject, now. The engine calls it
	// before and after, and the engine, not the action, says whether it helped.
	// It returns ErrGone when the subject is not there, and ErrNoData when the target has
	// no figures of it.
	Measure(ctx context.Context, r Request) (float64, error)
}

// A Configurer is a Executor whose steps rest on more of the configuration than the
// address of the target: an archive entry, a folder. The engine asks the action of
// the configuration in force, before each step and while one is under way.
type Configurer interface {
	// Configured returns a *Refusal with ReasonConfiguration where the configuration
	// no longer asks for what the step does. It asks the target nothing.
	Configured(r Request, s Step) error
}

// ErrGone says that the subject of a request does not exist on the target.
var ErrGone = errors.New("the subject is not there")

// ErrNoData says that the target has no figures of the subject, because a crash emptied
// its statistics. What it counts again is known again, and what it counted before is not.
var ErrNoData = errors.New("the target has no figures of it")

// ErrFinal is in the error of a step that must not be tried again: what the step had
// to preserve is gone, and another try would hide that, or another try would find the
// same.
var ErrFinal = errors.New("not tried again")

// A Plan is what an action would do.
type Plan struct {
	Steps []Step   `json:"steps"`
	Facts []string `json:"facts,omitempty"` // what was seen, for people: sizes, last runs, who holds what

	// Amount is how much the plan expects to delete, drop or prune; nil where it
	// removes nothing.
	Amount *Amount `json:"amount,omitempty"`

	// Needs are the missing rights without which the plan must not act.
	Needs []string `json:"needs,omitempty"`
}

// Hash identifies what the plan would do. Facts, Amount and Needs do not count: an
// approval covers an amount with a tolerance. Nor does what a step kept while it acted.
func (p Plan) Hash() string {
	steps := slices.Clone(p.Steps)
	for i := range steps {
		steps[i].Kept = nil
	}
	text, err := json.Marshal(steps)
	if err != nil {
		panic(fmt.Sprintf("remediate: a plan that is no JSON: %v", err)) // strings and maps of strings only
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Question identifies what a person is asked: what the plan would do, and how much it
// expects to remove. A yes to a smaller amount is no answer to it.
func (p Plan) Question() string {
	if p.Amount == nil {
		return p.Hash()
	}
	text, err := json.Marshal(p.Amount)
	if err != nil {
		panic(fmt.Sprintf("remediate: an amount that is no JSON: %v", err)) // four finite numbers
	}
	sum := sha256.Sum256(append([]byte(p.Hash()+" "), text...))
	return hex.EncodeToString(sum[:8])
}

// A Step is the smallest thing that is done whole or not at all.
type Step struct {
	Do   string            `json:"do"`             // the command, as a person would type it
	Undo string            `json:"undo,omitempty"` // empty if it cannot be undone
	Args map[string]string `json:"args,omitempty"` // what Apply needs: where to act, and what the target said before, so that a step that is done is known to be done

	// Left says what the step leaves where it is interrupted and not undone, and the
	// statements that mend it; "" where it leaves nothing half done.
	Left string `json:"left,omitempty"`

	// Kept is what Apply handed to Fence.Keep before it changed anything: each later
	// try compares with it, in another process too.
	Kept map[string]string `json:"kept,omitempty"`
}

// Risk says what others may feel of an action.
type Risk int

// The risks, from the smaller to the larger.
const (
	Safe        Risk = iota // blocks no session and can be stopped at any moment
	Guarded                 // takes disk, locks or load that others may feel
	Destructive             // what it removes is gone: it wants a backup before
)

func (r Risk) String() string { return [...]string{"safe", "guarded", "destructive"}[r] }

// A Roomer is a Executor that can tell how much room its target has. The guard
// headroom asks it; nothing is changed.
type Roomer interface {
	Headroom(ctx context.Context, r Request) (Headroom, error)
}

// Headroom is how much a target can still bear. What is not known is nil, and
// never taken for enough.
type Headroom struct {
	FreeDisk    *float64       // share of the disk that is free, 0 to 1
	Lag         *time.Duration // of the replica that is the farthest behind; 0 without replicas
	Transaction *time.Duration // age of the oldest transaction
	Who         string         // whose transaction that is, for people
}

// A Guard is one reason why a plan must not run now. Most guards decide from the
// Proposal alone; those that ask elsewhere say so in their Doc.
type Guard struct {
	Name  string
	Doc   string
	Early bool // needs neither measure nor plan: it is asked before the target is
	Exact bool // decides from the proposal alone, and is asked once more in the transaction that lets the run act

	// During says that the guard holds while the run acts too: it is asked before
	// each step and each statement, of a proposal with the pauses and the approval.
	During bool

	// Step says that the guard is asked again right before each step, though it asks
	// elsewhere.
	Step bool

	ByHand   ByHand // whether it holds for what a person requests
	Observed bool   // it is asked of a run in the mode observe too, which every other guard passes

	Check func(ctx context.Context, p Proposal) error // nil, a *Refusal, or a failure to find out
}

// ByHand says whether a guard holds for a run that a person requests by hand, and watches.
type ByHand string

// Whether a guard holds for what a person requests by hand.
const (
	AlsoByHand   ByHand = ""
	NotByHand    ByHand = "no"
	ByHandIfAsks ByHand = "if the action always needs approval"
)

// A Proposal is a run that would act, put to the guards.
type Proposal struct {
	Run       Run
	Action    Action
	Exclusive string // the part of the subject that no other run may work on meanwhile
	Targets   int    // how many targets take the action
	Working   Working
	Now       time.Time
}

// Working is what is being done, and what came of what was done: one moment of
// the journal, as far as it concerns one run.
type Working struct {
	Acting   []Work    // every run that acts or is not yet verified, this one left out
	Ended    []Ended   // runs of the same policy that have acted, the newest first, since its breaker was last closed
	LastEnd  time.Time // when a run of the same action on the same subject last ended after it had acted
	Pauses   []Pause   // that hold now
	Approval *Approval // the answer of a person to this run
	Demoted  string    // why the policy asks though it says auto; "" where it does not
}

// Work is a run that acts (Allowed) or is not yet verified (Applied).
type Work struct {
	Run       int64  `json:"run"`
	Action    string `json:"action"`
	Policy    string `json:"policy,omitempty"`
	Target    string `json:"target"`
	Exclusive string `json:"exclusive"`
	State     State  `json:"state"`
}

// Ended is how one run of a policy ended.
type Ended struct {
	Run   int64     `json:"run"`
	State State     `json:"state"`
	At    time.Time `json:"at"`
}

// Useless reports whether the run failed or did not help. One that could not be
// judged is neither.
func (e Ended) Useless() bool { return e.State == Uncleared || e.State == Failed }

// A Pause stops every run of its scope from acting. It outlives a restart.
type Pause struct {
	Scope  string    `json:"scope"` // "all", "policy/NAME", "action/NAME" or "target/NAME"
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until somebody ends it
}

// An Approval is what a person said to the plan of a run.
type Approval struct {
	Run   int64     `json:"run"`
	Plan  string    `json:"plan"` // the question that was answered: Plan.Question
	By    string    `json:"by"`
	At    time.Time `json:"at"`
	Until time.Time `json:"until"` // it holds until then

	// Amount is what the plan expected to remove when it was approved; nil where it
	// removes nothing.
	Amount *Amount `json:"amount,omitempty"`
}

// Of reports whether the approval is of a plan that does what this one does. How much
// that plan may remove is another matter.
func (a Approval) Of(p Plan) bool {
	p.Amount = a.Amount
	return a.Plan == p.Question()
}

// A Notification is sent to people, once for each Key.
type Notification struct {
	ID       int64            `json:"id"`
	Key      string           `json:"key"`
	Kind     NotificationKind `json:"kind"`
	Run      int64            `json:"run,omitempty"`
	Incident int64            `json:"episode,omitempty"`
	Plan     string           `json:"plan,omitempty"` // the question that is asked: Plan.Question
	Title    string           `json:"title"`
	Text     string           `json:"text"`
	At       time.Time        `json:"at"`
	Until    time.Time        `json:"until,omitzero"` // a question is answered until then; zero where nothing is asked

	Labels map[string]string `json:"labels,omitempty"` // what it is about: the subject, policy and action
}

// NotificationKind says what a notice wants of people.
type NotificationKind string

// The kinds of notices.
const (
	NotificationAsk  NotificationKind = "ask"  // approve or reject a plan
	NotificationPage NotificationKind = "page" // a person is needed: nothing that may be done by itself has helped
	NotificationTell NotificationKind = "tell" // to know: a policy stopped, or was put back to ask

	NotificationActed     NotificationKind = "acted"      // a run has done all its steps
	NotificationHelped    NotificationKind = "helped"     // a run has ended, and it helped
	NotificationNotHelped NotificationKind = "not_helped" // a run has acted and ended, and it is not known to have helped

	NotificationAlert    NotificationKind = "alert"    // an alert fires
	NotificationResolved NotificationKind = "resolved" // it fires no more

	NotificationTest NotificationKind = "test" // of upkeep notify test
)
