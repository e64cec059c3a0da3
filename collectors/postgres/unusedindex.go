package postgres

import (
	"context"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/postgres/usage"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// UnusedIndex reports the indexes that no query has used.
func UnusedIndex(t *target.Postgres) collectors.Collector {
	c := unusedIndex{
		target: t,
		size: gauge("index_unused_bytes",
			"Size of an index that no query has used, here and on the monitored standbys, and that serves no other "+
				"purpose.", "database", "schema", "table", "index"),
		unused: gauge("index_unused_since_timestamp_seconds",
			"Time since which the index is known to be unused: the start of the scan count, but not before upkeep "+
				"first saw the index or its counter went back.", "database", "schema", "table", "index"),
		since: gauge("index_usage_since_timestamp_seconds",
			"Start of the scan count, here and on the monitored standbys: the latest of the first collection, a "+
				"reset of the statistics, a start of the server, a crash, a promotion, and the end of a period with "+
				"track_counts off.", "database"),
		unseen: gauge("index_usage_standbys_unmonitored",
			"Number of standbys whose index usage is unknown: connected now or in the last 35 days, and not monitored.",
			"database"),
	}
	return collectors.Collector{
		Name:   "postgres/unusedindex",
		Target: t.Name,
		Doc: `UnusedIndex reports the indexes that no query has used and that are there for nothing else.

Reads pg_index, pg_constraint and the cumulative statistics of every database, and
the statistics of every standby that names this server in replica_of, or names one
that does. An index that is unique, backs a constraint, finds the rows that refer to
others, names rows for replication, or is one of a partitioned index is never
reported, nor is one of an expression, whose statistics the planner uses, nor what
an extension has made or keeps in a schema of its own. While track_counts is off
anywhere, nothing is reported. A standby itself reports nothing.

Young statistics prove nothing. The store keeps what the server does not report: when
upkeep first saw the index, a counter that went back, another timeline (a promotion), a
period with track_counts off, and the known standbys. A standby, or a slot for one, that
was seen in the last 35 days and cannot be queried counts as unchecked. So does a WAL
archive, which may feed a standby that is not visible here, until standbys_listed is
true. Rights: CONNECT on each database; pg_monitor here and on the standbys to identify
them. Cost: one pass over the catalogs of each database; no file is read.`,
		Metrics: []*collectors.Metric{c.size, c.unused, c.since, c.unseen},
		Every:   10 * time.Minute,
		Timeout: time.Minute,
		Limit:   indexes,
		Collect: c.collect,
	}
}

type unusedIndex struct {
	target                      *target.Postgres
	size, unused, since, unseen *collectors.Metric
}

func (c unusedIndex) collect(ctx context.Context, w *collectors.Writer) error {
	var all []in[usage.Unused]
	err := eachDatabase(ctx, c.target, func(database string, q Querier) error {
		found, err := usage.Read(ctx, c.target, database, q, time.Now())
		if err != nil || found.Standby {
			return err
		}
		if found.Counted {
			w.Set(c.since, float64(found.Since.UnixMilli())/1000, c.target.Name, database)
		}
		w.Set(c.unseen, float64(len(found.Unasked)), c.target.Name, database)
		for _, r := range found.Unused {
			all = append(all, in[usage.Unused]{database, r})
		}
		return nil
	})
	kept, rest := collectors.Largest(all, w.Limit(), func(r in[usage.Unused]) float64 { return r.Row.SizeBytes })
	for _, r := range kept {
		w.Set(c.size, r.Row.SizeBytes, c.target.Name, r.Database, r.Row.Schema, r.Row.Table, r.Row.Index)
		w.Set(c.unused, float64(r.Row.Since.UnixMilli())/1000, c.target.Name, r.Database, r.Row.Schema, r.Row.Table,
			r.Row.Index)
	}
	if len(rest) > 0 {
		sum := 0.0
		for _, r := range rest {
			sum += r.Row.SizeBytes
		}
		w.Set(c.size, sum, c.target.Name, collectors.Other, collectors.Other, collectors.Other, collectors.Other)
		w.Cut(len(rest))
	}
	return err
}
