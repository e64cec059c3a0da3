package guard

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// suppressedAgain is how often a run looks whether its alert would be delivered again.
	suppressedAgain = 15 * time.Second

	// unknownAgain is how soon an Alertmanager that did not answer is asked again.
	unknownAgain = 5 * time.Second
)

// Deliveries tell whether alerts would be delivered now.
type Deliveries interface {
	// Held returns why the alert of an incident would not be delivered now, "" where it
	// would; an error where that cannot be known.
	Held(ctx context.Context, incident int64) (why string, err error)
}

// Suppressed makes a run wait while Alertmanager silences, inhibits or mutes the alert
// that asks for it: it was delivered before, and would not be now.
func Suppressed(d Deliveries) remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonSuppressed,
		Doc: "Suppressed makes the run wait while Alertmanager silences, inhibits or mutes (by a time interval) " +
			"the alert that asks for it. It asks Alertmanager before the plan is made and before each step; while no " +
			"Alertmanager answers the run waits too. A silence that upkeep holds for a run does not count.",
		Early: true,
		Step:  true,
		Check: func(ctx context.Context, p remediate.Proposal) error {
			incident := p.Run.Request.Incident
			if d == nil || incident == 0 {
				return nil
			}
			why, err := d.Held(ctx, incident)
			switch {
			case err != nil && (ctx.Err() != nil || store.Away(err)):
				return err // that the store does not answer says nothing of Alertmanager
			case err != nil:
				return &remediate.Refusal{Reason: remediate.ReasonSuppressed,
					Detail: "unknown whether Alertmanager suppresses the alert: " + err.Error(),
					Until:  p.Now.Add(unknownAgain)}
			case why != "":
				return &remediate.Refusal{Reason: remediate.ReasonSuppressed,
					Detail: "Alertmanager does not deliver the alert now: it is " + why,
					Until:  p.Now.Add(suppressedAgain)}
			}
			return nil
		},
	}
}
