package relation

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Database returns the database of a request, for reading, and refuses a
// database that is not there or a server that is a replica.
func Database(ctx context.Context, t *target.Postgres, r remediate.Request) (*target.Database, error) {
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
	if name := r.Subject["database"]; t.LeavesAlone(name) {
		return nil, &excludedError{server: t.Name, database: name}
	}
	return nil, fmt.Errorf("database %q: %w", r.Subject["database"], remediate.ErrGone)
}

// An excludedError is about a database that the configuration leaves alone. For upkeep it is as one that is gone.
type excludedError struct{ server, database string }

func (e *excludedError) Error() string {
	return fmt.Sprintf("database %q is excluded by the configuration of postgres %s; to work on it, change its "+
		"databases or exclude", e.database, e.server)
}

func (e *excludedError) Is(err error) bool { return err == remediate.ErrGone }

// Find returns the database of a request, and in it what the request is about,
// for a plan: where it is not there, that is a refusal.
func Find(ctx context.Context, t *target.Postgres, r remediate.Request) (*target.Database, Subject, error) {
	db, err := Database(ctx, t, r)
	var rel Subject
	if err == nil {
		rel, err = Lookup(ctx, db, r.Subject)
	}
	if errors.Is(err, remediate.ErrGone) {
		err = remediate.Refuse(remediate.ReasonGone, "%v", err)
	}
	return db, rel, err
}

// A Subject is what an action works on, as the catalog knows it.
type Subject struct {
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
       pg_has_role(t.relowner, 'USAGE') or (select pg_has_role(d.datdba, 'USAGE') from pg_database d
         where d.datname = current_database())
         or (select r.rolsuper from pg_roles r where r.rolname = current_user),
       case when current_setting('server_version_num')::int >= 170000 and has_schema_privilege(n.oid, 'USAGE') then %s
         else false end,
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

// Lookup finds the table, or with an index the index of that table.
func Lookup(ctx context.Context, db *target.Database, names map[string]string) (rel Subject, err error) {
	name := names["index"]
	if name == "" {
		name = names["table"]
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
	rows, err := db.Query(ctx, fmt.Sprintf(relationSQL, maintain), names["schema"], name, names["table"])
	if err != nil {
		return rel, err
	}
	rel, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Subject])
	if errors.Is(err, pgx.ErrNoRows) {
		return rel, fmt.Errorf("%s: %w", pgx.Identifier{names["schema"], name}.Sanitize(), remediate.ErrGone)
	}
	return rel, err
}

// Allowed refuses a replica and a role without the right.
func (rel Subject) Allowed(what string) error {
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

// Names names the subject of a request for the collectors' queries.
func Names(r remediate.Request) read.Subject {
	return read.Subject{Schema: r.Subject["schema"], Table: r.Subject["table"], Index: r.Subject["index"]}
}

// MayDropSQL reports whether the role may drop the relation c of the namespace n.
// Neither MAINTAIN nor the database is enough for it.
const MayDropSQL = `pg_has_role(c.relowner, 'USAGE') or pg_has_role(n.nspowner, 'USAGE')
  or (select r.rolsuper from pg_roles r where r.rolname = current_user)`
