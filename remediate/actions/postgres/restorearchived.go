package postgres

import (
	"context"
	"slices"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/objects"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// RestoreArchived brings rows back from where postgres/archive has moved them.
func RestoreArchived(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   nameRestore,
		Target: t.Name,
		Doc: "Restore archived brings rows of a span of time back from the table that postgres/archive has moved them to." + `

The span is a range of the archive's column, from the parameter since (inclusive) to the
parameter until (exclusive). Locks, batches, pauses, refusals and comparisons are those
of postgres/archive, in the other direction. A table that a logical subscription fills
is refused.

If the table has lost a column since, its values are not lost: the run is refused, and
nothing is moved, if a row of the span has a value in such a column other than NULL or
the default, or a value that the table would generate differently. Columns that only
the archive has, like the time of archiving, are named in the parameter without. Rows
that exist in both tables are looked for first: if there is one, nothing is done. The
restored rows are still past their age: a policy that archives the table moves them
again, unless it is paused or the archive's "after" is longer.

If both tables are partitioned by that column, a partition of the archive that the span
covers is handed back as a whole. A row for which the table has no partition is refused
by the plan, which shows the statement that creates one.

Rights: SELECT and DELETE on the archive's table, SELECT and INSERT on the table; own
the archive's table or the database (PostgreSQL 13 to 16), or MAINTAIN on it (17 and
later); own both tables where partitions are handed back.

Folders and buckets. Every object with rows of the span is read before the first row is
restored. Its checksums are compared, its columns with those of the table, the labels
of enums and the attributes of composite types too, and its rows with the rows in the
table, by each unique index and exclusion constraint. Rows of two objects with the same
key are found only when they are inserted: the run stops there, and reports how many
rows are restored. An object has the values of stored generated columns: if the table
would generate others, the run is refused, unless the column is named in without. A name
(regclass and similar types) that now refers to another object is refused. Objects of an
earlier table of the same name are refused, unless earlier_table is true.

Objects are read piece by piece, so that their size does not matter. Each object is one
transaction. Before it commits, it compares the definitions of the table and of the
partitions with those of the plan, and records in upkeep.restored which span of the
object is restored: a row comes back once, however often it is requested, and also
after a kill. The objects stay where they are. A column without a time zone is read as
UTC. The role also needs TEMPORARY on the database and INSERT on the tables of the
schema upkeep, and no right on an archive's table.`,
		Lowers: "upkeep_postgres_archived_rows",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "ROW EXCLUSIVE, in batches; ACCESS EXCLUSIVE for a moment where a partition changes hands",
			Blocks: "a writer of the same row, for one batch",
			WAL:    "each row twice: inserted and deleted; from objects once",
			Disk:   "the rows in the table",
			Undo:   "postgres/archive",
		},
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights: slices.Concat(movingRights(), maintainRights(),
			[]remediate.Right{{Grant: `grant temporary on database :"database" to :"role"`,
				For: "look at the rows of an object before they are brought back"}}),
		Params: append([]remediate.Param{
			{Name: "since", Type: remediate.Text,
				Doc: "Rows of this moment or later: 2026-01-31, or 2026-01-31T12:00:00Z. A day begins at midnight " +
					"UTC."},
			{Name: "until", Type: remediate.Text, Doc: "Rows of before this moment, written the same."},
			{Name: "without", Type: remediate.Text,
				Doc: "Columns of the archive's own, with commas between: their values are not brought back, and are " +
					"gone with the archive's rows. Of a folder or a bucket: columns that the table may generate " +
					"anew, with other values than the rows had."},
			{Name: objects.EarlierParam, Type: remediate.Bool,
				Doc: "Rows come back that a folder or a bucket has of an earlier table of the same name: the one of " +
					"now was made in its place, from a dump for example."},
		}, pacing()...),
		Timeout:  6 * time.Hour,
		Cancel:   remediate.CancelAnytime,
		Executor: restoreArchived{t},
	}
}

type restoreArchived struct{ target *target.Postgres }

// Headroom implements remediate.Roomer.
func (a restoreArchived) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

// Plan implements remediate.Executor.
func (a restoreArchived) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.PlanWrites(ctx, a.target, r, a.plan)
}

func (a restoreArchived) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, rel, entry, err := aged(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	if entry.To.Store != nil {
		return a.moving().planUnfiles(ctx, db, rel, entry, r)
	}
	if entry.To.Table == "" {
		return p, remediate.Refuse(remediate.ReasonUnfit, "the archive of %s is no table", entry.Table)
	}
	m := rows.Movement{Database: entry.Database, From: rows.Table{Schema: entry.To.Schema, Name: entry.To.Table},
		To: rows.Table{Schema: entry.Schema, Name: entry.Table}, Column: entry.Column, Back: true,
		Without: rows.SplitNames(r.Params["without"])}
	if m.Since, m.Until, err = rows.Span(r.Params["since"], r.Params["until"]); err != nil {
		return p, err
	}
	facts, err := objects.ArchivedFacts(ctx, db, entry, m.Since, m.Until)
	if err != nil {
		return p, err
	}
	p, err = a.moving().plan(ctx, db, rel, m, r)
	p.Facts = append(p.Facts, facts...)
	return p, err
}

// Apply implements remediate.Executor.
func (a restoreArchived) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	return a.moving().apply(ctx, f, s)
}

// Configured implements remediate.Configurer.
func (a restoreArchived) Configured(_ remediate.Request, s remediate.Step) error {
	return a.moving().configured(s)
}

func (a restoreArchived) moving() moving { return moving{target: a.target, action: nameRestore} }

// Measure implements remediate.Executor.
func (a restoreArchived) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	db, err := relation.Database(ctx, a.target, r)
	if err != nil {
		return 0, err
	}
	if _, err := relation.Lookup(ctx, db, r.Subject); err != nil {
		return 0, err
	}
	entry, err := entryOf(a.target, session.PlaceOf(r))
	if err != nil {
		return 0, err
	}
	since, until, err := rows.Span(r.Params["since"], r.Params["until"])
	if err != nil {
		return 0, err
	}
	if entry.To.Store != nil {
		return read.ReadFiled(ctx, db, entry, since, until)
	}
	if entry.To.Table == "" {
		return 0, remediate.Refuse(remediate.ReasonUnfit, "the archive of %s is no table", entry.Table)
	}
	return read.ReadArchived(ctx, db, entry, since, until)
}

// Undo implements remediate.Undoer.
func (a restoreArchived) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (string, error) {
	return a.moving().undo(ctx, f, s)
}

// Identified implements remediate.Identifier.
func (a restoreArchived) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
