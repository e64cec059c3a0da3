package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const runColumns = "id, request, state, why, plan, before, after, begun, done, tries, due, created, changed"

// due says which runs are to be looked at: those whose time has come, and those
// that wait with an episode that is over.
const due = `state in (?, ?, ?, ?, ?) and (due <= ?
	or state = ? and exists (select 1 from episodes where episodes.id = runs.episode and episodes.closed <> 0))`

func (j *Journal) dueArgs(more ...any) []any {
	return append([]any{remediate.Received, remediate.Planned, remediate.Waiting, remediate.Allowed, remediate.Applied, store.Millis(j.now()), remediate.Waiting}, more...)
}

// Due returns the runs that have not ended and are to be looked at by now, the
// oldest first.
func (j *Journal) Due(ctx context.Context) ([]remediate.Run, error) {
	return j.read(ctx, due+" order by id", j.dueArgs()...)
}

// Ready returns a run where it is still due.
func (j *Journal) Ready(ctx context.Context, id int64) (run remediate.Run, still bool, err error) {
	runs, err := j.read(ctx, due+" and id = ?", j.dueArgs(id)...)
	if err != nil || len(runs) == 0 {
		return run, false, err
	}
	return runs[0], true, nil
}

// Recent returns the newest runs, at most n.
func (j *Journal) Recent(ctx context.Context, n int) ([]remediate.Run, error) {
	return j.read(ctx, "true order by id desc limit ?", n)
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

// LastEnd returns when a run of the action on the subject last ended after it
// had begun to act, and the zero time when none has.
func (j *Journal) LastEnd(ctx context.Context, action, subject string) (at time.Time, err error) {
	rows, err := j.store.Query(ctx, "select coalesce(max(changed), 0) from runs where action = ? and subject = ? and begun > 0 and state in (?, ?, ?)",
		action, subject, remediate.Cleared, remediate.Uncleared, remediate.Failed)
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

// Entries returns what the journal says of a run, in order.
func (j *Journal) Entries(ctx context.Context, run int64) (all []remediate.Entry, err error) {
	rows, err := j.store.Query(ctx, "select seq, entry from entries where run = ? order by seq", run)
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
		var due, created, changed int64
		err := rows.Scan(&r.ID, &request, &r.State, &r.Why, &plan, &r.Before, &r.After, &r.Begun, &r.Done, &r.Tries, &due, &created, &changed)
		if err == nil {
			err = errors.Join(json.Unmarshal(request, &r.Request), json.Unmarshal(plan, &r.Plan))
		}
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", r.ID, err)
		}
		r.Due, r.Created, r.Changed = store.Time(due), store.Time(created), store.Time(changed)
		all = append(all, r)
	}
	return all, rows.Err()
}

func pausedDesc() *prometheus.Desc {
	return prometheus.NewDesc("upkeep_paused", "1 for each pause that holds; its scope is all, a policy, an action or a target.", []string{"scope"}, nil)
}

func activeDesc() *prometheus.Desc {
	return prometheus.NewDesc("upkeep_runs_active", "Number of runs that have not ended, waiting ones included.", []string{"action"}, nil)
}

// Describe and Collect make the Journal a prometheus.Collector of the pauses and
// of the runs that have not ended.
func (j *Journal) Describe(ch chan<- *prometheus.Desc) {
	ch <- pausedDesc()
	ch <- activeDesc()
}

// Collect writes one sample for each pause, and the number of active runs for each action.
func (j *Journal) Collect(ch chan<- prometheus.Metric) {
	ctx := context.Background()
	pauses, err := j.Pauses(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(pausedDesc(), err)
	}
	for _, p := range pauses {
		ch <- prometheus.MustNewConstMetric(pausedDesc(), prometheus.GaugeValue, 1, p.Scope)
	}
	runs, err := j.read(ctx, "state in (?, ?, ?, ?, ?)", remediate.Received, remediate.Planned, remediate.Waiting, remediate.Allowed, remediate.Applied)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(activeDesc(), err)
		return
	}
	count := make(map[string]int)
	for _, r := range runs {
		count[r.Request.Action]++
	}
	for action, n := range count {
		ch <- prometheus.MustNewConstMetric(activeDesc(), prometheus.GaugeValue, float64(n), action)
	}
}
