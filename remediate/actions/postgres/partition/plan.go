package partition

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
		case p.Old && p.Plain && keeps == "" && (p.Marked || !p.Pending): // what somebody else detaches is to stay a table
			args := partArgs(m, p, s, r)
			args.First = m.To == (rows.Table{}) && len(w.whole) == 0
			w.whole = append(w.whole, p)
			w.Steps = append(w.Steps, whole(m, p, args, s.Version >= 140000 && alone(w.all) && !watched))
		case p.Pending || p.Detached:
			p.Owned = p.Owned && owned
			step, fact, err := unended(m, p, partArgs(m, p, s, r), keeps)
			if err != nil {
				return w, err
			}
			w.Steps, w.Facts = append(w.Steps, step), append(w.Facts, fact)
		case p.Old && p.Plain:
			singly = append(singly, fmt.Sprintf("%s (%s)", p.Name(), keeps))
		}
	}
	if len(singly) > 0 {
		const most = 5
		text := strings.Join(singly[:min(len(singly), most)], "; ")
		if len(singly) > most {
			text += fmt.Sprintf("; and %d more", len(singly)-most)
		}
		w.Facts = append(w.Facts, fmt.Sprintf("%d partitions could go as a whole, but their rows go one by one: %s",
			len(singly), text))
	}
	w.amount = amountOf(w.whole)
	return w, nil
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
	owned, err = session.One(ctx, q, pgx.RowTo[bool], "select pg_has_role(relowner, 'USAGE') from pg_class where oid = "+
		"$1::int8::oid", s.Source.OID)
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
	args := Args{Args: m.Args(r, s.Source, s.Dest), Kind: s.Kind, PartSchema: p.Schema, PartTable: p.Table, PartOID: p.OID,
		Low: p.From, High: p.To}
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
		return remediate.Step{}, "", remediate.Refuse(remediate.ReasonPrivilege, "the detachment of %s from %s did not end, "+
			"its rows are in no table that is asked, and this role cannot end it (%s): %s, and %s where they are to be seen "+
			"again", p.Name(), m.From, why, finish, attach)
	}
	switch {
	case p.Detached:
		args.Part = Attach
		return stepOf(attach, left(m, p), args),
			fmt.Sprintf("a run detached %s from %s and did not end; it is attached again, and its rows go with the next run "+
				"(%s)", p.Name(), m.From, why), nil
	case p.Marked:
		args.Part = Attach
		return stepOf(finish+"; "+attach, left(m, p), args),
			fmt.Sprintf("a run began to detach %s from %s and did not end, so that its rows are not seen; it is attached "+
				"again, and its rows go with the next run (%s)", p.Name(), m.From, why), nil
	}
	args.Part = Finish
	return stepOf(finish, "", args), fmt.Sprintf("the detachment of %s from %s was interrupted, so that "+
		"its rows are not seen; it is ended, and the rows stay in that table (%s). To have them in %s again: %s", p.Name(),
		m.From, why, m.From, attach), nil
}

// loose are the facts about partitions of a table whose detachment did not end, for a
// movement that brings rows into that table.
func loose(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey) (facts []string, err error) {
	all, err := parts(ctx, into(m), q, rows.Survey{Version: s.Version, Source: s.Dest, Kind: s.Kind})
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		switch {
		case p.Pending:
			facts = append(facts, fmt.Sprintf("the detachment of %s from %s did not end, so that its rows are not seen: ALTER "+
				"TABLE %s DETACH PARTITION %s FINALIZE; %s", p.Name(), m.To, m.To, p.Name(),
				attachText(m.To, p.Name(), p.From, p.To)))
		case p.Detached:
			facts = append(facts, fmt.Sprintf("a run detached %s from %s and did not end: %s", p.Name(), m.To,
				attachText(m.To, p.Name(), p.From, p.To)))
		}
	}
	return facts, nil
}

// uncoveredSQL finds the first row that goes and has no partition where it goes to:
// %[1]s is the source, %[2]s the column, %[3]s what has a partition, %[4]s which go.
const uncoveredSQL = "select min(t.%[2]s)::text from %[1]s t where %[4]s and not (%[3]s)"

// homeless returns which rows cannot go one by one, because the destination has no
// partition for them, and which statement makes one; or "".
func homeless(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, w Plan) (string, error) {
	if s.Dest.Kind != "p" {
		return "", nil
	}
	there, err := parts(ctx, into(m), q, rows.Survey{Version: s.Version, Source: s.Dest, Kind: s.Kind})
	if err != nil || len(there) == 0 { // no partitions, or by another key: the server says it
		return "", err
	}
	have := []string{"false"}
	for _, p := range append(there, w.whole...) {
		switch {
		case p.Pending && p.Old && w.goes(p), p.Detached && w.goes(p), !p.Pending && !p.Detached && p.To != "":
			have = append(have, "("+withinOf("t", m.Column, p.From, p.To)+")")
		case !p.Pending && !p.Detached:
			return "", nil // a default partition takes any row
		}
	}
	column := pgx.Identifier{m.Column}.Sanitize()
	which, args := "t."+column+" < now() - make_interval(secs => $1)", []any{m.Age.Seconds()}
	if m.Back {
		which, args = "t."+column+" >= $1::timestamptz and t."+column+" < $2::timestamptz", []any{m.Since, m.Until}
	}
	soon, cancel := context.WithTimeout(ctx, rows.ClashTime)
	defer cancel()
	first, err := session.One(soon, q, pgx.RowTo[*string], fmt.Sprintf(uncoveredSQL, m.From, column,
		strings.Join(have, " or "), which), args...)
	switch {
	case soon.Err() != nil && ctx.Err() == nil:
		return "", nil // the step stops then, by the server's own word
	case err != nil:
		return "", fmt.Errorf("rows of %s that have no partition in %s: %w", m.From, m.To, err)
	case first == nil:
		return "", nil
	}
	return house(ctx, m, q, s, w, *first)
}

