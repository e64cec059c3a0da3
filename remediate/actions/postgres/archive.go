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

Table, column, age and destination are those of targets.postgres[].archives; a table
that has no archive there, or one without "to", is refused. The moment before which
rows go is taken when the work begins and then kept, so that rows which were younger
when the plan was made go too if the run waits; the plan says which moment it would
be now, with its time zone, and how many rows go: an approval covers that amount. A
column without a time zone is compared in the time zone of the session, which the plan
names. While the server's clock and upkeep's differ by more than five minutes nothing
goes. A batch takes ROW EXCLUSIVE locks and as many
rows as can be moved in some forty milliseconds, and is a transaction of its own: a
row is in the one table or in the other at any moment, in the form of its last
change. A row that another transaction holds is waited for 50 ms, passed over and
tried again at the end. Stopped or killed, the run leaves what is moved moved, and
goes on with the rest. It pauses while a replica is behind by more than the parameter
lag, a slot keeps more than 4 GiB of WAL, a checkpoint is late (twice max_wal_size
of WAL), or the server writes more WAL than the parameter wal allows; after ten
minutes of pause it stops with an error. At the end the table is vacuumed and
analyzed, so that the estimate which fires the alert falls; its file stays as large
as it was, and the space is used again.

The destination is looked at before: every column must be there with the same name
and type (the order does not matter), what it has beside them needs a default, and it
may have no triggers for INSERT, no rules and no unique index that the rows could
violate. A row that is there already is no conflict to be settled: the run stops. The
source may have no triggers for DELETE, no rules, no row security for the role, and
no foreign key that would delete or change rows elsewhere; rows that others still
refer to are left, and such a reference needs an index. All of this is asked of every
partition of both tables, and no part may be a foreign table, of an extension, or
UNLOGGED where the source is not. The plan keeps a hash of what it relies on of each
table and partition: columns, constraints, unique indexes, triggers, rules, row
security, foreign keys from both sides, publications and subscriptions, replica
identity, persistence, owner, rights, and the system identifier of the server. Each
batch locks what it relies on in ROW EXCLUSIVE mode, does its work, and compares all
of that right before its commit, in a second session; where something has changed the
batch is rolled back and the run ends, refused: changed. What it does not compare: the
bodies of functions, event triggers, and labels of enum types. A partition that was
attached to the source since the plan is left for the next run. Where both tables are
partitioned by the age column, partitions that are past their age as a whole are
taken from the one and given to the other in one short transaction under an ACCESS
EXCLUSIVE lock that is waited for 50 ms at a time; the plan and that transaction
check that the destination takes the partition (its columns, constraints and indexes,
no other partition or row of that time) and that both tables are as planned. While it
waits, the partition has the constraint upkeep_bounds. Rows for which the destination
has no partition stay until their partition goes as a whole; the plan has the
statement that makes one. postgres/restore_archived hands partitions back. Rights: SELECT, UPDATE
(to hold rows) and DELETE on the table, INSERT on the destination, SELECT on the tables that refer to it, and own the
table or the database (PostgreSQL 13 to 16) or MAINTAIN on the table (17 and later);
own both where partitions change hands; pg_monitor to see how far replicas are.

Where the destination is a folder or a bucket, each batch of at most 5,000 rows and
some 16 MB becomes one object: a gzip file whose first line says what it is and whose
other lines are the rows as COPY writes them, so that every type comes back exactly
and "zcat FILE | tail -n +2 | psql -c 'COPY …'" is all that people need. They are in
the encoding of the database, which the statement names where it is not UTF-8. A row
with a value that the server does not read back as it writes it (a circle with a negative
radius, what breaks a constraint of its domain that is not valid) ends the run, and stays. Its name ends
in its SHA-256, and the first line has that of the rows, the labels of enums, the
attributes of composite types, and the names behind values of regclass and similar types. The
object is written, synced, read back and compared first; then one transaction deletes exactly those versions of the rows
and writes the object down in the table upkeep.parcels of the same database, so that
rows are in the table, or in an object that the ledger names. An object that cannot be
read back, or is not what was put, ends the run, and its rows stay. Nothing is held while a
store works; rows that change meanwhile are read again, and then held for the time of
one object, at most 20 s for each 64 MiB. Before each commit the definitions of the table, of the
partition and of the types are compared with those of the plan: where they differ,
nothing of the batch is deleted, and the run ends. Rows are read and written piece by
piece: a run needs less than 64 MiB of memory, however large they are. More than
8 MiB of an object are kept in a temporary file without a name, in the folder itself or,
for a bucket, in TMPDIR. A row of more than 256 MiB as text (a bytea has two bytes of
text for each of its own) is refused in the plan. A run that is killed leaves at most
one object that nothing names, with copies of rows that are still there. Nothing is encrypted: who may read
the folder or the bucket reads the rows. The key of a bucket needs s3:PutObject,
s3:GetObject and s3:ListBucket. Right beside those above: CREATE on the database for
the schema upkeep, or one that was made for the role beforehand: create schema upkeep
authorization "role".`,
		Lowers:    "upkeep_postgres_retention_rows",
		Risk:      remediate.Guarded,
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights:    slices.Concat(movingRights(), maintainRights(), filingRights()),
		Params: append(pacing(), remediate.Param{Name: objects.VolatileParam, Type: remediate.Bool, Default: "false",
			Doc: "Take a folder that is in memory (tmpfs) as the destination: its objects, and with them the rows, " +
				"are gone after a restart of the machine."}),
		Timeout:  6 * time.Hour,
		Cancel:   remediate.CancelAnytime,
		Executor: archive{t, time.Now},
	}
}

type archive struct {
	target *target.Postgres
	now    func() time.Time // upkeep's clock
}

// Headroom implements remediate.Roomer.
func (a archive) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

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
