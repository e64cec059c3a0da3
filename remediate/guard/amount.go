package guard

import (
	"context"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Amount ends a run that would remove more than its policy allows.
func Amount() remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonAmount,
		Doc: "Amount ends the run when its plan expects to delete, drop or prune more rows than most_rows, or a " +
			"larger share than most_share, of its policy or schedule. " +
			"If such a limit is set, a plan with an unknown amount ends the run too. While the run acts, it stops " +
			"before it removes more.",
		Exact: true, During: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			terms, amount := p.Run.Request.Terms, p.Run.Plan.Amount
			if terms.MostRows <= 0 && terms.MostShare <= 0 || amount == nil {
				return nil
			}
			most := terms.Most(amount)
			switch {
			case most == nil || amount.Rows == 0 && amount.Bytes == 0:
				return remediate.Refuse(remediate.ReasonAmount,
					"%s limits the amount, and the plan's amount is unknown: run it by hand", whose(p.Run.Request))
			case amount.Exceeds(most):
				return remediate.Refuse(remediate.ReasonAmount,
					"the plan would remove %s, and %s allows %s: raise most_rows or most_share, or run it by hand",
					amount, whose(p.Run.Request), most)
			}
			return nil
		},
	}
}
