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
			return apart(p, p.Run.Request.Terms.Cooldown, remediate.ReasonCooldown,
				"the last run ended at %s, the cooldown is %s")
		},
	}
}

// apart makes a run wait until so much time has passed since the last one. detail has a verb
// for its end and one for the time.
func apart(p remediate.Proposal, wait time.Duration, reason, detail string) error {
	last := p.Working.LastEnd
	if wait <= 0 || last.IsZero() || !p.Now.Before(last.Add(wait)) {
		return nil
	}
	return &remediate.Refusal{Reason: reason, Detail: fmt.Sprintf(detail, last.Format(time.RFC3339), wait),
		Until: last.Add(wait)}
}
