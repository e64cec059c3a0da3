package guard

import (
	"context"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Decay makes a run wait until the alert no longer looks back at the time before
// the last run: until then it may fire though its cause is gone.
func Decay() remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonDecay,
		Doc: "Decay makes the run wait after the last run of this action on this subject for as long as the " +
			"alert's expression looks back: an average over 5 minutes stays above its limit after its cause is gone.",
		Early: true, Exact: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			return apart(p, p.Run.Request.Terms.Decay, remediate.ReasonDecay,
				"the last run ended at %s and the alert looks back for %s: the alert may still show what that run "+
					"fixed")
		},
	}
}
