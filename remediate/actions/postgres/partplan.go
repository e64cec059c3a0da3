package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
)

// partitions are the steps on partitions that go as a whole, and the facts for people.
type partitions struct {
	all    []partition
	whole  []partition // those that go as a whole
	amount remediate.Amount
	steps  []remediate.Step
	facts  []string
}

// wholes looks for the partitions that go as a whole, and for detachments that have
// not ended.
func (m movement) wholes(ctx context.Context, q read.Querier, s survey, r remediate.Request) (w partitions, err error) {
	if w.all, err = m.parts(ctx, q, s); err != nil {
		return w, err
	}
	if w.facts, err = m.unclaimed(ctx, q, s); err != nil || len(w.all) == 0 {
		return w, err
	}
	owned, why, err := m.entire(ctx, q, s)
	if err != nil {
		return w, err
	}
	watched, err := dropsWatched(ctx, q)
	if err != nil {
		return w, err
	}
	var singly []string // all of their rows go, and not as a whole
	for i, p := range w.all {
		if p.Old, err = m.open(ctx, q, s, p); err != nil {
			return w, err
		}
		w.all[i].Old = p.Old
		keeps := why
		if p.Old && p.Plain && keeps == "" {
			if keeps, err = m.keeps(ctx, q, s, p); err != nil {
				return w, err
			}
		}
		switch {
		case p.Old && p.Plain && keeps == "" && (p.Marked || !p.Pending): // what somebody else detaches is to stay a table
			w.whole = append(w.whole, p)
			w.steps = append(w.steps, m.whole(p, m.partArgs(p, s, r), s.version >= 140000 && alone(w.all) && !watched))
		case p.Pending || p.Detached:
			p.Owned = p.Owned && owned
			step, fact, err := m.unended(p, m.partArgs(p, s, r), keeps)
			if err != nil {
				return w, err
			}
			w.steps, w.facts = append(w.steps, step), append(w.facts, fact)
		case p.Old && p.Plain:
			singly = append(singly, fmt.Sprintf("%s (%s)", p.place(), keeps))
		}
	}
	if len(singly) > 0 {
		const most = 5
		text := strings.Join(singly[:min(len(singly), most)], "; ")
		if len(singly) > most {
			text += fmt.Sprintf("; and %d more", len(singly)-most)
		}
		w.facts = append(w.facts, fmt.Sprintf("%d partitions could go as a whole, but their rows go one by one: %s", len(singly), text))
	}
	for _, s := range w.steps {
		if s.Args["part"] == partDrop {
			s.Args["first"] = "true" // all that the run would remove is counted there
			break
		}
	}
	w.amount = amountOf(w.whole)
	return w, nil
}

// open reports whether all rows of a partition go. One that is open to one side goes
// back as a whole where none of its rows is out of the span.
func (m movement) open(ctx context.Context, q read.Querier, s survey, p partition) (bool, error) {
	if p.Old || !m.back || !p.Plain || p.Young || p.From != "MINVALUE" && p.To != "MAXVALUE" {
		return p.Old, nil
	}
	soon, cancel := context.WithTimeout(ctx, clashTime)
	defer cancel()
	column := pgx.Identifier{m.column}.Sanitize()
	all, err := one(soon, q, pgx.RowTo[bool], "select not exists (select from only "+p.place().String()+" t where t."+column+" < $1::timestamptz or t."+column+" >= $2::timestamptz)", m.since, m.until)
	if soon.Err() != nil && ctx.Err() == nil {
		return false, nil // row by row, then
	}
	if err != nil {
		return false, fmt.Errorf("rows of %s: %w", p.place(), err)
	}
	return all, nil
}

// within returns the amount of a plan, of which the whole partitions are a part: the
// planner's estimate of all rows can be below what is known of these.
func (w partitions) within(all *remediate.Amount) *remediate.Amount {
	if all != nil {
		all.Rows, all.Bytes = max(all.Rows, w.amount.Rows), max(all.Bytes, w.amount.Bytes)
		all.OfRows, all.OfBytes = max(all.OfRows, all.Rows), max(all.OfBytes, all.Bytes)
	}
	return all
}

