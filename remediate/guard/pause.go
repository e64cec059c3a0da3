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
		Name:  "pause",
		Doc:   "Pause makes the run wait while everything, its policy, its action or its target is paused by a person.",
		Early: true, Exact: true,
		Check: func(_ context.Context, p remediate.Proposal) error {
			r := p.Run.Request
			scopes := map[string]bool{"all": true, "policy/" + r.Policy: true, "action/" + r.Action: true, "target/" + r.Subject["server"]: true}
			for _, pause := range p.Working.Pauses {
				if !scopes[pause.Scope] {
					continue
				}
				again := p.Now.Add(pauseAgain)
				if !pause.Until.IsZero() && pause.Until.Before(again) {
					again = pause.Until
				}
				return &remediate.Refusal{Reason: "pause", Detail: fmt.Sprintf("%s is paused by %s: %s", pause.Scope, pause.By, pause.Reason), Until: again}
			}
			return nil
		},
	}
}
