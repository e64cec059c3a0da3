package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// clashTime is how long a plan looks for rows that are in both tables.
const clashTime = 10 * time.Second

// A moving carries movements out on one server.
type moving struct {
	target *target.Postgres
	action string
}

// plan looks at the tables and says which steps the movement takes: rel is the
// request's table.
func (a moving) plan(ctx context.Context, db *target.Database, rel relation, m movement, r remediate.Request) (p remediate.Plan, err error) {
	if rel.Recovery {
		return p, rel.allowed("")
	}
	pace, err := paceOf(r.Params)
	if err != nil {
		return p, remediate.Refuse(remediate.ReasonSubject, "%v", err)
	}
	s, err := m.surveyed(ctx, db)
	if errors.Is(err, remediate.ErrGone) {
		return p, remediate.Refuse(remediate.ReasonGone, "%v", err)
	}
	if err != nil {
		return p, err
	}
	if why, err := pace.look(ctx, db); err != nil {
		return p, err
	} else if why != "" {
		return p, &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "not now: " + why, Until: time.Now().Add(time.Minute)}
	}
	if m.back {
		soon, cancel := context.WithTimeout(ctx, clashTime)
		err := m.unclashing(soon, db, s)
		late := soon.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case late:
			p.Facts = append(p.Facts, "whether rows are in both tables takes long to find out: it is done before the first row is moved")
		case err != nil:
			return p, err
		}
	}
	facts, err := m.facts(ctx, db, s)
	if err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, facts...)
	if p.Steps, facts, err = m.wholes(ctx, db, s, rel, r); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, facts...)
	p.Steps = append(p.Steps, remediate.Step{Do: m.text(s), Undo: m.undo(), Args: m.args(r.Subject, s.source, s.dest, r.Params)})
	after, facts, err := a.upkeep(ctx, db, m, s, r)
	p.Steps, p.Facts = append(p.Steps, after...), append(p.Facts, facts...)
	return p, err
}

// apply carries out one step of a plan.
func (a moving) apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	j := job{target: a.target, action: a.action, database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"], lockTimeout: rowWait}
	switch s.Args["part"] {
	case "rows":
		return j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.rows(ctx, c, f, s) })
	case "detach", "drop", "hand over":
		return j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return partStep(ctx, c, f, s) })
	case partFile:
		return j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.file(ctx, c, f, s) })
	case partUnfile:
		return j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error { return a.unfile(ctx, c, f, s) })
	case "vacuum", "analyze":
		j.lockTimeout = 5 * time.Second // as that of postgres/vacuum: behind it queues only who would conflict anyway
		j.done = func(ctx context.Context, c *pgx.Conn) (bool, error) { return kept(ctx, c, s) }
		return j.carry(ctx, f, s.Do)
	default:
		return fmt.Errorf("step: part %q: %w", s.Args["part"], errNothing)
	}
}

