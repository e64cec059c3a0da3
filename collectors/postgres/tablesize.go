package postgres

import (
	"context"
	_ "embed"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed tablesize.sql
var tableSizeSQL string

// TableSize reports how large each table is and what it is made of.
func TableSize(t *target.Postgres) collectors.Collector {
	c := tableSize{target: t, size: gauge("table_size_bytes",
		"Size on disk of a part of the table: heap, TOAST, and all indexes.", "database", "schema", "table", "part")}
	return collectors.Collector{
		Name:   "postgres/tablesize",
		Target: t.Name,
		Doc: `TableSize reports how large each table's heap is, what it stores out of line, and its indexes, on a slow clock.

Reads the size of every file of each database. Rights: CONNECT on each database.
Cost: one look at each file, some 5 ms for a thousand. A table that a session has
locked for itself alone is left out until it is free. The sizes of the tables
beyond the limit are summed.`,
		Metrics: []*collectors.Metric{c.size},
		Every:   10 * time.Minute,
		Timeout: 2 * time.Minute,
		Limit:   tables,
		Collect: c.collect,
	}
}

type tableSize struct {
	target *target.Postgres
	size   *collectors.Metric
}

// tableSizeRow is one row of tablesize.sql.
type tableSizeRow struct {
	Schema, Table        string
	Heap, Toast, Indexes float64
}

func (r tableSizeRow) write(w *collectors.Writer, m *collectors.Metric, labels ...string) {
	for _, p := range []struct {
		part  string
		bytes float64
	}{{"heap", r.Heap}, {"toast", r.Toast}, {"indexes", r.Indexes}} {
		w.Set(m, p.bytes, append(labels, p.part)...)
	}
}

func (c tableSize) collect(ctx context.Context, w *collectors.Writer) error {
	all, err := readEach(ctx, c.target, func(q Querier) ([]tableSizeRow,
		error) {
		return target.Rows[tableSizeRow](ctx, q, tableSizeSQL)
	})
	kept, rest := collectors.Largest(all, w.Limit(), func(r in[tableSizeRow]) float64 {
		return r.Row.Heap +
			r.Row.Toast + r.Row.Indexes
	})
	for _, r := range kept {
		r.Row.write(w, c.size, c.target.Name, r.Database, r.Row.Schema, r.Row.Table)
	}
	if len(rest) > 0 {
		var sum tableSizeRow
		for _, r := range rest {
			sum.Heap, sum.Toast, sum.Indexes = sum.Heap+r.Row.Heap, sum.Toast+r.Row.Toast, sum.Indexes+r.Row.Indexes
		}
		sum.write(w, c.size, c.target.Name, collectors.Other, collectors.Other, collectors.Other)
		w.Cut(len(rest))
	}
	return err
}