// aside lists the partitions that the step of the rows leaves alone: those that go as
// a whole before it, those of which no row goes, and those that are being detached.
func (w partitions) aside() (oids []int64) {
	for _, p := range w.all {
		if p.Young || p.Pending || p.Detached || w.goes(p) {
			oids = append(oids, p.OID)
		}
	}
	return oids
}

// untouched lists the partitions of which no row goes, and those that are being
// detached: the step that moves rows one by one leaves them alone.
func untouched(ctx context.Context, q read.Querier, m movement, s survey) (oids []int64, err error) {
	parts, err := m.parts(ctx, q, s)
	for _, p := range parts {
		if p.Young || p.Pending {
			oids = append(oids, p.OID)
		}
	}
	return oids, err
}

// entire returns why no partition at all goes as a whole.
func (m movement) entire(ctx context.Context, q read.Querier, s survey) (owned bool, why string, err error) {
	owned, err = one(ctx, q, pgx.RowTo[bool], "select pg_has_role(relowner, 'USAGE') from pg_class where oid = $1::int8::oid", s.source.OID)
	switch {
	case err != nil:
		return owned, "", fmt.Errorf("who owns %s: %w", m.from, err)
	case !owned:
		return owned, fmt.Sprintf("role %s does not own %s", s.source.Role, m.from), nil
	case slices.ContainsFunc(s.links, func(l link) bool { return l.Of == s.source.OID }):
		return owned, "other tables refer to its rows", nil
	}
	return owned, "", nil
}

// keeps returns what keeps one partition from going as a whole.
func (m movement) keeps(ctx context.Context, q read.Querier, s survey, p partition) (string, error) {
	switch {
	case !p.Owned:
		return fmt.Sprintf("role %s does not own it", s.source.Role), nil
	case !bound(p.From) || !bound(p.To):
		return "its bounds cannot be written down", nil
	case m.to == (place{}):
		what, err := hinders(ctx, q, p.OID)
		if what != "" {
			what += " depends on it"
		}
		return what, err
	}
	why, err := m.unlike(ctx, q, s, p)
	if err != nil || why != "" {
		return why, err
	}
	return m.astray(ctx, q, s, p)
}

func (m movement) partArgs(p partition, s survey, r remediate.Request) map[string]string {
	args := maps.Clone(m.args(r.Subject, s.source, s.dest, r.Params))
	maps.Copy(args, map[string]string{
		"kind": s.kind, "part_schema": p.Schema, "part_table": p.Table, "part_oid": strconv.FormatInt(p.OID, 10), "low": p.From, "high": p.To,
	})
	s.seen(args)
	args[contractArg] = s.promise(nil).Only(s.source.OID, s.dest.OID, p.OID).String()
	delete(args, "lag")
	delete(args, "wal")
	return args
}

// whole is the step by which one partition goes.
func (m movement) whole(p partition, args map[string]string, concurrently bool) remediate.Step {
	detach := fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s", m.from, p.place())
	switch {
	case p.Pending:
		detach += " FINALIZE"
	case m.to == (place{}) && concurrently:
		detach += " CONCURRENTLY"
	}
	detach += "; "
	if p.Detached {
		detach = ""
	}
	if m.to == (place{}) {
		args["part"] = partDrop
		drop := "DROP TABLE " + p.place().String()
		if !p.Pending && !concurrently {
			detach = "" // it goes with the table, in one transaction
		}
		return remediate.Step{Do: detach + drop, Left: m.left(p), Args: args}
	}
	args["part"] = partOver
	if m.back {
		args["part"] = partBack
	}
	return remediate.Step{
		Do:   "BEGIN; " + detach + attachText(m.to, p.place(), p.From, p.To) + "; COMMIT",
		Undo: fmt.Sprintf("BEGIN; ALTER TABLE %s DETACH PARTITION %s; %s; COMMIT", m.to, p.place(), attachText(m.from, p.place(), p.From, p.To)),
		Left: m.left(p), Args: args,
	}
}

