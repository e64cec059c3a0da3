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
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Retention reports how many rows are past the age that the configuration gives them.
func Retention(t *target.Postgres) collectors.Collector {
	c := retention{
		target: t,
		rows: gauge("retention_rows", "Estimated number of rows that are older than the table's archive says.",
			"database", "schema", "table"),
		archived: gauge("archived_rows", "Estimated number of rows that the archive of the table holds, where that "+
			"is a table of the same database.", "database", "schema", "table"),
	}
	return collectors.Collector{
		Name:   "postgres/retention",
		Target: t.Name,
		Doc: `Retention estimates how many rows of the configured archives are past their age.

Asks the planner, which knows the distribution of the column from ANALYZE and its
newest and oldest value from an index: EXPLAIN, which runs nothing. Where the planner
expects little work, the rows are counted instead. Rights: SELECT on the tables of the
archives and on those that rows are moved to. Cost: one or two plans for each archive,
and at most as many counts of up to 100000 rows. An estimate is as good as the tables'
statistics, and never 0.`,
		Metrics: []*collectors.Metric{c.rows, c.archived},
		Every:   10 * time.Minute,
		Timeout: 30 * time.Second,
		Collect: c.collect,
	}
}

type retention struct {
	target         *target.Postgres
	rows, archived *collectors.Metric
}

func (c retention) collect(ctx context.Context, w *collectors.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var faults []error
	for _, a := range c.target.Archives {
		if c.target.LeavesAlone(a.Database) { // check says so
			continue
		}
		if err := c.ask(ctx, w, a); err != nil {
			faults = append(faults, fmt.Errorf("database %s: archive of %s.%s: %w", a.Database, a.Schema, a.Table, err))
		}
	}
	return errors.Join(faults...)
}

func (c retention) ask(ctx context.Context, w *collectors.Writer, a target.Archive) error {
	db, err := c.target.Database(a.Database)
	if err != nil {
		return err
	}
	n, err := ReadRetention(ctx, db, a)
	if err != nil {
		return err
	}
	w.Set(c.rows, n, c.target.Name, a.Database, a.Schema, a.Table)
	if a.To.Store != nil {
		if n, err = ReadFiled(ctx, db, a, time.Time{}, time.Time{}); err != nil {
			return err
		}
		w.Set(c.archived, n, c.target.Name, a.Database, a.Schema, a.Table)
		return nil
	}
	if a.To.Table == "" {
		return nil
	}
	if n, err = ReadArchived(ctx, db, a, time.Time{}, time.Time{}); err != nil {
		return fmt.Errorf("%s.%s: %w", a.To.Schema, a.To.Table, err)
	}
	w.Set(c.archived, n, c.target.Name, a.Database, a.Schema, a.Table)
	return nil
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
	return estimate(ctx, q, pgx.Identifier{a.Schema, a.Table}.Sanitize()+
		" where "+pgx.Identifier{a.Column}.Sanitize()+" < now() - interval '"+
		strconv.FormatInt(int64(a.After/time.Second), 10)+" seconds'")
}

// ReadArchived estimates how many rows an archive's destination holds that are of
// the moment since or later, and of before until. A zero time is no bound.
func ReadArchived(ctx context.Context, q Querier, a target.Archive, since, until time.Time) (float64, error) {
	column := pgx.Identifier{a.Column}.Sanitize()
	from, word := pgx.Identifier{a.To.Schema, a.To.Table}.Sanitize(), " where "
	for _, bound := range []struct {
		operator string
		at       time.Time
	}{{" >= ", since}, {" < ", until}} {
		if !bound.at.IsZero() {
			from += word + column + bound.operator + "timestamptz '" +
				bound.at.UTC().Format("2006-01-02 15:04:05.999999") + "+00'"
			word = " and "
		}
	}
	return estimate(ctx, q, from)
}

const (
	// countCost is up to which cost, as the planner has it, rows are counted: that of
	// some thousand pages.
	countCost = 5000
	// countMost is up to how many are.
	countMost = 100_000
)

// estimate returns the number of rows of the clause after "from": counted where
// that costs little, since the planner never expects 0, and else as the planner expects.
func estimate(ctx context.Context, q Querier, from string) (float64, error) {
	rows, cost, err := expected(ctx, q, from)
	if err != nil || cost > countCost || rows > countMost {
		return rows, err
	}
	found,
		err := q.Query(ctx, "select count(*)::float8 from (select from "+from+" limit "+strconv.Itoa(countMost+1)+") x")
	if err != nil {
		return 0, explained(err)
	}
	n, err := pgx.CollectExactlyOneRow(found, pgx.RowTo[float64])
	if err != nil {
		return 0, explained(err)
	}
	if n > countMost {
		n = max(n, rows) // there are more, and it is not known how many
	}
	return n, nil
}

// expected returns how many rows, and which cost, the planner expects of the clause
// after "from".
func expected(ctx context.Context, q Querier, from string) (n, cost float64, err error) {
	rows, err := q.Query(ctx, "explain (format json) select from "+from)
	if err != nil {
		return 0, 0, explained(err)
	}
	text, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]byte])
	if err != nil {
		return 0, 0, explained(err)
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
			Cost float64 `json:"Total Cost"`
		}
	}
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		return 0, 0, fmt.Errorf("the plan is not one: %q: %w", text, err)
	}
	return plans[0].Plan.Rows, plans[0].Plan.Cost, nil
}
