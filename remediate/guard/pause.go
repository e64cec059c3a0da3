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
func Pause() remediate.Guard {
	return remediate.Guard{
		Name: remediate.ReasonPause,
		Doc: "Pause makes the run wait while everything, its policy, its action or its target is paused by a " +
			"person; one that acts is stopped and goes on when the pause ends.",
		Early: true, Exact: true, During: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			r := p.Run.Request
			scopes := map[string]bool{"all": true, "policy/" + r.Policy: r.Policy != "", "action/" + r.Action: true,
				"target/" + on(r): true}
			for _, pause := range p.Working.Pauses {
				if !scopes[pause.Scope] || !pause.Until.IsZero() && !p.Now.Before(pause.Until) {
					continue
				}
				again, end := p.Now.Add(pauseAgain), "end it with: upkeep resume "+pause.Scope
				if !pause.Until.IsZero() {
					end = "it ends at " + pause.Until.UTC().Format(time.RFC3339)
					if pause.Until.Before(again) {
						again = pause.Until
					}
				}
				return &remediate.Refusal{Reason: remediate.ReasonPause,
					Detail: fmt.Sprintf("%s is paused by %s: %s; %s", pause.Scope, pause.By, pause.Reason, end),
					Until:  again}
			}
			return nil
		},
	}
}
