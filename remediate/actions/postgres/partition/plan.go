package partition

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Plan are the steps on partitions that go as a whole, and the facts for people.
type Plan struct {
	all    []partition
	whole  []partition // those that go as a whole
	amount remediate.Amount
	Steps  []remediate.Step
	Facts  []string
}

// PlanWholes looks for the partitions that go as a whole, and for detachments that have
// not ended.
func PlanWholes(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, r remediate.Request) (w Plan,
	err error) {
	if w.all, err = parts(ctx, m, q, s); err != nil {
		return w, err
	}
	if w.Facts, err = unclaimed(ctx, m, q, s); err != nil || len(w.all) == 0 {
		return w, err
	}
	owned, why, err := entire(ctx, m, q, s)
	if err != nil {
		return w, err
	}
	watched, err := dropsWatched(ctx, q)
	if err != nil {
		return w, err
	}
	var singly []string // all of their rows go, and not as a whole
	for i, p := range w.all {
		if p.Old, err = open(ctx, m, q, s, p); err != nil {
			return w, err
		}
		w.all[i].Old = p.Old
		keeps := why
		if p.Old && p.Plain && keeps == "" {
			if keeps, err = hindrance(ctx, m, q, s, p); err != nil {
				return w, err
			}
		}
		switch {
		// what somebody else detaches is to stay a table
		case p.Old && p.Plain && keeps == "" && (p.Marked || !p.Pending):
			args := partArgs(m, p, s, r)
			args.First = m.To == (rows.Table{}) && len(w.whole) == 0
			w.whole = append(w.whole, p)
			w.Steps = append(w.Steps, whole(m, p, args, s.Version >= 140000 && alone(w.all) && !watched))
		case p.Pending || p.Detached:
			p.Owned = p.Owned && owned
			if err := w.end(m, p, partArgs(m, p, s, r), keeps); err != nil {
				return w, err
			}
		case p.Old && p.Plain:
			singly = append(singly, fmt.Sprintf("%s (%s)", p.Name(), keeps))
		}
	}
	if len(singly) > 0 {
		w.Facts = append(w.Facts, singlyFact(singly))
	}
	w.amount = amountOf(w.whole)
	return w, nil
}

// end adds the step for a detachment that did not end.
func (w *Plan) end(m rows.Movement, p partition, args Args, why string) error {
	step, fact, err := unended(m, p, args, why)
	if err == nil {
		w.Steps, w.Facts = append(w.Steps, step), append(w.Facts, fact)
	}
	return err
}

// singlyFact names the first few of the partitions that do not go as a whole.
func singlyFact(all []string) string {
	const most = 5
	text := strings.Join(all[:min(len(all), most)], "; ")
	if len(all) > most {
		text += fmt.Sprintf("; and %d more", len(all)-most)
	}
	return fmt.Sprintf("%d partitions could go as a whole, but their rows go one by one: %s", len(all), text)
}

// open reports whether all rows of a partition go. One that is open to one side goes
// back as a whole where none of its rows is out of the span.
func open(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, p partition) (bool, error) {
	if p.Old || !m.Back || !p.Plain || p.Young || p.From != "MINVALUE" && p.To != "MAXVALUE" {
		return p.Old, nil
	}
	soon, cancel := context.WithTimeout(ctx, rows.ClashTime)
	defer cancel()
	column := pgx.Identifier{m.Column}.Sanitize()
	all, err := session.One(soon, q, pgx.RowTo[bool], "select not exists (select from only "+p.Name().String()+
		" t where t."+column+" < $1::timestamptz or t."+column+" >= $2::timestamptz)", m.Since, m.Until)
	if soon.Err() != nil && ctx.Err() == nil {
		return false, nil // row by row, then
	}
	if err != nil {
		return false, fmt.Errorf("rows of %s: %w", p.Name(), err)
	}
	return all, nil
}

// Within returns the amount of a plan, of which the whole partitions are a part: the
// planner's estimate of all rows can be below what is known of these.
func (w Plan) Within(all *remediate.Amount) *remediate.Amount {
	if all != nil {
		all.Rows, all.Bytes = max(all.Rows, w.amount.Rows), max(all.Bytes, w.amount.Bytes)
		all.OfRows, all.OfBytes = max(all.OfRows, all.Rows), max(all.OfBytes, all.Bytes)
	}
	return all
}

// aside lists the partitions that the step of the rows leaves alone: those that go as
// a whole before it, those of which no row goes, and those that are being detached.
func (w Plan) aside() (oids []int64) {
	for _, p := range w.all {
		if p.Young || p.Pending || p.Detached || w.goes(p) {
			oids = append(oids, p.OID)
		}
	}
	return oids
}

// Untouched lists the partitions of which no row goes, and those that are being
// detached: the step that moves rows one by one leaves them alone.
func Untouched(ctx context.Context, q read.Querier, m rows.Movement, s rows.Survey) (oids []int64, err error) {
	parts, err := parts(ctx, m, q, s)
	for _, p := range parts {
		if p.Young || p.Pending {
			oids = append(oids, p.OID)
		}
	}
	return oids, err
}

