package remediate

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// An Action is a remedy for one target, with its name, its text and its risk.
type Action struct {
	Name   string // "domain/verb"
	Target string // the name of the target that it acts on; the subject's "server" label
	At     string // the target's address, without secrets: a step stops where the configuration has another
	Doc    string // the reference text; its first sentence is the summary
	Lowers string // the metric that falls when it helps; a collector declares it
	Risk   Risk

	Effects Effects // on the target and those who work there

	// LowersBy names the metric that falls in the place of Lowers where a parameter
	// has a value, by "name=value".
	LowersBy map[string]string

	// Asks makes every run need approval, whatever its policy says and for every
	// requester.
	Asks bool

	// Windowed makes every run wait for a maintenance window: one that names none
	// is refused.
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

// Effects says what a run costs the target, for people who decide whether it may run. No text is empty; – is
// what the kind of target does not have.
type Effects struct {
	Lock   string // that it holds
	Blocks string // who waits for it
	WAL    string // what it adds to the write-ahead log
	Disk   string // what it needs or frees there
	Undo   string // how it is taken back
}

// Cancel says whether a statement under way may be cancelled.
type Cancel string

// How a run is stopped in the middle of a step.
const (
	// cancelling leaves something behind: the statement ends, and nothing is started after it.
	CancelNever   Cancel = ""
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
