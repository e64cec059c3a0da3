package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
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
	return v, j.rows(ctx, said, read)
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

// rows compares the runs and approvals with what the entries say. A run that went on after the entries were
// read is left to the next time.
func (j *Journal) rows(ctx context.Context, said map[int64]*saying, read int64) error {
	if err := j.missing(ctx, read); err != nil {
		return err
	}
	rows, err := j.store.Query(ctx, "select id, state, why, reason, incident, created, changed, cancel, request, "+
		"runs.plan, run is not null, coalesce(approvals.plan, ''), coalesce(approver, ''), coalesce(amount, ''), "+
		"coalesce(said, 0), coalesce(until, 0) from runs left join approvals on approvals.run = runs.id "+
		"where not exists (select 1 from "+
		"entries where entries.run = runs.id and entries.seq > ?) order by id", read)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r row
		a := &r.approval
		if err := rows.Scan(&r.id, &r.state, &r.why, &r.reason, &r.incident, &r.created, &r.changed, &r.cancel,
			&r.request, &r.plan, &a.there, &a.plan, &a.approver, &a.amount, &a.said, &a.until); err != nil {
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
	case !strings.HasSuffix(e.Why, " until "+store.Time(a.until).UTC().Format(time.RFC3339)):
		return fmt.Sprintf("its approval is until %s, and entry %d says %q",
			store.Time(a.until).UTC().Format(time.RFC3339), e.Seq, e.Why)
	case e.Digest != "" && e.Digest != a.digest():
		return fmt.Sprintf("its approval has another amount or time than entry %d says: %q", e.Seq, e.Why)
	}
	return ""
}
