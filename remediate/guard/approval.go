package guard

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// ReasonApproval is the reason of a refusal that a person can lift: the engine
// asks, and the run waits in the state Asked.
const ReasonApproval = remediate.ReasonApproval

// Approval stops a run whose policy asks first, until a person has approved of
// this very plan.
func Approval() remediate.Guard {
	return remediate.Guard{
		Name: ReasonApproval,
		Doc: "Approval makes the run wait for approval by a person if the mode of its policy is ask, if its policy is demoted because its runs do not help, or if its action always needs approval. " +
			"The answer holds for one plan, for the amount that this plan expected to remove and a tenth more (at least 1000 rows or 64 MiB more), and for a time: " +
			"a plan that is another or would remove more when the run is to act is asked about again.",
		Exact: true, During: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			mode, demoted := p.Run.Request.Mode, p.Working.Demoted
			if !p.Action.Asks && (byHand(p.Run.Request) || mode == remediate.Auto && demoted == "") {
				return nil
			}
			plan, a := p.Run.Plan.Question(), p.Working.Approval
			why := "the policy asks first"
			switch {
			case p.Action.Asks:
				why = p.Action.Name + " always asks"
			case mode == remediate.Auto:
				why = "the policy was put back to ask: " + demoted
			}
			switch {
			case a == nil:
				return remediate.Refuse(ReasonApproval, "a person is to approve of plan %s: %s", plan, why)
			case !a.Of(p.Run.Plan):
				return remediate.Refuse(ReasonApproval, "a person is to approve of plan %s: it is another than the plan %s that %s approved of", plan, a.Plan, a.By)
			case p.Run.Plan.Amount != nil && a.Amount == nil:
				return remediate.Refuse(ReasonApproval, "a person is to approve of plan %s again: it would now remove %s, which %s did not approve of", plan, p.Run.Plan.Amount, a.By)
			case p.Run.Plan.Amount.Exceeds(a.Amount.Tolerated()):
				return remediate.Refuse(ReasonApproval, "a person is to approve of plan %s again, because of the amount: %s approved of %s, now it is %s", plan, a.By, a.Amount, p.Run.Plan.Amount)
			case p.Run.State != remediate.Allowed && !p.Now.Before(a.Until): // one that acts has begun in time
				return remediate.Refuse(ReasonApproval, "a person is to approve of plan %s again: what %s approved of held until %s", plan, a.By, a.Until.Format(time.RFC3339))
			}
			return nil
		},
	}
}
