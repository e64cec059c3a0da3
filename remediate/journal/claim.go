package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Due returns the runs that are to be looked at by now, those that have waited
// the longest for it first, at most n.
func (j *Journal) Due(ctx context.Context, n int) ([]remediate.Run, error) {
	return j.read(ctx, isDue()+" order by due, id limit ?", store.Millis(j.now()), n)
}

// Idle reports whether no run is unfinished.
func (j *Journal) Idle(ctx context.Context) (idle bool, err error) {
	found, err := j.store.Finds(ctx, "select 1 from runs where "+isUnfinished()+" limit 1")
	return err == nil && !found, err
}

// Writes counts the writes to the store of this process, those of its other parts too.
func (j *Journal) Writes() int64 { return j.store.Writes() }

// Wrote receives after a write of this process, for one that waits.
func (j *Journal) Wrote() <-chan struct{} { return j.store.Wrote() }

// Claim gives this instance the right to execute a run, if it has no owner and the
// run is due. The fence is the right to act; it is void as soon as the run has
// changed hands. A run that is not what its entries say is given to no instance.
func (j *Journal) Claim(ctx context.Context, id int64) (run remediate.Run, f remediate.Fence, ok bool, err error) {
	me := j.instance.Load()
	forged := ""
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		ok, forged = false, ""
		if err := tx.QueryRow("select last + 1 from fences where id = 1").Scan(&f.Token); err != nil {
			return err
		}
		res, err := tx.Exec("update runs set owner = ?, fence = ? where id = ? and exists (select 1 from instances "+
			"where instances.id = ?) and "+isDue(),
			me, f.Token, id, me, store.Millis(j.now()))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if forged, err = proven(tx.Query, id); err != nil {
			return err
		}
		if forged != "" {
			return j.holdBack(tx, id, forged)
		}
		ok = true
		if _, err := tx.Exec("update fences set last = ? where id = 1", f.Token); err != nil {
			return err
		}
		run, err = one(tx, "id = ?", id)
		return err
	})
	if err == nil && forged != "" {
		err = broken("journal: run %d: %s; it is held back", id, forged)
	}
	token := f.Token
	f.Held = func(ctx context.Context) error { return j.holds(ctx, id, me, token) }
	return run, f, ok && err == nil, err
}

// holds asks the store whether the right is still held, and by an instance that
// is alive: one that has not renewed itself in time may be taken for dead by
// others at any moment, where there can be others.
func (j *Journal) holds(ctx context.Context, run, me, token int64) error {
	now, err := j.outsideClock(ctx)
	if err != nil {
		return err
	}
	alive := store.Millis(now)
	if !j.shared {
		alive = 0
	}
	rows, err := j.store.Query(ctx, `select 1 from runs where id = ? and owner = ? and fence = ?
		and exists (select 1 from instances where instances.id = ? and expires > ?)`, run, me, token, me, alive)
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	defer func() { _ = rows.Close() }() // read only
	if !rows.Next() {
		return errors.Join(rows.Err(), remediate.ErrFenced)
	}
	return rows.Err()
}

// Release gives a run back that is still this instance's, as it is.
func (j *Journal) Release(ctx context.Context, run, token int64) error {
	me := j.instance.Load()
	return j.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec("update runs set owner = 0 where id = ? and owner = ? and fence = ?", run, me, token)
		return err
	})
}

// held refuses a write under a fence that has passed on.
func (j *Journal) held(tx *store.Tx, run, token int64) error {
	var n int
	err := tx.QueryRow("select 1 from runs where id = ? and owner = ? and fence = ?", run, j.instance.Load(),
		token).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return remediate.ErrFenced
	}
	return err
}
