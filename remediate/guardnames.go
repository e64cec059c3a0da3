package remediate

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
	ReasonApproval   = "approval"   // a person can lift it: the run awaits approval, in the state AwaitingApproval
)

// Guards lists the names of the guards in the order in which they are asked.
func Guards() []string {
	return []string{
		ReasonMode, ReasonPause, ReasonWindow, ReasonCooldown, ReasonDecay, ReasonBusy, ReasonLimit, ReasonBudget,
		ReasonBreaker, ReasonSuppressed, ReasonFreshness, ReasonBackup, ReasonHeadroom, ReasonAmount, ReasonApproval,
	}
}
