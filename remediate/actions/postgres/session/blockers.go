package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/common/model"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
)

// ReasonHeadroom is the guard's name: what an action finds out about room by
// itself is refused under the same.
const ReasonHeadroom = remediate.ReasonHeadroom

const (
	// tableLock is how long the table's lock is waited for before a concurrent
	// build or drop. Who would hold it longer is maintenance or DDL.
	tableLock = 5 * time.Second

	// patience is how long a concurrent build or drop waits for one transaction of
	// others by default.
	patience = "5m"

	// clearAgain is when to look again whether the way is clear.
	clearAgain = time.Minute

	// BuiltAgain is when to look again whether another build of an index has ended:
	// often soon, and to look costs little.
	BuiltAgain = 10 * time.Second
)

// waitsSQL names who would make a concurrent build or drop of an index wait: the
// sessions that hold or await a lock of the table that excludes it, at any age,
// and the transactions, older than is bearable, that hold any lock of the table or a
// snapshot. A vacuum's snapshot is not waited for. The second column counts the
// sessions that the role cannot look into.
//
// Rights: pg_monitor, to see the age of the transactions of others; locks are for
// everybody. Versions: 13 and later.
const waitsSQL = `
with held as (
  select l.pid, l.virtualtransaction,
         bool_or(l.mode = any (array['ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
           'AccessExclusiveLock'])) as excludes
    from pg_locks l
   where l.locktype = 'relation'
     and l.database = (select oid from pg_database where datname = current_database())
     and l.relation = $1::int8::oid
     and l.pid is distinct from pg_backend_pid()
   group by l.pid, l.virtualtransaction
), all_waits as (
  select format('session %s of %s (%s, %s)', a.pid, a.usename, coalesce(nullif(a.application_name, ''),
    'no application_name'), coalesce(a.state, a.backend_type)) as who,
         coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8 as age,
         coalesce(h.excludes, false) as excludes
    from pg_stat_activity a
    left join held h on h.pid = a.pid
   where a.datname = current_database()
     and a.pid <> pg_backend_pid()
     and (h.pid is not null
          or a.backend_xmin is not null and a.backend_type is distinct from 'autovacuum worker'
            and not exists (select from pg_stat_progress_vacuum v where v.pid = a.pid))
     and (h.excludes or a.xact_start < clock_timestamp() - $2::text::interval)
  union all
  select format('prepared transaction %L of %s', p.gid, p.owner),
    extract(epoch from clock_timestamp() - p.prepared)::float8, h.excludes
    from held h
    join pg_locks x on x.locktype = 'transactionid' and x.pid is null and x.virtualtransaction = h.virtualtransaction
    join pg_prepared_xacts p on p.transaction = x.transactionid
   where h.pid is null and (h.excludes or p.prepared < clock_timestamp() - $2::text::interval)
)
select w.who, w.age, w.excludes,
       (select count(*) from pg_stat_activity s where s.datname = current_database() and s.backend_type is null)
  from (select 1) one
  left join (select who, age, excludes from all_waits order by excludes desc, age desc limit 3) w on true`

// Blockers returns the sessions that block work on the indexes of a table.
type Blockers struct {
	Who    []string
	hidden int64 // sessions that cannot be looked into
}

// ReadBlockers finds who would make a concurrent build or drop wait.
func ReadBlockers(ctx context.Context, q read.Querier, table int64, patience time.Duration) (w Blockers, err error) {
	rows, err := q.Query(ctx, waitsSQL, table, fmt.Sprintf("%dms", patience.Milliseconds()))
	if err != nil {
		return w, fmt.Errorf("who is in the way: %w", err)
	}
	type row struct {
		Who      *string
		Age      *float64
		Excludes *bool
		Hidden   int64
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return w, fmt.Errorf("who is in the way: %w", err)
	}
	for _, r := range all {
		w.hidden = r.Hidden
		switch {
		case r.Who == nil:
		case *r.Excludes:
			w.Who = append(w.Who, *r.Who+" holds or awaits a lock of the table that excludes this")
		default:
			w.Who = append(w.Who, fmt.Sprintf("%s has a transaction of %s", *r.Who,
				time.Duration(*r.Age*float64(time.Second)).Round(time.Second)))
		}
	}
	return w, nil
}

// Clear refuses for now while somebody is in the way, and tells what it could not see.
func (w Blockers) Clear() (fact string, err error) {
	if len(w.Who) > 0 {
		return "", &remediate.Refusal{Reason: ReasonHeadroom, Detail: "it would wait for others: " +
			strings.Join(w.Who, "; "), Until: time.Now().Add(clearAgain)}
	}
	if w.hidden > 0 {
		return fmt.Sprintf("%d sessions of the database cannot be looked into, so an old transaction among them is "+
			"not seen: grant pg_monitor", w.hidden), nil
	}
	return "", nil
}

// PatienceOf is the parameter of that name.
func PatienceOf(params map[string]string) (time.Duration, error) {
	text := params["patience"]
	if text == "" {
		text = patience
	}
	d, err := model.ParseDuration(text)
	if err != nil || d <= 0 || time.Duration(d) > time.Hour {
		return 0, remediate.Refuse(remediate.ReasonSubject,
			"the parameter patience is %q, want a duration of up to 1h, like 5m", text)
	}
	return time.Duration(d), nil
}

// PatienceParam is the declaration of the parameter.
func PatienceParam() remediate.Param {
	return remediate.Param{
		Name: "patience", Type: remediate.Duration, Default: patience,
		Doc: "How long a transaction of others may last: while there is an older one that would be waited for, the " +
			"run does not begin, and once begun it waits for none longer than that. At most 1h.",
	}
}

// TryLock takes the lock that a concurrent build or drop needs of the table, and
// gives it back: where that takes longer than a moment, nothing is begun.
func TryLock(ctx context.Context, c *pgx.Conn, schema, table string, patience time.Duration) (err error) {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback(context.WithoutCancel(ctx))) }()
	name := pgx.Identifier{schema, table}.Sanitize()
	for _, statement := range []string{fmt.Sprintf("set local lock_timeout = '%dms'",
		min(tableLock, patience).Milliseconds()), "lock table " + name + " in share update exclusive mode"} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