// into is a movement from the destination, for looking at its partitions.
func into(m rows.Movement) rows.Movement {
	return rows.Movement{From: m.To, Column: m.Column, Age: time.Hour}
}

// goes reports whether a partition goes as a whole.
func (w Plan) goes(p partition) bool {
	return slices.ContainsFunc(w.whole, func(o partition) bool { return o.OID == p.OID })
}

// house says what makes a partition for a row of a moment.
func house(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, w Plan, first string) (string, error) {
	create := func(low, high string) string {
		name := rows.Table{Schema: m.To.Schema, Name: m.To.Name + "_" + strings.Map(digits, first[:min(len(first), 7)])}
		return fmt.Sprintf("CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)", name, m.To, low, high)
	}
	lacks := fmt.Sprintf("%s has no partition for rows of %s", m.To, first)
	for _, p := range w.all {
		if !bound(p.From) || !bound(p.To) {
			continue
		}
		column := pgx.Identifier{m.Column}.Sanitize()
		in, err := session.One(ctx, q, pgx.RowTo[bool], fmt.Sprintf("select %s from (select $1::text::%s as %s) t",
			within(m.Column, p.From, p.To), s.Kind, column), first)
		if err != nil {
			return "", fmt.Errorf("the partition of %s: %w", first, err)
		}
		if !in {
			continue
		}
		why, err := hindrance(ctx, m, q, s, p)
		switch {
		case err != nil:
			return "", err
		case !p.Plain:
			why = "it has partitions itself"
		}
		if why != "" {
			return fmt.Sprintf("%s, and the partition %s of %s cannot go as a whole (%s); make one: %s", lacks, p.Name(), m.From,
				why, create(p.From, p.To)), nil
		}
		if !m.Back {
			return fmt.Sprintf("%s; they stay until their partition %s goes as a whole; make one to have them go before: %s",
				lacks, p.Name(), create(p.From, p.To)), nil
		}
		since, until, err := spanOf(ctx, q, s.Kind, p)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, which are in the partition %s of %s: ask for all of it, since=%s until=%s, and it is handed "+
			"back as a whole; or make one: %s", lacks, p.Name(), m.From, since, until, create(p.From, p.To)), nil
	}
	type month struct{ Low, High string }
	of, err := session.One(ctx, q, pgx.RowToStructByPos[month],
		fmt.Sprintf("select to_char(a, 'YYYY-MM-DD'), to_char(a + interval '1 month', 'YYYY-MM-DD') from "+
			"date_trunc('month', $1::text::%s) a", s.Kind), first)
	if err != nil {
		return "", fmt.Errorf("the month of %s: %w", first, err)
	}
	return fmt.Sprintf("%s; make one, of a month for example: %s", lacks, create("'"+of.Low+"'", "'"+of.High+"'")), nil
}

// spanOf writes the bounds of a partition as the parameters since and until.
func spanOf(ctx context.Context, q read.Querier, kind string, p partition) (since, until string, err error) {
	since, until = "0001-01-01", "9999-12-31"
	for _, side := range []struct {
		text  string
		param *string
	}{{p.From, &since}, {p.To, &until}} {
		if side.text == "MINVALUE" || side.text == "MAXVALUE" {
			continue
		}
		*side.param, err = session.One(ctx, q, pgx.RowTo[string], fmt.Sprintf("select (to_json($1::text::%s::timestamptz at "+
			"time zone 'UTC') #>> '{}') || 'Z'", kind), strings.Trim(side.text, "'"))
		if err != nil {
			return "", "", fmt.Errorf("the bound %s: %w", side.text, err)
		}
	}
	return since, until, nil
}

// digits keeps what a name may have of a moment.
func digits(r rune) rune {
	if r >= '0' && r <= '9' {
		return r
	}
	return '_'
}

// left says what a step on a partition leaves where it is interrupted.
func left(m rows.Movement, p partition) string {
	return fmt.Sprintf("where the rows of %s are not seen in %s: ALTER TABLE %s DETACH PARTITION %s FINALIZE (if it is "+
		"pending), then %s; a constraint of ours may be left: ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s",
		p.Name(), m.From, m.From, p.Name(), attachText(m.From, p.Name(), p.From, p.To), p.Name(), boundName)
}

// PlanRows adds the step that moves rows one by one to those of whole partitions, where
// the destination has a place for them.
func PlanRows(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, w Plan, r remediate.Request) (
	steps []remediate.Step, facts []string, err error) {
	homeless, err := homeless(ctx, m, q, s, w)
	switch {
	case err != nil:
		return nil, nil, err
	case homeless != "" && (m.Back || len(w.Steps) == 0):
		return nil, nil, remediate.Refuse(remediate.ReasonUnfit, "%s", homeless)
	case homeless != "":
		return w.Steps, []string{homeless}, nil
	case m.Back:
		if facts, err = loose(ctx, m, q, s); err != nil {
			return nil, nil, err
		}
	}
	args := m.Args(r, s.Source, s.Dest)
	args.Contract, args.Wider, args.Zone = s.Promise(w.aside()).String(), s.Wider(), s.Zone
	step := remediate.StepOf(m.Text(s), args)
	step.Undo = m.Undo()
	return append(w.Steps, step), facts, nil
}
