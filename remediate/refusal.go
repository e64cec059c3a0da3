package remediate

import (
	"errors"
	"fmt"
	"time"
)

// A Refusal says that a run was stopped on purpose. It is an outcome, not a fault.
type Refusal struct { //nolint:errname // an outcome that travels as an error but is not one
	Reason string    // small and enumerated: one of the Reason constants; a metric label
	Detail string    // for people
	Until  time.Time // when to look again; zero when the refusal is final
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Detail }

// Refuse returns a final Refusal.
func Refuse(reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// The names of the guards, which are the reasons of their refusals. Package guard holds the
// guards; others act by the reason with which a run waits, and name it by these constants.
const (
	ReasonMode = "observe" // the policy only observes
	// a person has paused its policy, action or target; the end of the pause wakes the run.
	ReasonPause      = "pause"
	ReasonWindow     = "window"     // no maintenance window is open; a reload evaluates the run again
	ReasonCooldown   = "cooldown"   // the last run on the subject is too recent
	ReasonDecay      = "decay"      // the alert may still show what the last run fixed
	ReasonBusy       = "busy"       // another run works on the subject; its end wakes the run
	ReasonLimit      = "limit"      // too many runs act; the end of one wakes the run
	ReasonBudget     = "budget"     // too many targets are worked on; the end of one wakes the run
	ReasonBreaker    = "breaker"    // the last runs of the policy did not help
	ReasonSuppressed = "suppressed" // Alertmanager would not deliver the alert now
	ReasonFreshness  = "freshness"  // the collector of the metric does not answer
	ReasonBackup     = "backup"     // no verified backup is young enough
	ReasonHeadroom   = "headroom"   // the target has no room for the action
	ReasonAmount     = "amount"     // more would go than was approved or than the policy allows
	ReasonApproval   = "approval"   // a person can lift it: the run awaits approval, in the state Asked
)

// Guards lists the names of the guards in the order in which they are asked.
func Guards() []string {
	return []string{
		ReasonMode, ReasonPause, ReasonWindow, ReasonCooldown, ReasonDecay, ReasonBusy, ReasonLimit, ReasonBudget,
		ReasonBreaker, ReasonSuppressed, ReasonFreshness, ReasonBackup, ReasonHeadroom, ReasonAmount, ReasonApproval,
	}
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
	// the target is gone from the configuration, or another server answers at its address
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
