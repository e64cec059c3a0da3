package postgres

import (
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rebuild"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Reindex builds one bloated index anew without blocking writes.
func Reindex(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/reindex",
		Target: t.Name,
		Doc: `Reindex builds one bloated index anew with REINDEX INDEX CONCURRENTLY, while reads and writes go on.

It takes a SHARE UPDATE EXCLUSIVE lock on the table, which conflicts only with
maintenance and DDL. It first takes the lock for a moment, within 5 seconds, or does not
start. It then waits for older transactions of its database, each for at most the
parameter patience; no session queues behind that wait. It does not start while such a
transaction is older, while a session holds or awaits a conflicting lock, or while
another index is built anywhere on the server: two builds need twice the disk space.

It needs disk space for the new index beside the old one, and as much again for sorting
and for WAL. It does not start if the server's disk is visible from here and has less,
or if temp_file_limit is lower. An interrupted build leaves an invalid index "_ccnew" or
"_ccold". upkeep drops what its own runs have left: at once if that takes only a moment,
otherwise before the next attempt, after a crash too. To know its own, upkeep records in
its data_dir which such indexes exist before it starts, and then which one it builds.
One that another client has left stays, and the plan names it.

It refuses a replica, PostgreSQL 14.0 to 14.3 (which can corrupt the index), indexes of
exclusion constraints and of catalogs, and a role that could not drop what an
interruption leaves. The step is done when the index has another file. The bloat is
measured with pgstatindex if pgstattuple is installed and the role may call it, and
estimated otherwise. Rights: own the table or its schema; pg_monitor to see how old the
transactions of other sessions are, and to measure.`,
		Lowers: "upkeep_postgres_index_bloat_ratio",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "SHARE UPDATE EXCLUSIVE",
			Blocks: "DDL and other maintenance of the table",
			WAL:    "the new index",
			Disk:   "a second index while it is built, and room to sort",
			Undo:   "nothing to undo",
		},
		Subject:   []string{"server", "database", "schema", "table", "index"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Params:    []remediate.Param{session.PatienceParam()},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`,
				For: "to build the index anew and to drop what an interruption leaves; MAINTAIN does not allow the " +
					"second"},
			{Grant: `grant pg_monitor to :"role"`,
				For: "to see how old the transactions of others are, and to measure with pgstatindex"},
		},
		Timeout:  6 * time.Hour,
		Executor: rebuild.NewReindex(t),
	}
}
