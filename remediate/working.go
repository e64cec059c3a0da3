package remediate

import (
	"time"
)

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
func (e Ended) Useless() bool { return e.State.Useless() }

// A Pause stops every run of its scope from acting. It outlives a restart.
type Pause struct {
	Scope  string    `json:"scope"` // "all", "policy/NAME", "action/NAME" or "target/NAME"
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since,omitzero"`
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
