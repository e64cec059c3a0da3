package journal

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Page notifies people of what is no run's, and writes it down, as a part of a transaction.
func (j *Journal) Page(tx *store.Tx, n remediate.Notification) error {
	queued, err := enqueue(tx, n)
	if err != nil || !queued {
		return err
	}
	return appendEntry(tx, remediate.Entry{Incident: n.Incident, At: j.now(), Note: remediate.NotePaged,
		Why: n.Title + ": " + n.Text})
}

// enqueue puts a notification into the outbox, once for its key, and reports whether it is
// a new one.
func enqueue(tx *store.Tx, n remediate.Notification) (anew bool, err error) {
	text, err := json.Marshal(n)
	if err != nil {
		return false, err
	}
	res, err := tx.Exec("insert into notifications (key, notification, created, due) values (?, ?, ?, ?) "+
		"on conflict (key) do nothing",
		n.Key, string(text), store.Millis(n.At), store.Millis(n.At))
	if err != nil {
		return false, err
	}
	rows, err := res.RowsAffected()
	return rows > 0, err
}

// Notify notifies people of what is no run's and no incident's, once for the key of the notification,
// and reports whether it is a new one.
func (j *Journal) Notify(ctx context.Context, n remediate.Notification) (anew bool, err error) {
	err = j.store.Write(ctx, func(tx *store.Tx) (err error) {
		anew, err = enqueue(tx, n)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("journal: notification %s: %w", n.Key, err)
	}
	return anew, nil
}
