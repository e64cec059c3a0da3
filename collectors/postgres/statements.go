package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/postgres/statement"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// What did each statement cost since its statistics were reset?
//
// Rights: pg_read_all_stats (in pg_monitor); without it other roles' statements
// are hidden. Versions: 13 and later; two columns have another name since 17.
// Cost: one pass over the statistics, without the file of their texts. A text is
// read when a statement is exported for the first time.
const (
	statementsSQL = `
select d.datname, r.rolname, coalesce(s.queryid, 0),
       s.calls::float8, s.total_exec_time / 1000, s.rows::float8,
       s.shared_blks_read::float8, s.shared_blks_hit::float8, (s.%[2]s + s.%[3]s) / 1000, s.temp_blks_written::float8, s.wal_bytes::float8
  from %[1]s.pg_stat_statements(false) s
  join pg_database d on d.oid = s.dbid
  join pg_roles r on r.oid = s.userid`

	extensionSQL = `select extversion from pg_extension where extname = 'pg_stat_statements'`

	statementTextSQL = `select distinct on (queryid) queryid, left(query, 4000) from %s.pg_stat_statements(true) where queryid = any($1) order by queryid`
)

const (
	// topOfEach is how many statements each order brings in.
	topOfEach = 15

	// staysFor is how long a statement stays exported after it leaves the top list, so that
	// graphs do not flicker.
	staysFor = time.Hour
)

// Statements reports what the most expensive statements cost.
func Statements(t *target.Postgres) collectors.Collector {
	labels := []string{"database", "user", "queryid"}
	c := &statements{
		target: t,
		costs: [8]*collectors.Metric{
			counter("statement_calls_total", "Executions of the statement.", labels...),
			counter("statement_seconds_total", "Execution time of the statement.", labels...),
			counter("statement_rows_total", "Rows that the statement returned or changed.",
				labels...),
			counter("statement_blocks_read_total",
				"Blocks that the statement read from outside the buffer cache (shared_buffers).", labels...),
			counter("statement_blocks_hit_total",
				"Blocks that the statement found in the buffer cache (shared_buffers).",
				labels...),
			counter("statement_io_seconds_total",
				"Time that the statement waited for blocks of tables and indexes to be read or written; 0 without "+
					"track_io_timing.", labels...),
			counter("statement_temporary_blocks_total", "Blocks that the statement wrote to temporary files.",
				labels...),
			counter("statement_wal_bytes_total", "Write-ahead log that the statement wrote.",
				labels...),
		},
		age: gauge("statements_age_seconds",
			"How long ago the statistics of statements were last reset; absent before PostgreSQL 14, which does not "+
				"report it.").WithoutPanel("a schedule asks it whether a month is over"),
		info: gauge("statement_info", "1, with the text of an exported statement, without literals and shortened. "+
			"Only for statements that read or change rows.", "queryid", "query"),
		known: make(map[statementKey]*statementState), texts: make(map[int64]string),
	}
	return collectors.Collector{
		Name:   "postgres/statements",
		Target: t.Name,
		Doc: `Statements reports what the most expensive statements cost: by total time, mean time, calls, and blocks read.

Reads pg_stat_statements, once for the whole server, from whichever database has
the extension; without the extension there is nothing to read, which is not a fault. The
top statements of each of the four orders are exported one by one and stay for an hour;
the sum of all others has the labels "other". The counters continue when the statistics
are reset. The text is that of the extension with every literal left out, and only
of SELECT, INSERT, UPDATE, DELETE, MERGE and WITH; statement_text: false in the
target's configuration leaves it out altogether. The action postgres/reset_statements
lowers the age of the statistics. Rights: pg_read_all_stats (it is
in pg_monitor). Cost: one pass over the statistics.`,
		Metrics: append(append([]*collectors.Metric{}, c.costs[:]...), c.info, c.age),
		Every:   time.Minute,
		Timeout: 20 * time.Second,
		Limit:   100,
		Collect: c.collect,
	}
}

