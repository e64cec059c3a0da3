package partition

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// boundName is the constraint by which a partition proves its bounds, so that it
// need not be read while others wait for its table. Its comment says whose partition
// it is, so that one that is detached and not yet dropped is found again.
const boundName = "upkeep_bounds"

// A partition is one of a table that is partitioned by the range of its age column.
type partition struct {
	OID           int64
	Schema, Table string
	Plain         bool   // it has rows of its own, and no partitions
	Owned         bool   // by the role, or by one that it is a member of
	Pending       bool   // its detachment has begun and has not ended
	Detached      bool   // a run of ours detached it and did not end
	Marked        bool   // it has our constraint
	From, To      string // its bounds, quoted; "" for the default partition
	Old, Young    bool   // all of its rows go; none does
	Rows, Bytes   float64
}

func (p partition) Name() rows.Table { return rows.Table{Schema: p.Schema, Name: p.Table} }

// partsSQL lists the partitions of table $1 where it is partitioned by the range of
// the column $2 alone, and those that a run of ours detached. Bounds are compared as
// rows are, and written so that no setting of a session reads them otherwise. %[1]s is
// the column's type, %[2]s what tells a pending detachment (14 and later), %[3]s how a
// bound is written, %[4]s when all rows of a partition go, %[5]s when none does.
const partsSQL = `
with root as (
  select p.partrelid, r.relowner
    from pg_partitioned_table p
    join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
    join pg_class r on r.oid = p.partrelid
   where p.partrelid = $1::int8::oid and p.partstrat = 'r' and p.partnatts = 1 and a.attname = $2
), kin as (
  select i.inhrelid as oid, %[2]s as pending, false as detached, regexp_match(pg_get_expr(c.relpartbound, c.oid),
    '^FOR VALUES FROM \((.*)\) TO \((.*)\)$') as b
    from root join pg_inherits i on i.inhparent = root.partrelid join pg_class c on c.oid = i.inhrelid
  union all
  select c.oid, false, true, (regexp_match(obj_description(k.oid, 'pg_constraint'), '` + ledgerRegexp + `'))[2:3]
    from root
    join pg_constraint k on k.conname = '` + boundName + `' and k.contype = 'c'
    join pg_class c on c.oid = k.conrelid and c.relowner = root.relowner
    join pg_namespace n on n.oid = c.relnamespace
   where (regexp_match(obj_description(k.oid, 'pg_constraint'), '` + ledgerRegexp + `'))[1] = root.partrelid::text
     and (regexp_match(obj_description(k.oid, 'pg_constraint'), '` + ledgerRegexp + `'))[4:5] =
         array[` + quotedName + `, c.oid::text]
     and not exists (select from pg_inherits i where i.inhrelid = c.oid)
)
select c.oid::int8, n.nspname::text, c.relname::text,
       c.relkind = 'r' and not exists (select from pg_inherits i where i.inhparent = c.oid),
       pg_has_role(c.relowner, 'USAGE'), kin.pending, kin.detached,
       exists (select from pg_constraint k where k.conrelid = c.oid and k.conname = '` + boundName + `'),
       coalesce(case when v.low is null then kin.b[1] else %[3]s end, ''),
       coalesce(case when v.high is null then kin.b[2] else %[6]s end, ''),
       coalesce(%[4]s, false), coalesce(%[5]s, false),
       greatest(c.reltuples, 0)::float8, case when c.relkind = 'r' then pg_table_size(c.oid) else 0 end::float8
  from kin
  join pg_class c on c.oid = kin.oid
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (select case when kin.b[1] like '''%%' then trim(both '''' from kin.b[1])::%[1]s end as low, case
    when kin.b[2] like '''%%' then trim(both '''' from kin.b[2])::%[1]s end as high) v
 where $3::float8 is not null and $4::timestamptz is not null and $5::timestamptz is not null
 order by c.relname, n.nspname`

// ledgerRegexp reads the comment of our constraint on a table that a run of ours has
// detached: whose partition it was, from where, to where, under which name, and its own
// oid, since CREATE TABLE … (LIKE … INCLUDING ALL) copies the comment. Before the
// detachment the comment has no end: a partition that has it so, and is one no more,
// may have been detached by another session, or was given another name since, and is nothing
// of ours.
const ledgerRegexp = `^upkeep: partition of (\d+) FROM \((.*)\) TO \((.*)\), detached as (.*), table (\d+)$`

// quotedName is the name of relation c as this package writes it.
const quotedName = `'"' || replace(n.nspname, '"', '""') || '"."' || replace(c.relname, '"', '""') || '"'`