// rows moves the rows. What was looked at for the plan is looked at again: by now
// somebody may have made a trigger.
func (a moving) rows(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	m, err := movementOf(s.Args)
	if err != nil {
		return err
	}
	pace, err := paceOf(s.Args)
	if err != nil {
		return fmt.Errorf("step: %w", err)
	}
	pace.asks = f.Check
	// A batch is to see what others have committed, and to be planned for its own
	// range; row security is to be an error and not to hide rows.
	if _, err := c.Exec(ctx, "set default_transaction_isolation = 'read committed'; set row_security = off; set jit = off; set max_parallel_workers_per_gather = 0"); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	v, err := m.surveyed(ctx, c)
	if err != nil {
		return err
	}
	b := batches{movement: m, survey: v, c: c, fence: f, pace: pace}
	if b.swift, err = one(ctx, c, pgx.RowTo[bool], "select $1 and current_setting('track_counts')::bool", m.to != place{}); err != nil {
		return fmt.Errorf("track_counts: %w", err)
	}
	for _, is := range []struct {
		place place
		oid   int64
		want  string
	}{{m.from, v.source.OID, s.Args["from_oid"]}, {m.to, v.dest.OID, s.Args["to_oid"]}} {
		if is.want != "" && strconv.FormatInt(is.oid, 10) != is.want {
			return b.another(is.place)
		}
	}
	if m.back {
		if err := m.unclashing(ctx, c, v); err != nil {
			return err
		}
		b.args = []any{m.since, m.until}
	} else {
		var cut time.Time
		if err := c.QueryRow(ctx, "select clock_timestamp() - make_interval(secs => $1)", m.age.Seconds()).Scan(&cut); err != nil {
			return fmt.Errorf("the server's time: %w", err)
		}
		b.args = []any{cut}
	}
	leaves, err := many[leaf](ctx, c, leavesSQL, v.source.OID)
	if err != nil {
		return fmt.Errorf("parts of %s: %w", m.from, err)
	}
	parts, err := m.parts(ctx, c, v)
	if err != nil {
		return err
	}
	for _, l := range leaves {
		if slices.ContainsFunc(parts, func(p partition) bool { return p.OID == l.OID && (p.Young || p.Pending) }) {
			continue
		}
		b.table, b.oid = place{l.Schema, l.Table}, l.OID
		if err := b.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A leaf is a table with rows of its own: the table itself, or a partition.
type leaf struct {
	OID           int64
	Schema, Table string
}

const leavesSQL = `
select c.oid::int8, n.nspname::text, c.relname::text
  from (select relid from pg_partition_tree($1::int8::oid) where isleaf union select $1::int8::oid) t
  join pg_class c on c.oid = t.relid
  join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r'
 order by 2, 3`

// keptSQL counts how often a table and its partitions were vacuumed and analyzed by
// hand, those that were least.
const keptSQL = `
select coalesce(min(pg_stat_get_vacuum_count(c.oid)) filter (where c.relkind = 'r'), 0), coalesce(min(pg_stat_get_analyze_count(c.oid)) filter (where c.relkind = 'r'), 0)
  from (select relid from pg_partition_tree($1::int8::oid) union select $1::int8::oid) t
  join pg_class c on c.oid = t.relid`

type visits struct{ Vacuums, Analyzes int64 }

// kept tells whether a table was vacuumed or analyzed since the plan was made.
func kept(ctx context.Context, c *pgx.Conn, s remediate.Step) (bool, error) {
	var before int64
	oid, err := strconv.ParseInt(s.Args["of"], 10, 64)
	if err == nil {
		before, err = strconv.ParseInt(s.Args["before"], 10, 64)
	}
	if err != nil {
		return false, fmt.Errorf("step: %w", err)
	}
	v, err := one(ctx, c, pgx.RowToStructByPos[visits], keptSQL, oid)
	return v.Analyzes > before, err
}

// upkeep are the steps after the rows: the source is vacuumed, so that its space is
// used again and the planner knows that the rows are gone, and the destination is
// analyzed.
func (a moving) upkeep(ctx context.Context, db *target.Database, m movement, s survey, r remediate.Request) (steps []remediate.Step, facts []string, err error) {
	for _, of := range []struct {
		place    place
		oid      int64
		do, part string
		must     bool
	}{{m.from, s.source.OID, "VACUUM (ANALYZE, TRUNCATE off) ", "vacuum", true}, {m.to, s.dest.OID, "ANALYZE ", "analyze", false}} {
		if of.place == (place{}) {
			continue
		}
		rel, err := lookup(ctx, db, map[string]string{"schema": of.place.Schema, "table": of.place.Table})
		if err != nil {
			return nil, nil, err
		}
		if err := rel.allowed(of.part + " " + of.place.String() + " afterwards"); err != nil && of.must {
			return nil, nil, err
		} else if err != nil {
			facts = append(facts, err.Error())
			continue
		}
		v, err := one(ctx, db, pgx.RowToStructByPos[visits], keptSQL, of.oid)
		if err != nil {
			return nil, nil, err
		}
		steps = append(steps, remediate.Step{Do: of.do + of.place.String(), Args: map[string]string{
			"part": of.part, "database": m.database, "schema": r.Subject["schema"], "table": r.Subject["table"],
			"of": strconv.FormatInt(of.oid, 10), "before": strconv.FormatInt(v.Analyzes, 10),
		}})
	}
	return steps, facts, nil
}
