package look

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/advice"
)

// What is large enough to be looked at.
const (
	largeTable = 8 << 20 // bytes: a thousand pages, which take a moment to read
	manyScans  = 20      // a dump a day makes fewer in a fortnight
	manyRows   = 10_000  // a scan of fewer is as good as an index
	mostRows   = 200     // of each answer: more are not read by a person
)

// serverSQL asks who asks.
//
// Rights: none beyond CONNECT. Versions: 13 and later. Cost: none.
const serverSQL = `select current_user::text, pg_is_in_recovery(), current_setting('server_version_num')::int4`

// closedSQL lists the databases of which a role sees nothing.
//
// Rights: none beyond CONNECT to the first database. Versions: 13 and later. Cost: one pass over pg_database.
const closedSQL = `
select datname::text, datallowconn
  from pg_database
 where not datistemplate and datconnlimit <> -2
   and not (datallowconn and has_database_privilege(oid, 'CONNECT'))
 order by datname
 limit $1`

// preparedSQL lists the prepared transactions. One is there for a moment where all is well: it was prepared
// to be committed.
//
// Rights: none beyond CONNECT. Versions: 13 and later. Cost: one pass over the prepared transactions.
const preparedSQL = `
select gid, database::text, owner::text, prepared, extract(epoch from clock_timestamp() - prepared)::float8
  from pg_prepared_xacts
 order by prepared
 limit $1`

// scansSQL lists the large tables that are read from their beginning to their end again and again, and by
// an index seldom. A scan that stops early, as that of LIMIT, reads few rows.
//
// Rights: none beyond CONNECT. Versions: 13 and later. Cost: one pass over pg_class; no file is looked at.
const scansSQL = `
select n.nspname::text, c.relname::text, c.relpages * current_setting('block_size')::float8, greatest(c.reltuples, 0)::float8,
       s.scans, s.read, x.scans, d.stats_reset
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (select pg_stat_get_numscans(c.oid)::float8, pg_stat_get_tuples_returned(c.oid)::float8) s (scans, read)
  cross join lateral (select coalesce(sum(pg_stat_get_numscans(i.indexrelid)), 0)::float8 from pg_index i where i.indrelid = c.oid) x (scans)
  left join pg_stat_database d on d.datname = current_database()
 where c.relkind in ('r', 'm')
   and c.relpersistence <> 't'
   and n.nspname <> all (array['pg_catalog', 'information_schema'])
   and c.relpages * current_setting('block_size')::float8 >= $1
   and s.scans >= $2
   and s.read >= s.scans * $3
   and s.scans * 4 >= x.scans
 order by s.read desc
 limit $4`

// neverSQL lists the large tables that no vacuum and no analyze has seen: the catalog knows nothing of
// them. A table that somebody has locked for himself alone would be waited for, and is left out.
//
// Rights: none beyond CONNECT. Versions: 13 and later; before 14 the catalog has 0 in the place of -1. Cost: one
// pass over pg_class, and a look at the files of those tables.
const neverSQL = `
select t.schema, t.name, t.bytes
  from (select n.nspname::text as schema, c.relname::text as name, pg_relation_size(c.oid)::float8 as bytes
          from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'm')
           and c.relpersistence <> 't'
           and (c.reltuples < 0 or c.reltuples = 0 and c.relpages = 0 and current_setting('server_version_num')::int < 140000)
           and n.nspname <> all (array['pg_catalog', 'information_schema'])
           and c.oid <> all (array(select l.relation from pg_locks l where l.mode = 'AccessExclusiveLock' and l.relation is not null
             and l.database = (select d.oid from pg_database d where d.datname = current_database())))
        offset 0) t
 where t.bytes >= $1
 order by t.bytes desc
 limit $2`

// constraintsSQL lists the constraints that were added without a check of the rows that were there. One that is
// not enforced at all (18 and later) is meant so.
//
// Rights: none beyond CONNECT. Versions: 13 and later. Cost: one pass over pg_constraint.
const constraintsSQL = `
select n.nspname::text, t.relname::text, k.conname::text
  from pg_constraint k
  join pg_class t on t.oid = k.conrelid
  join pg_namespace n on n.oid = t.relnamespace
 where not k.convalidated
   and coalesce((to_jsonb(k) ->> 'conenforced')::bool, true)
   and n.nspname <> all (array['pg_catalog', 'information_schema'])
 order by 1, 2, 3
 limit $1`

// triggersSQL lists the tables with triggers that do not fire. Those of constraints are internal.
//
// Rights: none beyond CONNECT. Versions: 13 and later. Cost: one pass over pg_trigger.
const triggersSQL = `
select n.nspname::text, t.relname::text, array_agg(g.tgname::text order by g.tgname), bool_or(g.tgisinternal)
  from pg_trigger g
  join pg_class t on t.oid = g.tgrelid
  join pg_namespace n on n.oid = t.relnamespace
 where g.tgenabled = 'D'
   and n.nspname <> all (array['pg_catalog', 'information_schema'])
 group by 1, 2
 order by 1, 2
 limit $1`

