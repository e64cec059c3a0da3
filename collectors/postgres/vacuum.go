package postgres

import (
	"context"
	_ "embed"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

//go:embed vacuum.sql
var vacuumSQL string

// Vacuum reports the dead rows of each table and when it was last looked after.
func Vacuum(t *target.Postgres) collectors.Collector {
	labels := []string{"database", "schema", "table"}
	gauge := func(name, help string) *collectors.Metric { return gauge("table_"+name, help, labels...) }
	c := &vacuum{
		seen:   make(map[string]visit),
		target: t,
		ratio: gauge("dead_ratio",
			"Share of the table's rows that are dead: deleted or replaced, and not yet vacuumed."),
		dead: gauge("dead_rows", "Number of dead rows that the server knows of."),
		live: gauge("live_rows", "Number of live rows that the server knows of."),
		lastVacuum: gauge("last_vacuum_timestamp_seconds",
			"When the table was last vacuumed, by hand or by autovacuum; absent when never."),
		lastAnalyze: gauge("last_analyze_timestamp_seconds",
			"When the table was last analyzed, by hand or by autovacuum; absent when never."),
		freezeAge: gauge("freeze_age_xids",
			"Age of the oldest transaction that may still be in the table or its TOAST; the server refuses writes "+
				"near 2 billion. Absent for a table of an access method without transaction ids."),
		multixactAge: gauge("multixact_age",
			"Age of the oldest multixact, the lock of several transactions on a row, that may still be in the table "+
				"or its TOAST; the server refuses writes near 2 billion. Absent as the other age is."),
		changed: gauge("changed_rows",
			"Number of rows that were inserted, updated or deleted since the table was last analyzed."),
	}
	return collectors.Collector{
		Name:   "postgres/vacuum",
		Target: t.Name,
		Doc: `Vacuum reports the dead rows of each table, when it was last vacuumed and analyzed, and how old its transactions are.

Reads pg_class and the cumulative statistics of every database. Rights: CONNECT
on each database. Cost: one pass over pg_class for each database; no file is
looked at, but those of tables that were never vacuumed or analyzed. A database in which
no row was changed since the last time is not connected to: its figures stay for five
minutes at most. Nor is one with fewer than a thousand changed rows, where the server has
more than five databases: each visit costs it a connection. After a crash or a reset the server's statistics are empty: what they
do not know of a table is left out, and not zero, until it is vacuumed or analyzed.
Where dead rows were counted since, the ratio is theirs to the live rows that the
catalog knows of (reltuples), and so the least that it can be. The action
postgres/vacuum lowers the dead ratio, and postgres/analyze the changed rows.`,
		Metrics: []*collectors.Metric{c.ratio, c.dead, c.live, c.lastVacuum, c.lastAnalyze, c.freezeAge, c.multixactAge,
			c.changed},
		Every:   time.Minute,
		Timeout: 30 * time.Second,
		Limit:   tables,
		Collect: c.collect,
	}
}

// unchanged is how long the figures of a database stay in which nothing was changed:
// a vacuum changes none of the counters that are looked at.
const unchanged = 5 * time.Minute

// few changed rows are not worth a new connection, where there are more databases than connections are
// kept: the alert of dead rows wants ten times as many of one table.
const few = 1000

// changesSQL counts the rows that were changed in each database, once for the whole
// server.
const changesSQL = `select datname, (tup_inserted + tup_updated + tup_deleted)::float8 from pg_stat_database where datname is not null`

type changesRow struct {
	Database string
	Rows     float64
}

// A visit is what a database said the last time, and how many rows had been changed
// in it before.
type visit struct {
	changes float64
	at      time.Time
	rows    []VacuumRow
}

type vacuum struct {
	seen                                                                         map[string]visit
	target                                                                       *target.Postgres
	ratio, dead, live, lastVacuum, lastAnalyze, freezeAge, multixactAge, changed *collectors.Metric
}

// read reads the databases in which something was changed, and returns what all say.
func (c *vacuum) read(ctx context.Context) (all []in[VacuumRow], err error) {
	changes, err := readServer[changesRow](ctx, c.target, changesSQL)
	if err != nil {
		return nil, err
	}
	now := make(map[string]float64, len(changes))
	for _, r := range changes {
		now[r.Database] = r.Rows
	}
	seen := make(map[string]visit, len(c.seen)) // without databases that are gone
	least := 1.0
	if len(c.seen) > target.DatabaseConnections {
		least = few
	}
	err = eachDatabase(ctx, c.target, func(database string, q Querier) error {
		v, ok := c.seen[database]
		more := now[database] - v.changes
		if !ok || more >= least || more < 0 || time.Since(v.at) > unchanged {
			rows, err := ReadVacuum(ctx, q, Subject{})
			if err != nil {
				return err
			}
			v = visit{now[database], time.Now(), rows}
		}
		seen[database] = v
		for _, r := range v.rows {
			all = append(all, in[VacuumRow]{database, r})
		}
		return nil
	})
	c.seen = seen
	return all, err
}

func (c *vacuum) collect(ctx context.Context, w *collectors.Writer) error {
	all, err := c.read(ctx)
	kept, rest := collectors.Largest(all, w.Limit(), func(r in[VacuumRow]) float64 {
		return known(r.Row.LiveRows) +
			known(r.Row.DeadRows)
	})
	for i := range kept {
		r := &kept[i].Row
		set := func(m *collectors.Metric, v float64) { w.Set(m, v, c.target.Name, kept[i].Database, r.Schema, r.Table) }
		for m, v := range map[*collectors.Metric]*float64{c.ratio: r.DeadRatio, c.dead: r.DeadRows, c.live: r.LiveRows,
			c.changed: r.Changed} {
			if v != nil {
				set(m, *v)
			}
		}
		for m, v := range map[*collectors.Metric]*int64{c.freezeAge: r.FreezeAge, c.multixactAge: r.MultixactAge} {
			if v != nil {
				set(m, float64(*v))
			}
		}
		if r.LastVacuum != nil {
			set(c.lastVacuum, float64(r.LastVacuum.UnixMilli())/1000)
		}
		if r.LastAnalyze != nil {
			set(c.lastAnalyze, float64(r.LastAnalyze.UnixMilli())/1000)
		}
	}
	if len(rest) > 0 {
		var dead, live float64
		for _, r := range rest {
			dead, live = dead+known(r.Row.DeadRows), live+known(r.Row.LiveRows)
		}
		w.Set(c.dead, dead, c.target.Name, collectors.Other, collectors.Other, collectors.Other)
		w.Set(c.live, live, c.target.Name, collectors.Other, collectors.Other, collectors.Other)
		w.Cut(len(rest))
	}
	return err
}

// A VacuumRow is how well one table is looked after.
type VacuumRow struct {
	Schema, Table           string
	LiveRows, DeadRows      *float64 // nil when they are not known
	DeadRatio               *float64 // the same
	Young                   bool     // the counters began after the table had rows: there may be more dead ones
	LastVacuum, LastAnalyze *time.Time
	VacuumCount             int64    // of vacuums by hand, since the statistics were reset
	FreezeAge, MultixactAge *int64   // in transactions, TOAST included; nil where its access method keeps none
	Changed                 *float64 // rows since the last ANALYZE; nil when it is not known
	AnalyzeCount            int64    // of analyzes by hand, since the statistics were reset
}

// known is a number that is left out of a sum where it is not known.
func known(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// ReadVacuum reads the tables of one database that are of the subject.
func ReadVacuum(ctx context.Context, q Querier, of Subject) ([]VacuumRow, error) {
	return target.Rows[VacuumRow](ctx, q, vacuumSQL, of.Schema, of.Table)
}
