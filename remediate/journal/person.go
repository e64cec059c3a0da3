package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A StaleError says that what a person answered is no longer the question.
type StaleError struct{ Text string }

func (e *StaleError) Error() string { return e.Text }

// Approve records a person's approval of a plan: the run acts when the plan, made again,
// is still this one and removes no more. plan is the hash of the plan that the person saw, or "". why is
// the reason that the person gives; it may be empty.
func (j *Journal) Approve(ctx context.Context, run int64, plan, by, why string, until time.Time) error {
	return j.answer(ctx, run, plan, func(tx *store.Tx, asked remediate.Plan, now time.Time) error {
		amount, said := "", ""
		if asked.Amount != nil {
			text, err := json.Marshal(asked.Amount)
			if err != nil {
				return err
			}
			amount, said = string(text), fmt.Sprintf(" for %s", asked.Amount)
		}
		plan := asked.Question()
		row := approvalRow{plan: plan, approver: by, said: store.Millis(now), until: store.Millis(until),
			amount: amount}
		_, err := tx.Exec(`insert into approvals (run, plan, approver, said, until, amount) values (?, ?, ?, ?, ?, ?)
			on conflict (run) do update set plan = excluded.plan, approver = excluded.approver,
			said = excluded.said, until = excluded.until, amount = excluded.amount`,
			run, plan, by, store.Millis(now), store.Millis(until), amount)
		if err == nil {
			_, err = tx.Exec("update runs set due = ? where id = ?", store.Millis(now), run)
		}
		if err != nil {
			return err
		}
		return appendEntry(tx, remediate.Entry{Run: run, At: now, Note: remediate.NoteApproved, By: by,
			Digest: row.digest(),
			Why:    "plan " + plan + said + " until " + until.UTC().Format(time.RFC3339) + because(why)})
	})
}

// Reject records that a person rejects a plan; the run ends.
func (j *Journal) Reject(ctx context.Context, run int64, plan, by, why string) error {
	return j.answer(ctx, run, plan, func(tx *store.Tx, _ remediate.Plan, now time.Time) error {
		if _, err := tx.Exec("update runs set cancel = ?, due = ? where id = ?", by+": "+why, store.Millis(j.now()),
			run); err != nil {
			return err
		}
		return appendEntry(tx, remediate.Entry{Run: run, At: now, Note: remediate.NoteRejected, By: by, Why: why})
	})
}

// answer checks that the run asks for the plan that the person saw; "" is whatever
// it asks for.
func (j *Journal) answer(ctx context.Context, run int64, plan string,
	keep func(tx *store.Tx, asked remediate.Plan, now time.Time) error) error {
	return j.store.Write(ctx, func(tx *store.Tx) error {
		r, err := one(tx, "id = ?", run)
		switch {
		case errors.Is(err, ErrNoRun):
			return fmt.Errorf("%w: %d", ErrNoRun, run)
		case err != nil:
			return err
		case r.State.Ended():
			return tooLate(r)
		case r.State != remediate.AwaitingApproval:
			return &StaleError{fmt.Sprintf("run %d is %s and does not await approval; to stop it: upkeep cancel %d",
				run, r.State, run)}
		case r.Cancel != "":
			return &StaleError{fmt.Sprintf("run %d was answered already: %s", run, r.Cancel)}
		case plan != "" && plan != r.Plan.Question():
			return &StaleError{fmt.Sprintf("the plan of run %d has changed: it is now %s, with another amount or "+
				"other steps; review it and answer again", run, r.Plan.Question())}
		}
		return keep(tx, r.Plan, j.now().UTC())
	})
}

// tooLate says how a run has ended, and how what it was asked for runs once more.
func tooLate(r remediate.Run) error {
	return &StaleError{fmt.Sprintf("run %d has ended: it is %s since %s; to run it once more: upkeep retry %d "+
		"--why …", r.ID, r.State.Named(r.Reason), r.Changed.UTC().Format(time.RFC3339), r.ID)}
}

