package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Analyze gathers the planner's statistics of one table anew.
func Analyze(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/analyze",
		Target: t.Name,
		Doc: `Analyze gathers the planner's statistics of one table anew, with ANALYZE.

It reads a sample of the table, and takes a SHARE UPDATE EXCLUSIVE lock: reads and
writes go on. Its snapshot holds dead rows back while it runs, for seconds. It
refuses a replica, a role without the right, what has no rows of its own (of a
partitioned table analyze the partitions), and a table that was analyzed and not changed
since. A table whose statistics a crash has emptied tells nothing of how many rows were
changed: there is no measure for it until the server knows of the table again. It is done when the
server's count of analyzes by hand has grown, which sets the number of changed rows to 0.
Cancelled, it leaves the statistics as they were. Rights: own the table or the
database (PostgreSQL 13 to 16), or MAINTAIN on the table and USAGE on its schema (17
and later).`,
		Lowers: "upkeep_postgres_table_changed_rows",
		Risk:   remediate.Safe,
		Effects: remediate.Effects{
			Lock:   "SHARE UPDATE EXCLUSIVE",
			Blocks: "DDL and other maintenance of the table",
			WAL:    "little",
			Disk:   "none",
			Undo:   "nothing to undo",
		},
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`, Until: 16, For: "to analyze the table"},
			{Grant: `grant maintain on table :"schema".:"table" to :"role"`, Since: 17, For: "to analyze the table"},
			{Grant: `grant usage on schema :"schema" to :"role"`, Since: 17, For: "to name the table"},
		},
		Timeout:  30 * time.Minute,
		Cancel:   remediate.CancelAnytime,
		Executor: analyze{t},
	}
}

// analyzeArgs are the arguments of its step.
type analyzeArgs struct {
	session.Place

	OID      int64 `arg:"oid"`
	Analyzes int64 `arg:"analyzes"` // by hand, before
}

type analyze struct{ target *target.Postgres }

// Headroom implements remediate.Roomer.
func (a analyze) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

// Plan implements remediate.Executor.
func (a analyze) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a analyze) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	_, rel, row, err := counted(ctx, a.target, r, "analyze the table")
	if err := p.NoteMissing(err); err != nil {
		return p, err
	}
	last := "it was never analyzed that the server knows of"
	if row.LastAnalyze != nil {
		last = "it was analyzed last at " + session.When(row.LastAnalyze) + " (UTC)"
	}
	switch {
	case row.Changed == nil:
		p.Facts = append(p.Facts, "the server's statistics are empty, as a crash leaves them: how many rows were "+
			"changed is not known; "+last)
	case *row.Changed == 0 && row.LastAnalyze != nil:
		return p, remediate.Refuse(remediate.ReasonNothing, "no row was changed since %s was analyzed at %s",
			r.Subject["table"], session.When(row.LastAnalyze))
	case row.LiveRows == nil:
		p.Facts = append(p.Facts, fmt.Sprintf("%.0f rows were changed since the server's statistics began; %s",
			*row.Changed, last))
	default:
		p.Facts = append(p.Facts, fmt.Sprintf("%.0f rows were changed, there are %.0f; %s", *row.Changed,
			*row.LiveRows, last))
	}
	args := analyzeArgs{session.PlaceOf(r), rel.OID, rel.Analyzes}
	p.Steps = []remediate.Step{remediate.StepOf("ANALYZE "+args.Name(), args)}
	return p, nil
}

// Apply implements remediate.Executor.
func (a analyze) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[analyzeArgs](s)
	if err != nil {
		return err
	}
	return session.Job{
		Target: a.target, Server: session.Planned(s), Action: "postgres/analyze", Place: args.Place,
		LockTimeout: 5 * time.Second, // another vacuum or DDL holds the conflicting locks
		Done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			var analyzed int64
			err := c.QueryRow(ctx, "select coalesce(pg_stat_get_analyze_count($1::int8::oid), 0)",
				args.OID).Scan(&analyzed)
			return analyzed > args.Analyzes, err
		},
	}.Run(ctx, f, s.Do)
}

// Measure implements remediate.Executor.
func (a analyze) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	row, err := measured(ctx, a.target, r)
	if err != nil {
		return 0, err
	}
	return some(row.Changed, r)
}

// Identified implements remediate.Identifier.
func (a analyze) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
