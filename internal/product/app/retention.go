package app

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/retention"
)

// A notifier gets mostMessages at once, and one more every messageEvery; what comes beyond is
// summed up. A night in which ten tables need approval is one message of ten notifications.
const (
	mostMessages = 4
	messageEvery = 5 * time.Minute
)

// openRetention makes what deletes what is old.
func (a *App) openRetention(context.Context) error {
	a.sweeper = retention.New(retention.Config{
		Store: a.store, Journal: a.journal, Inbox: a.inbox, Outbox: a.outbox, Keep: a.start.Store.Retention,
		Logger: a.component("retention"),
	})
	a.registry.MustRegister(a.sweeper)
	return nil
}

// page notifies people of what is no run's.
func (a *App) page(tx *store.Tx, n remediate.Notification) error {
	err := a.journal.Page(tx, n)
	if err == nil {
		a.outbox.Wake()
	}
	return err
}