// unclaimedSQL lists the tables that have our constraint of partitions of table $1, and
// of which it is not proven that a run of ours detached them under their name.
const unclaimedSQL = `
select ` + quotedName + `
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
  join pg_namespace n on n.oid = c.relnamespace
 where k.conname = '` + boundName + `' and k.contype = 'c'
   and obj_description(k.oid, 'pg_constraint') like 'upkeep: partition of ' || $1::text || ' FROM %'
   and coalesce((regexp_match(obj_description(k.oid, 'pg_constraint'), '` + ledgerRegexp + `'))[4:5] <>
                array[` + quotedName + `, c.oid::text], true)
   and not exists (select from pg_inherits i where i.inhrelid = c.oid)
 order by 1`

// unclaimed are the facts about those tables: they are left alone.
func unclaimed(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey) (facts []string, err error) {
	rows, err := q.Query(ctx, unclaimedSQL, strconv.FormatInt(s.Source.OID, 10))
	if err != nil {
		return nil, fmt.Errorf("tables that were partitions of %s: %w", m.From, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("tables that were partitions of %s: %w", m.From, err)
	}
	for _, name := range names {
		facts = append(facts, fmt.Sprintf("%s was a partition of %s, has a constraint that a run of upkeep began "+
			"with, and is left alone: attach it again where its rows belong to %[2]s, or alter table %[1]s drop "+
			"constraint %[3]s", name,
			m.From, boundName))
	}
	return facts, nil
}

// written is how a bound is written: in ISO 8601, and in UTC where it has a zone.
func written(kind, v string) string {
	if kind != "timestamptz" {
		return "quote_literal(to_json(" + v + ") #>> '{}')"
	}
	return "quote_literal(case when isfinite(" + v + ") then (to_json(" + v +
		" at time zone 'UTC') #>> '{}') || '+00:00' else " + v + "::text end)"
}

// pendingSQL tells a pending detachment, which servers before 14 do not know.
func pendingSQL(version int) string {
	if version < 140000 {
		return "false"
	}
	return "i.inhdetachpending"
}

// parts lists the partitions of the source; none where it is not partitioned by age.
func parts(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey) ([]partition, error) {
	if s.Source.Kind != "p" {
		return nil, nil
	}
	old, young := "v.high <= now() - make_interval(secs => $3)", "v.low >= now() - make_interval(secs => $3)"
	if m.Back {
		old, young = "v.low >= $4::timestamptz and v.high <= $5::timestamptz",
			"v.high <= $4::timestamptz or v.low >= $5::timestamptz"
	}
	sql := fmt.Sprintf(partsSQL, s.Kind, pendingSQL(s.Version), written(s.Kind, "v.low"), old, young,
		written(s.Kind, "v.high"))
	all, err := session.Many[partition](ctx, q, sql, s.Source.OID, m.Column, m.Age.Seconds(), m.Since, m.Until)
	if err != nil {
		return nil, fmt.Errorf("partitions of %s: %w", m.From, err)
	}
	return all, nil
}

// bound reports whether a text is how a bound is written; nothing else reaches a
// statement.
func bound(text string) bool {
	if text == "MINVALUE" || text == "MAXVALUE" {
		return true
	}
	inner, ok := strings.CutPrefix(text, "'")
	inner, closed := strings.CutSuffix(inner, "'")
	return ok && closed && !strings.ContainsFunc(inner, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' ||
			strings.ContainsRune(" :+.-", r))
	})
}

// hinderSQL names what keeps DROP TABLE … RESTRICT from dropping table $1: what
// depends on it, or on what falls with it, and does not fall itself. A sequence that
// the table owns would fall too, and functions may use it by its name, which the server
// does not know of: it counts. It takes no lock of the table. Any role; 13 and later.
const hinderSQL = `
with recursive falls(classid, objid) as (
  select 'pg_class'::regclass::oid, $1::int8::oid
  union
  select d.classid, d.objid from falls f join pg_depend d on d.refclassid = f.classid and d.refobjid = f.objid
   where d.deptype in ('a', 'i', 'P', 'S') and d.objsubid = 0
), stays(classid, objid, objsubid) as (
  select d.classid, d.objid, d.objsubid from falls f join pg_depend d on d.refclassid = f.classid
    and d.refobjid = f.objid
   where d.deptype = 'n' and (d.classid, d.objid) not in (select classid, objid from falls)
  union
  select d.refclassid, d.refobjid, d.refobjsubid from falls f join pg_depend d on d.classid = f.classid
    and d.objid = f.objid
   where d.deptype = 'e'
  union
  select f.classid, f.objid, 0 from falls f
    join pg_class q on f.classid = 'pg_class'::regclass and q.oid = f.objid and q.relkind = 'S'
    join pg_depend d on d.classid = f.classid and d.objid = f.objid and d.refclassid = 'pg_class'::regclass
      and d.deptype = 'a'
)
select coalesce(string_agg(distinct coalesce(pg_describe_object('pg_class'::regclass, w.ev_class, 0),
  pg_describe_object(s.classid, s.objid, s.objsubid)), ', '), '')
  from stays s
  left join pg_rewrite w on s.classid = 'pg_rewrite'::regclass and w.oid = s.objid and w.rulename = '_RETURN'`

