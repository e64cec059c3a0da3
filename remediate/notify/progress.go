package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// noteTimeout is for storing the result of a message, also at the end of the
// process: what is not stored is sent again.
const noteTimeout = 5 * time.Second

// A batch is what one message tells. This process alone tells it until the claim
// is over.
type batch struct {
	notifications []remediate.Notification
	until         int64 // when the claim is over, which tells it from every other claim of the same notifications
	tries         int   // how often the notification was refused; a refused one travels alone
	sum           bool  // they are summed up in one
	others        bool  // there were notifications that are not for this notifier
	givenUp       []givenUp
}

// A givenUp is a notification that was not accepted in time.
type givenUp struct {
	notification remediate.Notification
	why          string
}

// open is the part of a query that finds what has not ended for a notifier.
const open = ` from notifications n left join deliveries d on d.notification = n.id and d.notifier = ?
	where n.created >= ? and coalesce(d.ended, 0) = 0`

// waits reports whether there is something to be done for a notifier.
func (o *Outbox) waits(ctx context.Context, name string) (bool, error) {
	since, known, err := o.since(ctx, name)
	if err != nil {
		return false, err
	}
	now, err := o.config.Store.Now(ctx)
	if err != nil || !known || now.Sub(since) > keepFor+noteEach {
		return true, err
	}
	n, err := o.number(ctx, "select count(*)"+open, name, store.Millis(since))
	return n > 0, err
}

// left counts the undelivered notifications of a notifier.
func (o *Outbox) left(ctx context.Context, name string) (int, error) {
	since, _, err := o.since(ctx, name)
	if err != nil {
		return 0, err
	}
	n, err := o.number(ctx, "select count(*)"+open, name, store.Millis(since))
	return int(n), err
}

func (o *Outbox) since(ctx context.Context, name string) (since time.Time, known bool, err error) {
	ms, err := o.number(ctx, "select coalesce(max(since), 0) from notifiers where name = ?", name)
	return store.Time(ms), ms != 0, err
}

func (o *Outbox) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	rows, err := o.config.Store.Query(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		err = rows.Scan(&n)
	}
	return n, errors.Join(err, rows.Err())
}

// next takes the next notifications for this process alone: those of one message, or all that are
// due where they are to be summed up.
func (o *Outbox) next(ctx context.Context, n Named, sum bool) (b batch, err error) {
	b, err = o.claim(ctx, n, batch{}, batchLimit)
	most := batchLimit
	if n.Alone {
		most = 1
	}
	if err != nil || !sum || len(b.notifications) < most {
		return b, err
	}
	for {
		had := len(b.notifications)
		if b, err = o.claim(ctx, n, b, summedAtOnce); err != nil {
			return batch{}, err
		}
		if len(b.notifications) == had {
			b.sum = had > most
			return b, nil
		}
	}
}

