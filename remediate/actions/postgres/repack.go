package postgres

import (
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rebuild"
)

// Repack gives the space of a bloated table back while it is in use.
func Repack(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/repack",
		Target: t.Name,
		Doc: "Repack gives the space of one bloated table back to the disk, without a lock that others wait for longer than a moment." + `

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
		Lowers: "upkeep_postgres_table_bloat_ratio",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock: "pg_repack: ACCESS EXCLUSIVE for a moment at both ends; by rows: ROW EXCLUSIVE in batches, and " +
				"ACCESS EXCLUSIVE for a moment at the end",
			Blocks: "readers and writers for a fifth of a second at most",
			WAL:    "pg_repack: the whole table; by rows: each row that moves",
			Disk:   "pg_repack: a copy of the table and its indexes; by rows: the indexes grow",
			Undo:   "nothing to undo",
		},
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`,
				For: "to lock, to vacuum and to analyze the table, and to read and to move its rows"},
			{Grant: `grant usage on schema :"schema" to :"role"`, For: "to find the table"},
		},
		Timeout:  6 * time.Hour,
		Executor: rebuild.Repack{Target: t},
	}
}
