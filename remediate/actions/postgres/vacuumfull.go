package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rebuild"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// VacuumFull rewrites one table under an exclusive lock.
func VacuumFull(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/vacuum_full",
		Target: t.Name,
		Doc: "VacuumFull writes one table and its indexes anew with VACUUM (FULL, ANALYZE), under a lock that blocks all reads and writes." + `

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
		Lowers: "upkeep_postgres_table_bloat_ratio",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "ACCESS EXCLUSIVE until its end",
			Blocks: "every reader and writer of the table",
			WAL:    "the whole table and its indexes",
			Disk:   "a copy of the table and its indexes",
			Undo:   "nothing to undo",
		},
		Asks:      true,
		Windowed:  true,
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`, Until: 16, For: "to vacuum the table"},
			{Grant: `grant maintain on table :"schema".:"table" to :"role"`, Since: 17, For: "to vacuum the table"},
			{Grant: `grant usage on schema :"schema" to :"role"`, For: "to find the table"},
			{Grant: `grant select on table :"schema".:"table" to :"role"`,
				For: "to see the statistics that the estimate is made from"},
		},
		Timeout:  6 * time.Hour,
		Cancel:   remediate.CancelAnytime,
		Executor: vacuumFull{t},
	}
}

type vacuumFull struct{ target *target.Postgres }

// Headroom implements remediate.Roomer.
func (a vacuumFull) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

// Plan implements remediate.Executor.
func (a vacuumFull) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a vacuumFull) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, rel, err := relation.Find(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	if err := p.NoteMissing(rel.Allowed("vacuum the table")); err != nil {
		return p, err
	}
	h, err := rebuild.SurveyHeap(ctx, db, rel, r)
	if err != nil {
		return p, err
	}
	if err := h.Plain(r, "rm", ": a partitioned one has none of its own, name its partitions"); err != nil {
		return p, err
	}
	if p.Facts, err = h.Worth(ctx, db, r); err != nil {
		return p, err
	}
	for _, look := range []func(context.Context, *target.Database) (string, error){h.Locked, h.Room, h.Users,
		h.Dependents} {
		fact, err := look(ctx, db)
		if err != nil {
			return p, err
		}
		p.Facts = append(p.Facts, fact)
	}
	args := rebuild.ArgsOf(r, rel)
	p.Steps = []remediate.Step{remediate.StepOf("VACUUM (FULL, ANALYZE) "+args.Name(), args)}
	return p, nil
}

// Apply implements remediate.Executor.
func (a vacuumFull) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[rebuild.TableArgs](s)
	if err != nil {
		return err
	}
	j := session.Job{
		Target: a.target, Server: session.Planned(s), Action: "postgres/vacuum_full", Place: args.Place,
		LockTimeout: session.ShortLock,
		Done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			done, err := rebuild.Rewritten(ctx, c, args)
			if err != nil || !done {
				return false, err
			}
			return true, rebuild.Refresh(ctx, c, f, args)
		},
	}
	j.Work = func(ctx context.Context, c *pgx.Conn) error {
		err := session.RetryLock(ctx, c, f, session.LongPatience, func() error { return j.Exec(ctx, c, s.Do) })
		if session.LockTimedOut(err) {
			return errors.Join(err, rebuild.TableUsers(ctx, a.target, c, args.Place.Database, args.OID))
		}
		return err
	}
	return j.Run(ctx, f, s.Do)
}

// Measure implements remediate.Executor.
func (a vacuumFull) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	return rebuild.MeasureBloat(ctx, a.target, r)
}

// Identified implements remediate.Identifier.
func (a vacuumFull) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
