package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Join makes this process an instance. Where nobody else can work on the store,
// what the last one carried is free again; otherwise that happens as soon as its
// lease is over.
func (j *Journal) Join(ctx context.Context) error {
	var id int64
	err := j.store.Write(ctx, func(tx *store.Tx) error {
		if !j.shared {
			var expires int64
			if err := tx.QueryRow("select coalesce(max(expires), 0) from instances").Scan(&expires); err != nil {
				return err
			}
			if _, err := tx.Exec("delete from instances"); err != nil {
				return err
			}
			if _, err := tx.Exec(lose+" where owner <> 0", j.longBefore(expires)); err != nil {
				return err
			}
		}
		now, err := j.clock(tx)
		if err != nil {
			return err
		}
		// An instance has a number of its own, which no later one gets.
		if err := tx.QueryRow("update fences set last = last + 1 where id = 1 returning last").Scan(&id); err != nil {
			return err
		}
		_, err = tx.Exec("insert into instances (id, name, expires) values (?, ?, ?)", id, j.name, store.Millis(now.Add(j.lease)))
		return err
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	j.instance.Store(id)
	return nil
}

// clock is the time by which leases live and die: on a shared database the
// database's, so that the clocks of replicas need not agree.
func (j *Journal) clock(tx *store.Tx) (time.Time, error) {
	if j.store.Shared() {
		return tx.Now()
	}
	return j.now(), nil
}

// Beat renews the instance and takes away what dead ones carried. It returns the
// runs of this instance that a person wants to stop, with who it is. When others found this
// instance dead before, it returns remediate.ErrFenced: whatever it carries is
// others' now.
func (j *Journal) Beat(ctx context.Context) (cancelled map[int64]string, err error) {
	me := j.instance.Load()
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		now, err := j.clock(tx)
		if err != nil {
			return err
		}
		res, err := tx.Exec("update instances set expires = ? where id = ?", store.Millis(now.Add(j.lease)), me)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, remediate.ErrFenced)
		}
		if err := j.bury(tx, now); err != nil {
			return err
		}
		cancelled, err = named(tx, "select id, cancel from runs where owner = ? and cancel <> '' and state <> ?", me, string(remediate.Applied))
		return err
	})
	return cancelled, err
}

const (
	// LostLong is how much it counts that an owner ended without a word in the middle of
	// a step that had gone on for longer than longAfter, and 1 is how much otherwise: a
	// step that ends the process does so when it has worked for a while, and a process
	// that is killed from outside right after its start says little about its steps.
	LostLong  = 10
	longAfter = 3 * time.Second
)

// lose takes runs away from an owner that ended without a word. The parameter is the
// moment before which a step had begun that had gone on for long.
const lose = "update runs set lost = lost + case when state <> 'allowed' or begun <= done then 0 when changed < ? then 10 else 1 end, owner = 0"

// longBefore is that moment, by when the owner's lease would have ended.
func (j *Journal) longBefore(expires int64) int64 {
	return expires - (j.lease + longAfter).Milliseconds()
}

// bury removes the instances whose lease is over and frees their runs.
func (j *Journal) bury(tx *store.Tx, now time.Time) error {
	ended, err := named(tx, "select id, expires from instances where expires < ?", store.Millis(now))
	if err != nil {
		return err
	}
	dead, err := named(tx, "delete from instances where expires < ? returning id, name", store.Millis(now))
	if err != nil {
		return err
	}
	for id, name := range dead {
		expires, err := strconv.ParseInt(ended[id], 10, 64)
		if err != nil {
			return fmt.Errorf("when the lease of %s ended: %w", name, err)
		}
		runs, err := numbers(tx, lose+" where owner = ? returning id", j.longBefore(expires), id)
		if err != nil {
			return err
		}
		for _, run := range runs {
			e := remediate.Entry{Run: run, At: now, Note: remediate.NoteLeft, Why: fmt.Sprintf("%s did not renew its lease; others carry the run on", name)}
			if err := appendEntry(tx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Leave ends the instance. What it carried is free at once.
func (j *Journal) Leave(ctx context.Context) error {
	me := j.instance.Load()
	return j.store.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec("update runs set owner = 0 where owner = ?", me); err != nil {
			return err
		}
		_, err := tx.Exec("delete from instances where id = ?", me)
		return err
	})
}

// named reads rows of a number and a text.
func named(tx *store.Tx, query string, args ...any) (all map[int64]string, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = make(map[int64]string)
	for rows.Next() {
		var n int64
		var text string
		if err := rows.Scan(&n, &text); err != nil {
			return nil, err
		}
		all[n] = text
	}
	return all, rows.Err()
}

// numbers reads rows of one number.
func numbers(tx *store.Tx, query string, args ...any) (all []int64, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, rows.Err()
}

// outsideClock is the clock of leases, outside a transaction.
func (j *Journal) outsideClock(ctx context.Context) (time.Time, error) {
	if j.store.Shared() {
		return j.store.Now(ctx)
	}
	return j.now(), nil
}
