// Package journal is the record of every run, written before each step. Entries
// are appended and never changed; each carries the hash of the one before, so a
// change, a deletion or another order is found by Verify.
package journal

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
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// ErrNoRun says that there is no run of that number.
var ErrNoRun = errors.New("there is no such run")

// A Journal keeps runs, their entries, leases on subjects, and pauses.
type Journal struct {
	store *store.Store
	now   func() time.Time
}

// New returns a Journal on s. Where now is nil it is time.Now.
func New(s *store.Store, now func() time.Time) *Journal {
	if now == nil {
		now = time.Now
	}
	return &Journal{store: s, now: now}
}

// Subject writes labels as one string in a fixed order, for leases and cooldowns.
func Subject(labels map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%q", name, labels[name])
	}
	return b.String()
}

// Create makes a run of a request and its first entry. A request whose key is
// known already makes none: the run that it made before is returned, and false.
func (j *Journal) Create(ctx context.Context, r remediate.Request, why string) (run remediate.Run, made bool, err error) {
	request, err := json.Marshal(r)
	if err != nil {
		return run, false, err
	}
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		made = false
		now := store.Millis(j.now())
		res, err := tx.Exec(`insert into runs (key, request, action, subject, episode, state, why, plan, due, created, changed)
			values (?, ?, ?, ?, ?, ?, ?, '{}', ?, ?, ?) on conflict (key) do nothing`,
			r.Key, request, r.Action, Subject(r.Subject), r.Episode, remediate.Received, why, now, now, now)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if run, err = one(tx, "key = ?", r.Key); err != nil || n == 0 {
			return err
		}
		made = true
		return appendEntry(tx, remediate.Entry{Run: run.ID, At: j.now(), To: remediate.Received, Why: why})
	})
	return run, made, err
}

// Append writes an entry and the run as it is after it, in one transaction. A
// transition that is not in remediate.Transitions is refused, and so is a write
// under a fence that has passed on. The end of a run gives its lease back.
func (j *Journal) Append(ctx context.Context, fence int64, run remediate.Run, e remediate.Entry) error {
	if e.From != e.To && !slices.Contains(remediate.Transitions()[e.From], e.To) {
		return fmt.Errorf("journal: run %d cannot go from %s to %s", run.ID, e.From, e.To)
	}
	plan, err := json.Marshal(run.Plan)
	if err != nil {
		return err
	}
	return j.store.Write(ctx, func(tx *store.Tx) error {
		if fence != 0 {
			if err := held(tx, run.ID, fence); err != nil {
				return err
			}
		}
		res, err := tx.Exec(`update runs set state = ?, why = ?, plan = ?, before = ?, after = ?, begun = ?, done = ?, tries = ?, due = ?, changed = ?
			where id = ? and state = ?`,
			e.To, e.Why, plan, run.Before, run.After, run.Begun, run.Done, run.Tries, store.Millis(run.Due), store.Millis(e.At), run.ID, e.From)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, fmt.Errorf("journal: run %d is no longer %s", run.ID, e.From))
		}
		if e.To.Final() || e.To == remediate.Received {
			if _, err := tx.Exec("update leases set run = 0 where run = ?", run.ID); err != nil {
				return err
			}
		}
		return appendEntry(tx, e)
	})
}

func appendEntry(tx *store.Tx, e remediate.Entry) error {
	var before string
	err := tx.QueryRow("select hash from entries order by seq desc limit 1").Scan(&before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	e.Seq = 0 // given by the table
	e.At = e.At.UTC()
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = tx.Exec("insert into entries (run, entry, hash) values (?, ?, ?)", e.Run, text, chain(before, text))
	return err
}

func chain(before string, entry []byte) string {
	h := sha256.New()
	h.Write([]byte(before))
	h.Write(entry)
	return hex.EncodeToString(h.Sum(nil))
}

// Verify reads the whole journal and returns an error that names the first entry
// that was changed or moved, or before which one is missing. Entries cut off at
// the end are found by the runs, whose state must be the last entry's; whoever
// also changes the runs cuts off what no chain can show.
func (j *Journal) Verify(ctx context.Context) (entries int64, err error) {
	entries, err = j.chained(ctx)
	if err != nil {
		return entries, err
	}
	rows, err := j.store.Query(ctx, `select id, state from runs where state is not
		(select entry ->> 'to' from entries where run = runs.id order by seq desc limit 1) limit 1`)
	if err != nil {
		return entries, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return entries, rows.Err()
	}
	var run int64
	var state string
	if err := rows.Scan(&run, &state); err != nil {
		return entries, err
	}
	return entries, fmt.Errorf("journal: run %d is %s, and its last entry does not say so: entries at the end are missing", run, state)
}

func (j *Journal) chained(ctx context.Context) (entries int64, err error) {
	rows, err := j.store.Query(ctx, "select seq, entry, hash from entries order by seq")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	before := ""
	for rows.Next() {
		var seq int64
		var text []byte
		var hash string
		if err := rows.Scan(&seq, &text, &hash); err != nil {
			return entries, err
		}
		if seq != entries+1 || hash != chain(before, text) {
			return entries, fmt.Errorf("journal: entry %d is not what was written, or one before it is missing", seq)
		}
		before = hash
		entries++
	}
	return entries, rows.Err()
}
