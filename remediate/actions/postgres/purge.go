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
say "purge: true"; a table without is refused. Locks, batches, pauses and what it
refuses, compares before each commit and bounds by the plan's amount are those of
postgres/archive; nothing is kept of the rows. Where the table
is partitioned by the age column, a partition that is past its age as a whole is
dropped in one step. Where the server can (14 and later, and no default partition)
and no event trigger fires for DROP TABLE, which it might refuse, the step waits until no
transaction has used the table for more than a second,
detaches the partition CONCURRENTLY and drops it; else it drops it out of its table
in one transaction, under an ACCESS EXCLUSIVE lock that is waited for 50 ms at a time.
What depends on the partition (a view, a foreign key, a function, a policy) is looked
for first, and under the lock again: such a partition stays, and its rows are deleted
one by one. The rows are counted and their ages looked at under the lock in which the
partition is dropped. A step that is stopped or cannot go on attaches the partition
again; where a reader keeps it from that for ten seconds, the run's end and the next
plan have the statements. A detachment of ours that did not end, also after a crash, is
found by its constraint upkeep_bounds and gone on with or undone; one of somebody else
is ended. Rights: SELECT, UPDATE (to hold rows) and DELETE on the table, SELECT on the tables that refer to it,
and own the table or the database (PostgreSQL 13 to 16) or MAINTAIN on the table (17
and later); own it where partitions are dropped; pg_monitor to see how far replicas
are.`,
		Lowers:    "upkeep_postgres_retention_rows",
		Risk:      remediate.Destructive,
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
		Executor: purge{t, time.Now},
	}
}

type purge struct {
	target *target.Postgres
	now    func() time.Time // upkeep's clock
}

// Headroom implements remediate.Roomer.
func (a purge) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

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
