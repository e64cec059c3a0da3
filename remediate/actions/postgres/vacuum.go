package postgres

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Vacuum removes the dead rows of one table and analyzes it.
func Vacuum(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/vacuum",
		Target: t.Name,
		Doc: `Vacuum removes the dead rows of one table and analyzes it, with VACUUM (ANALYZE).

It takes a SHARE UPDATE EXCLUSIVE lock: reads and writes go on. Unless it is told
to, it does not truncate the table at its end, which needs an ACCESS EXCLUSIVE lock
and is replayed on replicas; the space is used again by the table. It refuses a replica, a role
without the right, and names who holds back what can be removed. It is done when
the server's counts of vacuums and analyzes by hand have grown; where only the
vacuum was, as after an interruption between the two, the table is analyzed alone. Rights: own the table or the
database (PostgreSQL 13 to 16), or MAINTAIN on the table and USAGE on its schema
(17 and later); pg_monitor where the policy asks for headroom. Cancelled, it
leaves the table as it was.`,
		Lowers:    "upkeep_postgres_table_dead_ratio",
		Risk:      remediate.Safe,
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Params: []remediate.Param{
			{Name: "parallel", Type: remediate.Int, Default: "0", Doc: "How many workers vacuum the indexes beside the session, at most 8; as many indexes must be large enough, and max_parallel_maintenance_workers allow it."},
			{Name: "truncate", Type: remediate.Bool, Default: "false", Doc: "Give the empty pages at the end of the table back to the disk, under a short ACCESS EXCLUSIVE lock that is given up when others wait, but is replayed on replicas."},
		},
		Timeout: 2 * time.Hour,
		Remedy:  vacuum{t},
	}
}

type vacuum struct{ target *target.Postgres }

// Headroom implements remediate.Roomer.
func (a vacuum) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// mostWorkers is how many workers a vacuum may have: more would be a load that
// others feel, and hardly a table has as many large indexes.
const mostWorkers = 8

// options are those of the statement, as the request's parameters want them.
func (vacuum) options(params map[string]string) (string, error) {
	parallel, err := strconv.Atoi(cmp.Or(params["parallel"], "0"))
	if err != nil || parallel < 0 || parallel > mostWorkers {
		return "", remediate.Refuse(remediate.ReasonSubject, "the parameter parallel is %q, want a whole number from 0 to %d", params["parallel"], mostWorkers)
	}
	truncate := "off"
	switch params["truncate"] {
	case "true":
		truncate = "on"
	case "", "false":
	default:
		return "", remediate.Refuse(remediate.ReasonSubject, "the parameter truncate is %q, want true or false", params["truncate"])
	}
	return fmt.Sprintf("ANALYZE, TRUNCATE %s, PARALLEL %d", truncate, parallel), nil
}

// Plan implements remediate.Remedy.
func (a vacuum) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	options, err := a.options(r.Params)
	if err != nil {
		return p, err
	}
	db, rel, err := find(ctx, a.target, r)
	if err != nil {
		return p, err
	}
	if err := rel.allowed("vacuum the table"); err != nil {
		return p, err
	}
	if rel.Kind != "r" && rel.Kind != "m" {
		return p, remediate.Refuse(remediate.ReasonUnfit, "%s is no table with rows of its own", r.Subject["table"])
	}
	rows, err := read.ReadVacuum(ctx, db, of(r))
	if err != nil {
		return p, fmt.Errorf("dead rows: %w", err)
	}
	if len(rows) != 1 {
		return p, remediate.Refuse(remediate.ReasonUnfit, "the server keeps no statistics of %s", r.Subject["table"])
	}
	p.Facts = append(p.Facts, fmt.Sprintf("%.0f of %.0f rows are dead, the heap has %s", rows[0].DeadRows, rows[0].DeadRows+rows[0].LiveRows, remediate.Quantity("_bytes", float64(rel.SizeBytes))))
	who, err := holder(ctx, db)
	if err != nil {
		return p, err
	}
	if who != "" {
		p.Facts = append(p.Facts, who)
	}
	p.Steps = []remediate.Step{{
		Do: "VACUUM (" + options + ") " + pgx.Identifier{r.Subject["schema"], r.Subject["table"]}.Sanitize(),
		Args: map[string]string{
			"database": r.Subject["database"], "schema": r.Subject["schema"], "table": r.Subject["table"],
			"oid": strconv.FormatInt(rel.OID, 10), "vacuums": strconv.FormatInt(rel.Vacuums, 10), "analyzes": strconv.FormatInt(rel.Analyzes, 10),
		},
	}}
	return p, nil
}

// Apply implements remediate.Remedy.
func (a vacuum) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	vacuums, err := strconv.ParseInt(s.Args["vacuums"], 10, 64)
	if err != nil {
		return fmt.Errorf("step: vacuums: %w", err)
	}
	analyzes, err := strconv.ParseInt(cmp.Or(s.Args["analyzes"], "-1"), 10, 64) // plans of before do not say it
	if err != nil {
		return fmt.Errorf("step: analyzes: %w", err)
	}
	return job{
		target: a.target, action: "postgres/vacuum", database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"],
		// Another vacuum or DDL holds the conflicting locks; behind a waiting
		// VACUUM nobody queues who would not conflict with it anyway.
		lockTimeout: 5 * time.Second,
		done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			// The statistics of a session that has just ended arrive with its end.
			var vacuumed, analyzed int64
			err := c.QueryRow(ctx, "select coalesce(pg_stat_get_vacuum_count($1::text::oid), 0), coalesce(pg_stat_get_analyze_count($1::text::oid), 0)", s.Args["oid"]).Scan(&vacuumed, &analyzed)
			if err != nil || vacuumed <= vacuums {
				return false, err
			}
			if analyzed > analyzes {
				return true, nil
			}
			return true, analyze(ctx, c, f, s)
		},
	}.carry(ctx, f, s.Do)
}

// analyze does what is left of a step that was interrupted between its vacuum and
// its analyze, which are a transaction each.
func analyze(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	if err := f.Check(ctx); err != nil {
		return err
	}
	statement := "ANALYZE " + pgx.Identifier{s.Args["schema"], s.Args["table"]}.Sanitize()
	if _, err := c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Measure implements remediate.Remedy.
func (a vacuum) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	db, err := database(ctx, a.target, r)
	if err != nil {
		return 0, err
	}
	rows, err := read.ReadVacuum(ctx, db, of(r))
	switch {
	case err != nil:
		return 0, err
	case len(rows) == 0:
		return 0, fmt.Errorf("table %q: %w", r.Subject["table"], remediate.ErrGone)
	case rows[0].DeadRatio == nil:
		return 0, fmt.Errorf("the server's statistics of table %q are empty", r.Subject["table"])
	}
	return *rows[0].DeadRatio, nil
}

// of names the subject of a request for the collectors' queries.
func of(r remediate.Request) read.Subject {
	return read.Subject{Schema: r.Subject["schema"], Table: r.Subject["table"], Index: r.Subject["index"]}
}
