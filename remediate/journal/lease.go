package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Join makes this process an instance. If no other process can use the store,
// what the last one carried is free again; otherwise that happens as soon as its
// lease is over.
func (j *Journal) Join(ctx context.Context) error {
	if j.lease <= 0 {
		return errors.New("join: the journal has no lease")
	}
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
			if _, err := tx.Exec(lose()+" where owner <> 0", j.longBefore(expires)); err != nil {
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
		_, err = tx.Exec("insert into instances (id, name, expires) values (?, ?, ?)", id, j.name,
			store.Millis(now.Add(j.lease)))
		return err
	})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	j.instance.Store(id)
	return nil
}

// A Carried is a run that the store says is an instance's.
type Carried struct {
	Run, Token int64
	Cancel     string // who cancelled it, and why; "" if not cancelled, or if every step is done
}

// Beat renews the instance and takes away what dead ones carried. It returns the runs
// that the store says are this instance's, whatever this process believes. When others
// found this instance dead before, it returns remediate.ErrFenced: whatever it carried
// is others' now.
func (j *Journal) Beat(ctx context.Context) (mine []Carried, err error) {
	me := j.instance.Load()
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		now, err := j.clock(tx)
		if err != nil {
			return err
		}
		all, err := members(tx)
		if err != nil {
			return err
		}
		if _, alive := all[me]; !alive {
			return remediate.ErrFenced
		}
		if _, err := tx.Exec("update instances set expires = ? where id = ?", store.Millis(now.Add(j.lease)),
			me); err != nil {
			return err
		}
		if j.mayJudge(all[me], now) {
			if err := j.bury(tx, me, all, now); err != nil {
				return err
			}
		}
		mine, err = carriedBy(tx, me, all)
		return err
	})
	return mine, err
}

// A member is an instance as the store has it.
type member struct {
	name    string
	expires int64
}

func members(tx *store.Tx) (all map[int64]member, err error) {
	rows, err := tx.Query("select id, name, expires from instances")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = make(map[int64]member)
	for rows.Next() {
		var id int64
		var m member
		if err := rows.Scan(&id, &m.name, &m.expires); err != nil {
			return nil, err
		}
		all[id] = m
	}
	return all, rows.Err()
}

// mayJudge reports whether others that did not renew themselves are to be found dead.
// An instance that could not renew itself in time knows nothing of the others: the store was away
// for them too, and they get the time of a lease to come back.
func (j *Journal) mayJudge(me member, now time.Time) bool {
	if me.expires < store.Millis(now) {
		j.judges.Store(store.Millis(now.Add(j.lease)))
	}
	return store.Millis(now) >= j.judges.Load()
}

// carriedBy returns the runs that an instance carries, and frees those of an owner that
// is no instance.
func carriedBy(tx *store.Tx, me int64, all map[int64]member) (mine []Carried, err error) {
	rows, err := tx.Query("select owner, id, fence, case when state = ? then '' else cancel end from runs where "+
		isUnfinished()+" and owner <> 0",
		string(remediate.Applied))
	if err != nil {
		return nil, err
	}
	var orphans []int64
	for rows.Next() {
		var owner int64
		var c Carried
		if err = rows.Scan(&owner, &c.Run, &c.Token, &c.Cancel); err != nil {
			break
		}
		if owner == me {
			mine = append(mine, c)
		} else if _, known := all[owner]; !known {
			orphans = append(orphans, c.Run)
		}
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, run := range orphans {
		if _, err := tx.Exec("update runs set owner = 0 where id = ?", run); err != nil {
			return nil, err
		}
	}
	return mine, nil
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
func lose() string {
	return fmt.Sprintf("update runs set lost = lost + case when state <> '%s' or begun <= done then 0 when changed < "+
		"? then %d else 1 end, owner = 0",
		remediate.Allowed, LostLong)
}

// longBefore is that moment, by when the owner's lease would have ended.
func (j *Journal) longBefore(expires int64) int64 {
	return expires - (j.lease + longAfter).Milliseconds()
}

// bury removes the other instances whose lease is over and frees their runs.
func (j *Journal) bury(tx *store.Tx, me int64, all map[int64]member, now time.Time) error {
	for _, id := range slices.Sorted(maps.Keys(all)) {
		dead := all[id]
		if id == me || dead.expires >= store.Millis(now) {
			continue
		}
		if _, err := tx.Exec("delete from instances where id = ?", id); err != nil {
			return err
		}
		runs, err := numbers(tx, lose()+" where owner <> 0 and owner = ? returning id", j.longBefore(dead.expires), id)
		if err != nil {
			return err
		}
		for _, run := range runs {
			e := remediate.Entry{Run: run, At: now, Note: remediate.NoteLeft,
				Why: fmt.Sprintf("%s did not renew its lease; another instance takes over the run", dead.name)}
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
		if _, err := tx.Exec("update runs set owner = 0 where owner <> 0 and owner = ?", me); err != nil {
			return err
		}
		_, err := tx.Exec("delete from instances where id = ?", me)
		return err
	})
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

// clock is the time by which leases live and die: on a shared database the
// database's, so that the clocks of replicas need not agree.
func (j *Journal) clock(tx *store.Tx) (time.Time, error) {
	if j.store.Shared() {
		return tx.Now()
	}
	return j.now(), nil
}

// outsideClock is the clock of leases, outside a transaction.
func (j *Journal) outsideClock(ctx context.Context) (time.Time, error) {
	if j.store.Shared() {
		return j.store.Now(ctx)
	}
	return j.now(), nil
}
