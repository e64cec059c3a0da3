package journal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

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

// Verified is what reading the whole journal has shown.
type Verified struct {
	Entries int64 // that are what was written
	Deleted int64 // that retention has deleted

	// Checkpoint is the newest of those that replace deleted entries; nil where none was deleted.
	Checkpoint *Checkpoint
}

// A link is an entry of the chain, or a checkpoint in the place of some.
type link struct {
	checkpoint bool
	first, seq int64 // of a checkpoint: its first and last entry
	run        int64 // by which an entry is found
	text       []byte
	hash       string
	written    int64
	signature  string
	key        string // of signatures
}

// links reads entries and checkpoints in their order. It is one statement, so that no
// retention comes in between.
const links = `select 0 as checkpoint, seq as first, seq, run, entry, hash, 0 as written, '' as signature, '' as secret from entries
	union all select 1, first, last, 0, '', hash, written, signature,
	coalesce((select value from secrets where name = '` + checkpointKey + `'), '') from checkpoints order by seq`

// walk reads every entry in order and checks the chain. It returns the number of the last too.
func (j *Journal) walk(ctx context.Context, each func(remediate.Entry) error) (v Verified, read int64, err error) {
	rows, err := j.store.Query(ctx, links)
	if err != nil {
		return v, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	before := ""
	for rows.Next() {
		var l link
		if err := rows.Scan(&l.checkpoint, &l.first, &l.seq, &l.run, &l.text, &l.hash, &l.written, &l.signature,
			&l.key); err != nil {
			return v, read, err
		}
		if l.checkpoint {
			err = l.replaces(read, &v)
		} else if err = l.holds(before, read, each); err == nil {
			v.Entries++
		}
		if err != nil {
			return v, read, err
		}
		before, read = l.hash, l.seq
	}
	return v, read, rows.Err()
}

// holds checks an entry by the hash and the number of the one before, and gives it to each.
func (l link) holds(before string, read int64, each func(remediate.Entry) error) error {
	if l.seq != read+1 || l.hash != chain(before, l.text) {
		return broken("journal: entry %d was changed, or one before it is missing", l.seq)
	}
	var e remediate.Entry
	if err := json.Unmarshal(l.text, &e); err != nil {
		return broken("journal: entry %d: %v", l.seq, err)
	}
	if e.Run != l.run {
		return broken("journal: entry %d was filed under run %d, and is of run %d", l.seq, l.run, e.Run)
	}
	e.Seq = l.seq
	return each(e)
}

// replaces checks a checkpoint: it is ours, and in the place of what is missing and of nothing else.
func (l link) replaces(read int64, v *Verified) error {
	key, err := hex.DecodeString(l.key)
	if err != nil {
		return broken("journal: the key of its checkpoints was changed: %v", err)
	}
	c := Checkpoint{First: l.first, Last: l.seq, Written: store.Time(l.written), hash: l.hash, signature: l.signature}
	switch {
	case !c.signed(key):
		return broken("journal: the checkpoint of the entries %d to %d was changed, or upkeep has not written it",
			c.First, c.Last)
	case c.First != read+1 || c.Last < c.First:
		return broken("journal: the checkpoint of the entries %d to %d is not in its place after entry %d", c.First,
			c.Last, read)
	}
	v.Deleted += c.Last - c.First + 1
	if v.Checkpoint == nil || c.Written.After(v.Checkpoint.Written) {
		v.Checkpoint = &c
	}
	return nil
}

// Cases calls each with the case of every entry that has one, in order, so that
// what was decided can be decided again.
func (j *Journal) Cases(ctx context.Context, each func(seq int64, decided json.RawMessage) error) error {
	_, _, err := j.walk(ctx, func(e remediate.Entry) error {
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

// digest returns what shows that texts of a row are those that were written with an entry.
func digest(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(h, "%d:%s", len(stored(text)), stored(text))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// stored is a text as both the store and an entry have it: neither keeps what is no UTF-8, each in its way.
func stored(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	for strings.Contains(text, "\uFFFD\uFFFD") {
		text = strings.ReplaceAll(text, "\uFFFD\uFFFD", "\uFFFD")
	}
	return text
}

// An approvalRow is an approval as the store has it.
type approvalRow struct {
	there                  bool
	plan, approver, amount string
	said, until            int64
}

func (a approvalRow) digest() string {
	return digest(a.plan, a.approver, fmt.Sprint(a.said), fmt.Sprint(a.until), a.amount)
}
