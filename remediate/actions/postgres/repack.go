package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Repack gives the space of a bloated table back while it is in use.
func Repack(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/repack",
		Target: t.Name,
		Doc: `Repack gives the space of one bloated table back to the disk, without a lock that others wait for longer than a moment.

There are two methods; the plan says which one it uses and why. If the extension
pg_repack is installed in the database and its program of the same version is on
this machine, that program copies the table, applies the changes that were made
meanwhile, and swaps the files. It holds an ACCESS EXCLUSIVE lock at its start and at
its end, waits at most a fifth of a second for it in each attempt, and terminates no
session: if a session keeps blocking it, it gives up. It needs a primary key, or a
unique index of columns that are not null, and disk space for a copy of the table and
its indexes. A concurrent change of the table's definition or a new index stops it.
Before it swaps the files, the table, its copy and its trigger are compared with the
plan; if they differ, nothing is changed. What a killed pg_repack leaves behind (a
trigger, and a log that grows with each write) is removed first, automatically or as a step.

Otherwise the rows at the end of the table are moved into free space before them,
by updates that change nothing, in batches of a tenth of a second; locked rows
are skipped. Each batch compares the table's definition with that of
the plan right before it commits, and a trigger, a rule or anything else that was made
meanwhile stops the run; then VACUUM cuts the empty end off, under an ACCESS
EXCLUSIVE lock that it asks for without waiting and gives up when others wait. On
replicas that lock is replayed. Each index gets an entry for every row that has moved: reindex it
afterwards. TOAST values are not moved, and their space is not reclaimed. It
refuses tables with triggers or rules on UPDATE, which would fire, also those that a
partition has of its parent. Both ways give rows a new xmin, which an application that
locks optimistically by xmin takes for a change.

Both refuse if little space can be reclaimed: rows that do not divide a page evenly
leave space that cannot be used. The step is done when the table has another file, or
as few pages as its rows need. When it is stopped, the table stays intact. Rights:
superuser for pg_repack; else own the table.`,
		Lowers:    "upkeep_postgres_table_bloat_ratio",
		Risk:      remediate.Guarded,
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`, For: "to lock, to vacuum and to analyze the table, and to read and to move its rows"},
			{Grant: `grant usage on schema :"schema" to :"role"`, For: "to find the table"},
		},
		Timeout:  6 * time.Hour,
		Executor: repack{t},
	}
}

type repack struct{ target *target.Postgres }

// The ways of a step.
const (
	byProgram = "pg_repack"
	byRows    = "rows"
	sweeping  = "leftovers"
)

// Headroom implements remediate.Roomer.
func (a repack) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// Plan implements remediate.Executor.
func (a repack) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.PlanWrites(ctx, a.target, r, a.plan)
}

func (a repack) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, rel, err := find(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	if err := p.NoteMissing(rel.allowed("repack the table")); err != nil {
		return p, err
	}
	h, err := surveyHeap(ctx, db, rel, r)
	if err != nil {
		return p, err
	}
	if err := h.plain(r, "r", ": name its partitions one by one, or postgres/vacuum_full for a materialized view"); err != nil {
		return p, err
	}
	left, err := a.left(ctx, db, rel.OID)
	if err != nil {
		return p, err
	}
	if err := unhindered(ctx, db); err != nil {
		return p, err
	}
	if left {
		p.Facts = append(p.Facts, "a pg_repack that was killed has left a trigger that writes down every change of the table: it is removed first")
		p.Steps = append(p.Steps, leftStep(r, rel))
	}
	facts, err := h.worth(ctx, db, r)
	p.Facts = append(p.Facts, facts...)
	if no, refused := remediate.Refused(err); refused && left {
		// To remove what was left helps, whatever else cannot.
		p.Facts = append(p.Facts, no.Detail)
		return p, nil
	}
	if err != nil {
		return p, err
	}
	more, err := a.choose(ctx, db, h, r)
	if no, refused := remediate.Refused(err); refused && left {
		p.Facts = append(p.Facts, no.Detail)
		return p, nil
	}
	for i := range more.Steps {
		if left {
			delete(more.Steps[i].Args, relianceArg) // the table is another when the first step is done
		}
	}
	p.Facts, p.Steps, p.Needs = append(p.Facts, more.Facts...), append(p.Steps, more.Steps...), append(p.Needs, more.Needs...)
	return p, err
}

// choose plans by pg_repack, and where that cannot be, by moving rows.
func (a repack) choose(ctx context.Context, db *target.Database, h heap, r remediate.Request) (remediate.Plan, error) {
	p, err := a.planProgram(ctx, db, h, r)
	why, refused := remediate.Refused(err)
	if !refused || !why.Until.IsZero() {
		return p, err
	}
	p, err = a.planRows(ctx, db, h, r)
	if no, refused := remediate.Refused(err); refused && no.Until.IsZero() {
		return p, remediate.Refuse(no.Reason, "pg_repack is not used: %s; rows are not moved: %s. What is left is postgres/vacuum_full, in a maintenance window", why.Detail, no.Detail)
	}
	p.Facts = append([]string{"pg_repack is not used: " + why.Detail}, p.Facts...)
	return p, err
}

// Apply implements remediate.Executor.
func (a repack) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	switch s.Args["way"] {
	case byProgram:
		return a.applyProgram(ctx, f, s)
	case byRows:
		return a.applyRows(ctx, f, s)
	case sweeping:
		_, err := a.clear(ctx, f, s, func(context.Context, *pgx.Conn) error { return nil })
		return err
	}
	return fmt.Errorf("step: the way %q is not known", s.Args["way"])
}

// Measure implements remediate.Executor.
func (a repack) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	return tableBloat(ctx, a.target, r)
}

// tableBloat is the estimate that fires the alert. It is as of the last vacuum or
// analyze, which both actions that lower it end with.
func tableBloat(ctx context.Context, t *target.Postgres, r remediate.Request) (float64, error) {
	db, err := database(ctx, t, r)
	if err != nil {
		return 0, err
	}
	rows, err := read.ReadTableBloat(ctx, db, of(r))
	switch {
	case len(rows) == 1 && r.Subject["table"] != "" && r.Subject["schema"] != "":
		return rows[0].Ratio, nil
	case err != nil:
		return 0, err
	}
	if _, err := lookup(ctx, db, r.Subject); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("there is no estimate for table %q: it was never analyzed", r.Subject["table"])
}
