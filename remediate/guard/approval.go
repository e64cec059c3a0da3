package guard

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Approval stops a run whose policy asks first, until a person has approved of
// this very plan. How long a plan awaits approval, and an approval is valid, is
// remediate.Terms.ApprovalLifetime.
func Approval() remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonApproval,
		Doc: "Approval makes the run wait for approval by a person if the mode of its policy is ask, if its policy " +
			"is demoted, because its runs do not help or by a person, or if its action always needs approval. " +
			"An approval covers one plan and the amount that this plan expected to remove plus a tenth (at least " +
			"1000 rows or 64 MiB more), and it expires: " +
			"a plan that has changed or would remove more needs a new approval.",
		Exact: true, During: true, ByHand: remediate.ByHandIfAsks,
		Check: func(_ context.Context, p remediate.Proposal) error {
			mode, demoted := p.Run.Request.Mode, p.Working.Demoted
			if !p.Action.Asks && mode == remediate.Auto && demoted == "" {
				return nil
			}
			plan, a := p.Run.Plan.Question(), p.Working.Approval
			why := "the mode of the policy is ask"
			switch {
			case p.Action.Asks:
				why = p.Action.Name + " always asks"
			case mode == remediate.Auto:
				why = "the policy is demoted: " + demoted
			}
			switch {
			case a == nil:
				return remediate.Refuse(remediate.ReasonApproval, "waiting for approval of plan %s: %s", plan, why)
			case !a.Of(p.Run.Plan):
				return remediate.Refuse(remediate.ReasonApproval,
					"waiting for approval of plan %s: it differs from plan %s, which %s approved", plan, a.Plan, a.By)
			case p.Run.Plan.Amount != nil && a.Amount == nil:
				return remediate.Refuse(remediate.ReasonApproval,
					"waiting for new approval of plan %s: it would now remove %s, which %s did not approve", plan,
					p.Run.Plan.Amount, a.By)
			case p.Run.Plan.Amount.Exceeds(a.Amount.Tolerated()):
				return remediate.Refuse(remediate.ReasonApproval,
					"waiting for new approval of plan %s, because of the amount: %s approved %s, now it is %s", plan,
					a.By, a.Amount, p.Run.Plan.Amount)
			case p.Run.State != remediate.Allowed && !p.Now.Before(a.Until): // one that acts has begun in time
				return remediate.Refuse(remediate.ReasonApproval,
					"waiting for new approval of plan %s: the approval by %s expired at %s", plan, a.By,
					a.Until.Format(time.RFC3339))
			}
			return nil
		},
	}
}
