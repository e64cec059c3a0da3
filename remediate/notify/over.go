package notify

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A Closer is a Notifier that also accepts the end of its notifications.
type Closer interface {
	Closes() bool
	Close(ctx context.Context, n Item) error
}

// over tells a notifier that keeps incidents which of them are over: the run of a notification
// has ended, or the alert of a page fires no more. It looks at what is, and so misses no
// way in which a run can end.
func (o *Outbox) over(ctx context.Context, n Named) error {
	closer, ok := n.Notifier.(Closer)
	if !ok || !closer.Closes() || o.config.Over == nil || o.resting(n.Name) {
		return nil
	}
	sent, err := o.unended(ctx, n.Name)
	if err != nil {
		return err
	}
	for _, notification := range sent {
		if ctx.Err() != nil || o.resting(n.Name) {
			return nil
		}
		over, helped, err := o.config.Over(ctx, notification)
		if err != nil {
			return err
		}
		// That it helped has its own notification, which is the end too.
		said := helped && n.wants(remediate.NotificationHelped) && notification.Run != 0
		switch {
		case !n.wants(notification.Kind) || endless(notification) || over && said:
			err = o.ended(ctx, n.Name, notification.ID)
		case over:
			err = o.end(ctx, n, closer, notification)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// endless reports whether a notification has no end to deliver.
func endless(n remediate.Notification) bool {
	switch n.Kind {
	case remediate.NotificationAsk, remediate.NotificationActed:
		return false
	case remediate.NotificationPage, remediate.NotificationNotHelped:
		return n.Incident == 0
	default:
		return true
	}
}

// unended returns the notifications that were delivered to a notifier without their end.
func (o *Outbox) unended(ctx context.Context, name string) (all []remediate.Notification, err error) {
	// What was given up or is not for it was never claimed.
	rows, err := o.config.Store.Query(ctx,
		`select n.id, n.notification from notifications n
		join deliveries d on d.notification = n.id and d.notifier = ? and d.ended <> 0 and d.claimed <> 0
		where not exists (select 1 from deliveries e where e.notification = n.id and e.notifier = ? and e.ended <> 0)
		order by n.id`, name, ends(name))
	if err != nil {
		return nil, err
	}
	return notifications(rows)
}

// notifications reads rows of an id and a notification, and closes them.
func notifications(rows *sql.Rows) (all []remediate.Notification, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		var text []byte
		if err := rows.Scan(&id, &text); err != nil {
			return nil, err
		}
		var notification remediate.Notification
		if err := json.Unmarshal(text, &notification); err != nil {
			return nil, fmt.Errorf("notification %d: %w", id, err)
		}
		notification.ID = id
		all = append(all, notification)
	}
	return all, rows.Err()
}

// end tells one end, unless another replica is at it.
func (o *Outbox) end(ctx context.Context, n Named, closer Closer, notification remediate.Notification) error {
	mine := false
	err := o.config.Store.Write(ctx, func(tx *store.Tx) error {
		mine = false
		now, err := tx.Now()
		if err != nil {
			return err
		}
		var claimed, ended int64
		err = tx.QueryRow("select coalesce(max(claimed), 0), coalesce(max(ended), 0) from deliveries where notifier "+
			"= ? and notification = ?", ends(n.Name), notification.ID).Scan(&claimed, &ended)
		if err != nil || ended != 0 || claimed > store.Millis(now) {
			return err
		}
		mine = true
		return mark(tx, ends(n.Name), notification.ID, "claimed", store.Millis(now.Add(claimFor)))
	})
	if err != nil || !mine {
		return err
	}
	err = o.within(ctx, func(ctx context.Context) error {
		return closer.Close(ctx, o.message([]remediate.Notification{notification}).Notifications[0])
	})
	fault, known := asFault(err)
	switch {
	case err == nil:
		o.rested(n.Name)
	case known && fault.Refused: // a server that does not take the end will not take it later
		o.config.Logger.Warn("notification of the end not accepted", "notifier", n.Name,
			"notification", notification.ID, "err", err)
	default:
		o.config.Logger.Warn("notification of the end not accepted", "notifier", n.Name,
			"notification", notification.ID, "pause", o.rest(n.Name, fault.After), "err", err)
		return nil // it is tried again when the claim is over
	}
	return o.ended(context.WithoutCancel(ctx), n.Name, notification.ID)
}

// ended notes that nothing is left to be said of a notification.
func (o *Outbox) ended(ctx context.Context, name string, notification int64) error {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	return o.config.Store.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		return mark(tx, ends(name), notification, "ended", store.Millis(now))
	})
}
