package journal

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const runColumns = "id, request, state, why, reason, plan, before, after, begun, done, tries, due, applied, created, " +
	"changed, cancel, lost"

// Recent returns the newest runs, at most n: those before a number, or of all where it is 0.
func (j *Journal) Recent(ctx context.Context, before int64, n int) ([]remediate.Run, error) {
	return j.read(ctx, "id < ? order by id desc limit ?", cmp.Or(before, math.MaxInt64), n)
}

// Get returns one run, or ErrNoRun.
func (j *Journal) Get(ctx context.Context, id int64) (remediate.Run, error) {
	runs, err := j.read(ctx, "id = ?", id)
	if err != nil {
		return remediate.Run{}, err
	}
	if len(runs) == 0 {
		return remediate.Run{}, fmt.Errorf("%w: %d", ErrNoRun, id)
	}
	return runs[0], nil
}

// historiesAtOnce is how many incidents one query is about: one text, which is prepared once.
const historiesAtOnce = 64

// Histories returns the runs of each incident, the oldest first.
func (j *Journal) Histories(ctx context.Context, incidents []int64) (map[int64][]remediate.Run, error) {
	all := make(map[int64][]remediate.Run)
	for some := range slices.Chunk(incidents, historiesAtOnce) {
		args := make([]any, historiesAtOnce)
		for n := range args {
			args[n] = some[min(n, len(some)-1)]
		}
		runs, err := j.read(ctx, "incident in (?"+strings.Repeat(", ?", historiesAtOnce-1)+") order by id", args...)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			all[r.Request.Incident] = append(all[r.Request.Incident], r)
		}
	}
	return all, nil
}

// In returns the runs in a state, the oldest first, at most n.
func (j *Journal) In(ctx context.Context, state remediate.State, n int) ([]remediate.Run, error) {
	return j.read(ctx, "state = ? order by id limit ?", string(state), n)
}

// Unmoved returns the runs that have not ended, that nothing was written about since a
// moment, and that were to be looked at before it: those that have not moved for the
// longest first, at most n.
func (j *Journal) Unmoved(ctx context.Context, since time.Time, n int) ([]remediate.Run, error) {
	ms := store.Millis(since)
	return j.read(ctx, isUnfinished()+" and changed < ? and due < ? order by changed, id limit ?", ms, ms, n)
}

// Entries returns what the journal says of a run, in order.
func (j *Journal) Entries(ctx context.Context, run int64) ([]remediate.Entry, error) {
	return j.entries(ctx, "where run = ? order by seq", run)
}

// Log returns the newest entries, at most n, the newest first: those before a number, or of all
// where it is 0.
func (j *Journal) Log(ctx context.Context, before int64, n int) ([]remediate.Entry, error) {
	return j.entries(ctx, "where seq < ? order by seq desc limit ?", cmp.Or(before, math.MaxInt64), n)
}

// Oldest returns when the oldest entry was written; the zero time in an empty journal.
func (j *Journal) Oldest(ctx context.Context) (at time.Time, err error) {
	all, err := j.entries(ctx, "order by seq limit 1")
	if len(all) > 0 {
		at = all[0].At
	}
	return at, err
}

func (j *Journal) entries(ctx context.Context, condition string, args ...any) (all []remediate.Entry, err error) {
	rows, err := j.store.Query(ctx, "select seq, entry from entries "+condition, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e remediate.Entry
		var seq int64
		var text []byte
		if err := rows.Scan(&seq, &text); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, fmt.Errorf("entry %d: %w", seq, err)
		}
		e.Seq = seq
		all = append(all, e)
	}
	return all, rows.Err()
}

func (j *Journal) read(ctx context.Context, condition string, args ...any) ([]remediate.Run, error) {
	rows, err := j.store.Query(ctx, "select "+runColumns+" from runs where "+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	return scanRuns(rows)
}

func one(tx *store.Tx, condition string, args ...any) (remediate.Run, error) {
	rows, err := tx.Query("select "+runColumns+" from runs where "+condition, args...)
	if err != nil {
		return remediate.Run{}, err
	}
	runs, err := scanRuns(rows)
	if err == nil && len(runs) == 0 {
		err = ErrNoRun
	}
	if err != nil {
		return remediate.Run{}, err
	}
	return runs[0], nil
}

func scanRuns(rows *sql.Rows) (all []remediate.Run, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r remediate.Run
		var request, plan []byte
		var due, applied, created, changed int64
		err := rows.Scan(&r.ID, &request, &r.State, &r.Why, &r.Reason, &plan, &r.Before, &r.After, &r.Begun, &r.Done,
			&r.Tries, &due, &applied, &created, &changed, &r.Cancel, &r.Lost)
		if err == nil {
			err = errors.Join(json.Unmarshal(request, &r.Request), json.Unmarshal(plan, &r.Plan))
		}
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", r.ID, err)
		}
		r.Due, r.Applied, r.Created, r.Changed = store.Time(due), store.Time(applied), store.Time(created),
			store.Time(changed)
		all = append(all, r)
	}
	return all, rows.Err()
}

// numberOf returns the number that a query returns, or 0.
func numberOf(q querier, query string, args ...any) (n int64, err error) {
	rows, err := q(query, args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var found *int64
		if err := rows.Scan(&found); err != nil {
			return 0, err
		}
		if found != nil {
			n = *found
		}
	}
	return n, rows.Err()
}
