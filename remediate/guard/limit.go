package guard

import (
	"context"
	"fmt"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Limits are how many runs may act at once. 0 is no limit.
type Limits struct {
	All       int // in all
	PerTarget int // on one target
}

// Limit makes a run wait while as many others act as may at once.
func Limit(l Limits) remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonLimit,
		Doc: "Limit makes the run wait while the maximum number of concurrent runs is reached, on its target or in " +
			"total. Runs that await verification do not count.",
		Early: true, Exact: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			all, here := 0, 0
			for _, w := range p.Working.Acting {
				if w.State != remediate.Allowed {
					continue
				}
				all++
				if w.Target == on(p.Run.Request) {
					here++
				}
			}
			if l.PerTarget > 0 && here >= l.PerTarget {
				return crowded(p, remediate.ReasonLimit, "%s on target %s, the limit is %d: waiting for one to end",
					acting(here), on(p.Run.Request), l.PerTarget)
			}
			if l.All > 0 && all >= l.All {
				return crowded(p, remediate.ReasonLimit, "%s in total, the limit is %d: waiting for one to end",
					acting(all), l.All)
			}
			return nil
		},
	}
}

func acting(n int) string {
	if n == 1 {
		return "1 run acts"
	}
	return fmt.Sprintf("%d runs act", n)
}
