package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/target"
)

//go:embed unusedindex.sql
var unusedIndexSQL string

// sinceSQL tells since when the statistics of a database are known to count, and
// how many standbys use the server's indexes too. A crash empties the statistics
// and says so nowhere: they are not trusted from before the start of the server.
const sinceSQL = `
select greatest(s.stats_reset, pg_postmaster_start_time()), pg_is_in_recovery(),
       (select count(*) from pg_stat_replication r where r.state = 'streaming' and not exists (select from pg_replication_slots l where l.active_pid = r.pid and l.slot_type = 'logical'))
  from pg_stat_database s
 where s.datname = current_database()`

// usedSQL names the indexes that queries have used.
const usedSQL = `
select n.nspname, c.relname
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'i' and pg_stat_get_numscans(c.oid) > 0`

// UnusedIndex reports the indexes that no query has used.
func UnusedIndex(t *target.Postgres) collectors.Collector {
	c := unusedIndex{
		target: t,
		size:   gauge("index_unused_bytes", "Size of an index that no query has used, here and on the standbys that are asked, and that is there for nothing else.", "database", "schema", "table", "index"),
		since:  gauge("index_usage_since_timestamp_seconds", "Since when scans of indexes are known to be counted: the last reset of the statistics or start of the server, here or on a standby that is asked.", "database"),
		unseen: gauge("index_usage_standbys_unasked", "Number of standbys whose use of indexes is not known: they are no targets that name this one in replica_of.", "database"),
	}
	return collectors.Collector{
		Name:   "postgres/unusedindex",
		Target: t.Name,
		Doc: `UnusedIndex reports the indexes that no query has used and that are there for nothing else.

Reads pg_index, pg_constraint and the cumulative statistics of every database, and
the statistics of every standby that names this server in replica_of. An index that
is unique, backs a constraint, finds the rows that refer to others, names rows for
replication, or is one of a partitioned index is never reported, nor is one of an
expression, whose statistics the planner uses. A standby itself reports nothing.
Rights: CONNECT on each database. Cost: one pass over the catalogs of each
database; no file is looked at. Statistics that are young prove nothing: see
upkeep_postgres_index_usage_since_timestamp_seconds.`,
		Metrics: []*collectors.Metric{c.size, c.since, c.unseen},
		Every:   10 * time.Minute,
		Timeout: time.Minute,
		Limit:   indexes,
		Collect: c.collect,
	}
}

type unusedIndex struct {
	target              *target.Postgres
	size, since, unseen *collectors.Metric
}

// An UnusedIndexRow is one index that no query has used.
type UnusedIndexRow struct {
	Schema, Table, Index string
	SizeBytes            float64
}

type usedIndexRow struct{ Schema, Index string }

type sinceRow struct {
	Since    time.Time
	Recovery bool
	Standbys int64
}

// IndexUsage is which indexes of one database no query has used, and how much that
// says.
type IndexUsage struct {
	Since   time.Time // since when scans are known to be counted, here and on the standbys that were asked
	Unasked int       // standbys whose use of indexes is not known
	Standby bool      // the server is one itself: then nothing else is said
	Unused  []UnusedIndexRow
}

func (c unusedIndex) collect(ctx context.Context, w *collectors.Writer) error {
	var all []in[UnusedIndexRow]
	err := eachDatabase(ctx, c.target, func(database string, q Querier) error {
		usage, err := ReadIndexUsage(ctx, c.target, database, q)
		if err != nil || usage.Standby {
			return err
		}
		w.Set(c.since, float64(usage.Since.UnixMilli())/1000, c.target.Name, database)
		w.Set(c.unseen, float64(usage.Unasked), c.target.Name, database)
		for _, r := range usage.Unused {
			all = append(all, in[UnusedIndexRow]{database, r})
		}
		return nil
	})
	kept, rest := collectors.Largest(all, w.Limit(), func(r in[UnusedIndexRow]) float64 { return r.Row.SizeBytes })
	for _, r := range kept {
		w.Set(c.size, r.Row.SizeBytes, c.target.Name, r.Database, r.Row.Schema, r.Row.Table, r.Row.Index)
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

// ReadIndexUsage finds the unused indexes of a database that q asks, and asks the
// server's standbys about it too: where one does not answer, nothing is said.
func ReadIndexUsage(ctx context.Context, t *target.Postgres, database string, q Querier) (u IndexUsage, err error) {
	since, err := usageSince(ctx, q)
	if err != nil || since.Recovery {
		return IndexUsage{Standby: since.Recovery}, err
	}
	rows, err := read[UnusedIndexRow](ctx, q, unusedIndexSQL)
	if err != nil {
		return u, err
	}
	u = IndexUsage{Since: since.Since, Unasked: max(int(since.Standbys)-len(t.Replicas), 0)}
	used := make(map[usedIndexRow]bool)
	for _, r := range t.Replicas {
		theirs, err := usedOn(ctx, r, database, used)
		if err != nil {
			return IndexUsage{}, fmt.Errorf("standby %s: %w", r.Name, err)
		}
		if theirs.After(u.Since) {
			u.Since = theirs
		}
	}
	for _, r := range rows {
		if !used[usedIndexRow{r.Schema, r.Index}] {
			u.Unused = append(u.Unused, r)
		}
	}
	return u, nil
}

func usageSince(ctx context.Context, q Querier) (sinceRow, error) {
	rows, err := read[sinceRow](ctx, q, sinceSQL)
	if err == nil && len(rows) != 1 {
		err = errors.New("the server has no statistics of this database")
	}
	if err != nil {
		return sinceRow{}, err
	}
	return rows[0], nil
}

// usedOn adds the indexes that a standby's queries have used, and returns since
// when it counts.
func usedOn(ctx context.Context, t *target.Postgres, database string, used map[usedIndexRow]bool) (time.Time, error) {
	db, err := t.Database(database)
	if err != nil {
		return time.Time{}, err
	}
	since, err := usageSince(ctx, db)
	if err != nil {
		return time.Time{}, err
	}
	rows, err := read[usedIndexRow](ctx, db, usedSQL)
	for _, r := range rows {
		used[r] = true
	}
	return since.Since, err
}
