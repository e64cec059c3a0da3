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

// pruneAtOnce is how many entries are looked at in one write: a delivery waits no longer for it
// than for another delivery.
const pruneAtOnce = 200

// Pruned is what one part of a retention has done.
type Pruned struct {
	Entries int       // that were deleted
	Next    int64     // where the next part begins
	Done    bool      // what follows is younger
	Oldest  time.Time // the first entry that is too young to be deleted; zero where none is known
}

// An old entry is one that retention looks at, with its run as it is now.
type old struct {
	remediate.Entry
	text, hash string
	run        remediate.Run // ID 0 where it is no run's, or the run was deleted
}

// Prune deletes entries from before a moment, with the runs whose entries they are, and leaves
// a signed checkpoint for them. It looks at a part of the journal, from the entry after a number on. The entries
// of a run stay that has not ended, or not before that moment, and so does whatever belongs to an
// incident that was open then. What is deleted is verified first: retention removes no trace of a
// change. Numbers are not given twice, since the newest entry and the newest run stay.
func (j *Journal) Prune(ctx context.Context, before time.Time, after int64) (p Pruned, err error) {
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		p = Pruned{Next: after}
		all, err := olds(tx, after)
		if err != nil {
			return err
		}
		if p.Done = len(all) < pruneAtOnce; len(all) == 0 {
			return nil
		}
		if err := follows(tx, all); err != nil {
			return err
		}
		keep, err := NewKeeper(tx, before)
		if err != nil {
			return err
		}
		var gone []old
		for _, e := range all {
			if !e.At.Before(before) {
				p.Done, p.Oldest = true, e.At
				break
			}
			p.Next = e.Seq
			kept, err := keep.keeps(e)
			if err != nil {
				return err
			}
			if !kept {
				gone = append(gone, e)
			}
		}
		p.Entries = len(gone)
		return j.remove(tx, gone)
	})
	if err != nil {
		return Pruned{}, fmt.Errorf("journal: delete what is older than %s: %w", before.UTC().Format(time.DateOnly),
			err)
	}
	return p, nil
}

// olds reads a part of the journal.
func olds(tx *store.Tx, after int64) (all []old, err error) {
	rows, err := tx.Query("select e.seq, e.entry, e.hash, coalesce(r.id, 0), coalesce(r.state, ''), "+
		"coalesce(r.changed, 0), coalesce(r.incident, 0) from entries e left join runs r on r.id = e.run where e.seq "+
		"> ? order by e.seq limit ?", after, pruneAtOnce)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e old
		var seq, changed int64
		if err := rows.Scan(&seq, &e.text, &e.hash, &e.run.ID, &e.run.State, &changed,
			&e.run.Request.Incident); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(e.text), &e.Entry); err != nil {
			return nil, broken("entry %d: %v", seq, err)
		}
		e.Seq, e.run.Changed = seq, store.Time(changed)
		all = append(all, e)
	}
	return all, rows.Err()
}

// follows checks the chain of entries.
func follows(tx *store.Tx, all []old) error {
	for i, e := range all {
		var before string
		if i > 0 && all[i-1].Seq == e.Seq-1 {
			before = all[i-1].hash
		} else if e.Seq > 1 {
			err := tx.QueryRow("select hash from entries where seq = ? union all select hash from checkpoints where "+
				"last = ?", e.Seq-1, e.Seq-1).Scan(&before)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		if e.hash != chain(before, []byte(e.text)) {
			return broken("entry %d was changed, or one before it is missing: nothing is deleted from here on", e.Seq)
		}
	}
	return nil
}

// remove deletes entries and the runs that have none left, and writes their checkpoints.
func (j *Journal) remove(tx *store.Tx, gone []old) error {
	if len(gone) == 0 {
		return nil
	}
	key, err := makeKey(tx)
	if err != nil {
		return err
	}
	for from := 0; from < len(gone); {
		to := from
		for to+1 < len(gone) && gone[to+1].Seq == gone[to].Seq+1 {
			to++
		}
		if _, err := tx.Exec("delete from entries where seq >= ? and seq <= ?", gone[from].Seq,
			gone[to].Seq); err != nil {
			return err
		}
		if err := replace(tx, key, Checkpoint{First: gone[from].Seq, Last: gone[to].Seq, Written: j.now(),
			hash: gone[to].hash}); err != nil {
			return err
		}
		from = to + 1
	}
	seen := make(map[int64]bool)
	for _, e := range gone {
		if e.Run == 0 || seen[e.Run] {
			continue
		}
		seen[e.Run] = true
		for _, query := range []string{
			"delete from runs where id = ? and not exists (select 1 from entries where run = runs.id)",
			"delete from approvals where run = ? and not exists (select 1 from runs where id = approvals.run)",
		} {
			if _, err := tx.Exec(query, e.Run); err != nil {
				return err
			}
		}
	}
	return nil
}

// A Keeper says what a retention keeps, in one transaction.
type Keeper struct {
	tx         *store.Tx
	before     time.Time
	entry, run int64 // the newest
	incidents  map[int64]bool
}

// NewKeeper returns what a retention keeps of what is older than a moment.
func NewKeeper(tx *store.Tx, before time.Time) (*Keeper, error) {
	k := &Keeper{tx: tx, before: before, incidents: make(map[int64]bool)}
	err := tx.QueryRow("select (select coalesce(max(seq), 0) from entries), (select coalesce(max(id), 0) from runs)").
		Scan(&k.entry, &k.run)
	return k, err
}

// keeps reports whether an old entry stays.
func (k *Keeper) keeps(e old) (bool, error) {
	switch {
	case e.Seq == k.entry:
		return true, nil // the next one gets its number and its hash from this one
	case e.run.ID != 0:
		return k.keepsRun(e.run)
	}
	return k.Incident(e.Incident)
}

func (k *Keeper) keepsRun(r remediate.Run) (bool, error) {
	if r.ID == k.run || r.State.Unfinished() || !r.Changed.Before(k.before) {
		return true, nil
	}
	return k.Incident(r.Request.Incident)
}

// Incident reports whether what belongs to an incident stays: it is open, or was not closed long ago.
func (k *Keeper) Incident(id int64) (stays bool, err error) {
	if id == 0 {
		return false, nil
	}
	if stays, known := k.incidents[id]; known {
		return stays, nil
	}
	var closed int64
	err = k.tx.QueryRow("select closed from incidents where id = ?", id).Scan(&closed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	stays = err == nil && (closed == 0 || closed >= store.Millis(k.before))
	k.incidents[id] = stays
	return stays, nil
}

// Run reports whether a run is there, and so stays.
func (k *Keeper) Run(id int64) (stays bool, err error) {
	var n int
	err = k.tx.QueryRow("select count(*) from runs where id = ?", id).Scan(&n)
	return n > 0, err
}
