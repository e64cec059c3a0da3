package guard

import (
	"context"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Mode stops a run whose policy only observes. It is asked first, so that what
// is observed is refused whatever else blocks it.
func Mode() remediate.Guard {
	return remediate.Guard{
		Name:     remediate.ReasonMode,
		Observed: true,
		Doc: "Mode ends the run if the mode of its policy is observe: the plan is in the journal and nothing is " +
			"changed.",
		Check: func(_ context.Context, p remediate.Proposal) error {
			if p.Run.Request.Mode != remediate.Observe {
				return nil
			}
			needs := ""
			if r, lacks := remediate.Refused(p.Run.Plan.Missing()); lacks {
				needs = "; " + r.Detail
			}
			return remediate.Refuse(remediate.ReasonMode, "policy %q only observes; this is what it would do%s",
				p.Run.Request.Policy, needs)
		},
	}
}
