package postgres

import (
	"context"
	_ "embed"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/target"
)

//go:embed indexbloat.sql
var indexBloatSQL string

// IndexBloat reports how much larger each B-tree index is than its entries need.
func IndexBloat(t *target.Postgres) collectors.Collector {
	labels := []string{"server", "database", "schema", "table", "index"}
	c := indexBloat{
		target: t,
		ratio:  &collectors.Metric{Name: "upkeep_postgres_index_bloat_ratio", Type: collectors.Gauge, Help: "Estimated share of the B-tree index that its entries would not need if it were built anew.", Labels: labels},
		bloat:  &collectors.Metric{Name: "upkeep_postgres_index_bloat_bytes", Type: collectors.Gauge, Help: "Estimated bytes of the B-tree index that its entries would not need if it were built anew.", Labels: labels},
		size:   &collectors.Metric{Name: "upkeep_postgres_index_size_bytes", Type: collectors.Gauge, Help: "Size of the B-tree index when it was last vacuumed, analyzed or built.", Labels: labels},
	}
	return collectors.Collector{
		Name:   "postgres/indexbloat",
		Target: t.Name,
		Doc: `IndexBloat estimates the space of each B-tree index that its entries do not need.

Reads pg_index, pg_class and what ANALYZE found; the estimate knows fill factor,
nulls, padding, expressions and deduplication. Rights: SELECT on the tables
(grant pg_read_all_data), or superuser. Cost: one pass over the catalogs of each
database, no index is read. An index whose table was never analyzed has no
estimate. An index that grew by inserts at random places is some 25 % larger than
one built anew; that is no harm. The action postgres/reindex lowers the ratio.`,
		Metrics: []*collectors.Metric{c.ratio, c.bloat, c.size},
		Every:   10 * time.Minute,
		Timeout: 2 * time.Minute,
		Collect: c.collect,
	}
}

type indexBloat struct {
	target             *target.Postgres
	ratio, bloat, size *collectors.Metric
}

func (c indexBloat) collect(ctx context.Context, w *collectors.Writer) error {
	return eachDatabase(ctx, c.target, func(database string, q Querier) error {
		rows, err := ReadIndexBloat(ctx, q, Subject{})
		for _, r := range rows { // those that may be seen, also where some may not
			w.Set(c.ratio, r.Ratio, c.target.Name, database, r.Schema, r.Table, r.Index)
			w.Set(c.bloat, float64(r.BloatBytes), c.target.Name, database, r.Schema, r.Table, r.Index)
			w.Set(c.size, float64(r.SizeBytes), c.target.Name, database, r.Schema, r.Table, r.Index)
		}
		return err
	})
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
		c := columns{s.Length, s.Align, s.Width, s.NullFrac}
		if s.Entries < 0 || s.Entries > 0 && !c.known() {
			if s.Entries > 0 && !s.Readable {
				hidden++
			}
			continue
		}
		block := float64(s.BlockSize)
		r := IndexBloatRow{Schema: s.Schema, Table: s.Table, Index: s.Index, SizeBytes: s.Pages * s.BlockSize}
		r.BloatBytes, r.Ratio = excess(s.Pages, btreePages(c, s.Entries, s.distinct(), block, float64(s.FillFactor)), block)
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
