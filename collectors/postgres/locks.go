package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed locks.sql
var locksSQL string

// heldSQL counts the locks that are held or waited for. Those of a prepared transaction
// have no process. Rights: none. Cost: one pass over the locks.
const heldSQL = `
select coalesce(d.datname, ''), l.mode, l.granted, count(*)::float8
  from pg_locks l
  left join pg_database d on d.oid = l.database
 where l.pid is distinct from pg_backend_pid()
 group by 1, 2, 3
 order by 1, 2, 3`

// Locks reports the locks that are held and waited for, and who is in the way.
func Locks(t *target.Postgres) collectors.Collector {
	blocker := []string{"database", "user", "application", "state"}
	c := locks{
		target: t,
		held: gauge("locks", "Number of locks, by their mode and whether they are held or waited for; the "+
			"database is empty where a lock belongs to none.", "database", "mode", "state"),
		blocked: gauge("blocking_sessions_blocked",
			"Number of sessions blocked by sessions of this kind, which do not wait themselves.", blocker...),
		longest: gauge("blocking_longest_wait_seconds", "Duration of the longest of these waits.",
			blocker...),
	}
	return collectors.Collector{
		Name:   "postgres/locks",
		Target: t.Name,
		Doc: `Locks reports the locks that are held and waited for, and whose sessions others wait for.

Reads pg_locks and pg_stat_activity, once for the whole server. Rights:
pg_read_all_stats (it is in pg_monitor), to see other roles' sessions. Cost: one
pass over locks and sessions. Who waits behind one that waits is counted for the
session at the head of the queue. A prepared transaction has the state prepared, and no
user and application: pg_prepared_xacts has them.`,
		Metrics: []*collectors.Metric{c.held, c.blocked, c.longest},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Limit:   50,
		Collect: c.collect,
	}
}

type locks struct {
	target                 *target.Postgres
	held, blocked, longest *collectors.Metric
}

type heldRow struct {
	Database, Mode string
	Granted        bool
	N              float64
}

type blockerRow struct {
	Database, User, Application, State string
	Blocked, Longest                   float64
}

func (c locks) collect(ctx context.Context, w *collectors.Writer) error {
	held, err := readServer[heldRow](ctx, c.target, heldSQL)
	if err != nil {
		return err
	}
	for _, r := range held {
		state := "waiting"
		if r.Granted {
			state = "held"
		}
		w.Set(c.held, r.N, c.target.Name, r.Database, r.Mode, state)
	}
	blockers, err := readServer[blockerRow](ctx, c.target, locksSQL)
	if err != nil {
		return err
	}
	if len(blockers) == 0 && slices.ContainsFunc(held, func(r heldRow) bool { return !r.Granted }) {
		if err := c.blind(ctx); err != nil {
			return err
		}
	}
	kept, rest := collectors.Largest(blockers, w.Limit(), func(r blockerRow) float64 { return r.Blocked })
	if len(rest) > 0 {
		sum := blockerRow{Database: collectors.Other, User: collectors.Other, Application: collectors.Other,
			State: collectors.Other}
		for _, r := range rest {
			sum.Blocked, sum.Longest = sum.Blocked+r.Blocked, max(sum.Longest, r.Longest)
		}
		w.Cut(len(rest))
		kept = append(slices.Clip(kept), sum)
	}
	for _, r := range kept {
		w.Set(c.blocked, r.Blocked, c.target.Name, r.Database, r.User, r.Application, r.State)
		w.Set(c.longest, r.Longest, c.target.Name, r.Database, r.User, r.Application, r.State)
	}
	return nil
}

// blind returns an error where the role does not see who waits.
func (c locks) blind(ctx context.Context) error {
	unseen, err := readServer[struct{ N int64 }](ctx, c.target, hiddenSQL)
	if err == nil && unseen[0].N > 0 {
		err = hidden(fmt.Sprintf("what %d sessions wait for", unseen[0].N), "pg_read_all_stats")
	}
	return err
}
