package partition

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

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
	return partitionText(ctx, m, q, s, w, *first)
}

// partitionText says what makes a partition for a row of a moment.
func partitionText(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, w Plan,
	first string) (string, error) {
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
			return fmt.Sprintf("%s, and the partition %s of %s cannot go as a whole (%s); make one: %s", lacks,
				p.Name(), m.From,
				why, create(p.From, p.To)), nil
		}
		if !m.Back {
			return fmt.Sprintf("%s; they stay until their partition %s goes as a whole; make one to have them go "+
				"before: %s",
				lacks, p.Name(), create(p.From, p.To)), nil
		}
		since, until, err := spanOf(ctx, q, s.Kind, p)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, which are in the partition %s of %s: ask for all of it, since=%s until=%s, and it is "+
			"handed back as a whole; or make one: %s", lacks, p.Name(), m.From, since, until, create(p.From, p.To)), nil
	}
	of, err := monthOf(ctx, q, s.Kind, first)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; make one, of a month for example: %s", lacks, create("'"+of.Low+"'", "'"+of.High+"'")), nil
}

// into is a movement from the destination, for looking at its partitions.
func into(m rows.Movement) rows.Movement {
	return rows.Movement{From: m.To, Column: m.Column, Age: time.Hour}
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
			facts = append(facts, fmt.Sprintf("the detachment of %s from %s did not end, so that its rows are not "+
				"seen: ALTER TABLE %s DETACH PARTITION %s FINALIZE; %s", p.Name(), m.To, m.To, p.Name(),
				attachText(m.To, p.Name(), p.From, p.To)))
		case p.Detached:
			facts = append(facts, fmt.Sprintf("a run detached %s from %s and did not end: %s", p.Name(), m.To,
				attachText(m.To, p.Name(), p.From, p.To)))
		}
	}
	return facts, nil
}

// A month is its first day and that of the next one.
type month struct{ Low, High string }

// monthOf is the month of a moment.
func monthOf(ctx context.Context, q read.Querier, kind, first string) (month, error) {
	of, err := session.One(ctx, q, pgx.RowToStructByPos[month],
		fmt.Sprintf("select to_char(a, 'YYYY-MM-DD'), to_char(a + interval '1 month', 'YYYY-MM-DD') from "+
			"date_trunc('month', $1::text::%s) a", kind), first)
	if err != nil {
		return of, fmt.Errorf("the month of %s: %w", first, err)
	}
	return of, nil
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
		*side.param, err = session.One(ctx, q, pgx.RowTo[string],
			fmt.Sprintf("select (to_json($1::text::%s::timestamptz at time zone 'UTC') #>> '{}') || 'Z'", kind),
			strings.Trim(side.text, "'"))
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
