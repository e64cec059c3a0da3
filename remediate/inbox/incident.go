package inbox

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Reasons why an incident was closed.
const (
	whyResolved = remediate.StatusResolved
	whyAbsent   = "no longer in Alertmanager's list"
	whyAnew     = "resolved, and it fires again"
	whySilent   = "not repeated by its source, which has no list of alerts"
)

const (
	// lingers is how long an alert may go on to fire after its incident was resolved:
	// the old samples are stale after five minutes, and the rule is evaluated and
	// the end delivered within a few more.
	lingers = 15 * time.Minute

	// freshness is how old the moment may be at which an incident was last reported,
	// before it is written again though nothing else is new. Three peers report it
	// within a moment, and absence is counted in minutes.
	freshness = time.Second

	// The first return of a flapping alert is held down for flapHold, each further
	// one for twice as long as the one before, and none for longer than maxHold.
	flapHold = time.Minute
	maxHold  = 30 * time.Minute
)

// columns are what scan reads of an incident, in its order.
const columns = "id, key, alert, opened, seen, closed, why, ripe, flaps"

// An incident is one as the store has it.
type incident struct {
	remediate.Incident
	key      string
	text     string    // of its alert
	resolved time.Time // when a run last resolved it; read for an open one only
}

const (
	// looked is how many keys are looked for in one statement: always as many, so that it is prepared once.
	looked = 32

	// lookFrom is from how many alerts of a write on that is less work than to ask for each.
	lookFrom = 4
)

// look finds out which alerts of a write have no incident yet, open or over: in a flood nearly all.
func (l *ledger) look(all []*arrival) error {
	var keys []any
	for _, a := range all {
		for _, one := range a.alerts {
			keys = append(keys, one.key)
		}
	}
	if len(keys) < lookFrom {
		return nil
	}
	l.known = make(map[string]bool)
	query := "with sent (key) as (values (?)" + strings.Repeat(", (?)", looked-1) + ") select key from sent where " +
		"exists (select 1 from incidents where incidents.key = sent.key and closed = 0) or " +
		"exists (select 1 from incidents where incidents.key = sent.key and closed > 0)"
	for some := range slices.Chunk(keys, looked) {
		if fill := looked - len(some); fill > 0 {
			some = append(slices.Clip(some), slices.Repeat([]any{""}, fill)...)
		}
		rows, err := l.tx.Query(query, some...)
		if err != nil {
			return err
		}
		if err := l.know(rows); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) know(rows *sql.Rows) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return err
		}
		l.known[key] = true
	}
	return rows.Err()
}

// latest is the function of that name. It asks only for what may be there.
func (l *ledger) latest(key string) (open, before *incident, err error) {
	if l.known != nil && !l.known[key] {
		l.known[key] = true // the next one of this write finds what this one leaves
		return nil, nil, nil
	}
	return latest(l.tx, key)
}

// latest returns the open incident of a key and the one that was closed last; nil
// if it does not exist. It is one statement, since it is asked for every alert.
func latest(tx *store.Tx, key string) (open, before *incident, err error) {
	rows, err := tx.Query("select "+columns+
		", (select coalesce(max(changed), 0) from runs where runs.incident = incidents.id and runs.state = '"+
		string(remediate.Resolved)+"')"+
		" from incidents where key = ? and closed = 0 union all select * from (select "+columns+
		", 0 from incidents where key = ? and closed > 0 order by closed desc, id desc limit 1) as before", key, key)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var resolved int64
		e, err := scan(rows, &resolved)
		if err != nil {
			return nil, nil, err
		}
		e.resolved = store.Time(resolved)
		if e.Closed.IsZero() {
			open = &e
		} else {
			before = &e
		}
	}
	return open, before, rows.Err()
}

func scan(rows *sql.Rows, more ...any) (e incident, err error) {
	var opened, seen, closed, ripe int64
	if err := rows.Scan(append([]any{&e.ID, &e.key, &e.text, &opened, &seen, &closed, &e.Why, &ripe, &e.Flaps},
		more...)...); err != nil {
		return e, err
	}
	if err := json.Unmarshal([]byte(e.text), &e.Alert); err != nil {
		return e, fmt.Errorf("incident %d: %w", e.ID, err)
	}
	e.Opened, e.Seen, e.Closed, e.Ripe = store.Time(opened), store.Time(seen), store.Time(closed), store.Time(ripe)
	return e, nil
}