// entire returns why no partition at all goes as a whole.
func entire(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey) (owned bool, why string, err error) {
	owned, err = session.One(ctx, q, pgx.RowTo[bool], "select pg_has_role(relowner, 'USAGE') from pg_class where oid "+
		"= $1::int8::oid", s.Source.OID)
	switch {
	case err != nil:
		return owned, "", fmt.Errorf("who owns %s: %w", m.From, err)
	case !owned:
		return owned, fmt.Sprintf("role %s does not own %s", s.Source.Role, m.From), nil
	case slices.ContainsFunc(s.Links, func(l rows.ForeignKey) bool { return l.Of == s.Source.OID }):
		return owned, "other tables refer to its rows", nil
	}
	return owned, "", nil
}

// hindrance returns what keeps one partition from going as a whole.
func hindrance(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, p partition) (string, error) {
	switch {
	case !p.Owned:
		return fmt.Sprintf("role %s does not own it", s.Source.Role), nil
	case !bound(p.From) || !bound(p.To):
		return "its bounds cannot be written down", nil
	case m.To == (rows.Table{}):
		what, err := hinders(ctx, q, p.OID)
		if what != "" {
			what += " depends on it"
		}
		return what, err
	}
	why, err := unlike(ctx, m, q, s, p)
	if err != nil || why != "" {
		return why, err
	}
	return astray(ctx, m, q, s, p)
}

func partArgs(m rows.Movement, p partition, s rows.Survey, r remediate.Request) Args {
	args := Args{Args: m.Args(r, s.Source, s.Dest), Kind: s.Kind, PartSchema: p.Schema, PartTable: p.Table,
		PartOID: p.OID,
		Low:     p.From, High: p.To}
	args.Pacing, args.Wider = session.Pacing{}, s.Wider()
	args.Contract = s.Promise(nil).Only(s.Source.OID, s.Dest.OID, p.OID).String()
	return args
}

// stepOf is a step on a partition, with what it leaves where it is interrupted.
func stepOf(do, left string, args Args) remediate.Step {
	s := remediate.StepOf(do, args)
	s.Left = left
	return s
}

// whole is the step by which one partition goes.
func whole(m rows.Movement, p partition, args Args, concurrently bool) remediate.Step {
	detach := fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s", m.From, p.Name())
	switch {
	case p.Pending:
		detach += " FINALIZE"
	case m.To == (rows.Table{}) && concurrently:
		detach += " CONCURRENTLY"
	}
	detach += "; "
	if p.Detached {
		detach = ""
	}
	if m.To == (rows.Table{}) {
		args.Part = Drop
		drop := "DROP TABLE " + p.Name().String()
		if !p.Pending && !concurrently {
			detach = "" // it goes with the table, in one transaction
		}
		return stepOf(detach+drop, left(m, p), args)
	}
	args.Part = HandOver
	if m.Back {
		args.Part = HandBack
	}
	step := stepOf("BEGIN; "+detach+attachText(m.To, p.Name(), p.From, p.To)+"; COMMIT", left(m, p), args)
	step.Undo = fmt.Sprintf("BEGIN; ALTER TABLE %s DETACH PARTITION %s; %s; COMMIT", m.To, p.Name(),
		attachText(m.From, p.Name(), p.From, p.To))
	return step
}

// unended is the step for a partition whose detachment did not end, and which cannot
// go as a whole. One that a run of ours has begun is undone, so that its rows can go
// one by one. One of somebody else is ended, as it was meant.
func unended(m rows.Movement, p partition, args Args, why string) (remediate.Step, string, error) {
	finish := fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s FINALIZE", m.From, p.Name())
	attach := attachText(m.From, p.Name(), p.From, p.To)
	if why == "" {
		why = "not all of its rows are to go"
	}
	if !p.Owned || p.Detached && !(bound(p.From) && bound(p.To)) {
		return remediate.Step{}, "", remediate.Refuse(remediate.ReasonPrivilege,
			"the detachment of %s from %s did not end, its rows are in no table that is asked, and this role cannot "+
				"end it (%s): %s, and %s where they are to be seen again", p.Name(), m.From, why, finish, attach)
	}
	switch {
	case p.Detached:
		args.Part = Attach
		return stepOf(attach, left(m, p), args),
			fmt.Sprintf("a run detached %s from %s and did not end; it is attached again, and its rows go with the "+
				"next run (%s)", p.Name(), m.From, why), nil
	case p.Marked:
		args.Part = Attach
		return stepOf(finish+"; "+attach, left(m, p), args),
			fmt.Sprintf("a run began to detach %s from %s and did not end, so that its rows are not seen; it is "+
				"attached again, and its rows go with the next run (%s)", p.Name(), m.From, why), nil
	}
	args.Part = Finish
	return stepOf(finish, "", args), fmt.Sprintf("the detachment of %s from %s was interrupted, so that its rows are "+
		"not seen; it is ended, and the rows stay in that table (%s). To have them in %s again: %s", p.Name(),
		m.From, why, m.From, attach), nil
}

// goes reports whether a partition goes as a whole.
func (w Plan) goes(p partition) bool {
	return slices.ContainsFunc(w.whole, func(o partition) bool { return o.OID == p.OID })
}

// left says what a step on a partition leaves where it is interrupted.
func left(m rows.Movement, p partition) string {
	return fmt.Sprintf("where the rows of %s are not seen in %s: ALTER TABLE %s DETACH PARTITION %s FINALIZE (if it "+
		"is pending), then %s; a constraint of ours may be left: ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s",
		p.Name(), m.From, m.From, p.Name(), attachText(m.From, p.Name(), p.From, p.To), p.Name(), boundName)
}
