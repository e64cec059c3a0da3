package inbox

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// lateness is how long after its end an alert may still be delivered as firing
	// by a peer that is behind: Alertmanager tries a delivery for group_interval,
	// five minutes by default, and a peer waits some more for the one before it.
	lateness = 10 * time.Minute
)

// merge gives each alert its key, and leaves one of those that are the same but
// for the replica that sends it: what fires for one of them fires. Annotations that are too long
// are cut. One whose labels are too many or too long is marked: labels that were cut would be
// those of another alert. The error is of the first of these.
func (i *Inbox) merge(alerts []remediate.Alert) (all []keyed, wide error) {
	all = make([]keyed, 0, len(alerts))
	place := make(map[string]int, len(alerts))
	for _, a := range alerts {
		k := keyed{key: i.key(a)}
		var err error
		if k.Alert, err = a.Bounded(); err != nil {
			k.wide = true
			if wide == nil {
				wide = fmt.Errorf("alert %q: %w", clipped(a.Labels["alertname"]), err)
			}
		}
		at, twice := place[k.key]
		switch {
		case !twice:
			place[k.key] = len(all)
			all = append(all, k)
		case a.Firing && !all[at].Firing, a.Firing == all[at].Firing && newer(a, all[at].Alert):
			all[at] = k
		}
	}
	return all, wide
}

func newer(a, b remediate.Alert) bool {
	return a.StartsAt.After(b.StartsAt) || a.StartsAt.Equal(b.StartsAt) && a.EndsAt.After(b.EndsAt)
}

// Accept takes alerts in. When it returns nil they are all on disk; where it returns an
// error some may be, and to tell them again changes nothing. Incidents open, are
// refreshed and close. Where too many are open, the error is a *NoRoomError.
func (i *Inbox) Accept(ctx context.Context, alerts []remediate.Alert) error {
	changed := false
	defer func() {
		if changed {
			i.config.Wake()
		}
	}()
	all, wide := i.merge(alerts)
	if wide != nil {
		return wide
	}
	var out []turned
	for some := range slices.Chunk(all, together) {
		moved, turned, err := i.acceptSome(ctx, some)
		if err != nil {
			return err
		}
		changed, out = changed || moved, append(out, turned...)
	}
	if len(out) > 0 {
		return &NoRoomError{Refused: len(out), Of: len(alerts), Why: out[len(out)-1].why}
	}
	for _, a := range alerts {
		status := remediate.StatusResolved
		if a.Firing {
			status = remediate.StatusFiring
		}
		i.alerts.WithLabelValues(a.Source, status).Inc()
	}
	return nil
}

// acceptSome takes alerts in, all or none but for those that find no room.
func (i *Inbox) acceptSome(ctx context.Context, all []keyed) (changed bool, out []turned, err error) {
	a := &arrival{ctx: ctx, alerts: all, done: make(chan struct{})}
	i.crowd.do(a, i.acceptAll)
	if a.err != nil {
		return false, nil, a.err
	}
	i.count(a.out)
	return a.changed, a.out, nil
}

// acceptAll writes arrivals in one transaction. One of them whose write fails does not fail the others: then
// each is written by itself.
func (i *Inbox) acceptAll(all []*arrival) {
	ctx, cancel := anyOf(all)
	defer cancel()
	err := i.acceptTogether(ctx, all)
	for _, a := range all {
		a.err = err
		if err != nil && len(all) > 1 && ctx.Err() == nil && !store.Away(err) {
			a.err = i.acceptTogether(a.ctx, []*arrival{a})
		}
	}
}

func (i *Inbox) acceptTogether(ctx context.Context, all []*arrival) error {
	now := i.now()
	return i.store.Write(ctx, func(tx *store.Tx) error {
		l := i.newLedger(tx)
		if err := l.look(all); err != nil {
			return err
		}
		var out []turned
		for _, a := range all {
			a.changed, a.out = false, nil
			for _, one := range a.alerts {
				moved, why, err := i.accept(l, one, now)
				if err != nil {
					return fmt.Errorf("alert %s: %w", one.Labels["alertname"], err)
				}
				if why != "" {
					a.out = append(a.out, turned{one.Labels["alertname"], why})
				}
				a.changed = a.changed || moved
			}
			out = append(out, a.out...)
		}
		return i.settle(l, out, now)
	})
}

// anyOf returns a context that ends when no one waits for arrivals any more.
func anyOf(all []*arrival) (context.Context, context.CancelFunc) {
	if len(all) == 1 {
		return all[0].ctx, func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(all[0].ctx))
	var left atomic.Int64
	left.Store(int64(len(all)))
	stops := make([]func() bool, 0, len(all))
	for _, a := range all {
		stops = append(stops, context.AfterFunc(a.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// settle ends a write that opened and closed incidents, and in which alerts may have found no
// room.
func (i *Inbox) settle(l *ledger, out []turned, now time.Time) error {
	if err := l.write(); err != nil || len(out) == 0 {
		return err
	}
	return i.flood(l.tx, out[len(out)-1], now)
}

// accept takes one alert in. It returns why it found no room.
func (i *Inbox) accept(l *ledger, a keyed, now time.Time) (changed bool, full string, err error) {
	open, before, err := l.latest(a.key)
	switch {
	case err != nil:
		return false, "", err
	case a.Firing && open != nil:
		changed, err = i.again(l, *open, a, now)
		return changed, "", err
	case a.Firing && late(before, a.Alert, now):
		return false, "", nil
	case a.Firing:
		return i.enter(l, a, before, now)
	case open != nil && ends(a.Alert, open.Alert):
		return true, "", finish(l, *open, a.EndsAt, now)
	}
	return false, "", nil // the end of something that is not open, or of an earlier incident
}

// late reports whether an alert fires for the incident that before was, whose end
// was delivered or seen first. Peers deliver in any order, for a while.
func late(before *incident, a remediate.Alert, now time.Time) bool {
	return before != nil && now.Sub(before.Closed) < lateness &&
		(sameEnd(*before, a) || before.Why == whyAbsent && byOurs(before.Alert, a, now).Before(before.Seen))
}

// sameEnd reports whether an alert fires for the incident whose end was delivered as before's.
func sameEnd(before incident, a remediate.Alert) bool {
	return before.Why == whyResolved && (a.StartsAt.Equal(before.Alert.StartsAt) ||
		a.StartsAt.Before(before.Alert.EndsAt))
}

// ends reports whether the end a is the end of the incident that open is. The
// beginning of an incident moves both ways while it lasts, so it only tells where
// the source does not say when the incident ended.
func ends(a, open remediate.Alert) bool {
	if a.EndsAt.IsZero() {
		return !a.StartsAt.Before(open.StartsAt)
	}
	return a.EndsAt.After(open.StartsAt)
}
