// Package guard holds the reasons not to act that hold for every action. Each
// guard is one function that returns nil, a *remediate.Refusal that says when to
// look again, or a fault. They are asked in the order of All.
package guard

import (
	"github.com/ai-micro-service/upkeep/remediate"
)

// Config is what guards need that is not in the proposal.
type Config struct{}

// All returns every guard, in the order in which they are asked.
func All(Config) []remediate.Guard {
	return []remediate.Guard{
		Mode(),
		Pause(),
		Cooldown(),
		Busy(),
	}
}
