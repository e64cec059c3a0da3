package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// breakerAgain is how often a run looks whether a person has closed the breaker.
// Closing it wakes the engine too; this is for when that is missed.
const breakerAgain = time.Minute

// Breaker makes a run wait when the last runs of its policy were of no use: what
// did not help three times in a row will not help the fourth.
func Breaker() remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonBreaker,
		Doc: "Breaker makes the run wait after several runs of its policy in a row failed or did not help. " +
			"One run may try again after the time that the policy sets, or when a person closes the breaker. A run " +
			"without a verdict does not count.",
		Early: true, Exact: true, ByHand: remediate.NotByHand,
		Check: func(_ context.Context, p remediate.Proposal) error {
			terms := p.Run.Request.Terms
			if terms.Breaker <= 0 {
				return nil
			}
			useless, newest := uselessInARow(p.Working.Ended)
			if useless < terms.Breaker {
				return nil
			}
			what := fmt.Sprintf("the last %d runs of %s failed or did not help", useless, whose(p.Run.Request))
			if useless == 1 {
				what = fmt.Sprintf("the last run of %s failed or did not help", whose(p.Run.Request))
			}
			if terms.BreakerFor <= 0 {
				return &remediate.Refusal{Reason: remediate.ReasonBreaker,
					Detail: what + ": find out why, and close the breaker", Until: p.Now.Add(breakerAgain)}
			}
			if until := newest.Add(terms.BreakerFor); p.Now.Before(until) {
				return &remediate.Refusal{
					Reason: remediate.ReasonBreaker,
					Detail: fmt.Sprintf("%s: one may try again at %s, or when a person closes the breaker", what,
						until.Format(time.RFC3339)),
					Until: until,
				}
			}
			for _, w := range p.Working.Acting {
				if ofSame(w, p.Run.Request) {
					return crowded(p, remediate.ReasonBreaker, "%s: run %d is trying again; waiting for its end", what,
						w.Run)
				}
			}
			return nil
		},
	}
}

// uselessInARow counts the newest runs that were of no use, and tells when the
// newest of them ended.
func uselessInARow(ended []remediate.Ended) (n int, newest time.Time) {
	for _, e := range ended {
		switch {
		case e.State == remediate.Resolved:
			return n, newest
		case e.Useless():
			if n == 0 {
				newest = e.At
			}
			n++
		}
	}
	return n, newest
}
