package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// kept is how many occurrences of a schedule are kept, for people to look at. Their
// runs stay in the journal.
const kept = 1000

// A mark is how far a schedule has been kept.
type mark struct {
	expression string
	since      time.Time // nothing before it counts
	last       time.Time // the newest occurrence that was written and has come
	ahead      time.Time // one that has just come, and was skipped by a clock that was ahead
}

// begin looks up from when each schedule counts, and writes it for those that are
// new or another. One that is not asked for any more is forgotten, so that it counts
// anew when it comes back.
func (s *Scheduler) begin(ctx context.Context, schedules []Schedule, now time.Time) error {
	since := make(map[string]time.Time)
	err := s.Store.Write(ctx, func(tx *store.Tx) error {
		known, err := calendars(tx)
		if err != nil {
			return err
		}
		for _, c := range schedules {
			m, ok := known[c.Name]
			delete(known, c.Name)
			since[c.Name] = m.since
			// A beginning that lies ahead was written by a clock that was.
			if ok && m.expression == c.expression() && !m.since.After(now) {
				continue
			}
			since[c.Name] = now
			_, err := tx.Exec(`insert into calendars (schedule, expression, since) values (?, ?, ?)
				on conflict (schedule) do update set expression = excluded.expression, since = excluded.since`,
				c.Name, c.expression(), store.Millis(now))
			if err != nil {
				return err
			}
		}
		for name := range known {
			if _, err := tx.Exec("delete from calendars where schedule = ?", name); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.since = since
	}
	return err
}

func calendars(tx *store.Tx) (all map[string]mark, err error) {
	rows, err := tx.Query("select schedule, expression, since from calendars")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = make(map[string]mark)
	for rows.Next() {
		var name string
		var m mark
		var since int64
		if err := rows.Scan(&name, &m.expression, &since); err != nil {
			return nil, err
		}
		m.since = store.Time(since)
		all[name] = m
	}
	return all, rows.Err()
}

// marks reads how far each schedule has been kept.
func (s *Scheduler) marks(ctx context.Context, now time.Time) (all map[string]mark, err error) {
	rows, err := s.Store.Query(ctx, `select schedule, expression, since,
		(select coalesce(max(at), 0) from occurrences o where o.schedule = calendars.schedule and at <= ?),
		(select coalesce(max(at), 0) from occurrences o where o.schedule = calendars.schedule and at <= ?
		and at > ? and state = ? and written > ?)
		from calendars`,
		store.Millis(now), store.Millis(now), store.Millis(now.Add(-punctual)), string(Skipped), store.Millis(now))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = make(map[string]mark)
	for rows.Next() {
		var name string
		var m mark
		var since, last, ahead int64
		if err := rows.Scan(&name, &m.expression, &since, &last, &ahead); err != nil {
			return nil, err
		}
		m.since, m.last, m.ahead = store.Time(since), store.Time(last), store.Time(ahead)
		all[name] = m
	}
	return all, rows.Err()
}

// write writes occurrences and the runs of the newest in one transaction, unless
// another scheduler has been there before.
func (s *Scheduler) write(ctx context.Context, c Schedule, d due, from, now time.Time,
	wanted []remediate.Request) (runs []int64, err error) {
	err = s.Store.Write(ctx, func(tx *store.Tx) error {
		runs = nil
		others, err := overtaken(tx, c, d, from, now)
		if err != nil || others {
			return err
		}
		skipped, newest := d.each[:len(d.each)-1], d.each[len(d.each)-1]
		if d.outcome == Skipped {
			skipped = d.each
		}
		if d.more > 0 {
			why := fmt.Sprintf("missed, with %d before it since %s", d.more-1, c.shown(d.first))
			if err := insert(tx, c, Occurrence{At: d.upTo, Outcome: Skipped, Why: why}, now); err != nil {
				return err
			}
		}
		for _, at := range skipped {
			if err := insert(tx, c, Occurrence{At: at, Outcome: Skipped, Why: s.why(c, at, newest)}, now); err != nil {
				return err
			}
		}
		if d.outcome != Skipped {
			if runs, err = s.runs(tx, c, d, now, wanted); err != nil {
				return err
			}
		}
		if err := s.noteSkipped(tx, c, d, skipped, now); err != nil {
			return err
		}
		return prune(tx, c)
	})
	return runs, err
}

// overtaken reports whether what is due has been written meanwhile.
func overtaken(tx *store.Tx, c Schedule, d due, from, now time.Time) (bool, error) {
	if d.again {
		// The one that was skipped ahead of its time is written again, once.
		res, err := tx.Exec("delete from occurrences where schedule = ? and at = ? and state = ?", c.Name,
			store.Millis(d.each[0]), string(Skipped))
		if err != nil {
			return false, err
		}
		n, err := res.RowsAffected()
		return n == 0, err
	}
	var last int64
	err := tx.QueryRow("select coalesce(max(at), 0) from occurrences where schedule = ? and at <= ?", c.Name,
		store.Millis(now)).Scan(&last)
	return store.Time(last).After(from), err
}

// why says why an occurrence is skipped.
func (s *Scheduler) why(c Schedule, at, newest time.Time) string {
	switch failure := s.failures[c.Name]; {
	case failure != "":
		return "missed: " + failure
	case at.Equal(newest):
		return "missed: at its time upkeep or its store was down"
	default:
		return "missed, and a newer one has come"
	}
}

// runs makes the runs of an occurrence, one for each request.
func (s *Scheduler) runs(tx *store.Tx, c Schedule, d due, now time.Time,
	wanted []remediate.Request) (made []int64, err error) {
	o := Occurrence{At: d.each[len(d.each)-1], Outcome: d.outcome}
	why := fmt.Sprintf("schedule %q at %s", c.Name, c.shown(o.At))
	if d.outcome == MadeLate {
		o.Why = "at its time upkeep or its store was down, or its query failed"
		why += ", late: " + o.Why
	}
	for _, r := range wanted {
		run, isNew, err := s.Journal.CreateIn(tx, c.asked(r, o.At), why, nil)
		if err != nil {
			return nil, err
		}
		if o.Runs = append(o.Runs, run.ID); isNew {
			made = append(made, run.ID)
		}
	}
	if len(wanted) == 0 {
		o.Why = "nothing to do: its query returned no series"
		if err := s.Journal.NoteIn(tx, note(now, why+": "+o.Why)); err != nil {
			return nil, err
		}
	}
	return made, insert(tx, c, o, now)
}

func (s *Scheduler) noteSkipped(tx *store.Tx, c Schedule, d due, skipped []time.Time, now time.Time) error {
	n := d.more + len(skipped)
	if n == 0 {
		return nil
	}
	first := d.first
	if d.more == 0 {
		first = skipped[0]
	}
	last := skipped[len(skipped)-1]
	what := fmt.Sprintf("occurrence at %s is", c.shown(first))
	if n > 1 {
		what = fmt.Sprintf("%d occurrences from %s to %s are", n, c.shown(first), c.shown(last))
	}
	return s.Journal.NoteIn(tx,
		note(now, fmt.Sprintf("schedule %q: %s skipped: %s", c.Name, what, s.why(c, last, d.each[len(d.each)-1]))))
}

func note(now time.Time, why string) remediate.Entry {
	return remediate.Entry{At: now, Note: remediate.NoteDecided, Why: why}
}

// shown writes a time as the clock of the schedule's zone shows it.
func (c Schedule) shown(at time.Time) string { return at.In(c.Zone).Format("2006-01-02 15:04 MST") }

func insert(tx *store.Tx, c Schedule, o Occurrence, now time.Time) error {
	runs, err := json.Marshal(append([]int64{}, o.Runs...)) // [] and not null
	if err != nil {
		return err
	}
	_, err = tx.Exec("insert into occurrences (schedule, at, state, why, runs, written) values (?, ?, ?, ?, ?, ?)",
		c.Name, store.Millis(o.At), string(o.Outcome), o.Why, string(runs), store.Millis(now))
	return err
}

// prune forgets old occurrences. From then on the schedule counts from the oldest
// that is kept, so that no clock brings the forgotten ones back.
func prune(tx *store.Tx, c Schedule) error {
	var oldest int64
	err := tx.QueryRow("select coalesce((select at from occurrences where schedule = ? order by at desc limit 1 "+
		"offset ?), 0)", c.Name, kept).Scan(&oldest)
	if err != nil || oldest == 0 {
		return err
	}
	if _, err := tx.Exec("delete from occurrences where schedule = ? and at <= ?", c.Name, oldest); err != nil {
		return err
	}
	_, err = tx.Exec("update calendars set since = ? where schedule = ? and since < ?", oldest, c.Name, oldest)
	return err
}
