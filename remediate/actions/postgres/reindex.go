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

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Reindex builds one bloated index anew without blocking writes.
func Reindex(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/reindex",
		Target: t.Name,
		Doc: `Reindex builds one bloated index anew with REINDEX INDEX CONCURRENTLY, while reads and writes go on.

It needs the space of the new index beside the old one, and as much again for
sorting and WAL. It waits for the transactions of its database that are older
than it. An interrupted one leaves an invalid index "_ccnew" or "_ccold" behind:
such leftovers of this index are found and dropped first, also after a crash. It
refuses a replica, PostgreSQL 14.0 to 14.3 (which can corrupt the index), indexes
of exclusion constraints and catalogs, and a role that could not drop what an
interruption leaves. It is done when the index has another file. Rights: own the
table or the database; pg_monitor where the policy asks for headroom.`,
		Lowers:    "upkeep_postgres_index_bloat_ratio",
		Risk:      remediate.Guarded,
		Subject:   []string{"server", "database", "schema", "table", "index"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Timeout:   6 * time.Hour,
		Remedy:    reindex{t},
	}
}

type reindex struct{ target *target.Postgres }

// Headroom implements remediate.Roomer.
func (a reindex) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// Plan implements remediate.Remedy.
func (a reindex) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, rel, err := find(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	if err := a.fit(ctx, db, rel, r); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, fmt.Sprintf("the index has %s; the new one is built beside it", remediate.Quantity("_bytes", float64(rel.SizeBytes))))
	who, err := holder(ctx, db)
	if err != nil {
		return p, err
	}
	if who != "" {
		p.Facts = append(p.Facts, who)
	}
	left, err := leftovers(ctx, db, r.Subject)
	if err != nil {
		return p, err
	}
	for _, name := range left {
		p.Steps = append(p.Steps, step(r, "DROP INDEX CONCURRENTLY ", name, map[string]string{"drop": name}))
	}
	p.Steps = append(p.Steps, step(r, "REINDEX INDEX CONCURRENTLY ", r.Subject["index"], map[string]string{
		"oid": strconv.FormatInt(rel.OID, 10), "node": strconv.FormatInt(rel.Node, 10),
	}))
	return p, nil
}

// step makes one step on an index of the request's schema.
func step(r remediate.Request, do, index string, args map[string]string) remediate.Step {
	for _, name := range []string{"database", "schema", "table", "index"} {
		args[name] = r.Subject[name]
	}
	return remediate.Step{Do: do + pgx.Identifier{r.Subject["schema"], index}.Sanitize(), Args: args}
}

// fit refuses what REINDEX CONCURRENTLY cannot or must not do.
func (a reindex) fit(ctx context.Context, db *target.Database, rel relation, r remediate.Request) error {
	if err := rel.allowed("reindex"); err != nil {
		return err
	}
	switch {
	case rel.Kind != "i":
		return remediate.Refuse(remediate.ReasonUnfit, "%s is no index with storage of its own", r.Subject["index"])
	case rel.Version >= 140000 && rel.Version < 140004:
		return remediate.Refuse(remediate.ReasonUnfit, "PostgreSQL 14.0 to 14.3 can corrupt an index that is built concurrently: update to 14.4 or later")
	case !rel.Owner:
		return remediate.Refuse(remediate.ReasonPrivilege, "role %s may reindex but not drop what an interruption leaves: it must own the table", rel.Role)
	}
	var exclusion bool
	var build *string
	err := db.QueryRow(ctx, `select i.indisexclusion,
		(select 'session ' || p.pid || ' (' || p.phase || ')' from pg_stat_progress_create_index p where p.relid = i.indrelid limit 1)
		from pg_index i where i.indexrelid = $1::text::oid`, strconv.FormatInt(rel.OID, 10)).Scan(&exclusion, &build)
	switch {
	case err != nil:
		return err
	case exclusion:
		return remediate.Refuse(remediate.ReasonUnfit, "the index of an exclusion constraint cannot be built concurrently")
	case strings.HasPrefix(r.Subject["schema"], "pg_"):
		return remediate.Refuse(remediate.ReasonUnfit, "an index of the catalogs cannot be built concurrently")
	case build != nil:
		return &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "an index of the table is being built by " + *build, Until: time.Now().Add(time.Minute)}
	}
	return nil
}