// unended is the step for a partition whose detachment did not end, and which cannot
// go as a whole. One that a run of ours has begun is undone, so that its rows can go
// one by one. One of somebody else is ended, as it was meant.
func (m movement) unended(p partition, args map[string]string, why string) (remediate.Step, string, error) {
	finish := fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s FINALIZE", m.from, p.place())
	attach := attachText(m.from, p.place(), p.From, p.To)
	if why == "" {
		why = "not all of its rows are to go"
	}
	if !p.Owned || p.Detached && !(bound(p.From) && bound(p.To)) {
		return remediate.Step{}, "", remediate.Refuse(remediate.ReasonPrivilege, "the detachment of %s from %s did not end, its rows are in no table that is asked, and this role cannot end it (%s): %s, and %s where they are to be seen again", p.place(), m.from, why, finish, attach)
	}
	switch {
	case p.Detached:
		args["part"] = partAttach
		return remediate.Step{Do: attach, Left: m.left(p), Args: args}, fmt.Sprintf("a run detached %s from %s and did not end; it is attached again, and its rows go with the next run (%s)", p.place(), m.from, why), nil
	case p.Marked:
		args["part"] = partAttach
		return remediate.Step{Do: finish + "; " + attach, Left: m.left(p), Args: args}, fmt.Sprintf("a run began to detach %s from %s and did not end, so that its rows are not seen; it is attached again, and its rows go with the next run (%s)", p.place(), m.from, why), nil
	}
	args["part"] = partFinish
	return remediate.Step{Do: finish, Args: args}, fmt.Sprintf("the detachment of %s from %s was interrupted, so that its rows are not seen; it is ended, and the rows stay in that table (%s). To have them in %s again: %s", p.place(), m.from, why, m.from, attach), nil
}

// loose are the facts about partitions of a table whose detachment did not end, for a
// movement that brings rows into that table.
func (m movement) loose(ctx context.Context, q read.Querier, s survey) (facts []string, err error) {
	all, err := m.into().parts(ctx, q, survey{version: s.version, source: s.dest, kind: s.kind})
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		switch {
		case p.Pending:
			facts = append(facts, fmt.Sprintf("the detachment of %s from %s did not end, so that its rows are not seen: ALTER TABLE %s DETACH PARTITION %s FINALIZE; %s", p.place(), m.to, m.to, p.place(), attachText(m.to, p.place(), p.From, p.To)))
		case p.Detached:
			facts = append(facts, fmt.Sprintf("a run detached %s from %s and did not end: %s", p.place(), m.to, attachText(m.to, p.place(), p.From, p.To)))
		}
	}
	return facts, nil
}

// uncoveredSQL finds the first row that goes and has no partition where it goes to:
// %[1]s is the source, %[2]s the column, %[3]s what has a partition, %[4]s which go.
const uncoveredSQL = "select min(t.%[2]s)::text from %[1]s t where %[4]s and not (%[3]s)"

// homeless returns which rows cannot go one by one, because the destination has no
// partition for them, and which statement makes one; or "".
func (m movement) homeless(ctx context.Context, q read.Querier, s survey, w partitions) (string, error) {
	if s.dest.Kind != "p" {
		return "", nil
	}
	there, err := m.into().parts(ctx, q, survey{version: s.version, source: s.dest, kind: s.kind})
	if err != nil || len(there) == 0 { // no partitions, or by another key: the server says it
		return "", err
	}
	have := []string{"false"}
	for _, p := range append(there, w.whole...) {
		switch {
		case p.Pending && p.Old && w.goes(p), p.Detached && w.goes(p), !p.Pending && !p.Detached && p.To != "":
			have = append(have, "("+withinOf("t", m.column, p.From, p.To)+")")
		case !p.Pending && !p.Detached:
			return "", nil // a default partition takes any row
		}
	}
	column := pgx.Identifier{m.column}.Sanitize()
	which, args := "t."+column+" < now() - make_interval(secs => $1)", []any{m.age.Seconds()}
	if m.back {
		which, args = "t."+column+" >= $1::timestamptz and t."+column+" < $2::timestamptz", []any{m.since, m.until}
	}
	soon, cancel := context.WithTimeout(ctx, clashTime)
	defer cancel()
	first, err := one(soon, q, pgx.RowTo[*string], fmt.Sprintf(uncoveredSQL, m.from, column, strings.Join(have, " or "), which), args...)
	switch {
	case soon.Err() != nil && ctx.Err() == nil:
		return "", nil // the step stops then, by the server's own word
	case err != nil:
		return "", fmt.Errorf("rows of %s that have no partition in %s: %w", m.from, m.to, err)
	case first == nil:
		return "", nil
	}
	return m.house(ctx, q, s, w, *first)
}

