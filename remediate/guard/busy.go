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

// Busy makes a run wait while another works on the same subject.
func Busy() remediate.Guard {
	return remediate.Guard{
		Name:  remediate.ReasonBusy,
		Doc:   "Busy makes the run wait while another run works on the same subject.",
		Early: true, Exact: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			for _, w := range p.Working.Acting {
				if w.Exclusive == p.Exclusive {
					return &remediate.Refusal{Reason: remediate.ReasonBusy,
						Detail: fmt.Sprintf("run %d works on the same subject", w.Run), Until: p.Now.Add(busyAgain)}
				}
			}
			return nil
		},
	}
}
