package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// What maintenance is under way, and how far is it?
//
// Rights: pg_read_all_stats (in pg_monitor), for other roles' commands. Versions:
// 13 and later. Cost: a row for each command that runs; a name is looked up in
// the databases where one does.
const (
	progressSQL = `
select datname::text, relid::int8, coalesce(command, ''), coalesce(phase, ''), coalesce(done, 0)::float8, coalesce(total, 0)::float8 from (
  select datname, relid, 'VACUUM' as command, phase, heap_blks_scanned as done, heap_blks_total as total from pg_stat_progress_vacuum
  union all
  select datname, relid, 'ANALYZE', phase, sample_blks_scanned, sample_blks_total from pg_stat_progress_analyze
  union all
  select datname, relid, command, phase, blocks_done, blocks_total from pg_stat_progress_create_index
  union all
  select datname, relid, command, phase, heap_blks_scanned, heap_blks_total from pg_stat_progress_cluster
) running`

	relationSQL = `select c.oid::int8, n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = any($1::int8[]::oid[])`
)

// Progress reports the maintenance that is under way.
func Progress(t *target.Postgres) collectors.Collector {
	c := progress{target: t, done: gauge("progress_ratio",
		"Progress of a maintenance command within its phase, by blocks. 0 in a phase without a block count.",
		"database", "schema", "table", "command", "phase")}
	return collectors.Collector{
		Name:   "postgres/progress",
		Target: t.Name,
		Doc: `Progress reports the maintenance that is under way: VACUUM, ANALYZE, CREATE INDEX, REINDEX, CLUSTER and VACUUM FULL.

Reads the progress views, once for the whole server. Rights: pg_read_all_stats
(it is in pg_monitor), for what other roles run. Cost: a row for each command that
runs, and a look at the catalog of the databases where one does. What runs in a template,
or in a database that upkeep does not enter, is not reported.`,
		Metrics: []*collectors.Metric{c.done},
		Every:   15 * time.Second,
		Timeout: 10 * time.Second,
		Collect: c.collect,
	}
}

type progress struct {
	target *target.Postgres
	done   *collectors.Metric
}

type progressRow struct {
	Database       string
	Relation       *int64 // nil where the role may not see it
	Command, Phase string
	Done, Total    float64
}

type relationRow struct {
	OID          int64
	Schema, Name string
}

func (c progress) collect(ctx context.Context, w *collectors.Writer) error {
	running, err := readServer[progressRow](ctx, c.target, progressSQL)
	if err != nil {
		return err
	}
	all := len(running)
	running = slices.DeleteFunc(running, func(r progressRow) bool { return r.Relation == nil })
	names, err := c.names(ctx, running)
	if n := all - len(running); n > 0 {
		err = errors.Join(err, hidden(fmt.Sprintf("what %d maintenance commands do", n), "pg_read_all_stats"))
	}
	type key struct{ database, schema, table, command, phase string }
	seen := make(map[key]bool) // the workers of one command, and the partitions of one index, are one
	for _, r := range running {
		n, ok := names[r.Database][*r.Relation]
		k := key{r.Database, n.Schema, n.Name, r.Command, r.Phase}
		if !ok || seen[k] {
			continue
		}
		seen[k] = true
		done := 0.0
		if r.Total > 0 {
			done = min(r.Done/r.Total, 1)
		}
		w.Set(c.done, done, c.target.Name, k.database, k.schema, k.table, k.command, k.phase)
	}
	return err
}

// names looks up what the relations are called, in the databases they are in. Autovacuum works in
// templates too, and in databases that may not be entered: what it does there has no name here.
func (c progress) names(ctx context.Context, running []progressRow) (map[string]map[int64]relationRow, error) {
	wanted := make(map[string][]int64)
	for _, r := range running {
		wanted[r.Database] = append(wanted[r.Database], *r.Relation)
	}
	all := make(map[string]map[int64]relationRow)
	if len(wanted) == 0 {
		return all, nil
	}
	err := eachDatabase(ctx, c.target, func(database string, q Querier) error {
		relations := wanted[database]
		if len(relations) == 0 {
			return nil
		}
		found, err := target.Rows[relationRow](ctx, q, relationSQL, relations)
		all[database] = make(map[int64]relationRow)
		for _, f := range found {
			all[database][f.OID] = f
		}
		return err
	})
	return all, err
}
