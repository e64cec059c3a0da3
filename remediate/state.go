package remediate

import (
	"strings"
)

// A State is the state of a run.
type State string

// The states of a run. The last five are final.
const (
	Received  State = "received"  // on disk, not yet looked at
	Planned   State = "planned"   // it is known what would be done
	Asked     State = "asked"     // a person is to approve of the plan
	Waiting   State = "waiting"   // blocked by a guard; evaluated again later
	Allowed   State = "allowed"   // all guards passed; steps are being carried out
	Applied   State = "applied"   // every step was done; it is not known yet whether it helped
	Cleared   State = "cleared"   // the measure is back within its limit, and the alert's expression agrees
	Uncleared State = "uncleared" // done as planned, and the measure is not
	// done as planned, and what was seen afterwards contradicts itself or is not known
	Inconclusive State = "inconclusive"
	Declined     State = "declined" // on purpose: a guard, the action, the policy or a person said no
	Failed       State = "failed"   // something broke; the last entry says what
)

// States lists all states in the order in which a run meets them.
func States() StateList {
	return StateList{
		Received, Planned, Asked, Waiting, Allowed, Applied, Cleared, Uncleared, Inconclusive, Declined, Failed,
	}
}

// A StateList is some of the states, in the order of States.
type StateList []State

// SQL writes the list for a condition "state in (…)". The text is always the same: SQLite uses
// a partial index only for a condition that is written as the index is.
func (all StateList) SQL() string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = "'" + string(s) + "'"
	}
	return "(" + strings.Join(quoted, ", ") + ")"
}

// Where returns the states of the list that a condition holds for.
func (all StateList) Where(holds func(State) bool) (some StateList) {
	for _, s := range all {
		if holds(s) {
			some = append(some, s)
		}
	}
	return some
}

// Transitions is the whole life of a run. docs/states.md is drawn from it.
func Transitions() map[State][]State {
	return map[State][]State{
		Received: {Planned, Waiting, Declined, Failed},
		Planned:  {Asked, Allowed, Waiting, Declined, Failed},
		Asked:    {Received, Waiting, Declined},
		Waiting:  {Received, Asked, Allowed, Declined, Failed},
		Allowed:  {Applied, Received, Waiting, Asked, Declined, Failed},
		Applied:  {Cleared, Uncleared, Inconclusive}, // what was done is done, whatever becomes of the measure
	}
}

// Final reports whether a run in state s has ended.
func (s State) Final() bool { return len(Transitions()[s]) == 0 }

// Unfinished reports whether it has not.
func (s State) Unfinished() bool { return !s.Final() }

// Acting reports whether a run in state s holds its subject: it acts, or is not verified yet.
func (s State) Acting() bool { return s == Allowed || s == Applied }

// Idle reports whether nothing is done in state s until its time comes, a person answers or
// another run ends.
func (s State) Idle() bool { return s == Asked || s == Waiting }
