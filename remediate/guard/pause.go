package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// pauseAgain is how often a run looks whether a pause without an end is over.
// The end of a pause wakes the engine too; this is for when that is missed.
const pauseAgain = 30 * time.Second

// Pause makes a run wait while its policy, action or target, or everything, is paused.
func Pause(record Record, now func() time.Time) remediate.Guard {
	return remediate.Guard{
		Name: "pause",
		Doc:  "Pause makes the run wait while everything, its policy, its action or its target is paused by a person.",
		Check: func(ctx context.Context, r remediate.Run) error {
			pauses, err := record.Pauses(ctx)
			if err != nil {
				return err
			}
			scopes := map[string]bool{"all": true, "policy/" + r.Request.Policy: true, "action/" + r.Request.Action: true, "target/" + r.Request.Subject["server"]: true}
			for _, p := range pauses {
				if !scopes[p.Scope] {
					continue
				}
				again := now().Add(pauseAgain)
				if !p.Until.IsZero() && p.Until.Before(again) {
					again = p.Until
				}
				return &remediate.Refusal{Reason: "pause", Detail: fmt.Sprintf("%s is paused by %s: %s", p.Scope, p.By, p.Reason), Until: again}
			}
			return nil
		},
	}
}
