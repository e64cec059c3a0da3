package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// calm is how long every alert has found room before the next that finds none is another
	// flood, of which people hear.
	calm = time.Hour

	// stillEvery is how often it is noted that a flood goes on.
	stillEvery = time.Minute
)

// A NoRoomError says that alerts of a delivery found no room, since too many incidents are
// open. The others were taken. Who delivers them again brings them in when there is room.
type NoRoomError struct {
	Refused, Of int
	Why         string // of the last of them
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("%d of %d alerts found no room: %s; the others were taken, send it again later", e.Refused, e.Of,
		e.Why)
}

// flood notes in a write that an alert found no room. People are paged once for each flood,
// however many replicas there are and however often they restart.
func (i *Inbox) flood(tx *store.Tx, t turned, now time.Time) error {
	var id, last int64
	err := tx.QueryRow("select id, last from floods order by id desc limit 1").Scan(&id, &last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if since := now.Sub(store.Time(last)); err == nil && since < calm {
		if since >= stillEvery {
			_, err = tx.Exec("update floods set last = ? where id = ?", store.Millis(now), id)
		}
		return err
	}
	if err := tx.QueryRow("insert into floods (since, last) values (?, ?) returning id", store.Millis(now),
		store.Millis(now)).Scan(&id); err != nil {
		return err
	}
	if i.config.Page == nil {
		return nil
	}
	return i.config.Page(tx, remediate.Notification{
		Key: fmt.Sprintf("flood/%d", id), Kind: remediate.NotificationPage, At: now,
		Title: "Too many alerts: upkeep takes no more of them",
		Text: t.why + ". Further alerts are answered 503, so that their senders repeat them, and are taken in when " +
			"incidents have closed. upkeep inbox lists the open ones; upkeep_inbox_alerts_refused_total counts the " +
			"alerts that found no room, by their names. You are notified once, until every alert has found room for " +
			"an hour.",
		Labels: map[string]string{"alertname": clipped(t.name)},
	})
}

// Turned notes that alerts found no room in a part of upkeep that takes alerts before the inbox does: they
// are counted, and people are paged once, as for alerts that found none here.
func (i *Inbox) Turned(ctx context.Context, names []string, why string) error {
	if len(names) == 0 {
		return nil
	}
	out := make([]turned, len(names))
	for n, name := range names {
		out[n] = turned{name, why}
	}
	i.count(out)
	now := i.now()
	err := i.store.Write(ctx, func(tx *store.Tx) error { return i.flood(tx, out[len(out)-1], now) })
	if err != nil {
		return fmt.Errorf("flood of alerts: %w", err)
	}
	return nil
}

// count counts alerts that found no room.
func (i *Inbox) count(all []turned) {
	for _, t := range all {
		i.refused.WithLabelValues(i.names.of(t.name)).Inc()
	}
}
