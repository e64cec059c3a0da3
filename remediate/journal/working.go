package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// endedLimit is how many of a policy's last runs the guards see: more than any
// ramp or breaker asks for.
const endedLimit = 128

// Working returns what the guards decide a run by.
func (j *Journal) Working(ctx context.Context, run remediate.Run) (remediate.Working, error) {
	return j.working(func(query string, args ...any) (*sql.Rows, error) { return j.store.Query(ctx, query, args...) },
		run, true)
}

func (j *Journal) workingIn(tx *store.Tx, run remediate.Run) (remediate.Working, error) {
	return j.working(tx.Query, run, false)
}

func (j *Journal) working(q querier, run remediate.Run, keep bool) (w remediate.Working, err error) {
	r := run.Request
	if w.Acting, err = works(q, run.ID); err != nil {
		return w, err
	}
	if w.Pauses, err = j.pauses(q); err != nil {
		return w, err
	}
	if w.LastEnd, err = lastEnd(q, r.Action, Subject(r.Subject)); err != nil {
		return w, err
	}
	if w.Approval, err = approval(q, run.ID); err != nil {
		return w, err
	}
	var s PolicyState
	if r.Policy != "" {
		if s, err = policyState(q, r.Policy); err != nil {
			return w, err
		}
	}
	m, err := j.marksNow(q, keep)
	if err != nil {
		return w, err
	}
	if j.holdPauses(m, &w); r.Policy == "" {
		return w, nil
	}
	j.holdPolicy(m, &s)
	if !s.Demoted.IsZero() {
		w.Demoted = s.Why
	}
	if r.Terms.Ramp || r.Terms.Breaker > 0 { // only these need the results
		w.Ended, err = results(q, r.Policy, s.Breaker)
	}
	return w, err
}

func works(q querier, but int64) (all []remediate.Work, err error) {
	rows, err := q("select id, action, policy, target, exclusive, state from runs where "+isActing()+" and id <> ?",
		but)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var w remediate.Work
		if err := rows.Scan(&w.Run, &w.Action, &w.Policy, &w.Target, &w.Exclusive, &w.State); err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, rows.Err()
}

// results returns the last runs of a policy that have acted and ended since a
// moment, the newest first. What a person stopped says nothing of the policy.
func results(q querier, policy string, since time.Time) (all []remediate.Ended, err error) {
	rows, err := q("select id, state, changed from runs where policy = ? and changed > ? and "+hasActed()+
		" and reason <> ? order by changed desc, id desc limit ?",
		policy, store.Millis(since), remediate.ReasonCancelled, endedLimit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e remediate.Ended
		var at int64
		if err := rows.Scan(&e.Run, &e.State, &at); err != nil {
			return nil, err
		}
		e.At = store.Time(at)
		all = append(all, e)
	}
	return all, rows.Err()
}

// lastEnd returns when a run of the action on the subject last ended after it had
// begun to act, and the zero time when none has.
func lastEnd(q querier, action, subject string) (at time.Time, err error) {
	rows, err := q("select coalesce(max(changed), 0) from runs where action = ? and subject = ? and "+hasActed(),
		action, subject)
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var ms int64
		if err := rows.Scan(&ms); err != nil {
			return at, err
		}
		at = store.Time(ms)
	}
	return at, rows.Err()
}

// approval returns the approval of a run: one that no entry gives is an error.
func approval(q querier, run int64) (a *remediate.Approval, err error) {
	rows, err := q("select plan, approver, said, until, amount from approvals where run = ?", run)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // it was closed, or there is another error
	var row approvalRow
	for rows.Next() {
		a = &remediate.Approval{Run: run}
		var said, until int64
		var amount []byte
		if err := rows.Scan(&a.Plan, &a.By, &said, &until, &amount); err != nil {
			return nil, err
		}
		if len(amount) > 0 {
			if err := json.Unmarshal(amount, &a.Amount); err != nil {
				return nil, fmt.Errorf("approval of run %d: %w", run, err)
			}
		}
		a.At, a.Until = store.Time(said), store.Time(until)
		row = approvalRow{true, a.Plan, a.By, string(amount), said, until}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || a == nil {
		return nil, err
	}
	s, err := sayingOf(q, run)
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = new(saying)
		s.first.To = remediate.Received
	}
	if what := row.differs(s); what != "" {
		return nil, broken("journal: run %d: %s", run, what)
	}
	return a, nil
}