// claim takes notifications for this process alone, limit at most. Those of a batch that was
// claimed before stay in it, and what comes to them is summed up with them.
func (o *Outbox) claim(ctx context.Context, n Named, before batch, limit int) (b batch, err error) {
	name, sum := n.Name, len(before.notifications) > 0
	err = o.config.Store.Write(ctx, func(tx *store.Tx) error {
		b = before
		b.notifications = slices.Clip(before.notifications)
		now, err := tx.Now()
		if err != nil {
			return err
		}
		since, err := begin(tx, name, now)
		if err != nil {
			return err
		}
		if oldest := now.Add(-keepFor); since.Before(oldest) {
			given, err := giveUp(tx, name, since, oldest, now)
			if err != nil {
				return err
			}
			b.givenUp = slices.Concat(before.givenUp, given)
			since = oldest
		}
		due, err := find(tx, name, "n.due <= ? and coalesce(d.due, 0) <= ? and coalesce(d.claimed, 0) <= ?", limit,
			since, store.Millis(now), store.Millis(now), store.Millis(now))
		if err != nil {
			return err
		}
		if !sum {
			b.until = store.Millis(now.Add(claimFor))
		}
		for _, f := range due {
			switch {
			case !n.wants(f.notification.Kind):
				b.others = true
				err = mark(tx, name, f.notification.ID, "ended", store.Millis(now))
			case !sum && len(b.notifications) > 0 && (n.Alone || b.tries+f.tries > 0): // a refused one travels alone
			default:
				b.notifications, b.tries = append(b.notifications, f.notification), max(b.tries, f.tries)
				err = mark(tx, name, f.notification.ID, "claimed", b.until)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return batch{}, err
	}
	return b, nil
}

// begin returns the time since which a notifier gets notifications.
func begin(tx *store.Tx, name string, now time.Time) (time.Time, error) {
	if _, err := tx.Exec("insert into notifiers (name, since) values (?, ?) on conflict (name) do nothing", name,
		store.Millis(now.Add(-lookBack))); err != nil {
		return time.Time{}, err
	}
	var since int64
	err := tx.QueryRow("select since from notifiers where name = ?", name).Scan(&since)
	return store.Time(since), err
}

// giveUp ends undelivered notifications from before oldest and moves the beginning there.
func giveUp(tx *store.Tx, name string, since, oldest, now time.Time) (all []givenUp, err error) {
	for {
		old, err := find(tx, name, "n.created < ?", batchLimit, since, store.Millis(oldest))
		if err != nil {
			return nil, err
		}
		if len(old) == 0 {
			_, err = tx.Exec("update notifiers set since = ? where name = ?", store.Millis(oldest), name)
			return all, err
		}
		for _, f := range old {
			if f.why == "" {
				f.why = "no upkeep was running to deliver it"
			}
			if err := mark(tx, name, f.notification.ID, "ended", store.Millis(now)); err != nil {
				return nil, err
			}
			all = append(all, givenUp{f.notification, f.why})
		}
	}
}

// A found is a notification with how it went so far.
type found struct {
	notification remediate.Notification
	tries        int
	why          string
}

// find returns some notifications that have not ended for a notifier, those first that
// have been waiting the longest for a try.
func find(tx *store.Tx, name, condition string, limit int, since time.Time, args ...any) (all []found, err error) {
	rows, err := tx.Query(fmt.Sprintf("select n.id, n.notification, coalesce(d.tries, 0), coalesce(d.error, '')%s "+
		"and %s order by coalesce(d.due, 0), n.id limit %d", open, condition, limit),
		append([]any{name, store.Millis(since)}, args...)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var f found
		var id int64
		var text []byte
		if err := rows.Scan(&id, &text, &f.tries, &f.why); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &f.notification); err != nil {
			return nil, fmt.Errorf("notification %d: %w", id, err)
		}
		f.notification.ID = id
		all = append(all, f)
	}
	return all, rows.Err()
}

// mark sets one number of a delivery, and creates the delivery if necessary.
func mark(tx *store.Tx, name string, notification int64, column string, value int64) error {
	_, err := tx.Exec("insert into deliveries (notifier, notification, "+column+
		") values (?, ?, ?) on conflict (notifier, notification) do update set "+column+" = excluded."+column,
		name, notification, value)
	return err
}

// delivered records that a batch was accepted.
func (o *Outbox) delivered(ctx context.Context, name string, b batch) error {
	err := o.note(ctx, name, b, "set ended = ?, error = '' where",
		func(now time.Time) []any { return []any{store.Millis(now)} })
	if err != nil || !b.sum {
		return err
	}
	// No notifier has an incident of its own for what was summed up, which could end.
	for some := range slices.Chunk(b.notifications, summedAtOnce) {
		err := o.config.Store.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error {
			now, err := tx.Now()
			if err != nil {
				return err
			}
			for _, n := range some {
				if err := mark(tx, ends(name), n.ID, "ended", store.Millis(now)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// postpone notes that a batch was not taken: the notifications were refused so often,
// and are not tried again before pause is over. Where the claim has passed to
// another replica, that one has the word.
func (o *Outbox) postpone(ctx context.Context, name string, b batch, refused int, pause time.Duration,
	why string) error {
	return o.note(ctx, name, b,
		"set tries = tries + ?, due = ?, error = ?, claimed = 0 where ended = 0 and claimed = ? and",
		func(now time.Time) []any { return []any{refused, store.Millis(now.Add(pause)), why, b.until} })
}

// note changes the deliveries of a batch, also at the end of the process.
func (o *Outbox) note(ctx context.Context, name string, b batch, change string, args func(now time.Time) []any) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	for some := range slices.Chunk(b.notifications, summedAtOnce) {
		if err := o.noteSome(ctx, name, some, change, args); err != nil {
			return err
		}
	}
	return nil
}

func (o *Outbox) noteSome(ctx context.Context, name string, some []remediate.Notification, change string,
	args func(now time.Time) []any) error {
	return o.config.Store.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		for _, n := range some {
			if _, err := tx.Exec("update deliveries "+change+" notifier = ? and notification = ?",
				slices.Concat(args(now), []any{name, n.ID})...); err != nil {
				return err
			}
		}
		return nil
	})
}
