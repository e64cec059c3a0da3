package journal

import (
	"context"
	"encoding/json"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

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
		r.Key, string(request), r.Action, Subject(r.Subject), r.Incident, string(remediate.Received), why, noPlan, ms, ms, ms,
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

// noPlan is the plan of a run for which none was made yet.
const noPlan = "{}"

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
