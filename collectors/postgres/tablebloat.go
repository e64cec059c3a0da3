package postgres

import (
	"context"
	_ "embed"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/target"
)

//go:embed tablebloat.sql
var tableBloatSQL string

// TableBloat reports how much larger each table is than its rows need.
func TableBloat(t *target.Postgres) collectors.Collector {
	labels := []string{"server", "database", "schema", "table"}
	c := tableBloat{
		target: t,
		ratio:  &collectors.Metric{Name: "upkeep_postgres_table_bloat_ratio", Type: collectors.Gauge, Help: "Estimated share of the table's heap that its rows would not need if they were written anew.", Labels: labels},
		bloat:  &collectors.Metric{Name: "upkeep_postgres_table_bloat_bytes", Type: collectors.Gauge, Help: "Estimated bytes of the table's heap that its rows would not need if they were written anew.", Labels: labels},
		heap:   &collectors.Metric{Name: "upkeep_postgres_table_heap_bytes", Type: collectors.Gauge, Help: "Size of the table's heap when it was last vacuumed or analyzed, without indexes and TOAST.", Labels: labels},
	}
	return collectors.Collector{
		Name:   "postgres/tablebloat",
		Target: t.Name,
		Doc: `TableBloat estimates the space of each table that its rows do not need.

Reads pg_class, pg_attribute and what ANALYZE found; the estimate follows the
layout of a row column by column, and room that no further row fits into does
not count. Rights: SELECT on the tables (grant pg_read_all_data), or superuser.
Cost: one pass over the catalogs of each database, no table is read. A table
that was never analyzed has no estimate. The figures are as of the last VACUUM
or ANALYZE.`,
		Metrics: []*collectors.Metric{c.ratio, c.bloat, c.heap},
		Every:   10 * time.Minute,
		Timeout: 2 * time.Minute,
		Collect: c.collect,
	}
}

type tableBloat struct {
	target             *target.Postgres
	ratio, bloat, heap *collectors.Metric
}

func (c tableBloat) collect(ctx context.Context, w *collectors.Writer) error {
	return eachDatabase(ctx, c.target, func(database string, q Querier) error {
		rows, err := ReadTableBloat(ctx, q, Subject{})
		for _, r := range rows { // those that may be seen, also where some may not
			w.Set(c.ratio, r.Ratio, c.target.Name, database, r.Schema, r.Table)
			w.Set(c.bloat, float64(r.BloatBytes), c.target.Name, database, r.Schema, r.Table)
			w.Set(c.heap, float64(r.HeapBytes), c.target.Name, database, r.Schema, r.Table)
		}
		return err
	})
}

// A TableBloatRow is the estimated bloat of one table.
type TableBloatRow struct {
	Schema, Table         string
	HeapBytes, BloatBytes int64
	Ratio                 float64
}

// tableShape is what the query answers for one table.
type tableShape struct {
	Schema, Table string
	Pages         int64
	Rows          float64 // -1 when the table was never vacuumed or analyzed
	BlockSize     int64
	FillFactor    int64
	Length        []int32
	Align         []string
	Width         []*float64
	NullFrac      []*float64
	Readable      bool
}

// ReadTableBloat estimates the bloat of the tables of one database that are of
// the subject. Tables without statistics are left out; where they are hidden from
// the role the error says so, beside the rows that are not.
func ReadTableBloat(ctx context.Context, q Querier, of Subject) (all []TableBloatRow, err error) {
	shapes, err := shapes[tableShape](ctx, q, tableBloatSQL, of.Schema, of.Table)
	if err != nil {
		return nil, err
	}
	hidden := 0
	for _, s := range shapes {
		c := columns{s.Length, s.Align, s.Width, s.NullFrac}
		if s.Rows < 0 || s.Rows > 0 && !c.known() {
			if s.Rows > 0 && !s.Readable {
				hidden++
			}
			continue
		}
		block := float64(s.BlockSize)
		r := TableBloatRow{Schema: s.Schema, Table: s.Table, HeapBytes: s.Pages * s.BlockSize}
		r.BloatBytes, r.Ratio = excess(s.Pages, heapPages(c, s.Rows, block, float64(s.FillFactor)), block)
		all = append(all, r)
	}
	return all, unseen("tables", hidden)
}
