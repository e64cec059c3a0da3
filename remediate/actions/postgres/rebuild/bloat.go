package rebuild

import (
	"context"
	"fmt"

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
