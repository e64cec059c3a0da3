package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/objects"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Archive moves the rows of one table that are past their age to where its archive
// in the configuration says.
func Archive(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   nameArchive,
		Target: t.Name,
		Doc: "Archive moves the rows of one table that are past their age to another table, in small batches that move and delete in one statement." + `

Table, column, age and destination are those of targets.postgres[].archives. A table
without an entry there, or with one without "to", is refused.

How rows move. The cut-off (the moment before which rows are old enough) is taken when
the work begins and then kept; the plan shows the cut-off of now, with its time zone,
and the number of rows. An approval covers that number. A column without a time zone
is compared in the time zone of the session, which the plan names. Nothing moves while
the server's clock and upkeep's differ by more than five minutes. Each batch is a
transaction of its own with ROW EXCLUSIVE locks and as many rows as move in about
forty milliseconds: at any moment a row is in exactly one of the tables, with its last
change. A row that another transaction holds is waited for 50 ms, skipped, and tried
again at the end. A run that is stopped or killed keeps what it has moved, and
continues with the rest. It pauses while a replica is behind by more than the
parameter lag, a slot keeps more than 4 GiB of WAL, a checkpoint is late (twice
max_wal_size of WAL), or the server writes more WAL than the parameter wal allows.
After ten minutes of pause it stops with an error. At the end the table is vacuumed
and analyzed, so that the estimate behind the alert falls. The file of the table keeps
its size; new rows use the space.

What is refused. The destination needs every column with the same name and type, in
any order; its other columns need a default. It may have no triggers for INSERT, no
rules and no unique index that the rows could violate: a conflict stops the run. The
source may have no triggers for DELETE, no rules, no row security for the role, and
no foreign key that would delete or change rows elsewhere. Rows that other tables
still refer to stay, and such a reference needs an index. All of this holds for every
partition of both tables. No partition may be a foreign table, part of an extension, or
UNLOGGED where the source is not.

What is compared before each commit. The plan keeps a hash of what it relies on of each
table and partition: columns, constraints, unique indexes, triggers, rules, row
security, foreign keys in both directions, publications and subscriptions, replica
identity, persistence, owner, rights, and the system identifier of the server. Each
batch locks all of that in ROW EXCLUSIVE mode, does its work, and compares it right
before the commit, in a second session. If anything has changed, the batch is rolled
back and the run ends as refused: changed. Not compared are the bodies of functions,
event triggers, and the labels of enum types. A partition that was attached to the
source after the plan is left for the next run.

Whole partitions. If both tables are partitioned by the age column, partitions that are
completely past their age change hands in one short transaction. Its ACCESS EXCLUSIVE
lock is waited for 50 ms at a time. The plan and that transaction check that the
destination accepts the partition (columns, constraints, indexes, no other partition or
row of that time) and that both tables are as planned. Until then the partition has the
constraint upkeep_bounds. Rows for which the destination has no partition stay until
their partition moves as a whole; the plan has the statement that creates one.
postgres/restore_archived hands partitions back.

Rights: SELECT, UPDATE (to lock rows) and DELETE on the table, INSERT on the
destination, SELECT on the tables that refer to it; own the table or the database
(PostgreSQL 13 to 16), or MAINTAIN on the table (17 and later); own both tables where
partitions change hands; pg_monitor to see how far replicas are behind.

Folders and buckets. If the destination is a folder or a bucket, each batch of at most
5,000 rows and about 16 MB becomes one object: a gzip file whose first line describes
it and whose other lines are the rows as COPY writes them, so that every type comes
back exactly. "zcat FILE | tail -n +2 | psql -c 'COPY …'" loads it without upkeep. Rows
are in the encoding of the database, which the statement names where it is not UTF-8.
A row with a value that the server does not read back as it wrote it (a circle with a
negative radius, a value that violates a NOT VALID constraint of its domain) stays, and
ends the run. The name of an object ends in its SHA-256. Its first line has the SHA-256
of the rows, the labels of enums, the attributes of composite types, and the names
behind values of regclass and similar types.

The object is written, synced, read back and compared first. Then one transaction
deletes exactly those versions of the rows and records the object in the table
upkeep.parcels of the same database: a row is in the table, or in an object that is
recorded. An object that cannot be read back, or differs, ends the run, and its rows
stay. No lock is held while a store works. Rows that change meanwhile are read again,
and then locked for the time of one object, at most 20 s for each 64 MiB. Before each
commit the definitions of the table, of the partition and of the types are compared
with those of the plan; if they differ, nothing of the batch is deleted and the run
ends.

A run needs less than 64 MiB of memory, however large the rows are. Objects of more
than 8 MiB use a temporary file without a name, in the folder itself or, for a bucket,
in TMPDIR. A row of more than 256 MiB as text (a bytea has two characters for each
byte) is refused by the plan. A killed run leaves at most one object that is not
recorded, with copies of rows that are still in the table. Nothing is encrypted:
everyone who can read the folder or the bucket can read the rows. The key of a bucket
needs s3:PutObject, s3:GetObject and s3:ListBucket. The role also needs CREATE on the
database for the schema upkeep, or a schema that was created for it: create schema
upkeep authorization "role".`,
		Lowers: "upkeep_postgres_retention_rows",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "ROW EXCLUSIVE, in batches; ACCESS EXCLUSIVE for a moment where a partition changes hands",
			Blocks: "a writer of the same row, for one batch",
			WAL:    "each row twice: inserted and deleted",
			Disk:   "the rows at their destination; the table keeps its size",
			Undo:   "postgres/restore_archived",
		},
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights:    slices.Concat(movingRights(), maintainRights(), filingRights()),
		Params: append(pacing(), remediate.Param{Name: objects.VolatileParam, Type: remediate.Bool, Default: "false",
			Doc: "Take a folder that is in memory (tmpfs) as the destination: its objects, and with them the rows, " +
				"are gone after a restart of the machine."}),
		Timeout:  6 * time.Hour,
		Cancel:   remediate.CancelAnytime,
		Executor: archive{retention{t, time.Now}},
	}
}

type archive struct{ retention }

// Plan implements remediate.Executor.
func (a archive) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.PlanWrites(ctx, a.target, r, a.plan)
}

// plan makes it. Each kind of destination has a plan of its own.
func (a archive) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	db, rel, entry, err := aged(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	switch {
	case entry.Purge:
		return p, remediate.Refuse(remediate.ReasonUnfit,
			"the archive of %s says purge, which is the action postgres/purge",
			entry.Table)
	case entry.To.Store != nil:
		return a.moving().planFiles(ctx, db, rel, entry, r)
	case entry.To.Table != "":
		return a.moving().plan(ctx, db, rel, away(entry), r)
	default:
		return p, remediate.Refuse(remediate.ReasonUnfit,
			"the archive of %s says of no place to move rows to: give it a destination, "+
				"targets.postgres[].archives[].to", entry.Table)
	}
}

// Apply implements remediate.Executor.
func (a archive) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	return a.moving().apply(ctx, f, s)
}

// Configured implements remediate.Configurer.
func (a archive) Configured(_ remediate.Request, s remediate.Step) error {
	return a.moving().configured(s)
}

func (a archive) moving() moving { return moving{a.target, nameArchive, a.now} }

// Measure implements remediate.Executor.
func (a archive) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	return retained(ctx, a.target, r)
}

// Undo implements remediate.Undoer.
func (a archive) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (string, error) {
	return a.moving().undo(ctx, f, s)
}

// Identified implements remediate.Identifier.
func (a archive) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
