package rebuild

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A Repack rewrites one table without blocking others, by pg_repack or by moving rows.
type Repack struct{ Target *target.Postgres }

// The ways of a step.
const (
	byProgram = "pg_repack"
	byRows    = "rows"
	sweeping  = "leftovers"
)

const (
	// repackWait is how long pg_repack tries to get its lock, each time for 0.1 to
	// 1 second. When others queue behind it, its try is ended earlier (yield).
	repackWait = 5 * time.Second

	// repackLock bounds the one lock that pg_repack waits for without a bound: that
	// of its cleaning up. It is longer than the second of all others, which
	// pg_repack itself ends and tries again.
	repackLock = 1200 * time.Millisecond

	// frozenFor is after which time without a statement a pg_repack is taken for one
	// that is frozen: when it waits for others, it asks every second.
	frozenFor = 5 * time.Second
)

// A worker is a session that works for a pg_repack.
type worker struct {
	PID     int32
	Started time.Time
	Name    string
	Ours    bool
	Still   float64 // seconds since its state changed
	State   string
}

func workers(ctx context.Context, q read.Querier, oid int64) ([]worker, error) {
	rows, err := q.Query(ctx, atWorkSQL, oid)
	if err != nil {
		return nil, fmt.Errorf("who works on the table: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[worker])
}

// atWorkSQL finds a session that works for a pg_repack on the table: it holds
// pg_repack's own lock of it, or it is ours and holds a lock of the table, its
// copy or its log.
const atWorkSQL = `
select a.pid, a.backend_start, coalesce(a.application_name, ''), coalesce(starts_with(a.application_name,
  'upkeep postgres/repack '), false)
         and a.usesysid = (select usesysid from pg_stat_activity where pid = pg_backend_pid()),
       coalesce(extract(epoch from clock_timestamp() - a.state_change), 0)::float8, coalesce(a.state, '')
  from pg_stat_activity a
 where a.datid = (select oid from pg_database where datname = current_database())
   and a.pid <> pg_backend_pid()
   and exists (select from pg_locks l
                where l.pid = a.pid and l.database = a.datid
                  and (l.locktype = 'advisory' and l.objsubid = 2 and l.classid::int8 = 16185446
                    and l.objid::int8 = ($1::int8 - 2147483648) & 4294967295
                       or l.locktype = 'relation' and starts_with(a.application_name, 'upkeep postgres/repack ')
                          and l.relation in (select c.oid from pg_class c
                            left join pg_namespace n on n.oid = c.relnamespace
                                              where c.oid::int8 = $1 or n.nspname = 'repack'
                                                and c.relname in ('log_' || $1, 'table_' || $1))))
 order by a.backend_start`

const (
	// outputKept is how much of the end of the program's output is kept for an error.
	outputKept = 2000

	// queueMost is how long others may queue behind a try of pg_repack to lock the
	// table, and lookAfter how often is looked whether they do.
	queueMost, lookAfter = 100 * time.Millisecond, 50 * time.Millisecond

	// askVersion is how long the program may take to tell its version.
	askVersion = 5 * time.Second
)

// programName is the application_name of a pg_repack's sessions.
func programName(fence int64) string { return fmt.Sprintf("upkeep postgres/repack fence %d", fence) }

func builder(ctx context.Context, c *pgx.Conn, s repackStep) (who string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CancelWithin)
	defer cancel()
	err = c.QueryRow(ctx, builderSQL, s.Args.OID, s.Args.Indexes).Scan(&who)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return who, err
}

// builderSQL finds who makes an index, or one that was made: pg_repack before 1.5.3
// holds no lock against that, and does not know the index when it changes the files.
const builderSQL = `
select who from (
  select 1 as place, format('session %s builds an index', p.pid) as who from pg_stat_progress_create_index p
    where p.relid::int8 = $1::int8
  union all
  select 2, format('session %s locks the table as one does who builds an index', l.pid) from pg_locks l
   where l.locktype = 'relation' and l.database = (select oid from pg_database where datname = current_database())
     and l.relation::int8 = $1::int8 and l.mode = 'ShareLock'
  union all
  select 3, format('index %s was made', i.indexrelid::regclass) from pg_index i
   where i.indrelid::int8 = $1::int8 and i.indexrelid::text <> all (string_to_array($2, ','))
) found
 order by place, who
 limit 1`

// definer also keeps the session from looking frozen. It takes no transaction that
// pg_repack would wait for.
func definer(ctx context.Context, c *pgx.Conn, oid int64) (who string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CancelWithin)
	defer cancel()
	err = c.QueryRow(ctx, definerSQL, oid).Scan(&who)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return who, err
}

// definerSQL finds who waits for the strongest lock of the table: with pg_repack's
// own lock in the way it would wait to the end, and all others behind it.
const definerSQL = `
select format('session %s (%s)', a.pid, coalesce(nullif(a.application_name, ''), 'no application_name'))
  from pg_locks l
  join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and not l.granted
   and l.database = (select oid from pg_database where datname = current_database())
   and l.relation::int8 = $1
   and not coalesce(starts_with(a.application_name, 'upkeep postgres/repack '), false)
 order by a.pid
 limit 1`
