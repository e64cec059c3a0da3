package postgres

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rebuild"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Vacuum removes the dead rows of one table and analyzes it.
func Vacuum(t *target.Postgres) remediate.Action {
	return remediate.Action{
		Name:   "postgres/vacuum",
		Target: t.Name,
		Doc: `Vacuum removes the dead rows of one table and analyzes it, with VACUUM (ANALYZE).

It takes a SHARE UPDATE EXCLUSIVE lock: reads and writes go on, and autovacuum gives
way to it. By default it does not truncate the end of the table, which needs an ACCESS
EXCLUSIVE lock and is replayed on replicas; the table reuses the space. If the oldest
transaction ids of the table are past half of autovacuum_freeze_max_age, it also freezes
rows, and the plan says so.

It refuses a replica and a role without the right, and it refuses when it cannot help:
if an open transaction, a prepared transaction, a replication slot or a standby holds
back the dead rows, the refusal names it. upkeep is sure of that only if a vacuum (its
own or another) finished in the last 15 minutes, started after the blocker's xmin was
set, and left the rows. It waits for a transaction younger than ten minutes. If the
blocker is not certain, the vacuum runs, and the next plan is certain. A later step of a
chain always runs, because an earlier step may have removed the blocker. An active
statement, a slot or a standby counts as a blocker if it held the same xmin at the
previous check.

The step is done when
vacuum_count and analyze_count of the table have grown; if only the vacuum is done, as
after an interruption between the two, only the ANALYZE runs. The collector
postgres/progress and pg_stat_progress_vacuum show its progress; the application_name of
its session is upkeep postgres/vacuum. When it is cancelled, the table is unchanged, and
the dead rows that were not removed yet remain. TOAST tables are vacuumed with their
table. Temporary tables are refused: only their own session can vacuum them. Rights: own the table or the
database (PostgreSQL 13 to 16), or MAINTAIN on the table and USAGE on its schema
(17 and later); pg_read_all_stats (it is in pg_monitor) to name who holds dead rows
back, without which it is made all the same; pg_monitor where the policy asks for
headroom.`,
		Lowers: "upkeep_postgres_table_dead_ratio",
		Risk:   remediate.Safe,
		Effects: remediate.Effects{
			Lock:   "SHARE UPDATE EXCLUSIVE",
			Blocks: "DDL and other maintenance of the table",
			WAL:    "pages with dead rows",
			Disk:   "none; dead rows become free space in the table",
			Undo:   "nothing to undo",
		},
		Subject:   []string{"server", "database", "schema", "table"},
		Exclusive: []string{"server", "database", "schema", "table"},
		Params: []remediate.Param{
			{Name: "parallel", Type: remediate.Int, Default: "0",
				Doc: "How many workers vacuum the indexes beside the session, at most 8; as many indexes must be " +
					"large enough, and max_parallel_maintenance_workers allow it."},
			{Name: "truncate", Type: remediate.Bool, Default: "false",
				Doc: "Give the empty pages at the end of the table back to the disk, under a short ACCESS EXCLUSIVE " +
					"lock that is given up when others wait, but is replayed on replicas."},
			{Name: "freeze", Type: remediate.Text, Default: "auto",
				Doc: "Freeze every row, so that the table is not vacuumed for its age soon: auto, when its oldest " +
					"transactions or multixacts are past half of the server's autovacuum_freeze_max_age or " +
					"autovacuum_multixact_freeze_max_age; always; or never."},
			{Name: "index_cleanup", Type: remediate.Text, Default: "auto",
				Doc: "Remove what points to dead rows from the indexes: auto, as the server and the table's settings " +
					"have it; on; or off, which is faster and leaves the places of the rows unused."},
		},
		Rights: []remediate.Right{
			{Grant: `grant :"owner" to :"role"`, Until: 16, For: "to vacuum the table"},
			{Grant: `grant maintain on table :"schema".:"table" to :"role"`, Since: 17, For: "to vacuum the table"},
			{Grant: `grant usage on schema :"schema" to :"role"`, Since: 17, For: "to name the table"},
			{Grant: `grant pg_read_all_stats to :"role"`, For: "to name who holds dead rows back"},
		},
		Timeout:  2 * time.Hour,
		Cancel:   remediate.CancelAnytime,
		Executor: vacuum{t, &session.Sightings{First: make(map[string]time.Time)}},
	}
}

// vacuumArgs are the arguments of its step.
type vacuumArgs struct {
	session.Place

	OID      int64  `arg:"oid"`
	Vacuums  int64  `arg:"vacuums"`  // by hand, before
	Analyzes *int64 `arg:"analyzes"` // the same; nil in plans of earlier versions
}

type vacuum struct {
	target *target.Postgres
	seen   *session.Sightings
}

// Headroom implements remediate.Roomer.
func (a vacuum) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return session.Headroom(ctx, a.target)
}

// mostWorkers is how many workers a vacuum may have: more would be a load that
// others feel, and hardly a table has as many large indexes.
const mostWorkers = 8

