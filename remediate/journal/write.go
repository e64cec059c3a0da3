package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A Change is one entry with the run as it is after it.
type Change struct {
	Run       remediate.Run
	Entry     remediate.Entry
	Fence     int64  // the token under which the run is carried
	Exclusive string // what of the subject no other run may work on; "" leaves it as it is
	Leave     bool   // the run has no owner for now

	Notification *remediate.Notification // sent to people, in the same transaction

	// Admit is asked in the transaction; an error of it undoes the change and is returned.
	Admit func(remediate.Working) error
}

// Append writes a change in one transaction. A transition that is not in
// remediate.Transitions is refused, and so is a write under a fence that has
// passed on. Where a run that acted ends, those that wait for it are due.
func (j *Journal) Append(ctx context.Context, c Change) error {
	e := c.Entry
	if e.From != e.To && !slices.Contains(remediate.Transitions()[e.From], e.To) {
		return fmt.Errorf("journal: run %d cannot go from %s to %s", c.Run.ID, e.From, e.To)
	}
	plan, err := json.Marshal(c.Run.Plan)
	if err != nil {
		return err
	}
	request, err := json.Marshal(c.Run.Request) // as the configuration of now asks for it
	if err != nil {
		return err
	}
	e.Digest = digest(string(request), string(plan))
	return j.store.Write(ctx, func(tx *store.Tx) error {
		if err := j.held(tx, c.Run.ID, c.Fence); err != nil {
			return err
		}
		if c.Admit != nil {
			w, err := j.workingIn(tx, c.Run)
			if err == nil {
				err = c.Admit(w)
			}
			if err != nil {
				return err
			}
		}
		if err := j.update(tx, c, string(request), string(plan)); err != nil {
			return err
		}
		if e.From.Acting() && e.To != e.From && !e.To.Acting() {
			if err := wake(tx, c, e.At); err != nil {
				return err
			}
		}
		if incident := c.Run.Request.Incident; e.To.Ended() && incident != 0 {
			// What comes next is to be decided.
			if _, err := tx.Exec("update incidents set settled = '' where id = ?", incident); err != nil {
				return err
			}
		}
		if c.Notification != nil {
			if _, err := enqueue(tx, *c.Notification); err != nil {
				return err
			}
		}
		return appendEntry(tx, e)
	})
}

func (j *Journal) update(tx *store.Tx, c Change, request, plan string) error {
	r, e := c.Run, c.Entry
	if err := count(tx, r, e); err != nil {
		return err
	}
	owner, due := j.instance.Load(), store.Millis(r.Due)
	if c.Leave || e.To.Ended() {
		owner = 0
	}
	if c.Leave {
		urged, err := urged(tx, r.ID, e.To)
		if err != nil {
			return err
		}
		if urged {
			due = store.Millis(e.At)
		}
	}
	res, err := tx.Exec(`update runs set state = ?, why = ?, reason = ?, request = ?, plan = ?, before = ?, after = ?,
		begun = ?, done = ?, tries = ?, lost = ?, due = ?, changed = ?, applied = ?,
		exclusive = coalesce(nullif(?, ''), exclusive), owner = ?
		where id = ? and state = ?`,
		string(e.To), e.Why, e.Reason, request, plan, r.Before, r.After, r.Begun, r.Done, r.Tries, r.Lost, due,
		store.Millis(e.At), store.Millis(r.Applied), c.Exclusive, owner, r.ID, string(e.From))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fmt.Errorf("journal: run %d is no longer %s", r.ID, e.From))
	}
	return nil
}