// into is a movement from the destination, for looking at its partitions.
func (m movement) into() movement {
	return movement{from: m.to, column: m.column, age: time.Hour}
}

// goes reports whether a partition goes as a whole.
func (w partitions) goes(p partition) bool {
	return slices.ContainsFunc(w.whole, func(o partition) bool { return o.OID == p.OID })
}

// house says what makes a partition for a row of a moment.
func (m movement) house(ctx context.Context, q read.Querier, s survey, w partitions, first string) (string, error) {
	create := func(low, high string) string {
		name := place{m.to.Schema, m.to.Table + "_" + strings.Map(digits, first[:min(len(first), 7)])}
		return fmt.Sprintf("CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)", name, m.to, low, high)
	}
	lacks := fmt.Sprintf("%s has no partition for rows of %s", m.to, first)
	for _, p := range w.all {
		if !bound(p.From) || !bound(p.To) {
			continue
		}
		column := pgx.Identifier{m.column}.Sanitize()
		in, err := one(ctx, q, pgx.RowTo[bool], fmt.Sprintf("select %s from (select $1::text::%s as %s) t", within(m.column, p.From, p.To), s.kind, column), first)
		if err != nil {
			return "", fmt.Errorf("the partition of %s: %w", first, err)
		}
		if !in {
			continue
		}
		why, err := m.keeps(ctx, q, s, p)
		switch {
		case err != nil:
			return "", err
		case !p.Plain:
			why = "it has partitions itself"
		}
		if why != "" {
			return fmt.Sprintf("%s, and the partition %s of %s cannot go as a whole (%s); make one: %s", lacks, p.place(), m.from, why, create(p.From, p.To)), nil
		}
		if !m.back {
			return fmt.Sprintf("%s; they stay until their partition %s goes as a whole; make one to have them go before: %s", lacks, p.place(), create(p.From, p.To)), nil
		}
		since, until, err := spanOf(ctx, q, s.kind, p)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, which are in the partition %s of %s: ask for all of it, since=%s until=%s, and it is handed back as a whole; or make one: %s", lacks, p.place(), m.from, since, until, create(p.From, p.To)), nil
	}
	type month struct{ Low, High string }
	of, err := one(ctx, q, pgx.RowToStructByPos[month], fmt.Sprintf("select to_char(a, 'YYYY-MM-DD'), to_char(a + interval '1 month', 'YYYY-MM-DD') from date_trunc('month', $1::text::%s) a", s.kind), first)
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
		*side.param, err = one(ctx, q, pgx.RowTo[string], fmt.Sprintf("select (to_json($1::text::%s::timestamptz at time zone 'UTC') #>> '{}') || 'Z'", kind), strings.Trim(side.text, "'"))
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
func (m movement) left(p partition) string {
	return fmt.Sprintf("where the rows of %s are not seen in %s: ALTER TABLE %s DETACH PARTITION %s FINALIZE (if it is pending), then %s; a constraint of ours may be left: ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s",
		p.place(), m.from, m.from, p.place(), attachText(m.from, p.place(), p.From, p.To), p.place(), boundName)
}

// singly adds the step that moves rows one by one to those of whole partitions, where
// the destination has a place for them.
func (m movement) singly(ctx context.Context, q read.Querier, s survey, w partitions, r remediate.Request) (steps []remediate.Step, facts []string, err error) {
	homeless, err := m.homeless(ctx, q, s, w)
	switch {
	case err != nil:
		return nil, nil, err
	case homeless != "" && (m.back || len(w.steps) == 0):
		return nil, nil, remediate.Refuse(remediate.ReasonUnfit, "%s", homeless)
	case homeless != "":
		return w.steps, []string{homeless}, nil
	case m.back:
		if facts, err = m.loose(ctx, q, s); err != nil {
			return nil, nil, err
		}
	}
	args := m.args(r.Subject, s.source, s.dest, r.Params)
	args[contractArg] = s.promise(w.aside()).String()
	s.seen(args)
	if s.zone != "" {
		args["zone"] = s.zone
	}
	return append(w.steps, remediate.Step{Do: m.text(s), Undo: m.undo(), Args: args}), facts, nil
}