// choices are the options of the statement that the request's parameters decide.
type choices struct {
	options string // without freeze
	freeze  string // auto, always or never
}

func choose(params map[string]string) (c choices, err error) {
	parallel, err := strconv.Atoi(cmp.Or(params["parallel"], "0"))
	if err != nil || parallel < 0 || parallel > mostWorkers {
		return c, remediate.Refuse(remediate.ReasonSubject,
			"the parameter parallel is %q, want a whole number from 0 to %d",
			params["parallel"], mostWorkers)
	}
	truncate, err := oneOf(params, "truncate", map[string]string{"": "off", "false": "off", "true": "on"},
		"true or false")
	if err != nil {
		return c, err
	}
	// What decides by itself is the default of every version; before 14 it has no name.
	cleanup, err := oneOf(params, "index_cleanup", map[string]string{"": "", "auto": "", "on": ", INDEX_CLEANUP on",
		"off": ", INDEX_CLEANUP off"}, "auto, on or off")
	if err != nil {
		return c, err
	}
	freeze, err := oneOf(params, "freeze", map[string]string{"": "auto", "auto": "auto", "always": "always",
		"never": "never"}, "auto, always or never")
	return choices{fmt.Sprintf("ANALYZE, TRUNCATE %s, PARALLEL %d%s", truncate, parallel, cleanup), freeze}, err
}

// oneOf returns the value of a parameter's choice.
func oneOf(params map[string]string, name string, all map[string]string, want string) (string, error) {
	v, ok := all[params[name]]
	if !ok {
		return "", remediate.Refuse(remediate.ReasonSubject, "the parameter %s is %q, want %s", name,
			params[name], want)
	}
	return v, nil
}

// agesSQL reports from which ages on autovacuum comes for a table whatever its dead rows.
const agesSQL = `select current_setting('autovacuum_freeze_max_age')::int8,
  current_setting('autovacuum_multixact_freeze_max_age')::int8`

// freezes decides whether the rows are frozen, and says why.
func (a vacuum) freezes(ctx context.Context, db *target.Database, freeze string, row read.VacuumRow) (bool,
	string, error) {
	if freeze != "auto" {
		return freeze == "always", "", nil
	}
	var xids, multixacts int64
	if err := db.QueryRow(ctx, agesSQL).Scan(&xids, &multixacts); err != nil {
		return false, "", fmt.Errorf("settings: %w", err)
	}
	age := func(v *int64) int64 {
		if v == nil { // its access method keeps none: there is nothing to freeze
			return 0
		}
		return *v
	}
	switch {
	case age(row.FreezeAge) > xids/2:
		return true, fmt.Sprintf("its oldest transactions are %d old, and autovacuum has to come at %d: its rows are "+
			"frozen",
			*row.FreezeAge, xids), nil
	case age(row.MultixactAge) > multixacts/2:
		return true, fmt.Sprintf("its oldest multixacts are %d old, and autovacuum has to come at %d: its rows are "+
			"frozen",
			*row.MultixactAge, multixacts), nil
	}
	return false, "", nil
}

// Plan implements remediate.Executor.
func (a vacuum) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	return session.Plan(ctx, a.target, r, a.plan)
}

func (a vacuum) plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	c, err := choose(r.Params)
	if err != nil {
		return p, err
	}
	db, rel, row, err := counted(ctx, a.target, r, "vacuum the table")
	if err := p.NoteMissing(err); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, deadRows(row)+", the heap has "+remediate.Quantity("_bytes", float64(rel.SizeBytes)))
	freeze, why, err := a.freezes(ctx, db, c.freeze, row)
	if err != nil {
		return p, err
	}
	if freeze {
		c.options += ", FREEZE"
	}
	fact, err := a.held(ctx, r, row, rel)
	if err != nil {
		return p, err
	}
	for _, f := range []string{why, fact} {
		if f != "" {
			p.Facts = append(p.Facts, f)
		}
	}
	args := vacuumArgs{session.PlaceOf(r), rel.OID, rel.Vacuums, &rel.Analyzes}
	p.Steps = []remediate.Step{remediate.StepOf("VACUUM ("+c.options+") "+args.Name(), args)}
	return p, nil
}

// deadRows says what the server knows of them.
func deadRows(row read.VacuumRow) string {
	switch {
	case row.DeadRows == nil:
		return "the server's statistics are empty, as a crash leaves them: how many rows are dead is not known"
	case row.LiveRows == nil:
		return fmt.Sprintf("at least %.0f rows are dead; the server's statistics are younger than the table, as "+
			"after a crash", *row.DeadRows)
	case row.Young:
		return fmt.Sprintf("at least %.0f of about %.0f rows are dead; the server's statistics are younger than the "+
			"table, as after a crash", *row.DeadRows, *row.DeadRows+*row.LiveRows)
	}
	return fmt.Sprintf("%.0f of %.0f rows are dead", *row.DeadRows, *row.DeadRows+*row.LiveRows)
}

