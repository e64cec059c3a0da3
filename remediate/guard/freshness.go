package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// freshAgain is how often a run looks whether the collector answers again. To look
// costs the target nothing, and right after a start the first answers come soon.
const freshAgain = 2 * time.Second

// Answers reports how the collectors do.
type Answers interface {
	// Answer returns when the collector that writes a metric last answered about a
	// subject, zero when never, and why it failed if it did so since.
	Answer(metric string, subject map[string]string) (last time.Time, err error)
}

// Freshness makes a run wait while the collector of the metric that its action
// lowers does not answer: without a current measurement upkeep does not act.
func Freshness(a Answers) remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonFreshness,
		Doc: "Freshness makes the run wait while the collector of the metric that the action lowers fails, or its " +
			"last success is older than the policy allows. A database that does not answer blocks only its own runs. " +
			"The guard reads the time of the last collection and does not query the target.",
		Early: true, ByHand: remediate.NotByHand,
		Check: func(_ context.Context, p remediate.Proposal) error {
			fresh, metric, server := p.Run.Request.Terms.Fresh, p.Action.Lowers, on(p.Run.Request)
			if a == nil || fresh <= 0 || metric == "" {
				return nil
			}
			last, err := a.Answer(metric, p.Run.Request.Subject)
			what := fmt.Sprintf("the collector of %s on %s ", metric, server)
			switch {
			case err != nil:
				what += "fails: " + err.Error()
			case last.IsZero():
				what += "has never succeeded; check whether it is enabled, and its log"
			case p.Now.Sub(last) > fresh:
				what += fmt.Sprintf("last succeeded at %s, longer ago than %s; see its log", last.Format(time.RFC3339),
					fresh)
			default:
				return nil
			}
			return &remediate.Refusal{Reason: remediate.ReasonFreshness, Detail: what, Until: p.Now.Add(freshAgain)}
		},
	}
}
