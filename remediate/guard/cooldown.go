package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// Cooldown makes a run wait until the last run of the same action on the same
// subject is long enough ago: what comes back at once was not cured by it.
func Cooldown(record Record, now func() time.Time) remediate.Guard {
	return remediate.Guard{
		Name: "cooldown",
		Doc:  "Cooldown makes the run wait until the last run of this action on this subject ended as long ago as the policy says.",
		Check: func(ctx context.Context, r remediate.Run) error {
			if r.Request.Cooldown <= 0 {
				return nil
			}
			last, err := record.LastEnd(ctx, r.Request.Action, journal.Subject(r.Request.Subject))
			if err != nil || last.IsZero() {
				return err
			}
			until := last.Add(r.Request.Cooldown)
			if !now().Before(until) {
				return nil
			}
			return &remediate.Refusal{
				Reason: "cooldown",
				Detail: fmt.Sprintf("the last run ended at %s, the cooldown is %s", last.Format(time.RFC3339), r.Request.Cooldown),
				Until:  until,
			}
		},
	}
}