// hinders returns what keeps a table from being dropped, "" where nothing does.
func hinders(ctx context.Context, q read.Querier, oid int64) (string, error) {
	what, err := session.One(ctx, q, pgx.RowTo[string], hinderSQL, oid)
	if err != nil {
		return "", fmt.Errorf("what depends on table %d: %w", oid, err)
	}
	return what, nil
}

// likeSQL reports what keeps table $1 from becoming a partition of $2 from $4 to $5:
// another key, other columns, a constraint or an index that would have to be made
// meanwhile, partitions that are in its place, or a trigger whose state would be lost. %[1]s is the type of the column
// $3.
const likeSQL = `
select case
  when not (select count(*) = 1 from pg_partitioned_table p join pg_attribute a on a.attrelid = p.partrelid
    and a.attnum = p.partattrs[0]
             where p.partrelid = d.oid and p.partstrat = 'r' and p.partnatts = 1 and a.attname = $3)
  then 'it is not partitioned by the range of that column'
  when exists (select attname, atttypid, atttypmod, attcollation, attgenerated from pg_attribute where attrelid = s.oid
    and attnum > 0 and not attisdropped
               except select attname, atttypid, atttypmod, attcollation, attgenerated from pg_attribute
                 where attrelid = d.oid and attnum > 0 and not attisdropped)
    or exists (select attname from pg_attribute where attrelid = d.oid and attnum > 0 and not attisdropped
               except select attname from pg_attribute where attrelid = s.oid and attnum > 0 and not attisdropped)
  then 'its columns are not exactly the same'
  when exists (select attname from pg_attribute where attrelid = d.oid and attnum > 0 and attnotnull
    and not attisdropped
               except select attname from pg_attribute where attrelid = s.oid and attnum > 0 and attnotnull
                 and not attisdropped)
    or exists (select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = d.oid and contype = 'c'
               except select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = s.oid
                 and contype = 'c' and convalidated)
    or exists (select pg_get_constraintdef(oid) from pg_constraint where conrelid = d.oid and contype = 'f'
               except select pg_get_constraintdef(oid) from pg_constraint where conrelid = s.oid and contype = 'f'
                 and convalidated)
    or exists (select from pg_constraint where conrelid = d.oid and contype = 'x')
  then 'it has constraints that the partition does not have'
  when exists (select regexp_replace(pg_get_indexdef(indexrelid), '^CREATE (UNIQUE )?INDEX .* ON (ONLY )?.* USING ',
    '\1') from pg_index where indrelid = d.oid
               except select regexp_replace(pg_get_indexdef(indexrelid),
                 '^CREATE (UNIQUE )?INDEX .* ON (ONLY )?.* USING ', '\1') from pg_index where indrelid = s.oid
                   and indisvalid)
  then 'it has an index that the partition does not have'
  when exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid
                 cross join lateral (select m[1] as low, m[2] as high from regexp_match(pg_get_expr(c.relpartbound,
                   c.oid), '^FOR VALUES FROM \((.*)\) TO \((.*)\)$') m) b
                where i.inhparent = d.oid and i.inhrelid <> s.oid
                  and case when b.low is null then false when b.low = 'MINVALUE' or $5 = 'MAXVALUE' then true
                    else trim(both '''' from b.low)::%[1]s < nullif($5, 'MAXVALUE')::%[1]s end
                  and case when b.high is null then false when b.high = 'MAXVALUE' or $4 = 'MINVALUE' then true
                    else trim(both '''' from b.high)::%[1]s > nullif($4, 'MINVALUE')::%[1]s end)
  then 'it has a partition for that time already'
  when exists (select from pg_trigger g join pg_trigger h on h.oid = g.tgparentid where g.tgrelid = s.oid
    and g.tgenabled <> h.tgenabled)
  then 'a trigger of the partition is disabled, or enabled, where that of its table is not, '
         || 'and would be as there when it is handed back'
  when not pg_has_role(d.relowner, 'USAGE')
  then 'the role does not own it'
  else '' end
  from pg_class s, pg_class d
 where s.oid = $1::int8::oid and d.oid = $2::int8::oid`

