package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// An estimate can be wrong; where pgstattuple is installed the worst are
// measured. That reads the table or the index, so it is done for few of them,
// not often, and not for what is too large to be read while people wait.
const (
	worst           = 5              // of a server are measured
	atOnce          = 2              // in one collection
	worthMeasuring  = 8 << 20        // bytes of estimated bloat
	largestMeasured = 8 << 30        // bytes
	measuredFor     = 12 * time.Hour // unless the size changes before
	measureWithin   = 30 * time.Second
)

// methodEstimate is the method label of what was not measured.
const methodEstimate = "estimate"

// A place is where a table or an index is.
type place struct{ Database, Schema, Table, Index string }

// A candidate is what might be measured.
type candidate struct {
	place
	SizeBytes, BloatBytes int64
}

// A measurement is how much of a table or index is bloat, read from itself.
type measurement struct {
	size  int64 // when it was measured
	at    time.Time
	ratio float64
}

// A gauger measures the worst and remembers what it measured.
type gauger struct {
	method string // the extension's function
	query  string // with the schema of the extension for %s; answers the ratio
	known  map[place]measurement
}

// measure returns the measurements of the worst candidates, some of them new.
func (g *gauger) measure(ctx context.Context, database func(string) (Querier, error),
	all []candidate) (map[place]measurement, error) {
	possible := all[:0:0]
	for _, c := range all {
		if c.BloatBytes >= worthMeasuring && c.SizeBytes <= largestMeasured {
			possible = append(possible, c)
		}
	}
	kept, _ := collectors.Largest(possible, worst, func(c candidate) float64 { return float64(c.BloatBytes) })
	valid := make(map[place]measurement)
	var faults []error
	fresh := 0
	for _, c := range kept {
		m, ok := g.known[c.place]
		if !ok || m.size != c.SizeBytes || time.Since(m.at) > measuredFor {
			if fresh++; fresh > atOnce || ctx.Err() != nil {
				continue
			}
			q, err := database(c.Database)
			var known bool
			if err == nil {
				m, known, err = g.ask(ctx, q, c)
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("database %s: measure %s.%s%s: %w", c.Database, c.Schema, c.Table,
					c.Index, err))
			}
			if err != nil || !known {
				continue
			}
		}
		valid[c.place] = m
	}
	g.known = valid
	return valid, errors.Join(faults...)
}

// A bloated is a table or an index and its estimate.
type bloated struct {
	candidate
	ratio float64
}

// bloatMetrics are what is exported of tables or indexes.
type bloatMetrics struct {
	ratio, bloat, size *collectors.Metric
	of                 []string // the labels that name one, beside the server
}

// labels returns the values of the labels of one.
func (m bloatMetrics) labels(server string, p place) []string {
	return append([]string{server, p.Database, p.Schema, p.Table, p.Index}[:1+len(m.of)], methodEstimate)
}

// export writes the estimates of the largest, what was measured of them, and the sum of
// the rest.
func (g *gauger) export(ctx context.Context, w *collectors.Writer, t *target.Postgres, m bloatMetrics,
	all []bloated) error {
	candidates := make([]candidate, len(all))
	for i, b := range all {
		candidates[i] = b.candidate
	}
	measured, fault := g.measure(ctx, reader(t), candidates)
	kept, rest := collectors.Largest(all, w.Limit(), func(b bloated) float64 { return float64(b.SizeBytes) })
	for _, b := range kept {
		labels := m.labels(t.Name, b.place)
		w.Set(m.ratio, b.ratio, labels...)
		w.Set(m.bloat, float64(b.BloatBytes), labels...)
		w.Set(m.size, float64(b.SizeBytes), labels[:len(labels)-1]...)
		if one, ok := measured[b.place]; ok {
			labels[len(labels)-1] = g.method
			w.Set(m.ratio, one.ratio, labels...)
			w.Set(m.bloat, one.ratio*float64(b.SizeBytes), labels...)
		}
	}
	if len(rest) > 0 {
		var size, bloat float64
		for _, b := range rest {
			size, bloat = size+float64(b.SizeBytes), bloat+float64(b.BloatBytes)
		}
		labels := m.labels(t.Name, place{collectors.Other, collectors.Other, collectors.Other, collectors.Other})
		w.Set(m.size, size, labels[:len(labels)-1]...)
		w.Set(m.bloat, bloat, labels...)
		w.Cut(len(rest))
	}
	return fault
}

// ask measures one, if the extension is there.
func (g *gauger) ask(ctx context.Context, q Querier, c candidate) (m measurement, known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, measureWithin)
	defer cancel()
	schemas, err := target.Rows[struct{ Name string }](
		ctx,
		q,
		"select n.nspname from pg_extension e join pg_namespace n on "+
			"n.oid = e.extnamespace where e.extname = 'pgstattuple'",
	)
	if err != nil || len(schemas) == 0 {
		return m, false, err
	}
	name := c.Index
	if name == "" {
		name = c.Table
	}
	rows, err := target.Rows[struct{ Ratio *float64 }](ctx, q, fmt.Sprintf(g.query,
		pgx.Identifier{schemas[0].Name}.Sanitize()), pgx.Identifier{c.Schema, name}.Sanitize())
	if err != nil {
		return m, false, wants(err, "pg_stat_scan_tables")
	}
	if len(rows) == 0 || rows[0].Ratio == nil {
		return m, false, nil
	}
	return measurement{size: c.SizeBytes, at: time.Now(), ratio: *rows[0].Ratio}, true, nil
}

// MeasureIndexBloat reads the share of bloat of one B-tree index from the index
// itself. It is not known where pgstattuple is not installed, where the index is
// larger than is read while people wait, or where it has no entries.
func MeasureIndexBloat(ctx context.Context, q Querier, schema, index string, sizeBytes int64) (ratio float64,
	known bool, err error) {
	if sizeBytes > largestMeasured {
		return 0, false, nil
	}
	m, known, err := (&gauger{query: measureIndexSQL}).ask(ctx, q,
		candidate{place{Schema: schema, Index: index}, sizeBytes, 0})
	return m.ratio, known, err
}

// measureTableSQL leaves out the room that the fill factor wants free. The values of a
// dropped column are part of live rows for pgstattuple, though a rewrite reclaims them: of such
// a table the estimate is the better figure.
const measureTableSQL = `
select greatest((p.approx_free_space + p.dead_tuple_len) / nullif(p.table_len, 0)::float8
         - (100 - coalesce((select o.option_value::float8 from pg_class c, pg_options_to_table(c.reloptions) o where c.oid = $1::regclass and o.option_name = 'fillfactor'), 100)) / 100, 0)
  from %s.pgstattuple_approx($1::regclass) p
 where not exists (select from pg_attribute a where a.attrelid = $1::regclass and a.attisdropped)`

// measureIndexSQL asks how many pages as full as the fill factor wants would hold
// what the leaves hold.
const measureIndexSQL = `
select greatest(1 - (p.leaf_pages * p.avg_leaf_density / coalesce((select o.option_value::float8 from pg_class c, pg_options_to_table(c.reloptions) o where c.oid = $1::regclass and o.option_name = 'fillfactor'), 90)
                     + p.internal_pages + 1) * current_setting('block_size')::float8 / nullif(p.index_size, 0), 0)
  from %s.pgstatindex($1::regclass) p
 where p.avg_leaf_density <> 'NaN'`
