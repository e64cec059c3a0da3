// Package guard holds the reasons not to act that hold for every action. Each
// guard is one function that returns nil, a *remediate.Refusal that says when to
// look again, or a fault. Ask asks them, in the order of All, and knows for which runs each
// of them is. The reason of a refusal is the guard's name, which is remediate's.
package guard

import (
	"github.com/ai-micro-service/upkeep/remediate"
)

// Config is what guards need that is not in the proposal. The zero value limits
// nothing, knows no window, and neither collectors nor backups.
type Config struct {
	Windows map[string]Window // by the names that Terms.Windows uses
	Limits  Limits
	Answers Answers // nil: no collector is asked about
	Backups Backups // nil: no backup is known of

	Deliveries Deliveries // nil: no Alertmanager is asked about the alert
}

// All returns every guard, in the order in which they are asked: first those that
// decide from the proposal alone, then those that ask elsewhere, and last the one
// that asks a person, who is not bothered while something else is in the way.
func All(c Config) []remediate.Guard {
	return []remediate.Guard{
		Mode(),
		Pause(),
		WithinWindow(c.Windows),
		Cooldown(),
		Decay(),
		Busy(),
		Limit(c.Limits),
		Budget(),
		Breaker(),
		Suppressed(c.Deliveries),
		Freshness(c.Answers),
		Backup(c.Backups),
		Headroom(),
		Amount(),
		Approval(),
	}
}
