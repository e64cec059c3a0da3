package objects

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// The ledger says which objects of a store hold rows that are not in their table
// any more. It is in the database itself: an entry is written by the
// transaction that deletes the rows, so that both are there or neither, also after
// a restore of the database to an earlier moment. An object that has no entry
// holds copies of rows that are still in the table, and nothing is lost with it.
//
// Rights: CREATE on the database, or the schema made beforehand for the role.
const ledgerSQL = `
create table if not exists upkeep.parcels (
  id bigint generated always as identity primary key,
  object text not null,
  place text not null,
  schema_name text not null,
  table_name text not null,
  rows bigint not null,
  oldest timestamptz not null,
  newest timestamptz not null,
  before text not null,
  moved_at timestamptz not null default clock_timestamp(),
  age_column text
);
create index if not exists parcels_table on upkeep.parcels (schema_name, table_name, oldest);
create table if not exists upkeep.restored (
  parcel bigint not null references upkeep.parcels,
  since timestamptz not null,
  until timestamptz not null,
  rows bigint not null,
  restored_at timestamptz not null default clock_timestamp(),
  primary key (parcel, since, until)
);
comment on table upkeep.parcels is
  'Objects outside of the database that hold rows which were deleted here: upkeep, postgres/archive';
comment on table upkeep.restored is
  'Which rows of those objects are in their table again: upkeep, postgres/restore_archived'`

// ledgerStateSQL reports whether the ledger is there, whether it could be made, and
// who owns what is there. A trigger or a default of a table runs with the rights of
// who inserts: one that another role made is not written to.
const ledgerStateSQL = `
select (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'upkeep'
  and c.relname in ('parcels', 'restored') and c.relkind = 'r') = 2,
       coalesce((select has_schema_privilege(n.oid, 'CREATE') from pg_namespace n where n.nspname = 'upkeep'),
         has_database_privilege(current_database(), 'CREATE')),
       coalesce((select min(quote_ident(o.rolname))
                   from (select nspowner as owner from pg_namespace where nspname = 'upkeep'
                         union select c.relowner from pg_class c join pg_namespace n on n.oid = c.relnamespace
                           where n.nspname = 'upkeep') mine
                   join pg_roles o on o.oid = mine.owner
                  where o.rolname <> current_user and not o.rolsuper and o.oid <> (select datdba from pg_database
                    where datname = current_database())), ''),
       coalesce((select bool_and(has_table_privilege(c.oid, 'SELECT') and has_table_privilege(c.oid, 'INSERT'))
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'upkeep'
                     and c.relname in ('parcels', 'restored')), false),
       quote_ident(current_user),
       exists (select from pg_namespace where nspname = 'upkeep'),
       exists (select from pg_attribute a join pg_class c on c.oid = a.attrelid
         join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = 'upkeep' and c.relname = 'parcels' and a.attname = 'age_column'
                  and not a.attisdropped)`

// A ledgerState is what is known of the ledger before it is used.
type ledgerState struct {
	There, Makeable bool
	Stranger        string // a role that owns a part of it and should not
	Writable        bool
	Role            string
	Schema          bool // it is there
	Column          bool // it says by which column rows were past their age, which older ones do not
}

func readLedgerState(ctx context.Context, q read.Querier) (s ledgerState, err error) {
	if s, err = session.One(ctx, q, pgx.RowToStructByPos[ledgerState], ledgerStateSQL); err != nil {
		return s, fmt.Errorf("ledger: %w", err)
	}
	return s, nil
}

// usable refuses a ledger that can be neither used nor made.
func (s ledgerState) usable() error {
	switch {
	case s.Stranger != "":
		return remediate.Refuse(remediate.ReasonPrivilege,
			"the schema upkeep, which says what was moved to which object, belongs in part to role %s: it must "+
				"belong to %s, or the owner of the database", s.Stranger, s.Role)
	case s.There && !s.Writable:
		return remediate.Refuse(remediate.ReasonPrivilege,
			"role %s may not write down what was moved to which object: grant select, insert on upkeep.parcels, "+
				"upkeep.restored to %s", s.Role, s.Role)
	case !s.There && !s.Makeable:
		return remediate.Refuse(remediate.ReasonPrivilege,
			"role %s may not make the tables that say what was moved to which object: create schema upkeep "+
				"authorization %s", s.Role, s.Role)
	}
	return nil
}

// ensureLedger makes the ledger where it is not there.
func ensureLedger(ctx context.Context, c *pgx.Conn, f remediate.Fence) error {
	s, err := readLedgerState(ctx, c)
	if err != nil {
		return err
	}
	if err := s.usable(); err != nil || s.There && s.Column {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if s.There {
		if _, err := c.Exec(ctx, "alter table upkeep.parcels add column if not exists age_column text",
			pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("alter table upkeep.parcels add column age_column text, as its owner: %w", err)
		}
		return nil
	}
	// One transaction, since it is one message. Another table's archive may be at
	// it at the same moment: the lock lets one after the other.
	sql := "select pg_advisory_xact_lock(7309456024591363);"
	if !s.Schema {
		sql += "create schema if not exists upkeep;" // which wants the right also where it is there
	}
	if _, err := c.Exec(ctx, sql+ledgerSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("make the ledger: %w", err)
	}
	return nil
}

// newestSQL names the object of a destination that was written down last.
const newestSQL = "select object, id from upkeep.parcels where place = $1 order by id desc limit 1"

// mounted refuses a destination without the object which was put there last: a
// folder whose file system is not mounted looks like an empty one. A ledger that may
// not be read says nothing of that: mayFile refuses it.
func mounted(ctx context.Context, q read.Querier, to target.Destination) error {
	s, err := readLedgerState(ctx, q)
	if err != nil || !s.There || s.usable() != nil {
		return err
	}
	type entry struct {
		Object string
		ID     int64
	}
	all, err := session.Many[entry](ctx, q, newestSQL, to.Label)
	if err != nil || len(all) == 0 {
		return err
	}
	object, err := depot.Open(ctx, to.Store, all[0].Object)
	if errors.Is(err, depot.ErrMissing) {
		return remediate.Refuse(remediate.ReasonUnfit,
			"%s has no object %s, which was put there last: mount what it is on; or, where that object was removed "+
				"on purpose, delete the line with the id %d from upkeep.parcels", to.Label,
			all[0].Object, all[0].ID)
	}
	if err != nil {
		return fmt.Errorf("the destination, %s: %w", to.Label, err)
	}
	return object.Close()
}

// enter writes an object down, in the transaction that deletes its rows.
func enter(ctx context.Context, tx pgx.Tx, object, label, before string, p depot.Parcel) error {
	_, err := tx.Exec(ctx, `insert into upkeep.parcels (object, place, schema_name, table_name, rows, oldest, newest,
		before, age_column)
		values ($1, $2, $3, $4, $5, $6::text::timestamptz, $7::text::timestamptz, $8, $9)`,
		object, label, p.Schema, p.Table, p.Rows, p.Oldest, p.Newest, before, p.Column)
	if err != nil {
		return fmt.Errorf("write object %s down: %w", object, err)
	}
	return nil
}
