// Package remediate is the vocabulary of change: what an alert, an episode, an
// action, a plan and a run are, what an action promises, and the states that a
// run goes through. It does nothing by itself. Package engine carries runs out;
// the packages under actions do the work.
package remediate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Request asks for one action on one subject. An alert or a person makes it.
// Two requests with the same Key are one run.
type Request struct {
	Key     string            `json:"key"`
	Action  string            `json:"action"`            // "postgres/reindex"
	Subject map[string]string `json:"subject"`           // the labels that say on what
	Limit   *float64          `json:"limit,omitempty"`   // the limit in the rule; the action's metric should fall to it
	Policy  string            `json:"policy,omitempty"`  // the policy that asked, if one did
	Mode    Mode              `json:"mode"`              // whether it may act
	Episode int64             `json:"episode,omitempty"` // the episode that asks; 0 when a person does
	By      string            `json:"by"`                // "alert/PostgresIndexBloat", "user/ann"

	// Cooldown is how long the subject is left alone after a run of the same
	// action has ended. Zero: no wait.
	Cooldown time.Duration `json:"cooldown,omitempty"`
}

// Mode says how far a request may go.
type Mode string

// The modes of a request.
const (
	Auto    Mode = "auto"    // plan, then act when every guard agrees
	Observe Mode = "observe" // plan and journal what would be done, and stop there
)

// An Action is a remedy for one target, with its name, its text and its risk.
type Action struct {
	Name   string // "domain/verb"
	Target string // the name of the target that it acts on; the subject's "server" label
	Doc    string // the reference text; its first sentence is the summary
	Lowers string // the metric that falls when it helps; a collector declares it
	Risk   Risk

	// Subject lists the labels that say on what the action works. Each must be
	// there and not be empty: an empty subject never means "all".
	Subject []string

	// Exclusive lists those of Subject that no other run may work on meanwhile:
	// an index and its table are one, so reindex names the table here.
	Exclusive []string

	Timeout time.Duration // of one step

	Remedy
}

// A Remedy is the part of an action that touches the world.
type Remedy interface {
	// Plan looks and changes nothing. It returns a *Refusal where the action
	// cannot or need not be taken. The same state of the target gives the same
	// steps, so that a plan can be made again and compared.
	Plan(ctx context.Context, r Request) (Plan, error)

	// Apply carries out one step. Applying a step twice is the same as once, and
	// a step applied under an old fence has no effect.
	Apply(ctx context.Context, f Fence, s Step) error

	// Measure reads the lowered metric for the subject, now. The engine calls it
	// before and after, and the engine, not the action, says whether it helped.
	// It returns ErrGone when the subject is not there.
	Measure(ctx context.Context, r Request) (float64, error)
}

// ErrGone says that the subject of a request does not exist on the target.
var ErrGone = errors.New("the subject is not there")

// ErrFenced says that another run holds the right to act on the subject.
var ErrFenced = errors.New("the right to act on the subject has passed to another")

// A Plan is what an action would do.
type Plan struct {
	Steps []Step   `json:"steps"`
	Facts []string `json:"facts,omitempty"` // what was seen, for people: sizes, last runs, who holds what
}

// Hash identifies what the plan would do. Facts do not count.
func (p Plan) Hash() string {
	text, err := json.Marshal(p.Steps)
	if err != nil {
		panic(fmt.Sprintf("remediate: a plan that is no JSON: %v", err)) // strings and maps of strings only
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// A Step is the smallest thing that is done whole or not at all.
type Step struct {
	Do   string            `json:"do"`             // the command, as a person would type it
	Undo string            `json:"undo,omitempty"` // empty if it cannot be undone
	Args map[string]string `json:"args,omitempty"` // what Apply needs: where to act, and what the target said before, so that a step that is done is known to be done
}

// A Fence is the right to act on a subject. Token grows each time the right
// changes hands.
type Fence struct {
	Token int64
	Held  func(ctx context.Context) error // nil while the right is held; ErrFenced after it has passed on
}

// Check returns nil while the right is held, and otherwise why not. An action
// calls it last before it changes anything, under whatever lock the target gives.
func (f Fence) Check(ctx context.Context) error {
	if f.Held == nil {
		return ErrFenced
	}
	return f.Held(ctx)
}

// Risk says what others may feel of an action.
type Risk int

// The risks, from the smaller to the larger.
const (
	Safe    Risk = iota // blocks nobody and can be stopped at any moment
	Guarded             // takes disk, locks or load that others may feel
)

func (r Risk) String() string { return [...]string{"safe", "guarded"}[r] }

// A Guard is one reason why a plan must not run now.
type Guard struct {
	Name  string
	Doc   string
	Check func(ctx context.Context, r Run) error // nil, a *Refusal, or a failure to find out
}

// A Refusal says that a run was stopped on purpose. It is an outcome, not a fault.
type Refusal struct { //nolint:errname // an outcome that travels as an error, and is none
	Reason string    // small and enumerated: a guard's name or one of the Reason constants; a metric label
	Detail string    // for people
	Until  time.Time // when to look again; zero when the refusal is final
}

// The reasons of refusals that are not a guard's name.
const (
	ReasonSubject    = "subject"       // a label is missing or does not name one thing
	ReasonAction     = "action"        // no such action for that target
	ReasonGone       = "gone"          // the subject does not exist
	ReasonNothing    = "nothing_to_do" // the measure is within its limit already
	ReasonPrivilege  = "privilege"     // the target does not let us
	ReasonReadOnly   = "read_only"     // the target is a replica
	ReasonUnfit      = "unfit"         // the subject is of a kind that the action cannot work on
	ReasonResolved   = "resolved"      // the episode closed before anything was done
	ReasonMode       = "observe"       // the policy only observes
	ReasonCannotHelp = "cannot_help"   // the action would do no harm and no good
)

// Reasons lists every reason that is not a guard's name.
func Reasons() []string {
	return []string{ReasonSubject, ReasonAction, ReasonGone, ReasonNothing, ReasonPrivilege, ReasonReadOnly, ReasonUnfit, ReasonResolved, ReasonMode, ReasonCannotHelp}
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Detail }

// Refuse returns a final Refusal.
func Refuse(reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Refused returns the Refusal in err's chain, if there is one.
func Refused(err error) (*Refusal, bool) {
	return errors.AsType[*Refusal](err)
}
