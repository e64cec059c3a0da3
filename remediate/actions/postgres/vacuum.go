package postgres

import (
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

It takes a SHARE UPDATE EXCLUSIVE lock: reads and writes go on. The table is not
truncated at its end, which would need an ACCESS EXCLUSIVE lock and is replayed on
replicas; the space is used again by the table. It refuses a replica, a role
without the right, and names who holds back what can be removed. It is done when
the server's count of vacuums by hand has grown. Rights: own the table or the
database (PostgreSQL 13 to 16), or MAINTAIN on the table and USAGE on its schema
(17 and later). Cancelled, it leaves the table as it was.`,
		Lowers:    "upkeep_postgres_table_dead_ratio",
		Risk:      remediate.Safe,
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Timeout:   2 * time.Hour,
		Remedy:    vacuum{t},
	}
}

type vacuum struct{ target *target.Postgres }

// Plan implements remediate.Remedy.
func (a vacuum) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
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
		Do: "VACUUM (ANALYZE, TRUNCATE off) " + pgx.Identifier{r.Subject["schema"], r.Subject["table"]}.Sanitize(),
		Args: map[string]string{
			"database": r.Subject["database"], "schema": r.Subject["schema"], "table": r.Subject["table"],
			"oid": strconv.FormatInt(rel.OID, 10), "vacuums": strconv.FormatInt(rel.Vacuums, 10),
		},
	}}
	return p, nil
}

// Apply implements remediate.Remedy.
func (a vacuum) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	before, err := strconv.ParseInt(s.Args["vacuums"], 10, 64)
	if err != nil {
		return fmt.Errorf("step: vacuums: %w", err)
	}
	return job{
		target: a.target, action: "postgres/vacuum", database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"],
		// Another vacuum or DDL holds the conflicting locks; behind a waiting
		// VACUUM nobody queues who would not conflict with it anyway.
		lockTimeout: 5 * time.Second,
		done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			// The statistics of a session that has just ended arrive with its end.
			var now int64
			err := c.QueryRow(ctx, "select coalesce(pg_stat_get_vacuum_count($1::text::oid), 0)", s.Args["oid"]).Scan(&now)
			return now > before, err
		},
	}.carry(ctx, f, s.Do)
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
