package session

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Headroom reports how much room a server has. Least privilege: pg_monitor, to see
// the sessions of others and how far replicas are; without it what cannot be seen
// is not reported. The disk is reported if upkeep runs beside the server and may read
// its data directory.
func Headroom(ctx context.Context, t *target.Postgres) (h remediate.Headroom, err error) {
	db, err := t.Server()
	if err != nil {
		return h, err
	}
	if h.Lag, err = lag(ctx, db); err != nil {
		return h, fmt.Errorf("how far replicas are behind: %w", err)
	}
	if h.Transaction, h.Who, err = oldest(ctx, db); err != nil {
		return h, fmt.Errorf("the oldest transaction: %w", err)
	}
	if h.FreeDisk, err = freeDisk(ctx, db); err != nil {
		return h, fmt.Errorf("the free disk: %w", err)
	}
	return h, nil
}

// LagSQL is how long ago the server wrote what the slowest of its replicas has
// replayed last. One that is not connected is in no hurry: its slot keeps the WAL
// for it. A role without the right sees rows without a state.
const LagSQL = `
select count(*) filter (where state is null), coalesce(extract(epoch from max(replay_lag)), 0)::float8
  from pg_stat_replication`

func lag(ctx context.Context, db *target.Database) (*time.Duration, error) {
	var hidden int
	var seconds float64
	if err := db.QueryRow(ctx, LagSQL).Scan(&hidden, &seconds); err != nil || hidden > 0 {
		return nil, err
	}
	return new(time.Duration(seconds * float64(time.Second))), nil
}

// oldestSQL names the oldest transaction of the server, in whichever database, and
// counts the sessions that cannot be looked into. Our own and the server's own
// vacuums do not count: they hold nothing back that they would not end by
// themselves.
const oldestSQL = `
with transactions as (
  select a.xact_start as began,
         format('session %s of %s in database %s (%s, %s)', a.pid, a.usename, a.datname,
           coalesce(nullif(a.application_name, ''), 'no application_name'), a.state) as who
    from pg_stat_activity a
   where a.backend_type = 'client backend' and a.xact_start is not null and a.pid <> pg_backend_pid()
     and not (a.usesysid = (select usesysid from pg_stat_activity where pid = pg_backend_pid())
              and (a.application_name = 'upkeep' or starts_with(a.application_name, 'upkeep ')))
  union all
  select prepared, format('prepared transaction %L of %s in database %s', gid, owner, database) from pg_prepared_xacts
)
select (select count(*) from pg_stat_activity where datid is not null and usesysid is not null
  and backend_type is null),
       coalesce(extract(epoch from clock_timestamp() - t.began), 0)::float8,
       coalesce(t.who, '')
  from (select 1) one
  left join (select began, who from transactions order by began limit 1) t on true`

func oldest(ctx context.Context, db *target.Database) (age *time.Duration, who string, err error) {
	var hidden int
	var seconds float64
	if err := db.QueryRow(ctx, oldestSQL).Scan(&hidden, &seconds, &who); err != nil || hidden > 0 {
		return nil, "", err
	}
	return new(time.Duration(max(seconds, 0) * float64(time.Second))), who, nil
}
