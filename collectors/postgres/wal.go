package postgres

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// What the write-ahead log, its archiver and the checkpoints did.
//
// Rights: pg_monitor, for the folder of the log. Versions: 13 and later; the
// checkpoints moved to a view of their own in 17. Cost: single rows, and one look
// at each file of the log.
const (
	walSQL = `
select case when pg_is_in_recovery() then pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') else pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') end::float8,
       archived_count::float8, failed_count::float8, last_archived_time, last_failed_time,
       current_setting('archive_mode') <> 'off'
  from pg_stat_archiver`

	walFolderSQL = `select coalesce(sum(size), 0)::float8 from pg_ls_waldir()`

	checkpointSQL = `
select checkpoints_timed::float8, checkpoints_req::float8, checkpoint_write_time / 1000, checkpoint_sync_time / 1000, buffers_checkpoint::float8
  from pg_stat_bgwriter`

	checkpoint17SQL = `
select num_timed::float8, num_requested::float8, write_time / 1000, sync_time / 1000, buffers_written::float8
  from pg_stat_checkpointer`
)

// WAL reports what the write-ahead log, its archiver and the checkpoints did.
func WAL(t *target.Postgres) collectors.Collector {
	c := wal{
		target: t,
		written: counter("wal_written_bytes_total",
			"Bytes of write-ahead log that were written; on a standby, that were replayed."),
		folder: gauge("wal_size_bytes", "Size of the write-ahead log that the server retains."),
		archived: counter("wal_archived_total",
			"Files of the write-ahead log that were archived; absent when nothing is archived."),
		failed: counter("wal_archive_failures_total",
			"Attempts to archive a file that failed; absent when nothing is archived."),
		lastArchived: gauge("wal_last_archived_timestamp_seconds",
			"When a file was last archived; absent when never.").WithoutPanel(collectors.AdHoc),
		failing: gauge("wal_archive_failing",
			"1 when the last attempt to archive a file failed, else 0; absent when nothing is archived."),
		checkpoints: counter("checkpoints_total",
			"Checkpoints by cause: timed (checkpoint_timeout), or requested (max_wal_size or a command).", "cause"),
		seconds: counter("checkpoint_seconds_total", "Time spent in checkpoints, by phase: write or sync.",
			"phase"),
		buffers: counter("checkpoint_blocks_total",
			"Blocks that checkpoints wrote.").WithoutPanel(collectors.AdHoc),
	}
	return collectors.Collector{
		Name:   "postgres/wal",
		Target: t.Name,
		Doc: `WAL reports how much write-ahead log is written and kept, whether it is archived, and what checkpoints cost.

Reads pg_stat_archiver, pg_stat_bgwriter (from 17 on pg_stat_checkpointer) and
the folder of the log, once for the whole server. Rights: pg_monitor, for the
folder. Cost: single rows, and one look at each file of the log.`,
		Metrics: []*collectors.Metric{c.written, c.folder, c.archived, c.failed, c.lastArchived, c.failing,
			c.checkpoints, c.seconds, c.buffers},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type wal struct {
	target                                                   *target.Postgres
	written, folder, archived, failed, lastArchived, failing *collectors.Metric
	checkpoints, seconds, buffers                            *collectors.Metric
}

type walRow struct {
	Written, Archived, Failed float64
	LastArchived, LastFailed  *time.Time
	Archives                  bool
}

type checkpointRow struct{ Timed, Requested, Write, Sync, Buffers float64 }

func (c wal) collect(ctx context.Context, w *collectors.Writer) error {
	server, err := c.target.Server()
	if err != nil {
		return err
	}
	v, err := server.Version(ctx)
	if err != nil {
		return err
	}
	rows, err := readServer[walRow](ctx, c.target, walSQL)
	if err != nil {
		return err
	}
	name := c.target.Name
	for _, r := range rows {
		w.Set(c.written, r.Written, name)
		if !r.Archives {
			continue
		}
		w.Set(c.archived, r.Archived, name)
		w.Set(c.failed, r.Failed, name)
		failing := 0.0
		if r.LastFailed != nil && (r.LastArchived == nil || r.LastFailed.After(*r.LastArchived)) {
			failing = 1
		}
		w.Set(c.failing, failing, name)
		if r.LastArchived != nil {
			w.Set(c.lastArchived, float64(r.LastArchived.UnixMilli())/1000, name)
		}
	}
	query := checkpointSQL
	if v >= 170000 {
		query = checkpoint17SQL
	}
	checkpoints, err := readServer[checkpointRow](ctx, c.target, query)
	if err != nil {
		return err
	}
	for _, r := range checkpoints {
		w.Set(c.checkpoints, r.Timed, name, "timed")
		w.Set(c.checkpoints, r.Requested, name, "requested")
		w.Set(c.seconds, r.Write, name, "write")
		w.Set(c.seconds, r.Sync, name, "sync")
		w.Set(c.buffers, r.Buffers, name)
	}
	folder, err := readServer[struct{ Bytes float64 }](ctx, c.target, walFolderSQL)
	if err != nil {
		return wants(err, "pg_monitor")
	}
	for _, r := range folder {
		w.Set(c.folder, r.Bytes, name)
	}
	return nil
}
