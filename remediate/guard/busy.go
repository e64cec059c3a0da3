package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// busyAgain is how often a run looks whether the subject is free. The end of a
// run wakes the engine too.
const busyAgain = 5 * time.Second

// Busy makes a run wait while another works on the same subject. The lease that
// the engine takes afterwards is what makes this certain; the guard says it early.
func Busy(record Record, exclusive func(remediate.Request) string, now func() time.Time) remediate.Guard {
	return remediate.Guard{
		Name: "busy",
		Doc:  "Busy makes the run wait while another run works on the same subject.",
		Check: func(ctx context.Context, r remediate.Run) error {
			holder, err := record.Holder(ctx, exclusive(r.Request))
			if err != nil || holder == 0 || holder == r.ID {
				return err
			}
			return &remediate.Refusal{Reason: "busy", Detail: fmt.Sprintf("run %d works on the same subject", holder), Until: now().Add(busyAgain)}
		},
	}
}
