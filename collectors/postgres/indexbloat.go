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

//go:embed indexbloat.sql
var indexBloatSQL string

// IndexBloat reports how much larger each B-tree index is than its entries need.
func IndexBloat(t *target.Postgres) collectors.Collector {
	c := indexBloat{
		target: t,
		gauger: &gauger{method: "pgstatindex", query: measureIndexSQL},
		ratio: gauge("index_bloat_ratio",
			"Share of the B-tree index that a rebuild would reclaim, by method: estimate, or pgstatindex for the "+
				"worst.", "database", "schema", "table", "index", "method"),
		bloat: gauge("index_bloat_bytes", "Bytes of the B-tree index that a rebuild would reclaim, by method.",
			"database", "schema", "table", "index", "method"),
		size: gauge("index_size_bytes", "Size of the B-tree index when it was last vacuumed, analyzed or built.",
			"database", "schema", "table", "index"),
	}
	return collectors.Collector{
		Name:   "postgres/indexbloat",
		Target: t.Name,
		Doc: `IndexBloat estimates the space of each B-tree index that its entries do not need.

Reads pg_index, pg_class and what ANALYZE found; the estimate knows fill factor,
nulls, padding, expressions and deduplication. Where the extension pgstattuple is
installed, the five indexes with the most bloat are measured too, each twice a day
at most and none above 8 GiB. Rights: SELECT on the tables (grant
pg_read_all_data), or superuser; to measure, pg_stat_scan_tables (it is in
pg_monitor). Cost: one pass over the catalogs of each database; to measure, every
page of an index. An index whose table was never analyzed has no estimate. Beyond
the limit the bytes are summed. An index that grew by inserts at random places is some 25 % larger than
one built anew; that is no harm. The action postgres/reindex lowers the ratio.`,
		Metrics: []*collectors.Metric{c.ratio, c.bloat, c.size},
		Every:   10 * time.Minute,
		Timeout: 2 * time.Minute,
		Limit:   indexes,
		Collect: c.collect,
	}
}

type indexBloat struct {
	target             *target.Postgres
	gauger             *gauger
	ratio, bloat, size *collectors.Metric
}

func (c indexBloat) collect(ctx context.Context, w *collectors.Writer) error {
	// The readable ones are exported even if others are not readable.
	rows, err := readEach(ctx, c.target, func(q Querier) ([]IndexBloatRow, error) {
		return ReadIndexBloat(ctx, q, Subject{})
	})
	all := make([]bloated, len(rows))
	for i, r := range rows {
		x := r.Row
		all[i] = bloated{candidate{place{r.Database, x.Schema, x.Table, x.Index}, x.SizeBytes, x.BloatBytes}, x.Ratio}
	}
	metrics := bloatMetrics{c.ratio, c.bloat, c.size, []string{"database", "schema", "table", "index"}}
	return errors.Join(err, c.gauger.export(ctx, w, c.target, metrics, all))
}

// An IndexBloatRow is the estimated bloat of one index.
type IndexBloatRow struct {
	Schema, Table, Index  string
	SizeBytes, BloatBytes int64
	Ratio                 float64
}

// indexShape is what the query answers for one index.
type indexShape struct {
	Schema, Table, Index string
	Pages                int64
	Entries              float64
	BlockSize            int64
	FillFactor           int64
	Length               []int32
	Align                []string
	Width                []*float64
	NullFrac             []*float64
	Distinct             []*float64 // as in pg_stats: negative is a share of the rows
	Shares               bool       // equal keys share one entry
	Readable             bool
}

// ReadIndexBloat estimates the bloat of the indexes of one database that are of
// the subject. Indexes without statistics are left out; where they are hidden
// from the role the error says so, beside the rows that are not.
func ReadIndexBloat(ctx context.Context, q Querier, of Subject) (all []IndexBloatRow, err error) {
	shapes, err := shapes[indexShape](ctx, q, indexBloatSQL, of.Schema, of.Table, of.Index)
	if err != nil {
		return nil, err
	}
	hidden := 0
	for _, s := range shapes {
		c := bloat.Columns{Length: s.Length, Align: s.Align, Width: s.Width, NullFrac: s.NullFrac}
		if s.Entries < 0 || s.Entries > 0 && !c.Known() {
			if s.Entries > 0 && !s.Readable {
				hidden++
			}
			continue
		}
		block := float64(s.BlockSize)
		r := IndexBloatRow{Schema: s.Schema, Table: s.Table, Index: s.Index, SizeBytes: s.Pages * s.BlockSize}
		r.BloatBytes, r.Ratio = bloat.Excess(s.Pages, bloat.BtreePages(c, s.Entries, s.distinct(), block,
			float64(s.FillFactor)), block)
		all = append(all, r)
	}
	return all, unseen("indexes", hidden)
}

// distinct returns the number of different keys, 0 where equal keys do not share
// an entry or it is not known. Columns are taken as independent, which finds
// rather too many keys than too few.
func (s indexShape) distinct() float64 {
	if !s.Shares || s.Entries <= 0 {
		return 0
	}
	keys := 1.0
	for i, d := range s.Distinct {
		switch {
		case d == nil || *d == 0:
			return 0
		case *d < 0:
			keys *= max(-*d*s.Entries*(1-*s.NullFrac[i]), 1)
		default:
			keys *= *d
		}
		if *s.NullFrac[i] > 0 {
			keys++
		}
	}
	return min(keys, s.Entries)
}
