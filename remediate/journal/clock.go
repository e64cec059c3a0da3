package journal

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// clock is the time by which leases live and die: on a shared database the
// database's, so that the clocks of replicas need not agree.
func (j *Journal) clock(tx *store.Tx) (time.Time, error) {
	if j.store.Shared() {
		return tx.Now()
	}
	return j.now(), nil
}

// outsideClock is the clock of leases, outside a transaction.
func (j *Journal) outsideClock(ctx context.Context) (time.Time, error) {
	if j.store.Shared() {
		return j.store.Now(ctx)
	}
	return j.now(), nil
}
