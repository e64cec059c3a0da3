package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed activity.sql
var activitySQL string

// Activity reports who is connected and for how long transactions are open.
func Activity(t *target.Postgres) collectors.Collector {
	c := activity{
		target: t,
		connections: gauge("connections",
			"Number of client sessions by state: active, idle, idle_in_transaction or other.", "state"),
		limit: gauge("connections_max",
			"Number of sessions that clients without special rights can have: max_connections without the reserved "+
				"ones."),
		used: gauge("connections_used_ratio", "Used share of connections_max."),
		oldest: gauge("oldest_transaction_seconds",
			"Age of the oldest open client transaction; 0 when no transaction is open."),
		oldestIdle: gauge("oldest_idle_in_transaction_seconds",
			"Idle time of the session that has been idle in transaction for the longest time; 0 when there is no "+
				"such session."),
		blocked: gauge("blocked_sessions", "Number of sessions that wait for a lock of another session."),
		waits:   gauge("waiting_sessions", "Number of active client sessions that wait, by wait event.", "event"),
	}
	return collectors.Collector{
		Name:   "postgres/activity",
		Target: t.Name,
		Doc: `Activity reports who is connected, how near that is to the limit, how long transactions are open, and who waits for a lock.

Reads pg_stat_activity, once for the whole server. Rights: pg_read_all_stats (it
is in pg_monitor), to see what other roles' sessions do. Cost: one pass over the
sessions; no table is read. upkeep's own session counts in the used ratio alone. An old
transaction keeps dead rows from being removed in every table of its database.`,
		Metrics: []*collectors.Metric{c.connections, c.limit, c.used, c.oldest, c.oldestIdle, c.blocked, c.waits},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type activity struct {
	target                                                       *target.Postgres
	connections, limit, used, oldest, oldestIdle, blocked, waits *collectors.Metric
}

// waitsSQL counts what sessions wait for. A session that waits for its client has
// nothing to do.
const waitsSQL = `
select wait_event_type, count(*)::float8
  from pg_stat_activity
 where state = 'active' and wait_event_type is not null and wait_event_type <> 'Client' and pid <> pg_backend_pid() and backend_type = 'client backend'
 group by 1
 order by 1`

type waitRow struct {
	Event string
	N     float64
}

// activityRow is the answer of activity.sql.
type activityRow struct {
	Active, Idle, IdleInTransaction, Other, All, Limit float64
	Oldest, OldestIdle, Blocked                        float64
	Hidden                                             int64
}

func (c activity) collect(ctx context.Context, w *collectors.Writer) error {
	rows, err := readServer[activityRow](ctx, c.target, activitySQL)
	if err != nil {
		return err
	}
	r := rows[0] // an aggregate has one
	name := c.target.Name
	w.Set(c.limit, r.Limit, name)
	w.Set(c.used, (r.All+1)/r.Limit, name) // upkeep's own session has a connection too
	if r.Hidden > 0 {
		return fmt.Errorf("what %d sessions do is hidden from this role: grant pg_read_all_stats to it", r.Hidden)
	}
	for _, s := range []struct {
		state string
		n     float64
	}{{"active", r.Active}, {"idle", r.Idle}, {"idle_in_transaction", r.IdleInTransaction}, {"other", r.Other}} {
		w.Set(c.connections, s.n, name, s.state)
	}
	w.Set(c.oldest, r.Oldest, name)
	w.Set(c.oldestIdle, r.OldestIdle, name)
	w.Set(c.blocked, r.Blocked, name)
	waits, err := readServer[waitRow](ctx, c.target, waitsSQL)
	for _, r := range waits {
		w.Set(c.waits, r.N, name, r.Event)
	}
	return err
}
