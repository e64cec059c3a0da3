package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// pruneAtOnce is how many notifications are looked at in one write.
const pruneAtOnce = 200

// keyFor is how long the key of a notification that is of no run and no incident keeps it from being sent again:
// the review of a month is announced for a week.
const keyFor = 8 * 24 * time.Hour

// Prune deletes a part of the notifications from before a moment, those after a number, with how
// they were delivered. It returns where the next part begins, and whether it was the last. What
// may still be delivered stays, what stays says so (its run or its incident is kept), what is of neither stays for
// eight days, so that it is not sent again, and so does the newest, so that no number is given twice.
func (o *Outbox) Prune(ctx context.Context, before time.Time, after int64,
	stays func(tx *store.Tx, n remediate.Notification) (bool, error)) (next int64, done bool, err error) {
	err = o.config.Store.Write(ctx, func(tx *store.Tx) error {
		next, done = after, false
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if pending := now.Add(-keepFor - noteEach); before.After(pending) {
			before = pending
		}
		all, err := oldest(tx, before, after)
		if err != nil {
			return err
		}
		done = len(all) < pruneAtOnce
		for _, n := range all {
			next = n.ID
			if n.Run == 0 && n.Incident == 0 && n.At.After(now.Add(-keyFor)) {
				continue
			}
			kept, err := stays(tx, n)
			if err != nil {
				return err
			}
			if kept {
				continue
			}
			for _, query := range []string{"delete from deliveries where notification = ?",
				"delete from notifications where id = ?"} {
				if _, err := tx.Exec(query, n.ID); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return after, false, fmt.Errorf("delete old notifications: %w", err)
	}
	return next, done, nil
}

// oldest reads a part of the old notifications.
func oldest(tx *store.Tx, before time.Time, after int64) (all []remediate.Notification, err error) {
	rows, err := tx.Query("select id, notification from notifications where id > ? and created < ? and id < "+
		"(select max(id) from notifications) order by id limit ?", after, store.Millis(before), pruneAtOnce)
	if err != nil {
		return nil, err
	}
	return notifications(rows)
}
