package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Purge deletes the rows of one table that are past their age, for good.
func Purge(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   namePurge,
		Target: t.Name,
		Doc: `Purge deletes the rows of one table that are past their age, in small batches, for good.

Table, column and age are those of targets.postgres[].archives, and the archive must
say "purge: true"; otherwise the table is refused. Locks, batches, pauses, refusals,
the comparison before each commit and the limit by the plan's number of rows are those
of postgres/archive. Nothing of the rows is kept.

If the table is partitioned by the age column, a partition that is completely past its
age is dropped in one step. On PostgreSQL 14 and later, without a default partition and
without an event trigger that fires for DROP TABLE (which could refuse it), the step
waits until no transaction has used the table for more than a second, detaches the
partition CONCURRENTLY and drops it. Otherwise it drops the partition out of its table
in one transaction, under an ACCESS EXCLUSIVE lock that is waited for 50 ms at a time.
Objects that depend on the partition (a view, a foreign key, a function, a policy) are
looked for first, and again under the lock: such a partition stays, and its rows are
deleted one by one. The rows are counted and their ages are checked under the lock in
which the partition is dropped.

A step that is stopped or cannot continue attaches the partition again. If a reader
prevents that for ten seconds, the end of the run and the next plan show the statements
for it. A detachment of upkeep's that did not finish, after a crash too, is recognized
by the constraint upkeep_bounds and continued or undone; one by another client is
finished.

Rights: SELECT, UPDATE (to lock rows) and DELETE on the table, SELECT on the tables
that refer to it; own the table or the database (PostgreSQL 13 to 16), or MAINTAIN on
the table (17 and later); own it where partitions are dropped; pg_monitor to see how
far replicas are behind.`,
		Lowers: "upkeep_postgres_retention_rows",
		Risk:   remediate.Destructive,
		Effects: remediate.Effects{
			Lock:   "ROW EXCLUSIVE, in batches; ACCESS EXCLUSIVE for a moment where a partition is dropped",
			Blocks: "a writer of the same row, for one batch",
			WAL:    "each row once; little for a partition",
			Disk:   "frees partitions; else the table keeps its size",
			Undo:   "none: the rows are gone",
		},
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights: slices.Concat([]remediate.Right{
			{Grant: `grant usage on schema :"schema" to :"role"`, For: "the table"},
			{Grant: `grant select, delete on table :"schema".:"table" to :"role"`,
				For: "delete rows that are past their age"},
			{Grant: `grant update on table :"schema".:"table" to :"role"`, For: "hold rows while they are taken"},
			{Grant: `grant pg_monitor to :"role"`, For: "see how far replicas are behind"},
		}, maintainRights()),
		Params:   pacing(),
		Timeout:  6 * time.Hour,
		Cancel:   remediate.CancelAnytime,
		Executor: purge{retention{t, time.Now}},
	}
}

type purge struct{ retention }

// Plan implements remediate.Executor.
func (a purge) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.PlanWrites(ctx, a.target, r, a.plan)
}

func (a purge) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, rel, entry, err := aged(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	if !entry.Purge {
		return p, remediate.Refuse(remediate.ReasonUnfit,
			"the archive of %s does not say that its rows may be deleted for good: purge: true does", entry.Table)
	}
	return a.moving().plan(ctx, db, rel, away(entry), r)
}

// Apply implements remediate.Executor.
func (a purge) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	return a.moving().apply(ctx, f, s)
}

// Configured implements remediate.Configurer.
func (a purge) Configured(_ remediate.Request, s remediate.Step) error {
	return a.moving().configured(s)
}

func (a purge) moving() moving { return moving{a.target, namePurge, a.now} }

// Measure implements remediate.Executor.
func (a purge) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	return retained(ctx, a.target, r)
}

// Undo implements remediate.Undoer.
func (a purge) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (string, error) {
	return a.moving().undo(ctx, f, s)
}

// Identified implements remediate.Identifier.
func (a purge) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
