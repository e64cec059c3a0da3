package policy

import (
	"fmt"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Judge returns the verdict of a run. It is never resolved while any source contradicts
// it: the measure must be within its limit (without a limit: no worse
// than before), and the alert's own expression must not hold any more. Where the
// two contradict each other until the expression has had its time, or one of them
// is not known by then, the run is inconclusive. A step with a limit of its own has
// done its part when its measure is within it, whatever the alert says.
func Judge(e Evidence) Verdict {
	e = e.finite()
	if e.Gone {
		return Verdict{State: remediate.Inconclusive, Why: "the subject no longer exists"}
	}
	early := e.Since < max(e.Settle, e.Horizon)
	switch {
	case e.After == nil && e.NoData: // what was counted before is lost
		return undecided(e.Since < e.Settle, e.Metric+" is not known: "+e.Unread)
	case e.After == nil && e.Unread != "":
		return undecided(early, e.Metric+" could not be read: "+e.Unread)
	case e.After == nil:
		return undecided(early, e.Metric+" could not be read")
	}
	why := e.effect()
	if !e.within() {
		if e.Since < e.Settle {
			return Verdict{Why: why}
		}
		return Verdict{State: remediate.Unresolved, Why: why}
	}
	switch {
	case e.Aside && (e.Firing == nil || *e.Firing):
		return Verdict{
			State: remediate.Inconclusive, Why: why + "; the next step can run",
			Reason: remediate.ReasonPrepared,
		}
	case !e.Evaluable:
		return Verdict{State: remediate.Resolved, Why: why}
	case e.Firing == nil:
		return undecided(early, why+"; the alert's expression could not be evaluated")
	case *e.Firing:
		return undecided(early, why+"; the metric is within its limit, but the alert's expression still holds")
	default:
		return Verdict{State: remediate.Resolved, Why: why + "; the alert's expression no longer holds"}
	}
}

// undecided is too early to tell, and later inconclusive.
func undecided(early bool, why string) Verdict {
	if early {
		return Verdict{Why: why}
	}
	return Verdict{State: remediate.Inconclusive, Why: why}
}

// within judges the measure alone: against the limit, or against what was before.
func (e Evidence) within() bool {
	if e.Limit != nil {
		return *e.After <= *e.Limit
	}
	return e.Before == nil || *e.After <= *e.Before
}

// effect says what became of the measure, for people.
func (e Evidence) effect() string {
	quantity := func(v *float64) string {
		if v == nil {
			return "unknown"
		}
		return remediate.Quantity(e.Metric, *v)
	}
	why := fmt.Sprintf("%s went from %s to %s", e.Metric, quantity(e.Before), quantity(e.After))
	if e.Limit != nil {
		why += ", limit " + quantity(e.Limit)
	}
	return why
}

// finite holds what is no number for what is not known.
func (e Evidence) finite() Evidence {
	e.Before, e.After, e.Limit = finite(e.Before), finite(e.After), finite(e.Limit)
	return e
}

const (
	// fewest is how many judged runs tell anything: four runs promise 71 % even
	// where all have resolved.
	fewest = 5
	// oneInTen is the normal deviate that one in ten is above.
	oneInTen = 1.2816
)
