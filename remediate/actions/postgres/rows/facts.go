package rows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Facts are what a person wants to know before saying yes, and how much goes.
func (m Movement) Facts(ctx context.Context, db *target.Database, s Survey) (facts []string, amount *remediate.Amount,
	err error) {
	n, counted, err := m.counts(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	w, err := m.weight(ctx, db, s, n)
	if err != nil {
		return nil, nil, err
	}
	all, how := max(w.tuples, n), "about "
	if counted {
		how = ""
	}
	facts = append(facts, fmt.Sprintf("%s%.0f of about %.0f rows go, some %s; expect %s of WAL", how, n, all,
		remediate.Quantity("_bytes", w.size), remediate.Quantity("_bytes", w.wal)))
	if !m.Back {
		amount = &remediate.Amount{Rows: n, Bytes: w.size, OfRows: all, OfBytes: w.bytes}
		cut, err := m.cutFact(ctx, db, s)
		if err != nil {
			return nil, nil, err
		}
		facts = append(facts, cut)
	}
	if s.Zone != "" {
		facts = append(facts, fmt.Sprintf("column %s is a %s without a time zone: it is compared in the time zone "+
			"%s, that of the session", pgx.Identifier{m.Column}.Sanitize(), s.Kind, s.Zone))
	}
	for _, l := range s.Links {
		facts = append(facts, fmt.Sprintf("rows that %s refers to are left", l.Referrer()))
	}
	if by := s.Giving.published(); by != "" {
		facts = append(facts, fmt.Sprintf("%s is published in %s: its subscribers lose the rows too, but for those "+
			"of partitions that go as a whole, which they keep", m.From, by))
	}
	if s.Giving.subscribed() {
		facts = append(facts, fmt.Sprintf("%s is filled by a logical subscription: the rows stay at its publisher, "+
			"and come again when the table is copied anew", m.From))
	}
	if m.To == (Table{}) || m.Back {
		return facts, amount, nil
	}
	lax, err := m.LaxFacts(ctx, db, s)
	return append(append(facts, lax...), m.readers(s)...), amount, err
}

// LaxFacts are the facts about constraints that rows which go may break.
func (m Movement) LaxFacts(ctx context.Context, q read.Querier, s Survey) (facts []string, err error) {
	all, err := session.Many[lax](ctx, q, laxSQL, s.Source.OID)
	if err != nil {
		return nil, fmt.Errorf("constraints of %s: %w", m.From, err)
	}
	for _, k := range all {
		facts = append(facts, fmt.Sprintf("the constraint %s of %s is not valid: rows that break it do not come back "+
			"while it is there", pgx.Identifier{k.Name}.Sanitize(), m.From))
	}
	return facts, nil
}

type lax struct{ Name string }

// laxSQL names the constraints of table $1 that its own rows may break.
const laxSQL = "select conname::text from pg_constraint where conrelid = $1::int8::oid and contype in ('c', 'f') and " +
	"not convalidated order by 1"

// cutFact says before which moment rows are past their age now.
func (m Movement) cutFact(ctx context.Context, q read.Querier, s Survey) (string, error) {
	cut, err := session.One(ctx, q, pgx.RowTo[string], "select to_char(c, 'YYYY-MM-DD HH24:MI:SS OF') || ' (' || "+
		"current_setting('TimeZone') || ')' from (select clock_timestamp() - make_interval(secs => $1) as c) x",
		m.Age.Seconds())
	if err != nil {
		return "", fmt.Errorf("the server's time: %w", err)
	}
	return fmt.Sprintf("rows of before %s would go now; a run takes this moment anew when its work begins, and then "+
		"keeps it", cut), nil
}

// readers reports who could read the rows in the destination and not in the source.
func (m Movement) readers(s Survey) (facts []string) {
	if s.wider != "" {
		facts = append(facts, fmt.Sprintf("%s may be read by %s, and %s may not: personal data would be seen by more "+
			"people",
			m.To, s.wider, m.From))
	}
	if s.Source.Policies && !s.Dest.Policies {
		facts = append(facts, fmt.Sprintf("%s has row security and %s has none: personal data would be seen by more "+
			"people",
			m.From, m.To))
	}
	return facts
}

// counts says how many rows go, and whether they were counted: where that takes too long
// it is as the planner expects.
func (m Movement) counts(ctx context.Context, q read.Querier) (n float64, counted bool, err error) {
	if n, err = m.expect(ctx, q, m.From); err != nil || n > countMost {
		return n, false, err
	}
	soon, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	of, err := session.One(soon, q, pgx.RowTo[float64],
		fmt.Sprintf("select count(*)::float8 from (select from %s where %s limit %d) x", m.From, m.WhereText(),
			countMost+1))
	cancelled, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case soon.Err() != nil && ctx.Err() == nil, ok && cancelled.Code == session.CodeCancelled:
		return n, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("rows of %s that go: %w", m.From, err)
	}
	return of, of <= countMost, nil
}

const (
	// countWithin is how long a plan counts the rows that go, and countMost how many it
	// counts at most: an approval is for that amount, and statistics may be old.
	countWithin = 3 * time.Second
	countMost   = 10_000_000
)

// weightSQL reports the size of a table with all its parts and the number of its
// rows and indexes, and the indexes of another.
const weightSQL = `
select coalesce(sum(pg_table_size(t.relid)), 0)::float8, coalesce(sum(greatest(c.reltuples, 0)), 0)::float8,
       (select count(*) from pg_index where indrelid = $2::int8::oid)::float8
  from (select relid from pg_partition_tree($1::int8::oid) where isleaf union select $1::int8::oid) t
  join pg_class c on c.oid = t.relid
 where c.relkind = 'r'`

// A weight is what is known of a table's size and of what goes of it.
type weight struct {
	bytes, tuples float64 // of the whole table
	size, wal     float64 // of the rows that go
}

// weight estimates the bytes of the rows and of the WAL: the row once more, an
// entry for each index of the destination, and what says that the old row is gone.
func (m Movement) weight(ctx context.Context, q read.Querier, s Survey, n float64) (w weight, err error) {
	const entry, gone = 70, 60
	type sizes struct{ Bytes, Tuples, Indexes float64 }
	of, err := session.One(ctx, q, pgx.RowToStructByPos[sizes], weightSQL, s.Source.OID, s.Dest.OID)
	if err != nil {
		return w, fmt.Errorf("the size of %s: %w", m.From, err)
	}
	w.bytes, w.tuples = of.Bytes, of.Tuples
	if w.tuples > 0 {
		w.size = w.bytes / max(w.tuples, n) * n
	}
	w.wal = gone * n
	if m.To != (Table{}) {
		w.wal += w.size + entry*of.Indexes*n
	}
	return w, nil
}