// urged reports whether a run that is left in a state must be looked at at once:
// what it would wait for came while it was looked at. A person wants it to stop, or
// its incident is over.
func urged(tx *store.Tx, run int64, in remediate.State) (bool, error) {
	query := "select 1 from runs where id = ? and cancel <> ''"
	switch in {
	case remediate.AwaitingApproval, remediate.Waiting:
		query = "select 1 from runs where id = ? and (cancel <> '' or exists (select 1 from incidents where " +
			"incidents.id = runs.incident and incidents.closed <> 0))"
	case remediate.Applied: // every step is done, and neither matters any more
		return false, nil
	default:
	}
	var n int
	err := tx.QueryRow(query, run).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// wake makes those due that wait for what the run held. A few of each are enough:
// each of them that ends wakes the next.
func wake(tx *store.Tx, c Change, now time.Time) error {
	r := c.Run.Request
	for _, w := range []struct {
		condition string
		args      []any
	}{
		{"reason = ? and exclusive = (select exclusive from runs where id = ?) order by id limit 2",
			[]any{remediate.ReasonBusy, c.Run.ID}},
		{"reason = ? and target = ? order by id limit 4", []any{remediate.ReasonLimit, r.Subject["server"]}},
		{"reason = ? order by id limit 4", []any{remediate.ReasonLimit}},
		{"reason = ? and (policy = ? or action = ?) order by id limit 8",
			[]any{remediate.ReasonBudget, r.Policy, r.Action}},
	} {
		_, err := tx.Exec("update runs set due = ? where due > ? and id in (select id from runs where "+isWaiting()+
			" and "+w.condition+")",
			append([]any{store.Millis(now), store.Millis(now)}, w.args...)...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Postpone lets a run stay as it is until it is looked at again, without an
// entry: nothing has happened. It has no owner meanwhile. Where it was made due
// since it was claimed, by the end of another run or by a person, it stays due.
func (j *Journal) Postpone(ctx context.Context, run remediate.Run, token int64, due time.Time) error {
	return j.store.Write(ctx, func(tx *store.Tx) error {
		if err := j.held(tx, run.ID, token); err != nil {
			return err
		}
		_, err := tx.Exec("update runs set due = case when due = ? then ? else due end, after = ?, owner = 0 where "+
			"id = ?",
			store.Millis(run.Due), store.Millis(due), run.After, run.ID)
		return err
	})
}

// A Decided is what was decided about one incident.
type Decided struct {
	Incident     int64
	Request      *remediate.Request      // makes a run
	Notification *remediate.Notification // pages people
	Wait         time.Time               // decided again at this time
	Why          string
	Case         json.RawMessage
}

// Decide writes decisions in one transaction: runs are made, people are paged,
// and what gets neither is settled for this edition of the policies. It returns
// the runs that were made.
func (j *Journal) Decide(ctx context.Context, edition string, book json.RawMessage,
	all []Decided) (made []remediate.Run, err error) {
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		made = nil
		if _, err := tx.Exec("insert into books (hash, book) values (?, ?) on conflict (hash) do nothing", edition,
			string(book)); err != nil {
			return err
		}
		for _, d := range all {
			run, created, err := j.decide(tx, edition, d)
			if err != nil {
				return fmt.Errorf("incident %d: %w", d.Incident, err)
			}
			if created {
				made = append(made, run)
			}
		}
		return nil
	})
	return made, err
}

func (j *Journal) decide(tx *store.Tx, edition string, d Decided) (run remediate.Run, made bool, err error) {
	if !d.Wait.IsZero() {
		return run, false, j.wait(tx, d)
	}
	if d.Request != nil {
		// Another replica may have decided the same; its run is the one. A request
		// that made its run before has nothing more to say.
		if run, made, err = j.CreateIn(tx, *d.Request, d.Why, d.Case); err != nil {
			return run, made, err
		}
		if made {
			// Nothing is to be decided until it has ended, which unsettles the incident.
			_, err := tx.Exec("update incidents set settled = ? where id = ?", edition, d.Incident)
			return run, true, err
		}
	}
	res, err := tx.Exec("update incidents set settled = ? where id = ? and settled <> ?", edition, d.Incident, edition)
	if err != nil {
		return run, false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 || d.Request != nil {
		return run, false, err
	}
	e := remediate.Entry{Incident: d.Incident, At: j.now(), Note: remediate.NoteDecided, Why: d.Why, Case: d.Case}
	if d.Notification != nil {
		queued, err := enqueue(tx, *d.Notification)
		if err != nil {
			return run, false, err
		}
		if queued { // under an earlier edition it was sent too, and people are not paged twice
			e.Note = remediate.NotePaged
		}
	}
	return run, false, appendEntry(tx, e)
}

// wait lets an incident be decided later, and tells people meanwhile where the decision
// says so.
func (j *Journal) wait(tx *store.Tx, d Decided) error {
	if _, err := tx.Exec("update incidents set ripe = ? where id = ?", store.Millis(d.Wait), d.Incident); err != nil ||
		d.Notification == nil {
		return err
	}
	queued, err := enqueue(tx, *d.Notification)
	if err != nil || !queued {
		return err
	}
	return appendEntry(tx, remediate.Entry{Incident: d.Incident, At: j.now(), Note: remediate.NotePaged, Why: d.Why,
		Case: d.Case})
}

// CreateIn makes a run of a request and its first entry, as a part of a
// transaction. A request whose key is known already makes none: the run that it
// made before is returned, and false.
func (j *Journal) CreateIn(tx *store.Tx, r remediate.Request, why string,
	decided json.RawMessage) (run remediate.Run, made bool, err error) {
	request, err := json.Marshal(r)
	if err != nil {
		return run, false, err
	}
	now := j.now().UTC()
	ms := store.Millis(now)
	res, err := tx.Exec(`insert into runs (key, request, action, subject, incident, state, why, plan, due,
		created, changed, policy, target)
		values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (key) do nothing`,
		r.Key, string(request), r.Action, Subject(r.Subject), r.Incident, string(remediate.Received), why, noPlan,
		ms, ms, ms,
		r.Policy, r.Subject["server"])
	if err != nil {
		return run, false, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return run, false, err
	}
	if run, err = one(tx, "key = ?", r.Key); err != nil || n == 0 {
		return run, false, err
	}
	return run, true, appendEntry(tx, remediate.Entry{Run: run.ID, Incident: r.Incident, At: now,
		To: remediate.Received, Why: why, Digest: digest(string(request), noPlan), Case: decided})
}

// NoteIn writes an entry that is no transition, as a part of a transaction.
func (j *Journal) NoteIn(tx *store.Tx, e remediate.Entry) error { return appendEntry(tx, e) }

// Create makes a run of what a person asks for, in a transaction of its own.
func (j *Journal) Create(ctx context.Context, r remediate.Request,
	why string) (run remediate.Run, made bool, err error) {
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		run, made, err = j.CreateIn(tx, r, why, nil)
		return err
	})
	return run, made, err
}
