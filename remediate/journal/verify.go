package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Verify reads the whole journal and returns an error that names the first entry
// that was changed or moved, or before which one is missing. Where retention
// has deleted entries a signed checkpoint is in their place. The entries then say what the rows of runs and
// approvals must be, by which upkeep acts: one that differs, or that is missing or too many, is named. An
// attacker who changes rows and cuts off entries that say so, or writes the whole chain
// anew, is not found: no chain can show that.
func (j *Journal) Verify(ctx context.Context) (v Verified, err error) {
	said := make(map[int64]*saying)
	v, read, err := j.walk(ctx, func(e remediate.Entry) error {
		if e.Run != 0 {
			note(said, e)
		}
		return nil
	})
	if err != nil {
		return v, err
	}
	if err := j.rows(ctx, said, read); err != nil {
		return v, err
	}
	return v, j.compareNow(ctx)
}

// compareNow compares pauses and policies in one transaction: an entry and its row are written together.
func (j *Journal) compareNow(ctx context.Context) error {
	return j.store.Write(ctx, func(tx *store.Tx) error { return j.compare(tx.Query) })
}

// A saying is what the entries of a run say that its rows are.
type saying struct {
	first, last remediate.Entry // of its transitions and steps; first is empty where retention has deleted it
	digest      string          // of the last entry that has one: those of an earlier upkeep have none
	cancel      string
	approved    remediate.Entry // the last approval
}

func note(said map[int64]*saying, e remediate.Entry) {
	s := said[e.Run]
	if s == nil {
		s = new(saying)
		said[e.Run] = s
	}
	e.Case = nil // it is not kept
	switch {
	case e.Note == remediate.NoteApproved:
		s.approved = e
	case e.Note == remediate.NoteRejected, e.Note == remediate.NoteCancel:
		s.cancel = e.By + ": " + e.Why
	case e.To != "":
		if e.From == "" {
			s.first = e
		}
		s.last, s.digest = e, e.Digest
	}
}

// A row is a run and its approval, as the store has them.
type row struct {
	id               int64
	state            remediate.State
	why, reason      string
	incident         int64
	created, changed int64
	cancel           string
	request, plan    string
	approval         approvalRow
}

const (
	rowColumns = "runs.id, state, why, reason, incident, created, changed, cancel, request, runs.plan, " +
		"approvals.run is not null, coalesce(approvals.plan, ''), coalesce(approver, ''), coalesce(amount, ''), " +
		"coalesce(said, 0), coalesce(until, 0)"
	rowTables = "runs left join approvals on approvals.run = runs.id"
)

func scanRow(rows *sql.Rows) (r row, err error) {
	a := &r.approval
	err = rows.Scan(&r.id, &r.state, &r.why, &r.reason, &r.incident, &r.created, &r.changed, &r.cancel,
		&r.request, &r.plan, &a.there, &a.plan, &a.approver, &a.amount, &a.said, &a.until)
	return r, err
}

// rows compares the runs and approvals with what the entries say. A run that went on after the entries were
// read is left to the next time.
func (j *Journal) rows(ctx context.Context, said map[int64]*saying, read int64) error {
	if err := j.missing(ctx, read); err != nil {
		return err
	}
	rows, err := j.store.Query(ctx, "select "+rowColumns+" from "+rowTables+" where not exists (select 1 from "+
		"entries where entries.run = runs.id and entries.seq > ?) order by id", read)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return err
		}
		s := said[r.id]
		if s == nil {
			return broken("journal: run %d has no entry: upkeep has not written it, or its entries are missing", r.id)
		}
		if what := r.differs(s); what != "" {
			return broken("journal: run %d: %s", r.id, what)
		}
	}
	return rows.Err()
}

