// Package guard holds the reasons not to act that hold for every action. Each
// guard is one function that returns nil, a *remediate.Refusal that says when to
// look again, or a fault. They are asked in the order of All.
package guard

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A Record tells what was done and what is stopped.
type Record interface {
	Pauses(ctx context.Context) ([]journal.Pause, error)
	LastEnd(ctx context.Context, action, subject string) (time.Time, error)
	Holder(ctx context.Context, subject string) (int64, error)
}

// All returns every guard. exclusive names what of a run's subject nobody else
// may work on meanwhile; now is time.Now where nil.
func All(record Record, exclusive func(remediate.Request) string, now func() time.Time) []remediate.Guard {
	if now == nil {
		now = time.Now
	}
	return []remediate.Guard{
		Mode(),
		Pause(record, now),
		Cooldown(record, now),
		Busy(record, exclusive, now),
	}
}