// again refreshes an open incident. Where its run has resolved it and the alert
// began to fire anew after that, the end was missed and this is another incident: the
// incident is closed and another one opens. The beginning of an alert alone does
// not tell, since it moves when Prometheus is restarted. And an alert that fires
// long after the clearing fires for an incident that came back before it could end.
func (i *Inbox) again(l *ledger, open incident, a keyed, now time.Time) (anew bool, err error) {
	since := open.resolved
	began := a.StartsAt.After(open.Alert.StartsAt) && byOurs(open.Alert, a.Alert, now).After(since)
	if !a.Firing || since.IsZero() || !began && now.Before(since.Add(lingers)) {
		return false, refresh(l.tx, open, a.Alert, now)
	}
	if err := end(l.tx, open.ID, whyAnew, now); err != nil {
		return false, err
	}
	l.add(open.Alert, -1)
	return true, i.start(l, a, nil, now)
}

// enter opens an incident where there is room for it.
func (i *Inbox) enter(l *ledger, a keyed, before *incident, now time.Time) (changed bool, full string, err error) {
	if full, err = l.room(a.Labels["alertname"]); err != nil || full != "" {
		return false, full, err
	}
	return true, "", i.start(l, a, before, now)
}

// start opens an incident. One that follows soon on the end of the one before is
// held down, and longer each time.
func (i *Inbox) start(l *ledger, a keyed, before *incident, now time.Time) error {
	flaps, hold := 0, i.config.Hold
	if before != nil && before.Why != whyAnew && now.Sub(before.Closed) < i.config.FlapWindow {
		flaps = before.Flaps + 1
		hold = max(hold, flapping(flaps))
	}
	var ripe int64
	if hold > 0 {
		ripe = store.Millis(now.Add(hold))
	}
	if flaps > 0 {
		i.restless.add(a.key, now)
	}
	a.Ahead = ahead(a.Alert, now)
	text, err := json.Marshal(a.Alert)
	if err != nil {
		return err
	}
	l.add(a.Alert, 1)
	_, err = l.tx.Exec("insert into incidents (key, name, severity, server, alert, opened, seen, ripe, flaps) "+
		"values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		a.key, a.Labels["alertname"], int(remediate.SeverityOf(a.Labels["severity"])), a.Labels["server"], string(text),
		store.Millis(now), store.Millis(now), ripe, flaps)
	return err
}

// ahead returns by how much the clock of an alert's source is ahead of ours at least: no
// alert is delivered before it begins.
func ahead(a remediate.Alert, now time.Time) time.Duration { return max(a.StartsAt.Sub(now), 0) }

// byOurs returns when an alert began by our clock, as far as it is known how far the
// clock of its source is ahead. was is the previous report of the same alert.
func byOurs(was, a remediate.Alert, now time.Time) time.Time {
	return a.StartsAt.Add(-max(was.Ahead, ahead(a, now)))
}

// flapping returns how long an alert is held down that came back so many times.
func flapping(flaps int) time.Duration {
	hold := flapHold
	for range flaps - 1 {
		if hold *= 2; hold >= maxHold {
			return maxHold
		}
	}
	return hold
}

// refresh writes what an alert says now. Its beginning only moves forward: what a
// peer that is behind says of an earlier incident would else make that incident's
// late end the end of this one.
func refresh(tx *store.Tx, open incident, a remediate.Alert, now time.Time) error {
	a.Ahead = max(open.Alert.Ahead, ahead(a, now))
	if open.Alert.StartsAt.After(a.StartsAt) {
		a.StartsAt = open.Alert.StartsAt
	}
	if a.Receiver == "" { // it was listed, and not delivered
		a.Receiver = open.Alert.Receiver
	}
	text, err := json.Marshal(a)
	switch {
	case err != nil:
		return err
	case string(text) != open.text:
		_, err = tx.Exec("update incidents set alert = ?, seen = ? where id = ?", string(text), store.Millis(now),
			open.ID)
	case now.Sub(open.Seen) >= freshness:
		_, err = tx.Exec("update incidents set seen = ? where id = ?", store.Millis(now), open.ID)
	}
	return err
}

// finish closes an incident whose end was delivered, and keeps when that was.
func finish(l *ledger, open incident, ended, now time.Time) error {
	a := open.Alert
	a.Firing, a.EndsAt = false, ended
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if _, err = l.tx.Exec("update incidents set alert = ?, closed = ?, why = ? where id = ?", string(text),
		store.Millis(now), whyResolved, open.ID); err != nil {
		return err
	}
	l.add(open.Alert, -1)
	return urge(l.tx, open.ID, now)
}

// urge makes the runs due that wait for something, or for a person, where the
// incident that asked for them is over.
func urge(tx *store.Tx, id int64, now time.Time) error {
	_, err := tx.Exec("update runs set due = ? where incident = ? and state in "+
		remediate.States().Where(remediate.State.Idle).SQL()+
		" and exists (select 1 from incidents where id = ? and closed <> 0)",
		store.Millis(now), id, id)
	return err
}

func end(tx *store.Tx, id int64, why string, now time.Time) error {
	if _, err := tx.Exec("update incidents set closed = ?, why = ? where id = ?", store.Millis(now), why,
		id); err != nil {
		return err
	}
	return urge(tx, id, now)
}
