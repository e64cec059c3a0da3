package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// VacuumFull rewrites one table under an exclusive lock.
func VacuumFull(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/vacuum_full",
		Target: t.Name,
		Doc: `VacuumFull writes one table and its indexes anew with VACUUM (FULL, ANALYZE), under a lock that blocks all reads and writes.

It is for tables that postgres/repack cannot handle. It needs approval each time, and
waits for a maintenance window. It holds an ACCESS EXCLUSIVE lock until its end: the plan
estimates the duration from the sizes and a conservative rate, and lists the sessions that
use the table and what else would wait. It does not stay in the lock queue: it waits half
a second for the lock, while others queue behind it, lets them pass, and retries, for ten
minutes; then it gives up and names the blocking sessions. It refuses if the disk is known
to be too small for the copy, or if little space can be reclaimed. It is done when the
table has another file; if it is cancelled before, the table is unchanged. Transactions that began before it and
have not read the table yet see it as it was afterwards. Rights: own the table or the
database (PostgreSQL 13 to 16), or MAINTAIN on the table and USAGE on its schema (17 and
later); SELECT on the table, for the estimate.`,
		Lowers:    "upkeep_postgres_table_bloat_ratio",
		Risk:      remediate.Guarded,
		Asks:      true,
		Windowed:  true,
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`, Until: 16, For: "to vacuum the table"},
			{Grant: `grant maintain on table :"schema".:"table" to :"role"`, Since: 17, For: "to vacuum the table"},
			{Grant: `grant usage on schema :"schema" to :"role"`, For: "to find the table"},
			{Grant: `grant select on table :"schema".:"table" to :"role"`, For: "to see the statistics that the estimate is made from"},
		},
		Timeout:  6 * time.Hour,
		Cancel:   remediate.CancelAnytime,
		Executor: vacuumFull{t},
	}
}

type vacuumFull struct{ target *target.Postgres }

// Headroom implements remediate.Roomer.
func (a vacuumFull) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// Plan implements remediate.Executor.
func (a vacuumFull) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a vacuumFull) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, rel, err := find(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	if err := p.NoteMissing(rel.allowed("vacuum the table")); err != nil {
		return p, err
	}
	h, err := surveyHeap(ctx, db, rel, r)
	if err != nil {
		return p, err
	}
	if err := h.plain(r, "rm", ": a partitioned one has none of its own, name its partitions"); err != nil {
		return p, err
	}
	if p.Facts, err = h.worth(ctx, db, r); err != nil {
		return p, err
	}
	for _, look := range []func(context.Context, *target.Database) (string, error){h.locked, h.room, h.users, h.dependents} {
		fact, err := look(ctx, db)
		if err != nil {
			return p, err
		}
		p.Facts = append(p.Facts, fact)
	}
	p.Steps = []remediate.Step{{
		Do:   "VACUUM (FULL, ANALYZE) " + pgx.Identifier{r.Subject["schema"], r.Subject["table"]}.Sanitize(),
		Args: tableArgs(r, rel, map[string]string{"node": strconv.FormatInt(rel.Node, 10)}),
	}}
	return p, nil
}

const (
	// carefulRate is how many bytes a second are copied where nothing better is
	// known. On two cores and an ordinary disk it was 100 to 200 MB.
	carefulRate = 50 << 20

	// readsKnown is how many pages must have been read before their times say
	// something of the disk.
	readsKnown = 10_000
)

// rateSQL is how fast the server has read from its disk, or its system's cache, in
// bytes a second. Zero where track_io_timing is off, or little was read.
const rateSQL = `
select coalesce((select blks_read * current_setting('block_size')::float8 / (blk_read_time / 1000)
                   from pg_stat_database where datname = current_database() and blks_read >= $1 and blk_read_time > 0), 0)`

// locked estimates how long the lock is held: all is read once and written once.
func (h heap) locked(ctx context.Context, db *target.Database) (string, error) {
	var measured float64
	if err := db.QueryRow(ctx, rateSQL, readsKnown).Scan(&measured); err != nil {
		return "", fmt.Errorf("how fast the server reads: %w", err)
	}
	rate, how := float64(carefulRate), "a careful rate"
	if measured > 0 && measured < rate {
		rate, how = measured, "the rate at which this database has read its disk (track_io_timing)"
	}
	bytes := float64(h.SizeBytes + h.copyBytes())
	return fmt.Sprintf("the table is locked for reads and writes for about %s: %s are read and written, at %s a second, %s",
		remediate.Quantity("_seconds", max(bytes/rate, 1)), remediate.Quantity("_bytes", bytes), remediate.Quantity("_bytes", rate), how), nil
}

// usersSQL tells who holds a lock of the table, and since when the longest of them
// has its transaction open. A role without pg_monitor does not see the latter.
const usersSQL = `
select count(distinct l.pid), coalesce(extract(epoch from clock_timestamp() - min(a.xact_start)), 0)::float8,
       coalesce((array_agg(format('session %s of %s (%s, %s)', a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'no application_name'), a.state) order by a.xact_start))[1], '')
  from pg_locks l
  join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation' and l.granted and l.pid <> pg_backend_pid()
   and l.database = (select oid from pg_database where datname = current_database())
   and l.relation::int8 = $1`

func (h heap) users(ctx context.Context, db *target.Database) (string, error) {
	var n int
	var age float64
	var who string
	if err := db.QueryRow(ctx, usersSQL, h.OID).Scan(&n, &age, &who); err != nil {
		return "", fmt.Errorf("who uses the table: %w", err)
	}
	if n == 0 {
		return "no session uses the table now", nil
	}
	return fmt.Sprintf("%d sessions use the table now, the longest for %s: %s", n, remediate.Quantity("_seconds", age), who), nil
}

// dependentsSQL names what cannot be used either while the table is locked.
const dependentsSQL = `
select (select count(*) from pg_index i where i.indrelid = $1::text::oid),
       coalesce((select string_agg(distinct k.conrelid::regclass::text, ', ') from pg_constraint k where k.confrelid = $1::text::oid and k.contype = 'f' and k.conrelid <> k.confrelid), ''),
       coalesce((select string_agg(distinct w.ev_class::regclass::text, ', ') from pg_depend d join pg_rewrite w on w.oid = d.objid
                  where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = $1::text::oid and w.ev_class <> d.refobjid), '')`

func (h heap) dependents(ctx context.Context, db *target.Database) (string, error) {
	var indexes int
	var referencing, views string
	if err := db.QueryRow(ctx, dependentsSQL, strconv.FormatInt(h.OID, 10)).Scan(&indexes, &referencing, &views); err != nil {
		return "", fmt.Errorf("what depends on the table: %w", err)
	}
	said := []string{fmt.Sprintf("its %d indexes are built anew", indexes)}
	if referencing != "" {
		said = append(said, "writers of the tables that reference it wait too: "+referencing)
	}
	if views != "" {
		said = append(said, "readers of its views wait too: "+views)
	}
	return strings.Join(said, "; "), nil
}

// Apply implements remediate.Executor.
func (a vacuumFull) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	j := job{
		target: a.target, server: session.Planned(s), action: "postgres/vacuum_full", database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"],
		lockTimeout: shortLock,
		done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			done, err := rewritten(ctx, c, s)
			if err != nil || !done {
				return false, err
			}
			return true, refresh(ctx, c, f, s)
		},
	}
	j.run = func(ctx context.Context, c *pgx.Conn) error {
		err := patiently(ctx, c, f, longPatience, func() error { return j.execute(ctx, c, s.Do) })
		if unlocked(err) {
			return errors.Join(err, holders(ctx, c, s))
		}
		return err
	}
	return j.carry(ctx, f, s.Do)
}

// holders is an error that names who holds the table.
func holders(ctx context.Context, c *pgx.Conn, s remediate.Step) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelWithin)
	defer cancel()
	oid, err := strconv.ParseInt(s.Args["oid"], 10, 64)
	if err != nil {
		return fmt.Errorf("step: oid: %w", err)
	}
	var n int
	var age float64
	var who string
	switch err := c.QueryRow(ctx, usersSQL, oid).Scan(&n, &age, &who); {
	case err != nil:
		return fmt.Errorf("who uses the table: %w", err)
	case n == 0:
		return errors.New("no session holds it now")
	}
	return fmt.Errorf("%d sessions hold the table, the longest for %s: %s; end it, or wait for another window", n, remediate.Quantity("_seconds", age), who)
}

// Measure implements remediate.Executor.
func (a vacuumFull) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	return tableBloat(ctx, a.target, r)
}
