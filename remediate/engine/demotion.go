package engine

import (
	"context"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// weigh puts a policy back to ask when its measured effect has fallen.
func (e *Engine) weigh(ctx context.Context, run remediate.Run) error {
	name := run.Request.Policy
	if name == "" || !run.Acted() || run.Request.Terms.Effect <= 0 {
		return nil
	}
	resolved, judged, err := e.c.Journal.Effect(ctx, name)
	if err != nil {
		return err
	}
	falls, why := policy.Falls(run.Request.Terms, resolved, judged)
	if !falls {
		return nil
	}
	done, err := e.c.Journal.Demote(ctx, name, why, run.ID)
	if done {
		e.log.Warn("policy demoted", "policy", name, "why", why)
		if e.c.Notified != nil {
			e.c.Notified()
		}
	}
	return err
}
