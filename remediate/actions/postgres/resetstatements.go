package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// ResetStatements begins the statistics of statements anew.
func ResetStatements(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/reset_statements",
		Target: t.Name,
		Doc: "ResetStatements begins the statistics of pg_stat_statements anew, after it has written down who was slowest." + `

The facts of the plan are the review: when the statistics were last reset, the ten
statements with the highest total time and the ten with the highest mean time, with
their calls, rows and blocks, and without literals. The plan is in the journal before
anything is done, so that a month can be compared with the one before by upkeep show.
What is counted between the plan and its step is not in it. The metrics of the collector
postgres/statements continue over a reset. Other readers of pg_stat_statements start
at 0.

It refuses if no database has the extension, if the library is not loaded, before
PostgreSQL 14 (which does not report when the statistics were reset), if nothing was
counted, and if the role does not see every statement: statistics that are not in the
journal are not discarded. The step is done when the server reports a later time of
reset. Rights: EXECUTE on pg_stat_statements_reset, and pg_read_all_stats (it is in
pg_monitor).`,
		Lowers: "upkeep_postgres_statements_age_seconds",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "no one",
			WAL:    "none",
			Disk:   "none",
			Undo:   "none: the review of before is in the journal",
		},
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Rights: []remediate.Right{
			{Grant: `grant execute on function pg_stat_statements_reset to :"role"`,
				For: "to reset the statistics, in the database that has the extension"},
			{Grant: `grant pg_read_all_stats to :"role"`, For: "to see every statement before"},
		},
		Timeout:  time.Minute,
		Cancel:   remediate.CancelAnytime,
		Executor: resetStatements{t},
	}
}

// resetArgs are the arguments of its step.
type resetArgs struct {
	Database string `arg:"database"`
	Schema   string `arg:"schema"` // of pg_stat_statements, quoted
	Since    string `arg:"since"`  // when the statistics were reset last
}

type resetStatements struct{ target *target.Postgres }

// slowest is how many statements of each order are written down.
const slowest = 10

// place finds the statistics, and refuses if none can be reset.
func (a resetStatements) place(ctx context.Context) (read.StatementsPlace, *read.Statistics, error) {
	p, err := read.FindStatements(ctx, a.target)
	switch {
	case err != nil:
		return p, nil, err
	case p.Database == "":
		return p, nil, remediate.Refuse(remediate.ReasonUnfit,
			"no database of the server has the extension pg_stat_statements")
	}
	s, err := read.ReadStatistics(ctx, a.target, p)
	var refused interface{ SQLState() string }
	switch {
	case errors.As(err, &refused) && refused.SQLState() == "55000":
		return p, nil, remediate.Refuse(remediate.ReasonUnfit,
			"pg_stat_statements is not in shared_preload_libraries: it counts nothing")
	case err != nil:
		return p, nil, fmt.Errorf("statistics: %w", err)
	case s == nil:
		return p, nil, remediate.Refuse(remediate.ReasonUnfit,
			"the extension is older than 1.9 (PostgreSQL 14): it does not tell when its statistics were reset")
	}
	return p, s, nil
}

// Plan implements remediate.Executor.
func (a resetStatements) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a resetStatements) plan(ctx context.Context, _ remediate.Request) (p remediate.Plan, err error) {
	place, s, err := a.place(ctx)
	if err != nil {
		return p, err
	}
	if !s.MayReset {
		// it is noted
		_ = p.NoteMissing(remediate.Refuse(remediate.ReasonPrivilege,
			"role %s may not reset the statistics: grant execute on function %s.pg_stat_statements_reset to it, in "+
				"database %q", s.Role, place.Schema, place.Database))
	}
	rows, err := read.ReadSlowest(ctx, a.target, place, slowest)
	switch {
	case errors.Is(err, read.ErrHidden):
		return p, remediate.Refuse(remediate.ReasonPrivilege, "the review cannot be written down: %v", err)
	case err != nil:
		return p, fmt.Errorf("the slowest statements: %w", err)
	case len(rows) == 0:
		return p, remediate.Refuse(remediate.ReasonNothing, "nothing was counted since %s",
			s.Since.UTC().Format(time.DateTime))
	}
	p.Facts = append(p.Facts, fmt.Sprintf("counted since %s (UTC): %d statements, %.0f calls, %.3f s; statements "+
		"were forgotten for others %d times", s.Since.UTC().Format(time.DateTime), rows[0].Known, rows[0].AllCalls,
		rows[0].AllSeconds, s.Forgotten))
	for _, r := range rows {
		text := read.StatementText(r.Text)
		if a.target.WithoutText || text == "" {
			text = "(text not shown)"
		}
		p.Facts = append(p.Facts, fmt.Sprintf("%.3f s in %.0f calls, %.6f s each, %.0f rows, %.0f blocks read, "+
			"queryid %d of %q in %q: %s", r.Seconds, r.Calls, r.Seconds/max(r.Calls, 1), r.Rows, r.Blocks, r.QueryID,
			r.User,
			r.Database, text))
	}
	p.Steps = []remediate.Step{remediate.StepOf("SELECT "+place.Schema+".pg_stat_statements_reset()",
		resetArgs{place.Database, place.Schema, session.Stamp(&s.Since)})}
	return p, nil
}

// Apply implements remediate.Executor.
func (a resetStatements) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[resetArgs](s)
	if err != nil {
		return err
	}
	if _, err := time.Parse(time.RFC3339Nano, args.Since); err != nil {
		return fmt.Errorf("step: since: %w", err)
	}
	return session.Job{
		Target: a.target, Server: session.Planned(s), Action: "postgres/reset_statements",
		// no table has that name; the lock is that of the statistics
		Place: session.Place{Database: args.Database, Schema: "pg_stat_statements"},
		Done: func(ctx context.Context, c *pgx.Conn) (done bool, err error) {
			err = c.QueryRow(ctx, "select stats_reset > $1::text::timestamptz from "+args.Schema+
				".pg_stat_statements_info",
				args.Since).Scan(&done)
			return done, err
		},
	}.Run(ctx, f, s.Do)
}

// Measure implements remediate.Executor.
func (a resetStatements) Measure(ctx context.Context, _ remediate.Request) (float64, error) {
	_, s, err := a.place(ctx)
	if err != nil {
		return 0, err
	}
	return s.Seconds, nil
}

// Identified implements remediate.Identifier.
func (a resetStatements) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
