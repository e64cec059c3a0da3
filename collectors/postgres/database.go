package postgres

import (
	"context"
	_ "embed"
	"maps"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed database.sql
var databaseSQL string

// Database reports the work of each database and how old its transactions are.
func Database(t *target.Postgres) collectors.Collector {
	c := database{
		target: t,
		ages: [2]*collectors.Metric{gauge("database_freeze_age_xids",
			"Age of the oldest transaction that may still be in the database; the server refuses writes near 2 "+
				"billion.", "database"), gauge("database_multixact_age",
			"Age of the oldest multixact, the lock of several transactions on a row, that may still be in the "+
				"database; the server refuses writes near 2 billion.", "database")},
		since: gauge("database_statistics_reset_timestamp_seconds",
			"When the cumulative statistics of the database were last reset; absent when never, or when a crash "+
				"emptied them.", "database").WithoutPanel(collectors.AdHoc),
		down: gauge("database_down",
			"1, with the reason why upkeep cannot connect to the database; absent while it can, and while the server "+
				"does not answer.", "database", "reason").WithoutPanel("the reason of errors that upkeep status has"),
		checksum: counter("database_checksum_failures_total",
			"Pages with a wrong checksum; absent without data checksums.", "database"),
		counters: [13]*collectors.Metric{
			counter("database_commits_total", "Transactions that were committed.", "database"),
			counter("database_rollbacks_total", "Transactions that were rolled back.", "database"),
			counter("database_blocks_read_total",
				"Blocks that were read from outside the buffer cache (shared_buffers).", "database"),
			counter("database_blocks_hit_total", "Blocks that were found in the buffer cache (shared_buffers).",
				"database"),
			counter("database_rows_returned_total", "Rows returned by sequential and index scans.", "database"),
			counter("database_rows_fetched_total", "Rows fetched by index scans.", "database"),
			counter("database_rows_inserted_total", "Rows that were inserted.", "database"),
			counter("database_rows_updated_total", "Rows that were updated.", "database"),
			counter("database_rows_deleted_total", "Rows that were deleted.", "database"),
			counter("database_temporary_files_total",
				"Bytes of temporary files, written when work_mem was too small for a sort or a hash.",
				"database").WithoutPanel(collectors.AdHoc),
			counter("database_temporary_bytes_total", "Bytes in such files.", "database"),
			counter("database_deadlocks_total", "Deadlocks; the server aborts one transaction of each.", "database"),
			counter("database_conflicts_total",
				"Statements on a standby that were cancelled because they blocked replication.",
				"database"),
		},
	}
	return collectors.Collector{
		Name:   "postgres/database",
		Target: t.Name,
		Doc: `Database reports the work of each database since its statistics were reset, and the age of its oldest transactions.

Reads pg_stat_database and pg_database, once for the whole server. A database to which
another collector could not connect is in upkeep_postgres_database_down; the reasons are
those of upkeep_postgres_down, and upkeep status has the error. Rights:
CONNECT on the database that the target names. Cost: one row for each database.`,
		Metrics: append(append(append([]*collectors.Metric{}, c.counters[:]...), c.ages[:]...), c.checksum, c.since,
			c.down),
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type database struct {
	target          *target.Postgres
	counters        [13]*collectors.Metric
	ages            [2]*collectors.Metric
	checksum, since *collectors.Metric
	down            *collectors.Metric
}

// databaseRow is one row of database.sql.
type databaseRow struct {
	Name                                                 string
	Commits, Rollbacks, Read, Hit                        float64
	Returned, Fetched, Inserted, Updated, Deleted        float64
	TemporaryFiles, TemporaryBytes, Deadlocks, Conflicts float64
	ChecksumFailures                                     *float64
	FreezeAge, MultixactAge                              float64
	Reset                                                *time.Time
}

func (c database) collect(ctx context.Context, w *collectors.Writer) error {
	rows, err := readServer[databaseRow](ctx, c.target, databaseSQL)
	if err != nil {
		return err
	}
	down := c.target.Down()
	for _, name := range slices.Sorted(maps.Keys(down)) {
		w.Set(c.down, 1, c.target.Name, name, down[name])
	}
	for _, r := range rows {
		for i, v := range [...]float64{
			r.Commits, r.Rollbacks, r.Read, r.Hit, r.Returned, r.Fetched, r.Inserted,
			r.Updated, r.Deleted, r.TemporaryFiles, r.TemporaryBytes, r.Deadlocks, r.Conflicts,
		} {
			w.Set(c.counters[i], v, c.target.Name, r.Name)
		}
		w.Set(c.ages[0], r.FreezeAge, c.target.Name, r.Name)
		w.Set(c.ages[1], r.MultixactAge, c.target.Name, r.Name)
		if r.ChecksumFailures != nil {
			w.Set(c.checksum, *r.ChecksumFailures, c.target.Name, r.Name)
		}
		if r.Reset != nil {
			w.Set(c.since, float64(r.Reset.UnixMilli())/1000, c.target.Name, r.Name)
		}
	}
	return nil
}