// Cancel asks a run to stop. One that has not begun to act ends at once; one that
// acts is stopped in the middle of its step, as far as the target can.
func (j *Journal) Cancel(ctx context.Context, run int64, by, why string) error {
	return j.store.Write(ctx, func(tx *store.Tx) error {
		r, err := one(tx, "id = ?", run)
		switch {
		case errors.Is(err, ErrNoRun):
			return fmt.Errorf("%w: %d", ErrNoRun, run)
		case err != nil:
			return err
		case r.State.Ended():
			return tooLate(r)
		case r.State == remediate.Applied:
			return &StaleError{fmt.Sprintf("all steps of run %d are done; only the verification is pending", run)}
		case r.Cancel != "":
			return nil // once is enough
		}
		if _, err := tx.Exec("update runs set cancel = ?, due = ? where id = ?", by+": "+why, store.Millis(j.now()),
			run); err != nil {
			return err
		}
		return appendEntry(tx, remediate.Entry{Run: run, At: j.now(), Note: remediate.NoteCancel, By: by, Why: why})
	})
}

// Demote demotes a policy, once, and notifies people: its runs need approval.
func (j *Journal) Demote(ctx context.Context, policy, why string, run int64) (done bool, err error) {
	was, err := j.demote(ctx, policy, why, fmt.Sprintf("demoted/%s/%d", policy, run), remediate.Entry{Run: run})
	return was.Demoted.IsZero() && err == nil, err
}

// DemoteBy demotes a policy because a person says so, and notifies the others. It holds until a person promotes
// the policy. One that is demoted already is a StaleError: it keeps its reason.
func (j *Journal) DemoteBy(ctx context.Context, policy, by, why string) error {
	key := fmt.Sprintf("demoted/%s/%s/%d", policy, by, store.Millis(j.now()))
	was, err := j.demote(ctx, policy, by+": "+why, key, remediate.Entry{By: by})
	if err == nil && !was.Demoted.IsZero() {
		return &StaleError{fmt.Sprintf("policy %q is demoted already since %s: %s", policy,
			was.Demoted.UTC().Format(time.RFC3339), was.Why)}
	}
	return err
}

// demote returns the state before: a policy that was demoted stays as it was.
func (j *Journal) demote(ctx context.Context, policy, why, key string, e remediate.Entry) (was PolicyState,
	err error) {
	e.At, e.Note, e.Why = j.now().UTC(), remediate.NoteDemoted, demotedText(policy, why)
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		if was, err = policyState(tx.Query, policy); err != nil || !was.Demoted.IsZero() {
			return err
		}
		_, err := tx.Exec(`insert into policy_states (policy, demoted, why) values (?, ?, ?)
			on conflict (policy) do update set demoted = excluded.demoted, why = excluded.why`, policy,
			store.Millis(e.At), why)
		if err != nil {
			return err
		}
		n := remediate.Notification{
			Key: key, Kind: remediate.NotificationInfo, Run: e.Run, At: e.At,
			Title: fmt.Sprintf("Policy %q is demoted: its runs need approval", policy),
			Text:  visible.Text(why) + ". To promote it: upkeep policy promote '" + policy + "'",
		}
		if _, err := enqueue(tx, n); err != nil {
			return err
		}
		return appendEntry(tx, e)
	})
	return was, err
}

// Promote lets a policy act by itself again and closes its breaker: what was
// before does not count any more.
func (j *Journal) Promote(ctx context.Context, policy, by, why string) error {
	return j.reset(ctx, policy, remediate.Entry{Note: remediate.NotePromoted, By: by,
		Why: fmt.Sprintf("policy %q is promoted: %s", policy, why)},
		"demoted = 0, why = '', breaker = excluded.breaker, effect = excluded.effect")
}

// CloseBreaker lets a policy that useless runs have stopped try again.
func (j *Journal) CloseBreaker(ctx context.Context, policy, by, why string) error {
	return j.reset(ctx, policy, remediate.Entry{Note: remediate.NoteClosed, By: by,
		Why: fmt.Sprintf("the breaker of policy %q is closed: %s", policy, why)},
		"breaker = excluded.breaker")
}

func (j *Journal) reset(ctx context.Context, policy string, e remediate.Entry, set string) error {
	e.At = j.now().UTC()
	return j.store.Write(ctx, func(tx *store.Tx) error {
		ms := store.Millis(e.At)
		if _, err := tx.Exec("insert into policy_states (policy, breaker, effect) values (?, ?, ?) "+
			"on conflict (policy) do update set "+set, policy, ms, ms); err != nil {
			return err
		}
		if _, err := tx.Exec("update runs set due = ? where "+listed("policy")+" and "+isIdle(), ms,
			policy); err != nil {
			return err
		}
		return appendEntry(tx, e)
	})
}
