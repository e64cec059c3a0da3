// Package inbox keeps the alerts that were taken in, and the episodes that they
// open and close. An alert that Accept took is on disk.
package inbox

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Reasons why an episode was closed.
const (
	whyResolved = "resolved"
	whyAbsent   = "no longer told of"
	whyAnew     = "cleared, and it fires anew"
)

// replicaLabels tell apart the members of a highly available pair, which tell
// of one and the same trouble.
var replicaLabels = [...]string{"replica", "prometheus_replica"} //nolint:gochecknoglobals // a constant list

// Config is what an Inbox is made of.
type Config struct {
	Store *store.Store
	Now   func() time.Time // time.Now where nil
	Wake  func()           // called after an episode opened or closed; may be nil
}

// An Inbox turns alerts, which come late, twice and in any order, into episodes.
type Inbox struct {
	store *store.Store
	now   func() time.Time
	wake  func()
	begun time.Time // absence counts from here at the earliest
}

// New returns an Inbox.
func New(c Config) *Inbox {
	i := &Inbox{store: c.Store, now: c.Now, wake: c.Wake}
	if i.now == nil {
		i.now = time.Now
	}
	if i.wake == nil {
		i.wake = func() {}
	}
	i.begun = i.now()
	return i
}

// key identifies the alert by its source and labels. Neither the start nor the
// group of an alert is part of it: both move while the trouble stays the same.
func key(a remediate.Alert) string {
	h := sha256.New()
	write := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	write(a.Source)
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if !slices.Contains(replicaLabels[:], name) {
			write(name)
			write(a.Labels[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Accept takes alerts in, all or none. When it returns nil they are on disk.
// Episodes open, are refreshed and close; what was told twice changes nothing.
func (i *Inbox) Accept(ctx context.Context, alerts []remediate.Alert) error {
	now := i.now()
	changed := false
	err := i.store.Write(ctx, func(tx *store.Tx) error {
		changed = false
		for _, a := range alerts {
			moved, err := accept(tx, a, now)
			if err != nil {
				return fmt.Errorf("alert %s: %w", a.Labels["alertname"], err)
			}
			changed = changed || moved
		}
		return nil
	})
	if err == nil && changed {
		i.wake()
	}
	return err
}

func accept(tx *store.Tx, a remediate.Alert, now time.Time) (changed bool, err error) {
	open, found, err := latest(tx, key(a), "closed = 0")
	switch {
	case err != nil:
		return false, err
	case a.Firing && found:
		return told(tx, open, a, now)
	case a.Firing:
		before, found, err := latest(tx, key(a), "closed <> 0")
		if err != nil {
			return false, err
		}
		// A peer may send the firing of a trouble after another has sent its end.
		if found && before.Why == whyResolved && before.Alert.StartsAt.Equal(a.StartsAt) {
			return false, nil
		}
		return true, start(tx, a, now)
	case found && !a.StartsAt.Before(open.Alert.StartsAt):
		return true, end(tx, open.ID, whyResolved, now)
	}
	return false, nil // the end of something that is not open, or of an earlier trouble
}

// Reconcile compares the open episodes of a source with all the alerts that it
// tells of now: what fires and was missed is opened, and what has been absent for
// longer than absent is closed. An end that was never delivered is found in this
// way. An alert that is there and not Firing (a person has silenced it) keeps an
// episode open and opens none.
func (i *Inbox) Reconcile(ctx context.Context, source string, present []remediate.Alert, absent time.Duration) error {
	now := i.now()
	changed := false
	err := i.store.Write(ctx, func(tx *store.Tx) error {
		changed = false
		there := make(map[string]bool, len(present))
		for _, a := range present {
			there[key(a)] = true
			open, found, err := latest(tx, key(a), "closed = 0")
			switch {
			case err != nil:
				return err
			case found:
				anew, err := told(tx, open, a, now)
				if err != nil {
					return err
				}
				changed = changed || anew
			case a.Firing:
				if err := start(tx, a, now); err != nil {
					return err
				}
				changed = true
			}
		}
		ended, err := i.endAbsent(tx, source, there, now.Add(-absent), now)
		changed = changed || ended
		return err
	})
	if err == nil && changed {
		i.wake()
	}
	return err
}

// endAbsent closes the open episodes of source that are not there and were last
// told of before limit. Time during which nobody listened does not count.
func (i *Inbox) endAbsent(tx *store.Tx, source string, there map[string]bool, limit, now time.Time) (ended bool, err error) {
	if i.begun.After(limit) {
		return false, nil
	}
	rows, err := tx.Query("select id, alert, opened, seen, closed, why from episodes where closed = 0")
	if err != nil {
		return false, err
	}
	open, err := scan(rows)
	if err != nil {
		return false, err
	}
	for _, e := range open {
		if e.Alert.Source != source || there[key(e.Alert)] || e.Seen.After(limit) {
			continue
		}
		if err := end(tx, e.ID, whyAbsent, now); err != nil {
			return ended, err
		}
		ended = true
	}
	return ended, nil
}

// lingers is how long an alert may go on to fire after its trouble was cleared:
// the old samples are stale after five minutes, and the rule is evaluated and the
// end delivered within a few more.
const lingers = 15 * time.Minute

// told refreshes an open episode. Where its run has cleared it and the alert
// began to fire after that, the end was missed and this is another trouble: the
// episode is closed and another one opens. The beginning of an alert alone does
// not tell, since it moves when Prometheus is restarted. And an alert that fires
// long after the clearing fires for a trouble that came back before it could end.
func told(tx *store.Tx, open remediate.Episode, a remediate.Alert, now time.Time) (anew bool, err error) {
	var cleared int64
	err = tx.QueryRow("select coalesce(max(changed), 0) from runs where episode = ? and state = ?", open.ID, remediate.Cleared).Scan(&cleared)
	if err != nil {
		return false, err
	}
	since := store.Time(cleared)
	if !a.Firing || cleared == 0 || !a.StartsAt.After(since) && now.Before(since.Add(lingers)) {
		return false, refresh(tx, open.ID, a, now)
	}
	if err := end(tx, open.ID, whyAnew, now); err != nil {
		return false, err
	}
	return true, start(tx, a, now)
}

func start(tx *store.Tx, a remediate.Alert, now time.Time) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.Exec("insert into episodes (key, alert, opened, seen) values (?, ?, ?, ?)", key(a), text, store.Millis(now), store.Millis(now))
	return err
}

func refresh(tx *store.Tx, id int64, a remediate.Alert, now time.Time) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.Exec("update episodes set alert = ?, seen = ? where id = ?", text, store.Millis(now), id)
	return err
}

func end(tx *store.Tx, id int64, why string, now time.Time) error {
	_, err := tx.Exec("update episodes set closed = ?, why = ? where id = ?", store.Millis(now), why, id)
	return err
}

// latest returns the newest episode of a key that meets the condition.
func latest(tx *store.Tx, key, condition string) (e remediate.Episode, found bool, err error) {
	rows, err := tx.Query("select id, alert, opened, seen, closed, why from episodes where key = ? and "+condition+" order by closed desc, id desc limit 1", key)
	if err != nil {
		return e, false, err
	}
	all, err := scan(rows)
	if err != nil || len(all) == 0 {
		return e, false, err
	}
	return all[0], true, nil
}

func scan(rows *sql.Rows) (all []remediate.Episode, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e remediate.Episode
		var alert []byte
		var opened, seen, closed int64
		if err := rows.Scan(&e.ID, &alert, &opened, &seen, &closed, &e.Why); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(alert, &e.Alert); err != nil {
			return nil, fmt.Errorf("episode %d: %w", e.ID, err)
		}
		e.Opened, e.Seen, e.Closed = store.Time(opened), store.Time(seen), store.Time(closed)
		all = append(all, e)
	}
	return all, rows.Err()
}
