package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Freeze vacuums the tables of a database that are oldest.
func Freeze(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/freeze",
		Target: t.Name,
		Doc: "Freeze vacuums the tables of a database whose transactions are oldest, the oldest first, with VACUUM (FREEZE)." + `

A server refuses every write when it comes near two thousand million transactions;
freezing prevents that. The tables are those past half of that limit, or if there are
none, those past half of autovacuum_freeze_max_age. Catalogs are included, and TOAST
tables are vacuumed with their table. Each table is a step of its own, at most 200 in a
plan. A step takes a SHARE UPDATE EXCLUSIVE lock: reads and writes go on, but it reads
the whole table and writes what is not frozen yet. An autovacuum that prevents
wraparound does not give way and is never cancelled: the step waits a few seconds for
its lock, and is tried again.

VACUUM cannot freeze rows that a transaction may still see. It refuses, and names the
cause, if an open transaction, a prepared transaction, a replication slot (for catalogs
a logical one too), a standby or a temporary table of another session is older than the
limit. It refuses a replica, and a role that may not vacuum one of the tables, which it
names. A step is done when the server's count of manual vacuums of its table has grown,
or the table is gone. A cancelled step keeps what it has frozen so far. Multixacts are
frozen with the rest.

Rights: a superuser, or (17 and later) pg_maintain and USAGE on every schema, as with
pg_read_all_data. The owner of the database (13 to 16) suffices if none of the server's
shared catalogs is too old. Also pg_read_all_stats (it is in pg_monitor), to see which
sessions hold back the oldest transaction.`,
		Lowers: "upkeep_postgres_database_freeze_age_xids",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "SHARE UPDATE EXCLUSIVE, one table after the other",
			Blocks: "DDL and other maintenance of the table",
			WAL:    "up to every page of the tables",
			Disk:   "none",
			Undo:   "nothing to undo",
		},
		Subject:   []string{"server", "database"},
		Exclusive: []string{"server", "database"},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`, Until: 16,
				For: "to vacuum a table; to own the database suffices for its catalogs, and those that all databases " +
					"share want a superuser"},
			{Grant: `grant pg_maintain to :"role"`, Since: 17, For: "to vacuum every table and catalog"},
			{Grant: `grant pg_read_all_data to :"role"`, Since: 17,
				For: "to use every schema, without which no table in it is vacuumed"},
			{Grant: `grant pg_read_all_stats to :"role"`, For: "to see who holds transactions back"},
		},
		Timeout:  12 * time.Hour,
		Cancel:   remediate.CancelAnytime,
		Executor: freeze{t},
	}
}

// freezeArgs are the arguments of one of its steps.
type freezeArgs struct {
	session.Place

	OID     int64 `arg:"oid"`
	Vacuums int64 `arg:"vacuums"` // by hand, before
}

type freeze struct{ target *target.Postgres }

// Headroom implements remediate.Roomer.
func (a freeze) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

// mostFrozen is how many tables a plan has at most: what people can still read. What
// is left is in the next plan.
const mostFrozen = 200

// ageSQL is the collector's query, for one database.
const ageSQL = `select age(datfrozenxid)::float8 from pg_database where datname = $1`

// Measure implements remediate.Executor.
func (a freeze) Measure(ctx context.Context, r remediate.Request) (age float64, err error) {
	if _, err := relation.Database(ctx, a.target, r); err != nil {
		return 0, err
	}
	server, err := a.target.Server()
	if err != nil {
		return 0, err
	}
	err = server.QueryRow(ctx, ageSQL, r.Subject["database"]).Scan(&age)
	return age, err
}

// oldestTablesSQL lists the tables that are older than $1, the oldest first. A table
// is as old as its values out of line, which are vacuumed with it. The ages are
// those of this database also for catalogs that all share.
const oldestTablesSQL = `
select n.nspname, c.relname, c.oid::int8, c.relpersistence = 't',
       greatest(age(c.relfrozenxid), age(o.relfrozenxid))::int8,
       pg_table_size(c.oid),
       coalesce(pg_stat_get_vacuum_count(c.oid), 0),
       (select r.rolsuper from pg_roles r where r.rolname = current_user)
         or pg_has_role(c.relowner, 'USAGE')
         or not c.relisshared and (select pg_has_role(d.datdba, 'USAGE') from pg_database d
           where d.datname = current_database())
         or %s
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_class o on o.oid = c.reltoastrelid and o.oid <> 0
 where c.relkind in ('r', 'm')
   and greatest(age(c.relfrozenxid), age(o.relfrozenxid)) > $1
 order by greatest(age(c.relfrozenxid), age(o.relfrozenxid)) desc, pg_table_size(c.oid), n.nspname, c.relname
 limit $2`

type oldTable struct {
	Schema, Table      string
	OID                int64
	Temporary          bool
	Age, Size, Vacuums int64
	MayVacuum          bool
}

// Plan implements remediate.Executor.
func (a freeze) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a freeze) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, err := relation.Database(ctx, a.target, r)
	if errors.Is(err, remediate.ErrGone) {
		return p, remediate.Refuse(remediate.ReasonGone, "%v", err)
	}
	if err != nil {
		return p, err
	}
	var replica bool
	var version int
	var limit int64
	var role string
	err = db.QueryRow(ctx, "select pg_is_in_recovery(), current_setting('server_version_num')::int, "+
		"current_setting('autovacuum_freeze_max_age')::int8, current_user::text").Scan(&replica, &version,
		&limit, &role)
	switch {
	case err != nil:
		return p, err
	case replica:
		return p, remediate.Refuse(remediate.ReasonReadOnly, "the server is a replica; name the primary as the target")
	}
	if r.Limit != nil {
		limit = int64(*r.Limit)
	}
	if err := a.held(ctx, db, limit); err != nil {
		return p, err
	}
	tables, err := a.tables(ctx, db, version, limit/2)
	if err != nil {
		return p, err
	}
	for _, t := range tables {
		name := pgx.Identifier{t.Schema, t.Table}.Sanitize()
		switch {
		case t.Temporary && t.Age > limit:
			return p, remediate.Refuse(remediate.ReasonCannotHelp,
				"the temporary table %s is %d transactions old, and only its own session can vacuum it: end that "+
					"session", name, t.Age)
		case t.Temporary:
			continue // ends with its session, or is looked at when it is too old
		case !t.MayVacuum && t.Age > limit: // it is noted
			_ = p.NoteMissing(remediate.Refuse(remediate.ReasonPrivilege,
				"role %s may not vacuum %s, which is %d transactions old: %s", role, name, t.Age, wantsFreeze(version)))
		case !t.MayVacuum:
			continue
		}
		p.Facts = append(p.Facts, fmt.Sprintf("%s is %d transactions old and has %s", name, t.Age,
			remediate.Quantity("_bytes", float64(t.Size))))
		at := session.Place{Database: r.Subject["database"], Schema: t.Schema, Table: t.Table}
		p.Steps = append(p.Steps, remediate.StepOf("VACUUM (FREEZE, TRUNCATE off) "+name,
			freezeArgs{at, t.OID, t.Vacuums}))
	}
	return p, nil
}

func wantsFreeze(version int) string {
	if version >= 170000 {
		return "grant pg_maintain to it, and USAGE on the schema or pg_read_all_data"
	}
	return "make it a superuser, or own the table (the database suffices for tables that databases do not share)"
}

func (a freeze) tables(ctx context.Context, db *target.Database, version int, older int64) ([]oldTable, error) {
	maintain := "false" // a word that servers before 17 do not know
	if version >= 170000 {
		maintain = "has_table_privilege(c.oid, 'MAINTAIN') and has_schema_privilege(n.oid, 'USAGE')"
	}
	rows, err := db.Query(ctx, fmt.Sprintf(oldestTablesSQL, maintain), older, mostFrozen)
	if err != nil {
		return nil, fmt.Errorf("the oldest tables: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[oldTable])
}

// catalogSQL finds the logical slot that holds the most of the catalogs' rows.
const catalogSQL = `
select slot_name::text, age(catalog_xmin)::int8 from pg_replication_slots
 where catalog_xmin is not null order by 2 desc limit 1`

// held refuses where somebody is so old that no vacuum brings the age below the limit.
func (a freeze) held(ctx context.Context, db *target.Database, limit int64) error {
	h, err := session.Horizon(ctx, a.target, db.Name())
	switch {
	case errors.Is(err, read.ErrHidden):
		return remediate.Refuse(remediate.ReasonPrivilege, "who holds transactions back is not known: %v", err)
	case err != nil:
		return err
	case h != nil && h.Age > limit:
		return session.CannotHelp(*h, fmt.Sprintf("no vacuum brings the age below %d", limit))
	}
	var slot string
	var age int64
	err = db.QueryRow(ctx, catalogSQL).Scan(&slot, &age)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("slots: %w", err)
	case age > limit:
		return remediate.Refuse(remediate.ReasonCannotHelp,
			"no vacuum brings the age of the catalogs below %d: replication slot %q holds back the last %d "+
				"transactions of them", limit, slot, age)
	}
	return nil
}

// Apply implements remediate.Executor.
func (a freeze) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[freezeArgs](s)
	if err != nil {
		return err
	}
	return session.Job{
		Target: a.target, Server: session.Planned(s), Action: "postgres/freeze", Place: args.Place,
		LockTimeout: 5 * time.Second, // another vacuum or DDL holds the conflicting locks
		Done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			var there bool
			var vacuumed int64
			err := c.QueryRow(ctx, "select exists (select from pg_class where oid = $1::int8::oid), "+
				"coalesce(pg_stat_get_vacuum_count($1::int8::oid), 0)", args.OID).Scan(&there, &vacuumed)
			if err != nil || there && vacuumed <= args.Vacuums {
				return false, err
			}
			return true, finishFreeze(ctx, c, f)
		},
	}.Run(ctx, f, s.Do)
}

// behindSQL reports whether the database counts as older than its oldest table. A vacuum
// brings that up to date at its end, in a transaction after the table's.
const behindSQL = `
select age(datfrozenxid) > (select max(age(relfrozenxid)) from pg_class where relkind in ('r', 'm', 't')),
  current_setting('server_version_num')::int
  from pg_database where datname = current_database()`

// finishFreeze does what is left of a step that was interrupted after its table was
// vacuumed, and before the database counted as younger for it.
func finishFreeze(ctx context.Context, c *pgx.Conn, f remediate.Fence) error {
	var behind bool
	var version int
	if err := c.QueryRow(ctx, behindSQL).Scan(&behind, &version); err != nil || !behind {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	statement := "VACUUM (ONLY_DATABASE_STATS)"
	if version < 160000 {
		// of a few rows; also where it is skipped, the rest is done
		statement = "VACUUM (TRUNCATE off) pg_catalog.pg_am"
	}
	if _, err := c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Identified implements remediate.Identifier.
func (a freeze) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
