package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
)

// heldBack is when a run is looked at again that is not what its entries say.
const heldBack = time.Hour

// proven reports in what a run that is to be carried, and its approval, are not what their entries say, or "".
// A run that has not ended has all of its entries.
func proven(q querier, run int64) (what string, err error) {
	said, err := sayingOf(q, run)
	if err != nil {
		return "", err
	}
	rows, err := q("select "+rowColumns+" from "+rowTables+" where runs.id = ?", run)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return "", err
		}
		if said == nil {
			return "it has no entry: upkeep has not written it", nil
		}
		if what = r.differs(said); what != "" {
			return what, nil
		}
	}
	return "", rows.Err()
}

// sayingOf reads the entries of a run, each with the hash of the one before; nil where it has none.
func sayingOf(q querier, run int64) (s *saying, err error) {
	rows, err := q("select e.seq, e.entry, e.hash, coalesce(b.hash, c.hash, '') from entries e "+
		"left join entries b on b.seq = e.seq - 1 left join checkpoints c on c.last = e.seq - 1 "+
		"where e.run = ? order by e.seq", run)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	said := make(map[int64]*saying)
	for rows.Next() {
		var seq int64
		var text []byte
		var hash, before string
		var e remediate.Entry
		if err := rows.Scan(&seq, &text, &hash, &before); err != nil {
			return nil, err
		}
		if hash != chain(before, text) {
			return nil, broken("journal: entry %d was changed, or the one before it is missing", seq)
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, broken("journal: entry %d: %v", seq, err)
		}
		e.Seq = seq
		note(said, e)
	}
	return said[run], rows.Err()
}

// holdBack leaves a run alone that is not what its entries say, and tells people once.
func (j *Journal) holdBack(tx *store.Tx, run int64, what string) error {
	now := j.now().UTC()
	if _, err := tx.Exec("update runs set owner = 0, due = ? where id = ?", store.Millis(now.Add(heldBack)),
		run); err != nil {
		return err
	}
	_, err := enqueue(tx, remediate.Notification{
		Key: fmt.Sprintf("forged/%d", run), Kind: remediate.NotificationPage, Run: run, At: now,
		Title: fmt.Sprintf("Run %d is held back: another one than upkeep has written to its store", run),
		Text: visible.Text(what) + ". upkeep does nothing about this run. Find out who writes to the store, and compare " +
			"all of it: upkeep journal verify",
	})
	return err
}