// leftoverSQL finds what interrupted builds of this very index have left: the
// server cuts the name to make room for the suffix.
const leftoverSQL = `
select l.relname
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_namespace n on n.oid = c.relnamespace
  join pg_index j on j.indrelid = i.indrelid and not j.indisvalid and j.indexrelid <> i.indexrelid
  join pg_class l on l.oid = j.indexrelid
 where n.nspname = $1
   and c.relname = $2
   and l.relname ~ '_cc(new|old)[0-9]*$'
   and length(regexp_replace(l.relname, '_cc(new|old)[0-9]*$', '')) > 0
   and starts_with(c.relname, regexp_replace(l.relname, '_cc(new|old)[0-9]*$', ''))
   and (octet_length(l.relname) >= 62 or regexp_replace(l.relname, '_cc(new|old)[0-9]*$', '') = c.relname)
   and not exists (select from pg_stat_progress_create_index p where p.relid = i.indrelid)
 order by 1`

func leftovers(ctx context.Context, q read.Querier, subject map[string]string) ([]string, error) {
	rows, err := q.Query(ctx, leftoverSQL, subject["schema"], subject["index"])
	if err != nil {
		return nil, fmt.Errorf("leftovers: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Apply implements remediate.Remedy.
func (a reindex) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	j := job{
		target: a.target, action: "postgres/reindex", database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"],
		// A concurrent build waits for older transactions by waiting for their
		// locks: a lock_timeout shorter than those would leave an invalid index.
		lockTimeout: 0,
	}
	if name := s.Args["drop"]; name != "" {
		j.done = func(ctx context.Context, c *pgx.Conn) (bool, error) {
			left, err := leftovers(ctx, c, s.Args)
			return !slices.Contains(left, name), err
		}
		return j.carry(ctx, f, s.Do)
	}
	j.done = func(ctx context.Context, c *pgx.Conn) (bool, error) {
		// One that was interrupted after the new index took the name of the old
		// one is done, and has left that behind.
		done, err := rebuilt(ctx, c, s)
		if err != nil {
			return false, err
		}
		return done, a.sweep(ctx, c, f, s)
	}
	return j.carry(ctx, f, s.Do)
}

// rebuilt tells whether the index has another file than before. A concurrent
// build makes another index under the old name.
func rebuilt(ctx context.Context, c *pgx.Conn, s remediate.Step) (bool, error) {
	var oid, node string
	err := c.QueryRow(ctx, `select c.oid::text, c.relfilenode::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = $2`, s.Args["schema"], s.Args["index"]).Scan(&oid, &node)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("index %q: %w", s.Args["index"], remediate.ErrGone)
	}
	return oid != s.Args["oid"] || node != s.Args["node"], err
}

// sweep drops what an earlier, interrupted attempt at this step has left.
func (a reindex) sweep(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	left, err := leftovers(ctx, c, s.Args)
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := f.Check(ctx); err != nil {
			return err
		}
		drop := "DROP INDEX CONCURRENTLY " + pgx.Identifier{s.Args["schema"], name}.Sanitize()
		if _, err := c.Exec(ctx, drop, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", drop, err)
		}
	}
	return nil
}

// Measure implements remediate.Remedy.
func (a reindex) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	db, err := database(ctx, a.target, r)
	if err != nil {
		return 0, err
	}
	rows, err := read.ReadIndexBloat(ctx, db, of(r))
	switch {
	case err != nil:
		return 0, err
	case len(rows) == 1:
		return rows[0].Ratio, nil
	}
	if _, err := lookup(ctx, db, r.Subject); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("there is no estimate for index %q: it is no valid B-tree, or its table was never analyzed", r.Subject["index"])
}