type statements struct {
	target *target.Postgres
	costs  [8]*collectors.Metric
	info   *collectors.Metric
	age    *collectors.Metric

	database string // where the extension is; "" when not known
	schema   string
	known    map[statementKey]*statementState
	other    [8]float64
	texts    map[int64]string // of the exported ones; "" for one that is not shown
}

type statementKey struct {
	Database, User string
	QueryID        int64
}

// A statementState is what we know of one statement.
type statementState struct {
	last     [8]float64 // what the server said
	sum      [8]float64 // what it has cost, resets taken out
	top      time.Time  // when it was last at the top
	exported bool
}

func (c *statements) collect(ctx context.Context, w *collectors.Writer) error {
	found, err := c.find(ctx)
	if err != nil || !found {
		return err
	}
	rows, err := c.read(ctx)
	if err != nil {
		c.database = ""
		return wants(err, "pg_read_all_stats")
	}
	exported, cut := c.account(rows, w.Limit(), time.Now())
	w.Cut(cut)
	text := errors.Join(c.text(ctx, exported), c.since(ctx, w))
	for _, k := range exported {
		for i, m := range c.costs {
			w.Set(m, c.known[k].sum[i], c.target.Name, k.Database, k.User, strconv.FormatInt(k.QueryID, 10))
		}
	}
	if len(c.known) > len(exported) {
		for i, m := range c.costs {
			w.Set(m, c.other[i], c.target.Name, collectors.Other, collectors.Other, collectors.Other)
		}
	}
	shown := make(map[int64]bool)
	for _, k := range exported {
		if q := c.texts[k.QueryID]; q != "" && !shown[k.QueryID] {
			shown[k.QueryID] = true
			w.Set(c.info, 1, c.target.Name, strconv.FormatInt(k.QueryID, 10), q)
		}
	}
	return text
}

// find looks for the database that has the extension.
func (c *statements) find(ctx context.Context) (bool, error) {
	if c.database != "" {
		return true, nil
	}
	place, err := FindStatements(ctx, c.target)
	c.database, c.schema = place.Database, place.Schema
	return c.database != "", err
}

