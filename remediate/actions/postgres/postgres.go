// Package postgres changes PostgreSQL. Each file is one action; session.go is how
// all of them work on a server: under a lock of their own, as far as the fence
// allows, and never twice.
package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// database returns the database of a request, for reading, and refuses a
// database that is not there or a server that is a replica.
func database(ctx context.Context, t *target.Postgres, r remediate.Request) (*target.Database, error) {
	names, err := t.Databases(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name != r.Subject["database"] {
			continue
		}
		return t.Database(name)
	}
	return nil, fmt.Errorf("database %q: %w", r.Subject["database"], remediate.ErrGone)
}

// find returns the database of a request, and in it what the request is about,
// for a plan: where it is not there, that is a refusal.
func find(ctx context.Context, t *target.Postgres, r remediate.Request) (*target.Database, relation, error) {
	db, err := database(ctx, t, r)
	var rel relation
	if err == nil {
		rel, err = lookup(ctx, db, r.Subject)
	}
	if errors.Is(err, remediate.ErrGone) {
		err = remediate.Refuse(remediate.ReasonGone, "%v", err)
	}
	return db, rel, err
}

// A relation is what an action works on, as the catalog knows it.
type relation struct {
	OID       int64
	Table     int64  // its own, or that of the index
	Kind      string // pg_class.relkind
	Recovery  bool   // the server is a replica
	Owner     bool   // the role owns the table, the database, or everything
	Maintain  bool   // the role may maintain the table without owning it (17 and later)
	Version   int    // of the server, as a number
	Role      string
	Node      int64 // pg_class.relfilenode: another after the storage was written anew
	Vacuums   int64 // by hand, since the statistics were reset
	Analyzes  int64 // the same
	SizeBytes int64
}

// relationSQL looks one relation up by its names, which are parameters.
const relationSQL = `
select c.oid::int8,
       t.oid::int8,
       c.relkind::text,
       pg_is_in_recovery(),
       pg_has_role(t.relowner, 'USAGE') or (select pg_has_role(d.datdba, 'USAGE') from pg_database d where d.datname = current_database())
         or (select r.rolsuper from pg_roles r where r.rolname = current_user),
       case when current_setting('server_version_num')::int >= 170000 and has_schema_privilege(n.oid, 'USAGE') then %s else false end,
       current_setting('server_version_num')::int,
       current_user::text,
       c.relfilenode::int8,
       coalesce(pg_stat_get_vacuum_count(t.oid), 0),
       coalesce(pg_stat_get_analyze_count(t.oid), 0),
       pg_relation_size(c.oid)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_class t on t.oid = coalesce((select i.indrelid from pg_index i where i.indexrelid = c.oid), c.oid)
 where n.nspname = $1
   and c.relname = $2
   and t.relname = $3`

// lookup finds the table, or with an index the index of that table.
func lookup(ctx context.Context, db *target.Database, subject map[string]string) (rel relation, err error) {
	name := subject["index"]
	if name == "" {
		name = subject["table"]
	}
	// MAINTAIN is a word that servers before 17 do not know.
	maintain := "false"
	var version int
	if err := db.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&version); err != nil {
		return rel, err
	}
	if version >= 170000 {
		maintain = "has_table_privilege(t.oid, 'MAINTAIN')"
	}
	rows, err := db.Query(ctx, fmt.Sprintf(relationSQL, maintain), subject["schema"], name, subject["table"])
	if err != nil {
		return rel, err
	}
	rel, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[relation])
	if errors.Is(err, pgx.ErrNoRows) {
		return rel, fmt.Errorf("%s: %w", pgx.Identifier{subject["schema"], name}.Sanitize(), remediate.ErrGone)
	}
	return rel, err
}

// allowed refuses a replica and a role without the right.
func (rel relation) allowed(what string) error {
	if rel.Recovery {
		return remediate.Refuse(remediate.ReasonReadOnly, "the server is a replica; name the primary as the target")
	}
	if rel.Owner || rel.Maintain {
		return nil
	}
	want := "own it, own the database, or be a superuser"
	if rel.Version >= 170000 {
		want = "GRANT MAINTAIN ON TABLE and USAGE ON SCHEMA, or " + want
	}
	return remediate.Refuse(remediate.ReasonPrivilege, "role %s may not %s: %s", rel.Role, what, want)
}

// holderSQL names who keeps dead rows from being removed, the oldest first. The
// age is in transactions. A logical slot holds only the catalog's rows back.
const holderSQL = `
select who, age from (
  select 'session ' || pid || ' (' || coalesce(nullif(application_name, ''), 'no application_name') || ', ' || coalesce(state, 'no state') || ')' as who, age(backend_xmin)::int8 as age
    from pg_stat_activity
   where backend_xmin is not null and pid <> pg_backend_pid() and backend_type <> 'autovacuum worker'
     and (datname = current_database() or datname is null)
  union all
  select 'prepared transaction ' || quote_literal(gid), age(transaction)::int8 from pg_prepared_xacts where database = current_database()
  union all
  select 'replication slot ' || quote_ident(slot_name::text), age(xmin)::int8 from pg_replication_slots where xmin is not null
) holders
 order by age desc
 limit 1`

// worthTelling is from which age on, in transactions, a holder is named. A
// younger one is ordinary traffic.
const worthTelling = 10_000

// holder returns the session that holds old rows back, or "".
func holder(ctx context.Context, db *target.Database) (string, error) {
	var who string
	var age int64
	err := db.QueryRow(ctx, holderSQL).Scan(&who, &age)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("who holds old rows: %w", err)
	case age < worthTelling:
		return "", nil
	}
	return fmt.Sprintf("%s holds back what can be removed: it is %d transactions old", who, age), nil
}