// held refuses a vacuum that would remove nothing, and otherwise tells who holds
// rows back that some of the dead may be of. In a later step of a chain somebody
// older may have been ended since the last vacuum, and it is tried.
func (a vacuum) held(ctx context.Context, r remediate.Request, row read.VacuumRow, rel relation.Subject) (fact string,
	err error) {
	h, err := session.Horizon(ctx, a.target, r.Subject["database"])
	if err != nil {
		return session.Hidden(err)
	}
	vain := a.seen.Useless(h, row.LastVacuum, rel.SizeBytes)
	switch {
	case vain && r.Step == 0 && row.DeadRows != nil && *row.DeadRows > 0:
		return "", session.CannotHelp(*h, fmt.Sprintf("a vacuum would remove none of the %.0f dead rows, as the last "+
			"one, at %s, did not", *row.DeadRows, row.LastVacuum.UTC().Format(time.DateTime)))
	case h != nil && (vain || h.Age >= session.WorthTelling || h.Seconds >= session.AgainIn.Seconds()):
		return session.HeldBy(*h), nil
	}
	return "", nil
}

// Apply implements remediate.Executor.
func (a vacuum) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[vacuumArgs](s)
	if err != nil {
		return err
	}
	return session.Job{
		Target: a.target, Server: session.Planned(s), Action: "postgres/vacuum", Place: args.Place,
		// Another vacuum or DDL holds the conflicting locks; behind a waiting
		// VACUUM only sessions queue that would conflict with it anyway.
		LockTimeout: 5 * time.Second,
		Done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			// The statistics of a session that has just ended arrive with its end.
			var vacuumed, analyzed int64
			err := c.QueryRow(ctx, "select coalesce(pg_stat_get_vacuum_count($1::int8::oid), 0), "+
				"coalesce(pg_stat_get_analyze_count($1::int8::oid), 0)", args.OID).Scan(&vacuumed, &analyzed)
			if err != nil || vacuumed <= args.Vacuums {
				return false, err
			}
			if args.Analyzes == nil || analyzed > *args.Analyzes {
				return true, nil
			}
			return true, rebuild.AnalyzeRest(ctx, c, f, args.Place)
		},
	}.Run(ctx, f, s.Do)
}

// Measure implements remediate.Executor.
func (a vacuum) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	row, err := measured(ctx, a.target, r)
	if err != nil {
		return 0, err
	}
	dead, err := some(row.DeadRatio, r)
	if err == nil && row.Young && r.Limit != nil && dead <= *r.Limit {
		return 0, fmt.Errorf("the server's statistics of table %q are younger than the table, and %s is the least of "+
			"its share of dead rows: %w", r.Subject["table"], remediate.Quantity("_ratio", dead), remediate.ErrNoData)
	}
	return dead, err
}

// measured returns the server's counts of the rows of a request's table, for what is measured.
func measured(ctx context.Context, t *target.Postgres, r remediate.Request) (read.VacuumRow, error) {
	db, err := relation.Database(ctx, t, r)
	if err != nil {
		return read.VacuumRow{}, err
	}
	rows, err := read.ReadVacuum(ctx, db, relation.Names(r))
	switch {
	case err != nil:
		return read.VacuumRow{}, err
	case len(rows) == 0:
		return read.VacuumRow{}, fmt.Errorf("table %q: %w", r.Subject["table"], remediate.ErrGone)
	}
	return rows[0], nil
}

// some returns a count of the server, and an error where it has none.
func some(count *float64, r remediate.Request) (float64, error) {
	if count == nil {
		return 0, fmt.Errorf("the server's statistics of table %q are empty: %w", r.Subject["table"],
			remediate.ErrNoData)
	}
	return *count, nil
}

// counted returns the table of a request with the server's counts of its rows. It
// refuses what has no rows of its own. Where the role may not do what is said, it
// returns all of that beside the refusal.
func counted(ctx context.Context, t *target.Postgres, r remediate.Request, what string) (db *target.Database,
	rel relation.Subject, row read.VacuumRow, err error) {
	if db, rel, err = relation.Find(ctx, t, r); err != nil {
		return db, rel, row, err
	}
	lacks := rel.Allowed(what)
	if err := new(remediate.Plan).NoteMissing(lacks); err != nil {
		return db, rel, row, err
	}
	if rel.Kind != "r" && rel.Kind != "m" {
		return db, rel, row, remediate.Refuse(remediate.ReasonUnfit, "%s is no table with rows of its own",
			r.Subject["table"])
	}
	rows, err := read.ReadVacuum(ctx, db, relation.Names(r))
	if err != nil {
		return db, rel, row, fmt.Errorf("the counts of its rows: %w", err)
	}
	if len(rows) != 1 {
		return db, rel, row, remediate.Refuse(remediate.ReasonUnfit, "the server keeps no statistics of %s",
			r.Subject["table"])
	}
	return db, rel, rows[0], lacks
}

// Identified implements remediate.Identifier.
func (a vacuum) Identified(ctx context.Context, s remediate.Step) error {
	return session.PlannedAnswers(ctx, a.target, s)
}
