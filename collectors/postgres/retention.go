package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/target"
)

// Retention reports how many rows are past the age that the configuration gives them.
func Retention(t *target.Postgres) collectors.Collector {
	c := retention{target: t, rows: gauge("retention_rows", "Estimated number of rows that are older than the table's archive says.", "database", "schema", "table")}
	return collectors.Collector{
		Name:   "postgres/retention",
		Target: t.Name,
		Doc: `Retention estimates how many rows of the configured archives are past their age.

Asks the planner, which knows the distribution of the column from ANALYZE and its
newest and oldest value from an index: EXPLAIN, which runs nothing. Rights: SELECT
on the tables of the archives. Cost: one plan for each archive; no row is read.
The estimate is as good as the table's statistics.`,
		Metrics: []*collectors.Metric{c.rows},
		Every:   10 * time.Minute,
		Timeout: 30 * time.Second,
		Collect: c.collect,
	}
}

type retention struct {
	target *target.Postgres
	rows   *collectors.Metric
}

func (c retention) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var faults []error
	for _, a := range c.target.Archives {
		db, err := c.target.Database(a.Database)
		var n float64
		if err == nil {
			n, err = ReadRetention(ctx, db, a)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("database %s: archive of %s.%s: %w", a.Database, a.Schema, a.Table, err))
			continue
		}
		w.Set(c.rows, n, c.target.Name, a.Database, a.Schema, a.Table)
	}
	return errors.Join(faults...)
}

// noOperator is the error code of a comparison that the types do not have.
const noOperator = "42883"

// explained adds to an error what to do about it.
func explained(err error) error {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == noOperator {
		return fmt.Errorf("%w: the column is to be a timestamp or a date", err)
	}
	return wants(err, "SELECT on the table, or pg_read_all_data,")
}

// ReadRetention estimates how many rows of an archive's table are past their age.
func ReadRetention(ctx context.Context, q Querier, a target.Archive) (float64, error) {
	// EXPLAIN takes no parameters: the names are quoted, and the age is a number.
	rows, err := q.Query(ctx, "explain (format json) select from "+pgx.Identifier{a.Schema, a.Table}.Sanitize()+
		" where "+pgx.Identifier{a.Column}.Sanitize()+" < now() - interval '"+strconv.FormatInt(int64(a.After/time.Second), 10)+" seconds'")
	if err != nil {
		return 0, explained(err)
	}
	text, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]byte])
	if err != nil {
		return 0, explained(err)
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		return 0, fmt.Errorf("the plan is not one: %q: %w", text, err)
	}
	return plans[0].Plan.Rows, nil
}
