package rebuild

import (
	"context"
	"fmt"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
)

// MeasureBloat is the estimate that fires the alert. It is as of the last vacuum or
// analyze, which both actions that lower it end with.
func MeasureBloat(ctx context.Context, t *target.Postgres, r remediate.Request) (float64, error) {
	db, err := relation.Database(ctx, t, r)
	if err != nil {
		return 0, err
	}
	rows, err := read.ReadTableBloat(ctx, db, relation.Names(r))
	switch {
	case len(rows) == 1 && r.Subject["table"] != "" && r.Subject["schema"] != "":
		return rows[0].Ratio, nil
	case err != nil:
		return 0, err
	}
	if _, err := relation.Lookup(ctx, db, r.Subject); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("there is no estimate for table %q: it was never analyzed", r.Subject["table"])
}

// Measure implements remediate.Executor.
func (a reindex) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	db, err := relation.Database(ctx, a.target, r)
	if err != nil {
		return 0, err
	}
	rows, err := read.ReadIndexBloat(ctx, db, relation.Names(r))
	switch {
	case err != nil:
		return 0, err
	case len(rows) == 1:
		return bloat(ctx, db, rows[0]), nil
	}
	if _, err := relation.Lookup(ctx, db, r.Subject); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("there is no estimate for index %q: it is no valid B-tree, or its table was never analyzed",
		r.Subject["index"])
}

// measureWithin is how long a measure may read an index; after that the estimate
// must do.
const measureWithin = 10 * time.Second

// bloat is measured where it can be, and estimated where the extension, the right
// or the time for it is missing. Before and after are read alike: what is missing once is missing
// again, unless the old index was too large to be read in time.
func bloat(ctx context.Context, db *target.Database, estimate read.IndexBloatRow) float64 {
	ctx, cancel := context.WithTimeout(ctx, measureWithin)
	defer cancel()
	ratio, known, err := read.MeasureIndexBloat(ctx, db, estimate.Schema, estimate.Index, estimate.SizeBytes)
	if err != nil || !known {
		return estimate.Ratio
	}
	return ratio
}
