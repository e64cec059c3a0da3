package remediate

import (
	"slices"
	"strings"
)

// A State is the state of a run.
type State string

// The states of a run: first those of a run that is under way, then those in which it has ended.
const (
	Received         State = "received"          // on disk, not evaluated yet
	Planned          State = "planned"           // the plan is made
	Waiting          State = "waiting"           // blocked by a guard; evaluated again later
	AwaitingApproval State = "awaiting_approval" // a person must approve of the plan
	Allowed          State = "allowed"           // all guards passed; the steps are running
	Applied          State = "applied"           // all steps are done; verification is pending

	Resolved   State = "resolved"   // the metric is back within its limit, and the alert's expression agrees
	Unresolved State = "unresolved" // all steps are done, and the metric is still over its limit
	// all steps are done, and the metric and the alert's expression disagree or are unknown.
	Inconclusive State = "inconclusive"
	// a guard, the action or the policy stopped the run. It is not called Refused, which asks
	// an error whether it is a Refusal.
	StateRefused State = "refused"
	Rejected     State = "rejected"  // a person rejected the plan
	Expired      State = "expired"   // approval not given in time
	Observed     State = "observed"  // the mode is observe: the plan is recorded
	Cancelled    State = "cancelled" // a person stopped the run
	Failed       State = "failed"    // a fault ended the run; the last entry has the error
)

// States lists all states in the order in which a run meets them.
func States() StateList {
	return StateList{
		Received, Planned, Waiting, AwaitingApproval, Allowed, Applied, Resolved, Unresolved, Inconclusive,
		StateRefused, Rejected, Expired, Observed, Cancelled, Failed,
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
		Received:         {Planned, Waiting, StateRefused, Observed, Cancelled, Failed},
		Planned:          {Waiting, AwaitingApproval, Allowed, StateRefused, Observed, Cancelled, Failed},
		Waiting:          {Received, AwaitingApproval, Allowed, StateRefused, Observed, Cancelled, Failed},
		AwaitingApproval: {Received, Waiting, StateRefused, Rejected, Expired, Observed},
		Allowed:          {Received, Waiting, AwaitingApproval, Applied, StateRefused, Observed, Cancelled, Failed},
		Applied:          {Resolved, Unresolved, Inconclusive}, // what was done is done, whatever the metric is now
	}
}

// Ended reports whether a run in state s has ended.
func (s State) Ended() bool { return len(Transitions()[s]) == 0 }

// Unfinished reports whether it has not.
func (s State) Unfinished() bool { return !s.Ended() }

// Acting reports whether a run in state s holds its subject: it acts, or is not verified yet.
func (s State) Acting() bool { return s == Allowed || s == Applied }

// Idle reports whether nothing is done in state s until its time comes, a person answers or
// another run ends.
func (s State) Idle() bool { return s == AwaitingApproval || s == Waiting }

// Stopped reports whether the run was ended on purpose before its last step was done, which is
// neither a fault nor a verdict: the ends that StoppedBy returns.
func (s State) Stopped() bool {
	return slices.Contains([]State{StateRefused, Rejected, Expired, Observed, Cancelled}, s)
}

// Judged reports whether the end of a run says something about its policy: it has a verdict, or
// it failed. One that was stopped or could not be judged says nothing.
func (s State) Judged() bool { return s == Resolved || s.Useless() }

// Useless reports whether a run that acted failed or did not help.
func (s State) Useless() bool { return s == Unresolved || s == Failed }

// StoppedBy returns the state in which a run ends that is stopped for a reason.
func StoppedBy(reason string) State {
	switch reason {
	case ReasonPerson:
		return Rejected
	case ReasonUnanswered:
		return Expired
	case ReasonMode:
		return Observed
	case ReasonCancelled:
		return Cancelled
	default:
		return StateRefused
	}
}

// Named returns the state for people: with its reason, if the state does not give it already.
func (s State) Named(reason string) string {
	given := s == StoppedBy(reason) && s != StateRefused || s == AwaitingApproval && reason == ReasonApproval
	if reason == "" || given {
		return string(s)
	}
	return string(s) + " (" + reason + ")"
}

// Stores that were written before version 6 of the store have other names: an incident was an
// episode, and some states were called differently. The migration has rewritten the runs. JSON
// is mapped when it is read: an entry of the journal cannot be changed, since the next one
// carries its hash.

// FormerState returns the state that such a store calls by the name. The reason is that of the
// same entry or run.
func FormerState(name State, reason string) State {
	switch {
	case name == "asked":
		return AwaitingApproval
	case name == "cleared":
		return Resolved
	case name == "uncleared":
		return Unresolved
	case name == "declined", name == Failed && reason == ReasonCancelled:
		return StoppedBy(reason)
	default:
		return name
	}
}

// A former is the number of an incident by the key that it had.
type former struct {
	Episode int64 `json:"episode"`
}