const extensionSQL = `select exists (select from pg_extension where extname = 'pg_stat_statements')`

// askPostgres asks a server what no collector does. What was read is returned beside what was not.
func askPostgres(ctx context.Context, t *target.Postgres) (p Postgres, unknown []Unknown) {
	p.At = time.Now()
	fail := func(what string, err error) {
		if err != nil {
			unknown = append(unknown, Unknown{Server: t.Name, What: what, Why: err.Error()})
		}
	}
	server, err := t.Server()
	if err == nil {
		err = server.QueryRow(ctx, serverSQL).Scan(&p.Role, &p.Standby, &p.Version)
	}
	if err == nil {
		p.Prepared, err = target.Rows[Prepared](ctx, server, preparedSQL, mostRows)
	}
	var names []string
	if err == nil {
		names, err = t.Databases(ctx)
	}
	if err != nil {
		fail("prepared transactions, foreign keys, scans, constraints and triggers", err)
		return p, unknown
	}
	closed, err := closed(ctx, server, t, p.Role)
	fail("databases without the right to connect", err)
	unknown = append(unknown, closed...)
	statements, all := false, true
	for _, name := range names {
		found, err := p.database(ctx, t, name)
		statements = statements || found
		if err != nil {
			all = false
			fail("foreign keys, scans, constraints and triggers", fmt.Errorf("database %s: %w", name, err))
		}
	}
	if statements || all {
		p.Statements = &statements
	}
	return p, unknown
}

// closed are the databases that cannot be asked.
func closed(ctx context.Context, server target.Querier, t *target.Postgres, role string) (all []Unknown, err error) {
	rows, err := target.Rows[struct {
		Name   string
		Allows bool
	}](ctx, server, closedSQL, mostRows)
	for _, r := range rows {
		if t.LeavesAlone(r.Name) {
			continue
		}
		one := Unknown{Server: t.Name, What: "database " + r.Name, Why: "it allows no connections (datallowconn)"}
		if r.Allows {
			one.Why = "the role has no right to connect to it"
			one.SQL = "GRANT CONNECT ON DATABASE " + quoted(r.Name) + " TO " + quoted(role) + ";"
		}
		all = append(all, one)
	}
	return all, err
}

// database asks one database, and reports whether it has the extension pg_stat_statements.
func (p *Postgres) database(ctx context.Context, t *target.Postgres, name string) (statements bool, err error) {
	q, err := t.Database(name)
	if err != nil {
		return false, err
	}
	if err := q.QueryRow(ctx, extensionSQL).Scan(&statements); err != nil {
		return false, err
	}
	return statements, errors.Join(p.foreignKeys(ctx, q, name), p.scans(ctx, q, name), p.never(ctx, q, name),
		p.constraints(ctx, q, name), p.triggers(ctx, q, name))
}

func (p *Postgres) foreignKeys(ctx context.Context, q target.Querier, database string) error {
	rows, err := advice.ReadForeignKeys(ctx, q)
	for _, r := range rows[:min(len(rows), mostRows)] {
		p.ForeignKeys = append(p.ForeignKeys, ForeignKey{Database: database, Schema: r.Schema, Table: r.Table,
			Constraint: r.Constraint, Refers: r.Refers(), Rows: r.Rows, Do: r.Do()})
	}
	return err
}

func (p *Postgres) scans(ctx context.Context, q target.Querier, database string) error {
	rows, err := target.Rows[struct {
		Schema, Table                        string
		Bytes, Rows, Sequential, Read, Index float64
		Since                                *time.Time
	}](ctx, q, scansSQL, float64(largeTable), float64(manyScans), float64(manyRows), mostRows)
	for _, r := range rows {
		p.Scans = append(p.Scans, Scans{database, r.Schema, r.Table, r.Bytes, r.Rows, r.Sequential, r.Read, r.Index,
			r.Since})
	}
	return named("sequential scans", err)
}

func (p *Postgres) never(ctx context.Context, q target.Querier, database string) error {
	rows, err := target.Rows[struct {
		Schema, Table string
		Bytes         float64
	}](ctx, q, neverSQL, float64(largeTable), mostRows)
	for _, r := range rows {
		p.Never = append(p.Never, Never{database, r.Schema, r.Table, r.Bytes})
	}
	return named("tables that were never analyzed", err)
}

func (p *Postgres) constraints(ctx context.Context, q target.Querier, database string) error {
	rows, err := target.Rows[struct{ Schema, Table, Name string }](ctx, q, constraintsSQL, mostRows)
	for _, r := range rows {
		p.Constraints = append(p.Constraints, Constraint{database, r.Schema, r.Table, r.Name})
	}
	return named("constraints", err)
}

func (p *Postgres) triggers(ctx context.Context, q target.Querier, database string) error {
	rows, err := target.Rows[struct {
		Schema, Table string
		Names         []string
		Internal      bool
	}](ctx, q, triggersSQL, mostRows)
	for _, r := range rows {
		p.Triggers = append(p.Triggers, Triggers{database, r.Schema, r.Table, r.Names, r.Internal})
	}
	return named("triggers", err)
}

func named(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
