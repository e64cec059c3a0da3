package remediate

import (
	"errors"
	"fmt"
	"time"
)

// A Refusal says that a run was stopped on purpose. It is an outcome, not a fault.
type Refusal struct { //nolint:errname // an outcome that travels as an error but is not one
	Reason string    `json:"reason"`         // small and enumerated: one of the Reason constants; a metric label
	Detail string    `json:"detail"`         // for people
	Until  time.Time `json:"until,omitzero"` // when to look again; zero when the refusal is final
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Detail }

// Refuse returns a final Refusal.
func Refuse(reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// The reasons of refusals by the action, the policy, the engine or a person.
const (
	ReasonSubject    = "subject"       // a label is missing or does not name one thing
	ReasonAction     = "action"        // no such action for that target
	ReasonGone       = "gone"          // the subject does not exist
	ReasonNoData     = "no_data"       // the target's statistics are empty: the measure is not known
	ReasonNothing    = "nothing_to_do" // the measure is within its limit already
	ReasonPrivilege  = "privilege"     // the target does not let us
	ReasonReadOnly   = "read_only"     // the target is a replica
	ReasonUnfit      = "unfit"         // the subject is of a kind that the action cannot work on
	ReasonResolved   = "resolved"      // the incident closed before anything was done
	ReasonCannotHelp = "cannot_help"   // the action would do no harm and no good
	ReasonCancelled  = "cancelled"     // a person stopped the run
	ReasonPerson     = "person"        // a person rejected the plan
	ReasonUnanswered = "unanswered"    // approval not given in time
	ReasonPrepared   = "prepared"      // the step has cleared the way for the next one of its chain

	ReasonChanged       = "changed"       // the subject is not as it was when the plan was made
	ReasonPolicy        = "policy"        // the policy or schedule is gone, or asks for less
	ReasonConfiguration = "configuration" // the configuration no longer asks for what the plan does
	// the target is gone from the configuration, or another server answers at its address.
	ReasonTarget = "target"
	ReasonClock  = "clock"  // the clocks of the target and of upkeep disagree
	ReasonPooler = "pooler" // the connection is through a pooler
)

// Reasons lists every reason that the action itself and the engine refuse with. Those of
// two guards are among them: actions stop at an amount, and the engine plans what is only
// observed.
func Reasons() []string {
	return []string{
		ReasonSubject, ReasonAction, ReasonGone, ReasonNoData, ReasonNothing, ReasonPrivilege, ReasonReadOnly,
		ReasonUnfit,
		ReasonResolved, ReasonMode, ReasonCannotHelp, ReasonCancelled, ReasonPerson, ReasonUnanswered, ReasonPrepared,
		ReasonChanged, ReasonPolicy, ReasonConfiguration, ReasonTarget, ReasonAmount, ReasonClock, ReasonPooler,
	}
}

// Refused returns the Refusal in err's chain, if there is one.
func Refused(err error) (*Refusal, bool) {
	return errors.AsType[*Refusal](err)
}
