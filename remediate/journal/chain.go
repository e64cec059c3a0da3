package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

func appendEntry(tx *store.Tx, e remediate.Entry) error {
	var seq int64
	var before string
	err := tx.QueryRow("select seq, hash from entries order by seq desc limit 1").Scan(&seq, &before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	e.Seq = 0 // is beside the text
	e.At = e.At.UTC()
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	// The number is given here and not by the table, so that no number is missing
	// where a transaction was undone.
	_, err = tx.Exec("insert into entries (seq, run, entry, hash) values (?, ?, ?, ?)", seq+1, e.Run, string(text),
		chain(before, text))
	return err
}

func chain(before string, entry []byte) string {
	h := sha256.New()
	h.Write([]byte(before))
	h.Write(entry)
	return hex.EncodeToString(h.Sum(nil))
}

// A brokenError says that the journal was changed.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

func broken(format string, args ...any) error { return &brokenError{fmt.Sprintf(format, args...)} }

// Broken reports whether an error of Verify says that the journal was changed, and not
// that it could not be read.
func Broken(err error) bool {
	_, ok := errors.AsType[*brokenError](err)
	return ok
}

// Verify reads the whole journal and returns an error that names the first entry
// that was changed or moved, or before which one is missing. Entries cut off at
// the end are found by the runs, whose state must be the last entry's; an attacker
// who also changes the runs can cut off entries, which no chain can show.
func (j *Journal) Verify(ctx context.Context) (entries int64, err error) {
	last := make(map[int64]remediate.State)
	entries, err = j.walk(ctx, func(e remediate.Entry) error {
		if e.Run != 0 && e.To != "" {
			last[e.Run] = e.To
		}
		return nil
	})
	if err != nil {
		return entries, err
	}
	return entries, j.ends(ctx, last, entries)
}

// ends compares the state of each run with what its last entry says. Runs that
// went on after the entries were read are left to the next time.
func (j *Journal) ends(ctx context.Context, last map[int64]remediate.State, read int64) (err error) {
	rows, err := j.store.Query(ctx,
		"select id, state from runs where not exists (select 1 from entries where entries.run = runs.id and "+
			"entries.seq > ?)", read)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var run int64
		var state remediate.State
		if err := rows.Scan(&run, &state); err != nil {
			return err
		}
		if last[run] != state {
			return broken("journal: run %d is %s, and its last entry does not say so: entries at the end are missing",
				run, state)
		}
	}
	return rows.Err()
}

// walk reads every entry in order and checks the chain.
func (j *Journal) walk(ctx context.Context, each func(remediate.Entry) error) (entries int64, err error) {
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
			return entries, broken("journal: entry %d was changed, or one before it is missing", seq)
		}
		var e remediate.Entry
		if err := json.Unmarshal(text, &e); err != nil {
			return entries, broken("journal: entry %d: %v", seq, err)
		}
		e.Seq = seq
		if err := each(e); err != nil {
			return entries, err
		}
		before = hash
		entries++
	}
	return entries, rows.Err()
}

// Cases calls each with the case of every entry that has one, in order, so that
// what was decided can be decided again.
func (j *Journal) Cases(ctx context.Context, each func(seq int64, decided json.RawMessage) error) error {
	_, err := j.walk(ctx, func(e remediate.Entry) error {
		if len(e.Case) == 0 {
			return nil
		}
		return each(e.Seq, e.Case)
	})
	return err
}

// Books returns every edition of the policies that has decided something, by its hash.
func (j *Journal) Books(ctx context.Context) (all map[string]json.RawMessage, err error) {
	rows, err := j.store.Query(ctx, "select hash, book from books")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = make(map[string]json.RawMessage)
	for rows.Next() {
		var hash, book string
		if err := rows.Scan(&hash, &book); err != nil {
			return nil, err
		}
		all[hash] = json.RawMessage(book)
	}
	return all, rows.Err()
}
