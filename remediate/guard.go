package remediate

import (
	"context"
	"time"
)

// A Guard is one reason why a plan must not run now. Most guards decide from the
// Proposal alone; those that ask elsewhere say so in their Doc.
type Guard struct {
	Name  string
	Doc   string
	Early bool // needs neither measure nor plan: it is asked before the target is
	Exact bool // decides from the proposal alone, and is asked once more in the transaction that lets the run act

	// During says that the guard holds while the run acts too: it is asked before
	// each step and each statement, of a proposal with the pauses, the demotion and the approval.
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
