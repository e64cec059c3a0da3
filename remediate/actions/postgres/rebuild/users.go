package rebuild

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

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
                   from pg_stat_database where datname = current_database() and blks_read >= $1 and blk_read_time > 0),
                     0)`

// Locked estimates how long the lock is held: all is read once and written once.
func (h heap) Locked(ctx context.Context, db *target.Database) (string, error) {
	var measured float64
	if err := db.QueryRow(ctx, rateSQL, readsKnown).Scan(&measured); err != nil {
		return "", fmt.Errorf("how fast the server reads: %w", err)
	}
	rate, how := float64(carefulRate), "a careful rate"
	if measured > 0 && measured < rate {
		rate, how = measured, "the rate at which this database has read its disk (track_io_timing)"
	}
	bytes := float64(h.SizeBytes + h.copyBytes())
	return fmt.Sprintf("the table is locked for reads and writes for about %s: %s are read and written, at %s a "+
		"second, %s",
		remediate.Quantity("_seconds", max(bytes/rate, 1)), remediate.Quantity("_bytes", bytes),
		remediate.Quantity("_bytes", rate), how), nil
}

// usersSQL reports who holds a lock of the table, and since when the longest of them
// has its transaction open. A role without pg_monitor does not see the latter.
const usersSQL = `
select count(distinct l.pid), coalesce(extract(epoch from clock_timestamp() - min(a.xact_start)), 0)::float8,
       coalesce((array_agg(format('session %s of %s (%s, %s)', a.pid, a.usename,
         coalesce(nullif(a.application_name, ''), 'no application_name'), a.state) order by a.xact_start))[1], '')
  from pg_locks l
  join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation' and l.granted and l.pid <> pg_backend_pid()
   and l.database = (select oid from pg_database where datname = current_database())
   and l.relation::int8 = $1`

func (h heap) Users(ctx context.Context, db *target.Database) (string, error) {
	var n int
	var age float64
	var who string
	if err := db.QueryRow(ctx, usersSQL, h.OID).Scan(&n, &age, &who); err != nil {
		return "", fmt.Errorf("who uses the table: %w", err)
	}
	if n == 0 {
		return "no session uses the table now", nil
	}
	return fmt.Sprintf("%d sessions use the table now, the longest for %s: %s", n,
		remediate.Quantity("_seconds", age), who), nil
}

// dependentsSQL names what cannot be used either while the table is locked.
const dependentsSQL = `
select (select count(*) from pg_index i where i.indrelid = $1::int8::oid),
       coalesce((select string_agg(distinct k.conrelid::regclass::text, ', ') from pg_constraint k
         where k.confrelid = $1::int8::oid and k.contype = 'f' and k.conrelid <> k.confrelid), ''),
       coalesce((select string_agg(distinct w.ev_class::regclass::text, ', ') from pg_depend d
         join pg_rewrite w on w.oid = d.objid
                  where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
                    and d.refobjid = $1::int8::oid and w.ev_class <> d.refobjid), '')`

func (h heap) Dependents(ctx context.Context, db *target.Database) (string, error) {
	var indexes int
	var referencing, views string
	if err := db.QueryRow(ctx, dependentsSQL, h.OID).Scan(&indexes, &referencing,
		&views); err != nil {
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

// TableUsers is an error that names who holds the table. A session that is closed, as one whose time was over in
// the middle of a statement, is replaced by a reader's.
func TableUsers(ctx context.Context, t *target.Postgres, c *pgx.Conn, database string, oid int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CancelWithin)
	defer cancel()
	var q target.Querier = c
	if c.IsClosed() {
		reader, err := t.Database(database)
		if err != nil {
			return fmt.Errorf("who uses the table: %w", err)
		}
		q = reader
	}
	all, err := target.Rows[struct {
		Sessions int
		Age      float64
		Who      string
	}](ctx, q, usersSQL, oid)
	switch {
	case err != nil:
		return fmt.Errorf("who uses the table: %w", err)
	case len(all) == 0 || all[0].Sessions == 0:
		return errors.New("no session holds it now")
	}
	return fmt.Errorf("%d sessions hold the table, the longest for %s: %s; end it, or wait for another window",
		all[0].Sessions, remediate.Quantity("_seconds", all[0].Age), all[0].Who)
}
