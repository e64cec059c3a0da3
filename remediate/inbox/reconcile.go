package inbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// chunk is how many alerts are compared in one write: deliveries that come
	// meanwhile do not wait for the whole list.
	chunk = 100

	// behind is how long after the end of an alert a peer may still list it as
	// firing. Prometheus tells each of them, within seconds.
	behind = time.Minute
)

// A Listing is every alert that a source holds at one moment.
type Listing struct {
	Source string
	Alerts []remediate.Alert // one that is there and not Firing is silenced
	Asked  time.Time         // what was delivered since is not in it
	Whole  bool              // nothing that the source holds is left out
	// since when its listings were whole, one after the other; absence counts from here at the earliest
	Since time.Time
}

// Reconcile compares the open incidents of a source with a listing, which confirms or
// ends what was delivered. Where the listing is whole, what has been absent for longer
// than absent is closed: an end that was never delivered is found in this way. An alert
// that is there and not Firing (a person, or a run of ours, has silenced it) keeps an
// incident open. What was never delivered is left alone: a listing does not tell what a
// time interval mutes, nor what still waits for the rest of its group. Alertmanager goes
// on to deliver what fires until it is taken.
func (i *Inbox) Reconcile(ctx context.Context, l Listing, absent time.Duration) error {
	all, wide := i.merge(l.Alerts)
	changed := false
	defer func() {
		if changed {
			i.config.Wake()
		}
	}()
	for some := range slices.Chunk(all, chunk) {
		moved, err := i.present(ctx, some, l.Asked)
		changed = changed || moved
		if err != nil {
			return fmt.Errorf("alerts that are there: %w", err)
		}
	}
	if !l.Whole {
		return wide
	}
	ended, err := i.endAbsent(ctx, absence{source: l.Source, there: all, since: later(l.Since, i.begun),
		limit: i.now().Add(-absent), why: whyAbsent})
	changed = changed || ended
	if err != nil {
		return fmt.Errorf("alerts that are gone: %w", err)
	}
	return wide
}

// present refreshes and opens the incidents of alerts that are there.
func (i *Inbox) present(ctx context.Context, alerts []keyed, asked time.Time) (changed bool, err error) {
	now := i.now()
	var out []turned
	err = i.store.Write(ctx, func(tx *store.Tx) error {
		changed, out = false, nil
		l := i.newLedger(tx)
		for _, a := range alerts {
			if a.wide {
				continue // it was never taken, or by a version before, and stays as it is
			}
			moved, full, err := i.confirm(l, a, asked, now)
			if err != nil {
				return err
			}
			if full != "" {
				out = append(out, turned{a.Labels["alertname"], full})
			}
			changed = changed || moved
		}
		return i.settle(l, out, now)
	})
	if err != nil {
		return false, err
	}
	i.count(out)
	return changed, nil
}

// confirm refreshes the incident of an alert that is there, or opens it again where its end was
// wrong and there is room: one that finds none is tried again with the next listing.
func (i *Inbox) confirm(l *ledger, a keyed, asked, now time.Time) (changed bool, full string, err error) {
	open, before, err := latest(l.tx, a.key)
	switch {
	case err != nil:
		return false, "", err
	case open != nil:
		changed, err = i.again(l, *open, a, now)
		return changed, "", err
	case a.Firing && delivered(before, a.Alert) && !over(before, a.Alert, asked):
		return i.enter(l, a, before, now)
	}
	return false, "", nil
}

// delivered reports whether an alert that is listed is the one whose incident was closed
// last: its end was delivered by a peer that was behind, or it was missing for a while.
func delivered(before *incident, a remediate.Alert) bool {
	return before != nil && before.Why != whyAnew && (sameEnd(*before, a) || !a.StartsAt.After(before.Alert.StartsAt))
}

// over reports whether the end of an alert that is listed as firing is known: it
// was delivered after the list was requested, or a moment before to another peer.
func over(before *incident, a remediate.Alert, asked time.Time) bool {
	return before != nil && (before.Closed.After(asked) || asked.Sub(before.Closed) < behind && sameEnd(*before, a))
}

// An absence is the set of alerts that a source no longer reports.
type absence struct {
	source string
	there  []keyed   // what it does report
	since  time.Time // since when it could be heard without a break
	limit  time.Time // alerts last reported before this have ended
	why    string
}

// An unbroken is a time during which something was heard again and again.
type unbroken struct {
	most        time.Duration // how long a break may be that does not count
	since, last time.Time
}

// at notes that it was heard, and returns since when it was without a break. A machine
// that was suspended shows by its wall clock alone.
func (u *unbroken) at(now time.Time) time.Time {
	now = now.Round(0)
	if u.last.IsZero() || now.Sub(u.last) > u.most {
		u.since = now
	}
	u.last = now
	return u.since
}

// endAbsent closes the open incidents of a source that are not there and were last reported
// before a limit. Time does not count during which the source was away: an Alertmanager that was restarted knows of no
// alert until
// Prometheus tells it again.
func (i *Inbox) endAbsent(ctx context.Context, a absence) (ended bool, err error) {
	if a.since.After(a.limit) {
		return false, nil
	}
	open, err := i.read(ctx, "where closed = 0 and seen <= ? order by id", store.Millis(a.limit))
	if err != nil {
		return false, err
	}
	present := make(map[string]bool, len(a.there))
	for _, one := range a.there {
		present[one.key] = true
	}
	open = slices.DeleteFunc(open, func(e incident) bool { return e.Alert.Source != a.source || present[e.key] })
	for some := range slices.Chunk(open, chunk) {
		now := i.now()
		err := i.store.Write(ctx, func(tx *store.Tx) error {
			l := i.newLedger(tx)
			for _, e := range some {
				// It may have been delivered again since it was read.
				res,
					err := tx.Exec("update incidents set closed = ?, why = ? where id = ? and closed = 0 and seen <= ?",
					store.Millis(now), a.why, e.ID, store.Millis(a.limit))
				if err != nil {
					return err
				}
				n, err := res.RowsAffected()
				if err != nil {
					return err
				}
				l.add(e.Alert, -n)
				if err := urge(tx, e.ID, now); err != nil {
					return err
				}
			}
			return l.write()
		})
		if err != nil {
			return ended, err
		}
		ended = true
	}
	return ended, nil
}
