package journal

import "github.com/ai-micro-service/upkeep/remediate"

// The conditions on the states of runs. They are written as the indexes of the store are,
// which SQLite uses for no other text (TestIndexesServe); what is in them is derived from
// remediate.Transitions.

func isUnfinished() string { return in(remediate.State.Unfinished) }

// isDue selects the runs to evaluate: those without an owner whose time has come. A
// person's answer and the end of an incident make a run due.
func isDue() string { return "owner = 0 and " + isUnfinished() + " and due <= ?" }

// isLater selects the runs that are evaluated later.
func isLater() string { return "owner = 0 and " + isUnfinished() + " and " + isIdle() + " and due > ?" }

func isIdle() string { return in(remediate.State.Idle) }

func isActing() string { return in(remediate.State.Acting) }

// isJudged selects the runs whose end says something about their policy.
func isJudged() string { return in(remediate.State.Judged) }

func isWaiting() string { return "state = '" + string(remediate.Waiting) + "'" }

// hasActed selects the runs that have acted and ended, so that runs that wait, however
// many, are not read.
func hasActed() string { return "begun > 0 and " + in(remediate.State.Ended) }

// isTallied selects the runs of a policy that have acted and ended since a moment.
func isTallied() string { return "policy = ? and changed > ? and " + hasActed() }

// isShown selects the runs of a list, where those that did nothing are left out: no
// alert, schedule or person waits for anything of them.
func isShown() string {
	return "not (state = '" + string(remediate.StateRefused) + "' and begun = 0 and reason in ('" +
		remediate.ReasonNothing + "', '" + remediate.ReasonResolved + "', '" + remediate.ReasonGone + "'))"
}

// listed selects by a column as the lists of runs do, whose indexes are for no other question: one that is
// about the few runs that wait, or acted, would read all of a state or a policy by them.
func listed(column string) string { return column + " || '' = ?" }

func in(holds func(remediate.State) bool) string {
	return "state in " + remediate.States().Where(holds).SQL()
}