// missing finds entries whose run is not there, and approvals of no run. Each is one statement: retention
// deletes a run with the last of its entries.
func (j *Journal) missing(ctx context.Context, read int64) error {
	for _, m := range []struct {
		query, text string
		args        []any
	}{
		{"select min(run) from entries where run <> 0 and seq <= ? and not exists (select 1 from runs where runs.id " +
			"= entries.run)", "journal: run %d has entries and is not there: it was deleted", []any{read}},
		{"select min(run) from approvals where not exists (select 1 from runs where runs.id = approvals.run)",
			"journal: an approval is of run %d, which is not there", nil},
	} {
		run, err := j.number(ctx, m.query, m.args...)
		if err != nil {
			return err
		}
		if run != 0 {
			return broken(m.text, run)
		}
	}
	return nil
}

// differs says in what a run is not what its entries say, or "".
func (r row) differs(s *saying) string {
	last := s.last
	switch {
	case r.state != last.To:
		return fmt.Sprintf("it is %s, and its last entry does not say so: it was changed, or entries at the end are "+
			"missing", r.state)
	case stored(r.cancel) != stored(s.cancel) && (s.first.To != "" || r.cancel == ""):
		return fmt.Sprintf("it is cancelled by %q, and its entries say %q", r.cancel, s.cancel)
	}
	if s.digest != "" {
		if what := r.changes(s); what != "" {
			return fmt.Sprintf("its %s is not what entry %d says", what, last.Seq)
		}
	}
	return r.approval.differs(s)
}

// changes names what an entry that has a digest says otherwise.
func (r row) changes(s *saying) string {
	last := s.last
	switch {
	case stored(r.why) != stored(last.Why):
		return "last reason (why)"
	case r.reason != last.Reason:
		return "reason"
	case r.changed != store.Millis(last.At):
		return "time of the last change"
	case s.first.To != "" && r.incident != s.first.Incident:
		return "incident"
	case s.first.To != "" && r.created != store.Millis(s.first.At):
		return "time of creation"
	case s.digest != digest(r.request, r.plan):
		return "request or plan"
	}
	return ""
}

// differs says in what an approval is not what the entries of its run say, or "".
func (a approvalRow) differs(s *saying) string {
	e := s.approved
	switch {
	case e.Note == "" && !a.there:
		return ""
	case e.Note == "" && s.first.To == "":
		return "" // retention deletes the entries of a run in parts, the oldest first
	case e.Note == "":
		return fmt.Sprintf("its plan %s is approved by %q, and no entry says so", a.plan, a.approver)
	case !a.there:
		return fmt.Sprintf("entry %d approves its plan, and the approval is not there", e.Seq)
	case stored(a.approver) != stored(e.By):
		return fmt.Sprintf("its approval is by %q, and entry %d says by %q", a.approver, e.Seq, e.By)
	case !strings.HasPrefix(e.Why, "plan "+a.plan+" "):
		return fmt.Sprintf("its approval is of plan %s, and entry %d says %q", a.plan, e.Seq, e.Why)
	case !strings.Contains(e.Why, " until "+store.Time(a.until).UTC().Format(time.RFC3339)): // a reason may follow
		return fmt.Sprintf("its approval is until %s, and entry %d says %q",
			store.Time(a.until).UTC().Format(time.RFC3339), e.Seq, e.Why)
	case e.Digest != "" && e.Digest != a.digest():
		return fmt.Sprintf("its approval has another amount or time than entry %d says: %q", e.Seq, e.Why)
	}
	return ""
}

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

// holdBack leaves a run alone that is not what its entries say, and pages people once.
func (j *Journal) holdBack(tx *store.Tx, run int64, what string) error {
	now := j.now().UTC()
	if _, err := tx.Exec("update runs set owner = 0, due = ? where id = ?", store.Millis(now.Add(heldBack)),
		run); err != nil {
		return err
	}
	_, err := enqueue(tx, remediate.Notification{
		Key: fmt.Sprintf("forged/%d", run), Kind: remediate.NotificationPage, Run: run, At: now,
		Title: fmt.Sprintf("Run %d is held back: another one than upkeep has written to its store", run),
		Text: visible.Text(what) + ". upkeep does nothing about this run. Find out who writes to the store, and " +
			"compare all of it: upkeep journal verify",
	})
	return err
}
