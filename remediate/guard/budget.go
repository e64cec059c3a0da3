package guard

import (
	"context"
	"math"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// rampMemory is how long a successful run counts for the ramp. What worked
// the day before yesterday may be done by another version of everything today.
const rampMemory = 24 * time.Hour

// Budget makes a run wait while too large a share of the targets is worked on, or
// while its policy has not yet earned to do so much at once.
func Budget() remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonBudget,
		Doc: "Budget makes the run wait while the policy's maximum share of the action's targets has concurrent runs " +
			"(at least one target is always allowed); " +
			"a target counts until its run is verified. With a ramp the policy starts with one concurrent run, then " +
			"allows two, four, eight while runs succeed; a failed or useless run resets the ramp.",
		Early: true, Exact: true, ByHand: remediate.NotByHand,
		Check: func(_ context.Context, p remediate.Proposal) error {
			if err := share(p); err != nil {
				return err
			}
			return ramp(p)
		},
	}
}

// share refuses when the run would make one target too many. The targets of every
// policy count: those who use them feel all of it.
func share(p remediate.Proposal) error {
	budget := p.Run.Request.Terms.Budget
	if budget <= 0 {
		return nil
	}
	// 0.29 of 100 is 28.999999999999996 to a computer and 29 to a person.
	allowed := max(1, int(math.Floor(budget*float64(p.Targets)+1e-9)))
	targets := map[string]bool{on(p.Run.Request): true}
	for _, w := range p.Working.Acting {
		if w.Action == p.Run.Request.Action {
			targets[w.Target] = true
		}
	}
	if len(targets) <= allowed {
		return nil
	}
	return crowded(p, remediate.ReasonBudget,
		"with this run, %d of %d targets would have active or unverified runs of %s; the budget of %g allows %d: "+
			"waiting for one to end",
		len(targets), p.Targets, p.Run.Request.Action, budget, allowed)
}

// ramp refuses when the policy has as many runs under way as it has earned.
func ramp(p remediate.Proposal) error {
	if !p.Run.Request.Terms.Ramp {
		return nil
	}
	at, resolved := 0, inARow(p)
	for _, w := range p.Working.Acting {
		if ofSame(w, p.Run.Request) {
			at++
		}
	}
	allowed := earned(resolved)
	if at < allowed {
		return nil
	}
	return crowded(p, remediate.ReasonBudget,
		"%d runs of %s are active or unverified; after %d successful runs in a row the ramp allows %d: waiting for "+
			"one to end",
		at, whose(p.Run.Request), resolved, allowed)
}

// inARow counts the newest runs that resolved without a useless one in between. One
// that could not be judged says nothing.
func inARow(p remediate.Proposal) (n int) {
	for _, e := range p.Working.Ended {
		if e.Useless() || p.Now.Sub(e.At) > rampMemory {
			break
		}
		if e.State == remediate.Resolved {
			n++
		}
	}
	return n
}

// earned is how many runs may be under way after so many that resolved: the
// largest power of two that is not larger than one more.
func earned(resolved int) int {
	allowed := 1
	for allowed*2 <= resolved+1 {
		allowed *= 2
	}
	return allowed
}
