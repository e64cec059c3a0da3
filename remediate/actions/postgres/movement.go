package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
)

// A place is a table by its names. The zero value means no table.
type place struct{ Schema, Table string }

func (p place) String() string { return pgx.Identifier{p.Schema, p.Table}.Sanitize() }

// A movement is which rows go from where to where.
type movement struct {
	database string
	from, to place // to none: they are deleted
	column   string

	age          time.Duration // rows older than this when the work begins; or
	since, until time.Time     // rows of since or later, and of before until
	back         bool          // from the archive to the table
	without      []string      // columns of the archive's own, which do not come back
}

// which says which rows go, as a condition that a person reads.
func (m movement) which() string {
	column := pgx.Identifier{m.column}.Sanitize()
	if m.back {
		return fmt.Sprintf("%s >= '%s' AND %s < '%s'", column, m.since.Format(time.RFC3339Nano), column, m.until.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%s < now() - interval '%s seconds'", column, seconds(m.age))
}

// args is the movement as a step carries it. There is no moment in it that changes
// from one day to the next, so that the plan of tomorrow is that of today.
func (m movement) args(subject map[string]string, from, to side, params map[string]string) map[string]string {
	args := map[string]string{
		"part": "rows", "database": m.database, "schema": subject["schema"], "table": subject["table"],
		"from_schema": m.from.Schema, "from_table": m.from.Table, "from_oid": strconv.FormatInt(from.OID, 10), "column": m.column,
		"lag": params["lag"], "wal": params["wal"],
	}
	if m.to != (place{}) {
		args["to_schema"], args["to_table"], args["to_oid"] = m.to.Schema, m.to.Table, strconv.FormatInt(to.OID, 10)
	}
	if m.back {
		args["since"], args["until"] = m.since.Format(time.RFC3339Nano), m.until.Format(time.RFC3339Nano)
		if params["without"] != "" {
			args["without"] = params["without"]
		}
	} else {
		args["age"] = seconds(m.age)
	}
	return args
}

// movementOf reads the movement of a step.
func movementOf(args map[string]string) (m movement, err error) {
	m = movement{
		database: args["database"], column: args["column"],
		from: place{args["from_schema"], args["from_table"]}, to: place{args["to_schema"], args["to_table"]},
	}
	if args["age"] != "" {
		age, err := strconv.ParseInt(args["age"], 10, 64)
		m.age = time.Duration(age) * time.Second
		if err != nil || m.age <= 0 {
			return m, fmt.Errorf("step: age %q: %w", args["age"], errNothing)
		}
		return m, nil
	}
	m.back, m.without = true, listed(args["without"])
	m.since, m.until, err = span(args)
	return m, err
}

// A survey is what was found out about a movement: that it can be done without
// harm, and what its statements need.
type survey struct {
	version      int
	reader       rows.Reader
	source, dest side
	giving       sideState // the source with all of its parts
	taking       sideState // the destination the same
	durable      bool      // the rows of the source are safe in a crash
	columns      []string  // that are moved
	spares       []spare   // columns that are not, of rows that come back
	kind         string    // the type of the age column
	zone         string    // in which it is compared, where it has none
	links        []link
	uniques      []uniqueness // of the destination
	wider        string       // who may read the destination and not the source
}

// surveyed looks at both tables and refuses what would do harm, or cannot be done for
// want of a right.
func (m movement) surveyed(ctx context.Context, q read.Querier) (s survey, err error) {
	var p remediate.Plan
	if s, err = m.survey(ctx, q, &p); err == nil {
		err = p.Missing()
	}
	return s, err
}

// survey looks at both tables and refuses what would do harm. Missing rights are noted
// in the plan.
func (m movement) survey(ctx context.Context, q read.Querier, p *remediate.Plan) (s survey, err error) {
	if s.reader, err = rows.NewReader(ctx, q); err != nil {
		return s, err
	}
	s.version = s.reader.Version
	if s.source, err = readSide(ctx, q, m.from, deletes()); err != nil {
		return s, err
	}
	if err := s.source.fit(m.from, deletes(), p); err != nil {
		return s, err
	}
	if s.giving, err = sideOf(ctx, q, s.reader, s.source.OID); err != nil {
		return s, fmt.Errorf("%s: %w", m.from, err)
	}
	if s.durable, err = s.giving.gives(); err != nil {
		return s, err
	}
	columns, err := many[column](ctx, q, columnSQL, s.source.OID)
	if err != nil {
		return s, fmt.Errorf("columns of %s: %w", m.from, err)
	}
	if s.kind, err = m.ages(columns); err != nil {
		return s, err
	}
	if s.zone, err = zoneOf(ctx, q, s.kind); err != nil {
		return s, err
	}
	if s.links, err = many[link](ctx, q, linkSQL, s.giving.below()); err != nil {
		return s, fmt.Errorf("foreign keys to %s: %w", m.from, err)
	}
	for _, l := range s.links {
		if err := p.Blind(l.fit(s.source.Role)); err != nil {
			return s, err
		}
	}
	if m.to == (place{}) {
		return s, nil
	}
	return s, m.destination(ctx, q, &s, columns, p)
}

// ages returns the type of the age column.
func (m movement) ages(columns []column) (string, error) {
	for _, c := range columns {
		if c.Name != m.column {
			continue
		}
		switch c.TypeOID {
		case 1082:
			return "date", nil
		case 1114:
			return "timestamp", nil
		case 1184:
			return "timestamptz", nil
		}
		return "", remediate.Refuse(remediate.ReasonUnfit, "column %s of %s is %s, and no timestamp or date", pgx.Identifier{m.column}.Sanitize(), m.from, c.Type)
	}
	return "", remediate.Refuse(remediate.ReasonUnfit, "%s has no column %s", m.from, pgx.Identifier{m.column}.Sanitize())
}

// kinSQL tells whether one of two tables is an ancestor of the other.
const kinSQL = `
with recursive above(child, parent) as (
  select inhrelid, inhparent from pg_inherits where inhrelid in ($1::int8::oid, $2::int8::oid)
  union
  select a.child, i.inhparent from above a join pg_inherits i on i.inhrelid = a.parent
)
select exists (select from above where child = $1::int8::oid and parent = $2::int8::oid or child = $2::int8::oid and parent = $1::int8::oid)`

// destination looks at the second table, and whether it takes the rows of the first.
func (m movement) destination(ctx context.Context, q read.Querier, s *survey, columns []column, p *remediate.Plan) (err error) {
	s.dest, err = readSide(ctx, q, m.to, inserts())
	if errors.Is(err, remediate.ErrGone) {
		return remediate.Refuse(remediate.ReasonUnfit, "the destination %s is not there: create table %s (like %s including defaults including generated including indexes), and grant as few people as there", m.to, m.to, m.from)
	}
	if err != nil {
		return err
	}
	if err := s.dest.fit(m.to, inserts(), p); err != nil {
		return err
	}
	kin, err := one(ctx, q, pgx.RowTo[bool], kinSQL, s.source.OID, s.dest.OID)
	switch {
	case err != nil:
		return err
	case kin || s.source.OID == s.dest.OID:
		return remediate.Refuse(remediate.ReasonUnfit, "%s and %s are parts of one table: what is moved would be there still", m.from, m.to)
	}
	if s.taking, err = sideOf(ctx, q, s.reader, s.dest.OID); err != nil {
		return fmt.Errorf("%s: %w", m.to, err)
	}
	if err := s.taking.takes(s.durable); err != nil {
		return err
	}
	if s.wider, err = m.reads(ctx, q, s.source.OID, s.dest.OID); err != nil {
		return err
	}
	into, err := many[column](ctx, q, columnSQL, s.dest.OID)
	if err != nil {
		return fmt.Errorf("columns of %s: %w", m.to, err)
	}
	fit, err := match(m, columns, into)
	if err != nil {
		return err
	}
	s.columns, s.spares = fit.names, fit.spares
	if s.uniques, err = many[uniqueness](ctx, q, uniqueSQL, s.dest.OID); err != nil {
		return fmt.Errorf("unique indexes of %s: %w", m.to, err)
	}
	own, err := many[uniqueness](ctx, q, uniqueSQL, s.source.OID)
	if err != nil {
		return fmt.Errorf("unique indexes of %s: %w", m.from, err)
	}
	for _, u := range s.uniques {
		if !m.back && !u.implied(own) {
			return remediate.Refuse(remediate.ReasonUnfit, "%s demands with %s what %s does not, so that rows could not be moved one day: drop that index, or make the same one there", m.to, pgx.Identifier{u.Name}.Sanitize(), m.from)
		}
	}
	return nil
}

// text is what a person would type for all batches at once.
func (m movement) text(s survey) string {
	if m.to == (place{}) {
		return fmt.Sprintf("DELETE FROM %s WHERE %s -- in small batches", m.from, m.which())
	}
	columns := list(s.columns)
	return fmt.Sprintf("WITH d AS (DELETE FROM %s WHERE %s RETURNING %s) INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM d -- in small batches", m.from, m.which(), columns, m.to, columns, columns)
}

func (m movement) undo() string {
	switch {
	case m.to == place{}:
		return ""
	case m.back:
		return "postgres/archive moves them again"
	default:
		return "postgres/restore_archived brings them back"
	}
}

// facts are what a person wants to know before saying yes, and how much goes.
func (m movement) facts(ctx context.Context, db *target.Database, s survey) (facts []string, amount *remediate.Amount, err error) {
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
	facts = append(facts, fmt.Sprintf("%s%.0f of about %.0f rows go, some %s; expect %s of WAL", how, n, all, remediate.Quantity("_bytes", w.size), remediate.Quantity("_bytes", w.wal)))
	if !m.back {
		amount = &remediate.Amount{Rows: n, Bytes: w.size, OfRows: all, OfBytes: w.bytes}
		cut, err := m.cutFact(ctx, db, s)
		if err != nil {
			return nil, nil, err
		}
		facts = append(facts, cut)
	}
	if s.zone != "" {
		facts = append(facts, fmt.Sprintf("column %s is a %s without a time zone: it is compared in the time zone %s, that of the session", pgx.Identifier{m.column}.Sanitize(), s.kind, s.zone))
	}
	for _, l := range s.links {
		facts = append(facts, fmt.Sprintf("rows that %s refers to are left", l.place()))
	}
	if by := s.giving.published(); by != "" {
		facts = append(facts, fmt.Sprintf("%s is published in %s: its subscribers lose the rows too, but for those of partitions that go as a whole, which they keep", m.from, by))
	}
	if s.giving.subscribed() {
		facts = append(facts, fmt.Sprintf("%s is filled by a logical subscription: the rows stay at its publisher, and come again when the table is copied anew", m.from))
	}
	if m.to == (place{}) || m.back {
		return facts, amount, nil
	}
	lax, err := m.laxity(ctx, db, s)
	return append(append(facts, lax...), m.readers(s)...), amount, err
}

// laxity are the facts about constraints that rows which go may break.
func (m movement) laxity(ctx context.Context, q read.Querier, s survey) (facts []string, err error) {
	all, err := many[lax](ctx, q, laxSQL, s.source.OID)
	if err != nil {
		return nil, fmt.Errorf("constraints of %s: %w", m.from, err)
	}
	for _, k := range all {
		facts = append(facts, fmt.Sprintf("the constraint %s of %s is not valid: rows that break it do not come back while it is there", pgx.Identifier{k.Name}.Sanitize(), m.from))
	}
	return facts, nil
}

type lax struct{ Name string }

// laxSQL names the constraints of table $1 that its own rows may break.
const laxSQL = "select conname::text from pg_constraint where conrelid = $1::int8::oid and contype in ('c', 'f') and not convalidated order by 1"

// cutFact says before which moment rows are past their age now.
func (m movement) cutFact(ctx context.Context, q read.Querier, s survey) (string, error) {
	cut, err := one(ctx, q, pgx.RowTo[string], "select to_char(c, 'YYYY-MM-DD HH24:MI:SS OF') || ' (' || current_setting('TimeZone') || ')' from (select clock_timestamp() - make_interval(secs => $1) as c) x", m.age.Seconds())
	if err != nil {
		return "", fmt.Errorf("the server's time: %w", err)
	}
	return fmt.Sprintf("rows of before %s would go now; a run takes this moment anew when its work begins, and then keeps it", cut), nil
}

// readers tells who could read the rows in the destination and not in the source.
func (m movement) readers(s survey) (facts []string) {
	if s.wider != "" {
		facts = append(facts, fmt.Sprintf("%s may be read by %s, and %s may not: personal data would be seen by more people", m.to, s.wider, m.from))
	}
	if s.source.Policies && !s.dest.Policies {
		facts = append(facts, fmt.Sprintf("%s has row security and %s has none: personal data would be seen by more people", m.from, m.to))
	}
	return facts
}

// reads names who could read the rows in the destination and not in the source; "" for
// rows that come back.
func (m movement) reads(ctx context.Context, q read.Querier, from, to int64) (string, error) {
	if m.back || m.to == (place{}) {
		return "", nil
	}
	wider, err := one(ctx, q, pgx.RowTo[string], widerSQL, from, to)
	if err != nil {
		return "", fmt.Errorf("who may read %s: %w", m.to, err)
	}
	return wider, nil
}

// unseen refuses where others may read the rows in the destination than the plan says,
// which is a part of what was approved.
func (m movement) unseen(ctx context.Context, q read.Querier, from, to int64, planned string) error {
	wider, err := m.reads(ctx, q, from, to)
	if err == nil && wider != planned {
		err = remediate.Refuse(remediate.ReasonChanged, "%s may be read by others than when the plan was made (%s)", m.to, wider)
	}
	return err
}

// widerSQL names the roles that may read the second table, or a column of it, and not
// that of the first.
const widerSQL = `
select coalesce(string_agg(distinct case grantee when 0 then 'everybody' else quote_ident(pg_get_userbyid(grantee)) end, ', '), '')
  from (select x.grantee, null::name as col
          from pg_class c cross join lateral (select grantee from aclexplode(c.relacl) where privilege_type = 'SELECT' union select c.relowner) x
         where c.oid = $2::int8::oid
        union
        select x.grantee, a.attname
          from pg_attribute a cross join lateral aclexplode(a.attacl) x
         where a.attrelid = $2::int8::oid and not a.attisdropped and x.privilege_type = 'SELECT') readers
  left join pg_attribute s on s.attrelid = $1::int8::oid and s.attname = readers.col and not s.attisdropped
 where case grantee
       when 0 then not exists (select from pg_class t cross join lateral aclexplode(t.relacl) y where t.oid = $1::int8::oid and y.grantee = 0 and y.privilege_type = 'SELECT')
               and not exists (select from aclexplode(s.attacl) y where y.grantee = 0 and y.privilege_type = 'SELECT')
       else not has_table_privilege(grantee, $1::int8::oid, 'SELECT')
        and not coalesce(has_column_privilege(grantee, $1::int8::oid, s.attnum, 'SELECT'), false) end`

// expect estimates how many rows of a table go.
func (m movement) expect(ctx context.Context, q read.Querier, p place) (float64, error) {
	if m.back {
		return read.ReadArchived(ctx, q, target.Archive{Column: m.column, To: target.Destination{Schema: p.Schema, Table: p.Table}}, m.since, m.until)
	}
	return read.ReadRetention(ctx, q, target.Archive{Schema: p.Schema, Table: p.Table, Column: m.column, After: m.age})
}

const (
	// countWithin is how long a plan counts the rows that go, and countMost how many it
	// counts at most: an approval is for that amount, and statistics may be old.
	countWithin = 3 * time.Second
	countMost   = 10_000_000
)

// counts says how many rows go, and whether they were counted: where that takes too long
// it is as the planner expects.
func (m movement) counts(ctx context.Context, q read.Querier) (n float64, counted bool, err error) {
	if n, err = m.expect(ctx, q, m.from); err != nil || n > countMost {
		return n, false, err
	}
	soon, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	of, err := one(soon, q, pgx.RowTo[float64], fmt.Sprintf("select count(*)::float8 from (select from %s where %s limit %d) x", m.from, m.which(), countMost+1))
	cancelled, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case soon.Err() != nil && ctx.Err() == nil, ok && cancelled.Code == codeCancelled:
		return n, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("rows of %s that go: %w", m.from, err)
	}
	return of, of <= countMost, nil
}

// weightSQL tells the size of a table with all its parts and the number of its
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
func (m movement) weight(ctx context.Context, q read.Querier, s survey, n float64) (w weight, err error) {
	const entry, gone = 70, 60
	type sizes struct{ Bytes, Tuples, Indexes float64 }
	of, err := one(ctx, q, pgx.RowToStructByPos[sizes], weightSQL, s.source.OID, s.dest.OID)
	if err != nil {
		return w, fmt.Errorf("the size of %s: %w", m.from, err)
	}
	w.bytes, w.tuples = of.Bytes, of.Tuples
	if w.tuples > 0 {
		w.size = w.bytes / max(w.tuples, n) * n
	}
	w.wal = gone * n
	if m.to != (place{}) {
		w.wal += w.size + entry*of.Indexes*n
	}
	return w, nil
}

// clashSQL asks whether a row that would be moved is there already.
func (m movement) clashSQL(columns []string) string {
	var on []string
	for _, c := range columns {
		name := pgx.Identifier{c}.Sanitize()
		on = append(on, "o."+name+" = t."+name)
	}
	column := pgx.Identifier{m.column}.Sanitize()
	return "select exists (select from " + m.from.String() + " t where t." + column + " >= $1::timestamptz and t." + column + " < $2::timestamptz and exists (select from " + m.to.String() + " o where " + strings.Join(on, " and ") + "))"
}

// unclashing refuses to bring rows back where one of them is there already.
func (m movement) unclashing(ctx context.Context, q read.Querier, s survey) error {
	for _, u := range s.uniques {
		if !u.plain() || slices.ContainsFunc(u.Columns, func(c string) bool { return !slices.Contains(s.columns, c) }) {
			continue
		}
		clash, err := one(ctx, q, pgx.RowTo[bool], m.clashSQL(u.Columns), m.since, m.until)
		if err != nil {
			return fmt.Errorf("rows that are in both tables: %w", err)
		}
		if clash {
			return remediate.Refuse(remediate.ReasonUnfit, "rows of %s are in %s already, by its index %s: nothing was moved; delete them where they do not belong", m.from, m.to, pgx.Identifier{u.Name}.Sanitize())
		}
	}
	return nil
}

// listed reads names with commas between.
func listed(text string) (names []string) {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// condition is the condition that row t goes; its parameters begin with $n. It is
// no bare comparison, so that no index is taken in the place of the blocks that
// are named beside it.
func (m movement) condition(n int) string {
	column := "t." + pgx.Identifier{m.column}.Sanitize()
	if m.back {
		return fmt.Sprintf("coalesce(%s >= $%d::timestamptz and %s < $%d::timestamptz, false)", column, n, column, n+1)
	}
	return fmt.Sprintf("coalesce(%s < $%d::timestamptz, false)", column, n)
}
