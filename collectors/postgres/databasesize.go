package postgres

import (
	"context"
	_ "embed"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed databasesize.sql
var databaseSizeSQL string

// DatabaseSize reports how large each database is.
func DatabaseSize(t *target.Postgres) collectors.Collector {
	c := databaseSize{target: t, size: gauge("database_size_bytes", "Total size of the database on disk.", "database")}
	return collectors.Collector{
		Name:   "postgres/databasesize",
		Target: t.Name,
		Doc: `DatabaseSize reports how large each database is, on a slow clock.

Reads the size of every file of every database, templates included. Rights:
CONNECT on each database, or pg_read_all_stats (it is in pg_monitor); a database
without either is left out. Cost: one look at each file, some 5 ms for a thousand.`,
		Metrics: []*collectors.Metric{c.size},
		Every:   5 * time.Minute,
		Timeout: time.Minute,
		Collect: c.collect,
	}
}

type databaseSize struct {
	target *target.Postgres
	size   *collectors.Metric
}

// databaseSizeRow is one row of databasesize.sql.
type databaseSizeRow struct {
	Name  string
	Bytes float64
}

func (c databaseSize) collect(ctx context.Context, w *collectors.Writer) error {
	rows, err := readServer[databaseSizeRow](ctx, c.target, databaseSizeSQL)
	for _, r := range rows {
		w.Set(c.size, r.Bytes, c.target.Name, r.Name)
	}
	return err
}