// read asks what each statement cost. What a role runs at the top and within
// functions is one.
func (c *statements) read(ctx context.Context) (map[statementKey][8]float64, error) {
	rows, err := c.query(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(map[statementKey][8]float64, len(c.known))
	unseen := 0
	for rows.Next() {
		var k statementKey
		var costs [8]float64
		if err := rows.Scan(&k.Database, &k.User, &k.QueryID, &costs[0], &costs[1], &costs[2], &costs[3], &costs[4],
			&costs[5], &costs[6], &costs[7]); err != nil {
			return nil, err
		}
		if k.QueryID == 0 {
			unseen++
			continue
		}
		sum := all[k]
		for i := range sum {
			sum[i] += costs[i]
		}
		all[k] = sum
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if unseen > 0 {
		return nil, hidden(fmt.Sprintf("what %d statements cost", unseen), "pg_read_all_stats")
	}
	return all, nil
}

// query asks what each statement has cost, with the names that this version of the extension has.
func (c *statements) query(ctx context.Context) (pgx.Rows, error) {
	db, err := c.target.Database(c.database)
	if err != nil {
		return nil, err
	}
	v, err := db.Version(ctx)
	if err != nil {
		return nil, err
	}
	versions, err := target.Rows[struct{ Version string }](ctx, db, extensionSQL)
	if err == nil && len(versions) > 0 {
		err = statement.Recent(versions[0].Version)
	}
	if err != nil {
		return nil, err
	}
	reads, writes := "blk_read_time", "blk_write_time"
	if v >= 170000 {
		reads, writes = "shared_blk_read_time", "shared_blk_write_time"
	}
	return db.Query(ctx, fmt.Sprintf(statementsSQL, c.schema, reads, writes))
}

// account adds what each statement has cost since the last time, to its own sum
// or to that of the others, and returns the exported ones.
//
// A figure that went down begins anew: the statistics were reset, or the server
// forgot the statement and met it again.
func (c *statements) account(rows map[statementKey][8]float64, limit int, now time.Time) (exported []statementKey,
	cut int) {
	for k := range c.known {
		if _, there := rows[k]; !there {
			delete(c.known, k) // the server has forgotten it; what it cost stays counted
		}
	}
	since := make(map[statementKey][8]float64, len(rows))
	for k, costs := range rows {
		s := c.known[k]
		if s == nil {
			s = new(statementState)
			c.known[k] = s
		}
		var more [8]float64
		for i, v := range costs {
			if more[i] = v - s.last[i]; costs[0] < s.last[0] || more[i] < 0 {
				more[i] = v
			}
			s.sum[i] += more[i]
		}
		s.last, since[k] = costs, more
	}
	exported, cut = c.choose(limit, now)
	for k, more := range since {
		if !c.known[k].exported {
			for i := range more {
				c.other[i] += more[i]
			}
		}
	}
	return exported, cut
}

// choose selects the exported ones: the top of each order, and those that were there
// within the last hour, while there is room; cut is how many there was no room for.
func (c *statements) choose(limit int, now time.Time) (exported []statementKey, cut int) {
	keys := make([]statementKey, 0, len(c.known))
	for k := range c.known {
		keys = append(keys, k)
	}
	byName := func(a, b statementKey) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User),
			cmp.Compare(a.QueryID, b.QueryID))
	}
	slices.SortFunc(keys, byName)
	for _, order := range []func(s *statementState) float64{
		func(s *statementState) float64 { return s.sum[1] },
		func(s *statementState) float64 { return s.sum[1] / max(s.sum[0], 1) },
		func(s *statementState) float64 { return s.sum[0] },
		func(s *statementState) float64 { return s.sum[3] },
	} {
		slices.SortStableFunc(keys, func(a, b statementKey) int {
			return cmp.Compare(order(c.known[b]),
				order(c.known[a]))
		})
		for _, k := range keys[:min(topOfEach, len(keys))] {
			c.known[k].top = now
		}
	}
	slices.SortStableFunc(keys, func(a, b statementKey) int {
		x, y := c.known[a], c.known[b]
		return cmp.Or(y.top.Compare(x.top), cmp.Compare(y.sum[1], x.sum[1]))
	})
	for i, k := range keys {
		s := c.known[k]
		wanted := now.Sub(s.top) < staysFor
		s.exported = wanted && (limit <= 0 || i < limit)
		switch {
		case s.exported:
			exported = append(exported, k)
		case wanted:
			cut++
		}
	}
	slices.SortFunc(exported, byName)
	return exported, cut
}

// since reports how old the statistics are, where the server does.
func (c *statements) since(ctx context.Context, w *collectors.Writer) error {
	s, err := ReadStatistics(ctx, c.target, StatementsPlace{c.database, c.schema})
	if err != nil || s == nil {
		return err
	}
	w.Set(c.age, s.Seconds, c.target.Name)
	return nil
}

// text reads the texts of statements that are exported for the first time. If they are
// missing that is a separate error: the costs are exported all the same.
func (c *statements) text(ctx context.Context, exported []statementKey) error {
	if c.target.WithoutText {
		return nil
	}
	var missing []int64
	kept := make(map[int64]string, len(exported))
	for _, k := range exported {
		q, had := c.texts[k.QueryID]
		if had {
			kept[k.QueryID] = q
		} else if !slices.Contains(missing, k.QueryID) {
			missing = append(missing, k.QueryID)
		}
	}
	c.texts = kept
	if len(missing) == 0 {
		return nil
	}
	db, err := c.target.Database(c.database)
	if err != nil {
		return err
	}
	rows, err := db.Query(ctx, fmt.Sprintf(statementTextSQL, c.schema), missing)
	if err != nil {
		return err
	}
	type textRow struct {
		ID   int64
		Text *string
	}
	texts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[textRow])
	for _, r := range texts {
		if r.Text != nil {
			c.texts[r.ID] = statement.Shown(*r.Text)
		}
	}
	return err
}