// unlike returns why a partition of the source cannot become one of the destination.
func unlike(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, p partition) (string, error) {
	if s.Dest.Kind != "p" {
		return fmt.Sprintf("%s is not partitioned", m.To), nil
	}
	why, err := session.One(ctx, q, pgx.RowTo[string], fmt.Sprintf(likeSQL, s.Kind), p.OID, s.Dest.OID, m.Column,
		strings.Trim(p.From, "'"), strings.Trim(p.To, "'"))
	if err != nil {
		return "", fmt.Errorf("whether %s takes %s: %w", m.To, p.Name(), err)
	}
	if why != "" {
		why = m.To.String() + ": " + why
	}
	return why, nil
}

// defaultSQL names the default partition of a table.
const defaultSQL = `
select coalesce(max(format('%I.%I', n.nspname, c.relname)), '')
  from pg_partitioned_table p join pg_class c on c.oid = p.partdefid join pg_namespace n on n.oid = c.relnamespace
 where p.partrelid = $1::int8::oid`

// astray returns why the default partition of the destination keeps another from
// being attached: it holds rows of that time, or it would take long to see that it
// does not, while no other session could use it.
func astray(ctx context.Context, m rows.Movement, q read.Querier, s rows.Survey, p partition) (string, error) {
	rest, err := session.One(ctx, q, pgx.RowTo[string], defaultSQL, s.Dest.OID)
	if err != nil || rest == "" {
		return "", err
	}
	soon, cancel := context.WithTimeout(ctx, handTime)
	defer cancel()
	there, err := session.One(soon, q, pgx.RowTo[bool], "select exists (select from "+rest+" where "+
		within(m.Column, p.From, p.To)+")")
	switch {
	case soon.Err() != nil && ctx.Err() == nil:
		return fmt.Sprintf("its default partition %s would have to be read under a lock that blocks all other sessions",
			rest), nil
	case err != nil:
		return "", fmt.Errorf("rows of %s: %w", rest, err)
	case there:
		return fmt.Sprintf("its default partition %s holds rows of that time", rest), nil
	}
	return "", nil
}

// within is the condition that a column keeps bounds.
func within(column, low, high string) string {
	return keeps(pgx.Identifier{column}.Sanitize(), low, high)
}

// withinOf is the same of a table's column.
func withinOf(table, column, low, high string) string {
	return keeps(table+"."+pgx.Identifier{column}.Sanitize(), low, high)
}

func keeps(name, low, high string) string {
	all := []string{name + " is not null"}
	if low != "MINVALUE" {
		all = append(all, name+" >= "+low)
	}
	if high != "MAXVALUE" {
		all = append(all, name+" < "+high)
	}
	return strings.Join(all, " and ")
}

// amountOf is how much goes with whole partitions: rows as the planner's statistics
// have them, bytes as the files are.
func amountOf(parts []partition) (a remediate.Amount) {
	for _, p := range parts {
		a.Rows += p.Rows
		a.Bytes += p.Bytes
	}
	return a
}

// alone reports whether a table has no default partition, beside which none is
// detached concurrently.
func alone(parts []partition) bool {
	return !slices.ContainsFunc(parts, func(p partition) bool { return p.To == "" && !p.Detached })
}

// handTime is how long a statement may take while a partition changes hands or leaves
// its table: no other session can use the table meanwhile.
const handTime = 500 * time.Millisecond

// The steps on one partition, as their Args say them.
const (
	Drop     = "drop"      // detach it, and drop it
	HandOver = "hand over" // give it to the archive
	HandBack = "hand back" // give it to the table again
	Finish   = "detach"    // end a detachment that another has begun
	Attach   = "attach"    // undo a detachment of ours that cannot be gone on with
)

func attachText(to, p rows.Table, low, high string) string {
	return fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)", to, p, low, high)
}

// dropsWatchedSQL reports whether an event trigger fires when a table is dropped. It may
// refuse that, which cannot be known before, and refuse to undo a detachment as well.
const dropsWatchedSQL = `
select exists (select from pg_event_trigger where evtenabled in ('O', 'A') and evtevent in ('ddl_command_start',
  'sql_drop', 'ddl_command_end') and (evttags is null or 'DROP TABLE' = any(evttags)))`

// dropsWatched reports whether a partition is dropped in one transaction for that.
func dropsWatched(ctx context.Context, q read.Querier) (bool, error) {
	watched, err := session.One(ctx, q, pgx.RowTo[bool], dropsWatchedSQL)
	if err != nil {
		return false, fmt.Errorf("event triggers: %w", err)
	}
	return watched, nil
}
