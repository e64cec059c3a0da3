package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A StatementsPlace is where the extension pg_stat_statements is.
type StatementsPlace struct {
	Database string // "" where no database has it
	Schema   string // quoted
}

const statementsExtensionSQL = `select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_stat_statements'`

// loadedSQL reports whether the server has loaded the library, without which no database
// can use the extension.
const loadedSQL = `select exists (select from pg_settings where name = 'pg_stat_statements.max')`

// FindStatements looks for a database that has the extension, beginning with the one
// that the target names. Its statistics are of the whole server. Where the library is not
// loaded, the others are not connected to.
func FindStatements(ctx context.Context, t *target.Postgres) (p StatementsPlace, err error) {
	names, err := t.Databases(ctx)
	if err != nil {
		return p, err
	}
	loaded, err := readServer[struct{ Is bool }](ctx, t, loadedSQL)
	if err != nil {
		return p, err
	}
	if !loaded[0].Is {
		names = nil
	}
	for _, name := range append([]string{t.Maintenance()}, names...) {
		db, err := t.Database(name)
		if err != nil {
			return p, err
		}
		schemas, err := target.Rows[struct{ Name string }](ctx, db, statementsExtensionSQL)
		if err != nil && ctx.Err() != nil {
			return p, err
		}
		if err == nil && len(schemas) == 1 {
			return StatementsPlace{name, pgx.Identifier{schemas[0].Name}.Sanitize()}, nil
		}
	}
	return p, nil
}

// statisticsSQL reports since when the statistics are counted, how often the server has
// forgotten statements for others since, and whether the role may reset them.
// Versions: 14 and later, with the extension of that time.
const statisticsSQL = `
select i.stats_reset, greatest(extract(epoch from clock_timestamp() - i.stats_reset), 0)::float8, i.dealloc::int8,
       coalesce((select bool_or(has_function_privilege(p.oid, 'EXECUTE')) from pg_proc p where p.proname = 'pg_stat_statements_reset'), false),
       current_user::text
  from %s.pg_stat_statements_info i`

// Statistics is since when statements are counted.
type Statistics struct {
	Since     time.Time
	Seconds   float64
	Forgotten int64 // times that the server forgot statements to make room for others
	MayReset  bool
	Role      string
}

// ReadStatistics reads since when statements are counted; nil where the server does
// not tell it.
func ReadStatistics(ctx context.Context, t *target.Postgres, p StatementsPlace) (*Statistics, error) {
	db, err := t.Database(p.Database)
	if err != nil {
		return nil, err
	}
	there, err := target.Rows[struct{ Is bool }](ctx, db, `select to_regclass($1) is not null`,
		p.Schema+".pg_stat_statements_info")
	if err != nil || !there[0].Is {
		return nil, err
	}
	rows, err := target.Rows[Statistics](ctx, db, fmt.Sprintf(statisticsSQL, p.Schema))
	if err != nil || len(rows) != 1 {
		return nil, err
	}
	return &rows[0], nil
}

// slowestSQL lists the statements that took the server longest, all together and each
// time. What a role runs at the top and within functions is one.
const slowestSQL = `
with s as (
  select d.datname::text as database, r.rolname::text as role, s.queryid, sum(s.calls)::float8 as calls, sum(s.total_exec_time) / 1000 as seconds,
         sum(s.rows)::float8 as rows, sum(s.shared_blks_read)::float8 as blocks
    from %[1]s.pg_stat_statements(false) s
    join pg_database d on d.oid = s.dbid
    join pg_roles r on r.oid = s.userid
   group by 1, 2, 3
), ranked as (
  select *, row_number() over (order by seconds desc, queryid) as by_total, row_number() over (order by seconds / greatest(calls, 1) desc, queryid) as by_mean,
         count(*) over () as known, sum(calls) over () as all_calls, sum(seconds) over () as all_seconds, count(*) over () - count(queryid) over () as unseen
    from s
)
select r.database, r.role, coalesce(r.queryid, 0), r.calls, r.seconds, r.rows, r.blocks,
       coalesce((select left(t.query, 4000) from %[1]s.pg_stat_statements(true) t where t.queryid = r.queryid limit 1), ''),
       r.known, r.all_calls::float8, r.all_seconds::float8, r.unseen
  from ranked r
 where by_total <= $1 or by_mean <= $1
 order by r.seconds desc, r.queryid`

// A StatementRow is what one statement has cost since the statistics were reset.
type StatementRow struct {
	Database, User               string
	QueryID                      int64
	Calls, Seconds, Rows, Blocks float64
	Text                         string // as the extension has it
	Known                        int64  // statements, of all
	AllCalls, AllSeconds         float64
	Unseen                       int64 // entries that the role may not see
}

// ReadSlowest reads the n statements that took the server longest all together, and
// the n that did each time.
func ReadSlowest(ctx context.Context, t *target.Postgres, p StatementsPlace, n int) ([]StatementRow, error) {
	db, err := t.Database(p.Database)
	if err != nil {
		return nil, err
	}
	rows, err := target.Rows[StatementRow](ctx, db, fmt.Sprintf(slowestSQL, p.Schema), n)
	if err != nil {
		return nil, wants(err, "pg_read_all_stats")
	}
	if len(rows) > 0 && rows[0].Unseen > 0 {
		return nil, hidden(fmt.Sprintf("what %d statements cost", rows[0].Unseen), "pg_read_all_stats")
	}
	return rows, nil
}
