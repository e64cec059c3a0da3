package postgres

import (
	"context"
	_ "embed"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed invalidindex.sql
var invalidIndexSQL string

// InvalidIndex reports the indexes that no query uses and every write maintains.
func InvalidIndex(t *target.Postgres) collectors.Collector {
	c := invalidIndex{
		target: t,
		size: &collectors.Metric{
			Name: "upkeep_postgres_index_invalid_bytes", Type: collectors.Gauge,
			Help: "Size of an invalid index, which no query uses; absent for every index that is valid or being " +
				"built.",
			Labels: []string{"server", "database", "schema", "table", "index"},
		},
	}
	return collectors.Collector{
		Name:   "postgres/invalidindex",
		Target: t.Name,
		Doc: `InvalidIndex reports the indexes that an interrupted CREATE INDEX or REINDEX CONCURRENTLY has left invalid.

Reads pg_index of every database. Rights: CONNECT on each database. Cost: one
pass over pg_index for each database. No query uses such an index, and every
write maintains it. One that is being built at the moment is not reported.`,
		Metrics: []*collectors.Metric{c.size},
		Every:   5 * time.Minute,
		Timeout: 30 * time.Second,
		Collect: c.collect,
	}
}

type invalidIndex struct {
	target *target.Postgres
	size   *collectors.Metric
}

// An InvalidIndexRow is one index that is invalid and not being built.
type InvalidIndexRow struct {
	Schema, Table, Index string
	SizeBytes            float64
}

func (c invalidIndex) collect(ctx context.Context, w *collectors.Writer) error {
	return eachDatabase(ctx, c.target, func(database string, q Querier) error {
		all, err := ReadInvalidIndex(ctx, q)
		for _, r := range all {
			w.Set(c.size, r.SizeBytes, c.target.Name, database, r.Schema, r.Table, r.Index)
		}
		return err
	})
}

// ReadInvalidIndex returns the invalid indexes of one database.
func ReadInvalidIndex(ctx context.Context, q Querier) ([]InvalidIndexRow, error) {
	return target.Rows[InvalidIndexRow](ctx, q, invalidIndexSQL)
}
