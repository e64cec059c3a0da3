package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Cooldown makes a run wait until the last run of the same action on the same
// subject is long enough ago: what comes back at once was not cured by it.
func Cooldown() remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonCooldown,
		Doc: "Cooldown makes the run wait until the cooldown of the policy has passed since the last run of this " +
			"action on this subject.",
		Early: true, Exact: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			cooldown, last := p.Run.Request.Terms.Cooldown, p.Working.LastEnd
			if cooldown <= 0 || last.IsZero() {
				return nil
			}
			until := last.Add(cooldown)
			if !p.Now.Before(until) {
				return nil
			}
			return &remediate.Refusal{
				Reason: remediate.ReasonCooldown,
				Detail: fmt.Sprintf("the last run ended at %s, the cooldown is %s", last.Format(time.RFC3339),
					cooldown),
				Until: until,
			}
		},
	}
}
