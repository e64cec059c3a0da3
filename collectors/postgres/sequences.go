package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed sequences.sql
var sequencesSQL string

// Sequences reports how near each sequence is to its end.
func Sequences(t *target.Postgres) collectors.Collector {
	c := sequences{target: t, used: gauge("sequence_used_ratio",
		"Used share of the values of the sequence, or of the column that it feeds; absent before its first value.",
		"database", "schema", "sequence", "table", "column")}
	return collectors.Collector{
		Name:   "postgres/sequences",
		Target: t.Name,
		Doc: `Sequences reports how near each sequence is to its end, and the column that takes its values.

Reads every sequence of each database. Rights: SELECT on the sequences (grant
pg_read_all_data). Cost: one page is read for each sequence. Those nearest their
end are exported, up to the limit; a sequence that cycles has no end.`,
		Metrics: []*collectors.Metric{c.used},
		Every:   10 * time.Minute,
		Timeout: time.Minute,
		Limit:   200,
		Collect: c.collect,
	}
}

type sequences struct {
	target *target.Postgres
	used   *collectors.Metric
}

type sequenceRow struct {
	Schema, Sequence, Table, Column string
	Used                            *float64
	Readable                        bool
}

func (c sequences) collect(ctx context.Context, w *collectors.Writer) error {
	all, err := readEach(ctx, c.target, func(q Querier) ([]sequenceRow,
		error) {
		return target.Rows[sequenceRow](ctx, q, sequencesSQL)
	})
	known, unread := all[:0], 0
	for _, r := range all {
		if !r.Row.Readable {
			unread++
		} else if r.Row.Used != nil {
			known = append(known, r)
		}
	}
	kept, rest := collectors.Largest(known, w.Limit(), func(r in[sequenceRow]) float64 { return *r.Row.Used })
	for _, r := range kept {
		w.Set(c.used, *r.Row.Used, c.target.Name, r.Database, r.Row.Schema, r.Row.Sequence, r.Row.Table, r.Row.Column)
	}
	w.Cut(len(rest))
	if unread > 0 {
		err = errors.Join(err, hidden(fmt.Sprintf("the value of %d sequences", unread), "pg_read_all_data"))
	}
	return err
}
