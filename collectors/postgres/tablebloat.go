package postgres

import (
	"context"
	_ "embed"
	"errors"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/postgres/bloat"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed tablebloat.sql
var tableBloatSQL string

// TableBloat reports how much larger each table is than its rows need.
func TableBloat(t *target.Postgres) collectors.Collector {
	c := tableBloat{
		target: t,
		gauger: &gauger{method: "pgstattuple_approx", query: measureTableSQL},
		ratio: gauge("table_bloat_ratio",
			"Share of the table's heap that a rewrite would reclaim, by method: estimate, or pgstattuple_approx for "+
				"the worst.", "database", "schema", "table", "method"),
		bloat: gauge("table_bloat_bytes", "Bytes of the table's heap that a rewrite would reclaim, by method.",
			"database", "schema", "table", "method"),
		toast: gauge("table_toast_bytes",
			"Size of the table's TOAST when it was last vacuumed; absent below 1 MiB.", "database", "schema",
			"table").WithoutPanel(collectors.AdHoc),
		toastBloat: gauge("table_toast_bloat_bytes",
			"Estimated bytes of the table's TOAST that a rewrite would reclaim; absent where its size is.",
			"database", "schema", "table"),
		heap: gauge("table_heap_bytes",
			"Size of the table's heap when it was last vacuumed or analyzed, without indexes and TOAST.", "database",
			"schema", "table"),
	}
	return collectors.Collector{
		Name:   "postgres/tablebloat",
		Target: t.Name,
		Doc: `TableBloat estimates the space of each table that its rows do not need.

Reads pg_class, pg_attribute and what ANALYZE found; the estimate follows the
layout of a row column by column, and room that no further row fits into does
not count. Where the extension pgstattuple is installed, the five tables with the
most bloat are measured too, each twice a day at most and none above 8 GiB; a table with
dropped columns is not, because pgstattuple counts their values as live. The TOAST of a
table is estimated by the chunks that are alive in it, four of which fit into a page.
Rights: SELECT on the tables (grant pg_read_all_data), or superuser; to measure,
pg_stat_scan_tables (it is in pg_monitor). Cost: one pass over the catalogs of
each database; to measure, the pages of a table that are not all visible. A table
that was never analyzed has no estimate. The figures are as of the last VACUUM or
ANALYZE. Beyond the limit the bytes are summed.`,
		Metrics: []*collectors.Metric{c.ratio, c.bloat, c.heap, c.toast, c.toastBloat},
		Every:   10 * time.Minute,
		Timeout: 2 * time.Minute,
		Limit:   tables,
		Collect: c.collect,
	}
}

type tableBloat struct {
	target                                *target.Postgres
	gauger                                *gauger
	ratio, bloat, heap, toast, toastBloat *collectors.Metric
}

func (c tableBloat) collect(ctx context.Context, w *collectors.Writer) error {
	// The readable ones are exported even if others are not readable.
	rows, err := readEach(ctx, c.target, func(q Querier) ([]TableBloatRow, error) {
		return ReadTableBloat(ctx, q, Subject{})
	})
	all := make([]bloated, len(rows))
	for i, r := range rows {
		t := r.Row
		all[i] = bloated{candidate{place{r.Database, t.Schema, t.Table, ""}, t.HeapBytes, t.BloatBytes}, t.Ratio}
	}
	c.writeTOAST(w, rows)
	metrics := bloatMetrics{c.ratio, c.bloat, c.heap, []string{"database", "schema", "table"}}
	return errors.Join(err, c.gauger.export(ctx, w, c.target, metrics, all))
}

const leastTOAST = 1 << 20 // bytes; what is smaller is exported for no table

// writeTOAST exports the largest TOAST tables.
func (c tableBloat) writeTOAST(w *collectors.Writer, rows []in[TableBloatRow]) {
	kept,
		_ := collectors.Largest(rows, w.Limit(), func(r in[TableBloatRow]) float64 { return float64(r.Row.TOASTBytes) })
	for _, r := range kept {
		if t := r.Row; t.TOASTBytes >= leastTOAST {
			w.Set(c.toast, float64(t.TOASTBytes), c.target.Name, r.Database, t.Schema, t.Table)
			w.Set(c.toastBloat, float64(t.TOASTBloatBytes), c.target.Name, r.Database, t.Schema, t.Table)
		}
	}
}

// A TableBloatRow is the estimated bloat of one table.
type TableBloatRow struct {
	Schema, Table         string
	HeapBytes, BloatBytes int64
	Ratio                 float64

	TOASTBytes, TOASTBloatBytes int64 // 0 without TOAST, and before its first vacuum
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
	TOASTPages    int64
	Chunks        float64 // of TOAST that are alive
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
		c := bloat.Columns{Length: s.Length, Align: s.Align, Width: s.Width, NullFrac: s.NullFrac}
		if s.Rows < 0 || s.Rows > 0 && !c.Known() {
			if s.Rows > 0 && !s.Readable {
				hidden++
			}
			continue
		}
		block := float64(s.BlockSize)
		r := TableBloatRow{Schema: s.Schema, Table: s.Table, HeapBytes: s.Pages * s.BlockSize}
		r.BloatBytes, r.Ratio = bloat.Excess(s.Pages, bloat.HeapPages(c, s.Rows, block, float64(s.FillFactor)), block)
		r.TOASTBytes = s.TOASTPages * s.BlockSize
		r.TOASTBloatBytes, _ = bloat.Excess(s.TOASTPages, bloat.TOASTPages(s.Chunks), block)
		all = append(all, r)
	}
	return all, unseen("tables", hidden)
}

// MeasureTableBloat reads the bloat of one table from itself, which takes as long
// as reading what is not all visible of it. Known is false where pgstattuple is
// not installed or the table is empty, and for one that is too large to be read
// while people wait.
func MeasureTableBloat(ctx context.Context, q Querier, of Subject, size int64) (ratio float64, known bool, err error) {
	if size > largestMeasured {
		return 0, false, nil
	}
	g := gauger{query: measureTableSQL}
	m, known, err := g.ask(ctx, q, candidate{place: place{Schema: of.Schema, Table: of.Table}})
	return m.ratio, known, err
}
