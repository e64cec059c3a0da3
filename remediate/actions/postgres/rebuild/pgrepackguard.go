package rebuild

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A guard keeps pg_repack from changing the files of a table that is not the one it
// has copied. pg_repack reads names and columns before it has any lock, and between
// its trigger and the lock that excludes other definitions it has none either, so what
// happened then is found out afterwards, in two places where it waits for us:
//
// Before the change it waits for the transactions that are older than its copy. Ours
// is, and ends when the copy was compared. From then on the row of its trigger is
// locked: no session can disable the trigger, and the change of the files, whose last act is
// to drop it, waits for that lock. All is compared once more there, where pg_repack
// holds the table in ACCESS EXCLUSIVE mode and has committed nothing.
type guard struct {
	step   repackStep
	oid    int64
	fence  int64 // in the application_name of pg_repack's sessions
	relied reliance
	marks  string
	stage  guardStage
	older  *pgx.Conn // its transaction is what pg_repack waits for
	holder *pgx.Conn // its transaction has the row of the trigger
}

type guardStage int

const (
	copying  guardStage = iota // the older transaction is open
	copied                     // the trigger's row is locked
	released                   // nothing is held any more
)

// guardPrefix begins the application_name of a guard's sessions. It is not the one of
// pg_repack's.
const guardPrefix = "upkeep postgres/repack-guard "

// marksSQL tells one state of the columns' definitions and of the schema's name from
// every later one, also where a later one looks the same.
const marksSQL = `
select concat_ws(' ', n.oid, n.xmin, md5((select string_agg(concat_ws(' ', a.attnum, a.xmin), ',' order by a.attnum)
  from pg_attribute a where a.attrelid = c.oid and a.attnum > 0)))
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
 where c.oid::int8 = $1`

// repackMadeSQL says what of pg_repack's own is not as it must be. Its trigger and its type are
// of one transaction: a trigger that was disabled and enabled again is of another.
const repackMadeSQL = `
select case
       when not exists (select from pg_trigger t
                          join pg_proc f on f.oid = t.tgfoid
                          join pg_namespace n on n.oid = f.pronamespace and n.nspname = 'repack'
                          join pg_type y on y.typnamespace = n.oid and y.typname = 'pk_' || $1::int8 and y.xmin = t.xmin
                         where t.tgrelid = $1::int8::oid and t.tgname = 'repack_trigger' and t.tgenabled = 'A')
       then 'the trigger by which pg_repack learns of changes is not on the table, or was disabled for a while'
       when exists (select from (select a.* from pg_attribute a where a.attrelid = $1::int8::oid and a.attnum > 0
         and not a.attisdropped) o
                      full join (select a.* from pg_attribute a join pg_class c on c.oid = a.attrelid
                        join pg_namespace n on n.oid = c.relnamespace
                                  where n.nspname = 'repack' and c.relname = 'table_' || $1::int8 and a.attnum > 0
                                    and not a.attisdropped) w on w.attnum = o.attnum
                     where (o.attname, o.atttypid, o.atttypmod, o.attcollation) is distinct from (w.attname,
                       w.atttypid, w.atttypmod, w.attcollation))
       then 'the copy that pg_repack has made has other columns than the table'
       when not exists (select from pg_attribute a
                          join pg_class l on l.oid = a.attrelid and l.relname = 'log_' || $1::int8
                          join pg_namespace n on n.oid = l.relnamespace and n.nspname = 'repack'
                          join pg_class c on c.oid = $1::int8::oid and c.reltype = a.atttypid
                         where a.attname = 'row')
       then 'the log that pg_repack has made is of another table'
       when not exists (select from pg_locks l
                          join pg_stat_activity a on a.pid = l.pid
                         where l.locktype = 'relation' and l.granted and l.relation = $1::int8::oid
                           and l.mode = any ('{AccessShareLock,ShareUpdateExclusiveLock}')
                           and l.database = (select oid from pg_database where datname = current_database())
                           and l.pid <> pg_backend_pid() and starts_with(a.application_name, 'upkeep postgres/repack '))
       then 'pg_repack has locked another table'
       when $2::int4 > 0 and not exists (select from pg_locks l
                                          where l.locktype = 'relation' and l.granted and l.relation = $1::int8::oid
                                            and l.mode = 'AccessExclusiveLock' and l.pid = $2
                                            and l.database = (select oid from pg_database
                                              where datname = current_database()))
       then 'pg_repack was about to change the files of a table that it has not locked'
       else '' end`

// newGuard begins before pg_repack does. What it compares with is read before the
// table is compared with the plan.
func (a Repack) newGuard(ctx context.Context, c *pgx.Conn, f remediate.Fence, s repackStep, oid int64) (g *guard,
	err error) {
	g = &guard{step: s, oid: oid, fence: f.Token}
	if err := c.QueryRow(ctx, marksSQL, oid).Scan(&g.marks); errors.Is(err, pgx.ErrNoRows) {
		return nil, remediate.Refuse(remediate.ReasonChanged, "the table was dropped meanwhile")
	} else if err != nil {
		return nil, fmt.Errorf("the table's columns: %w", err)
	}
	if g.relied, err = relianceOf(ctx, c, s); err != nil {
		return nil, err
	}
	for _, conn := range []**pgx.Conn{&g.older, &g.holder} {
		*conn, err = session.Open(ctx, a.Target, session.Request{
			Database: s.Args.Database, Application: fmt.Sprintf("%sof %d fence %d", guardPrefix, oid, f.Token),
			Server: session.Planned(s.Step), Writes: true,
		})
		if err == nil {
			// The server must not end it: pg_repack would go on unguarded. A frozen owner
			// is ended by the next owner, after pg_repack.
			_, err = (*conn).Exec(ctx, "set idle_in_transaction_session_timeout = 0; set statement_timeout = '5s'; "+
				"set lock_timeout = '1s'", pgx.QueryExecModeSimpleProtocol)
		}
		if err != nil {
			g.close(ctx)
			return nil, err
		}
	}
	if _, err := g.older.Exec(ctx, "begin"); err != nil {
		g.close(ctx)
		return nil, err
	}
	return g, nil
}

// look lets pg_repack go on where it waits, once all was compared. After an error it is
// to be ended, by stop.
func (g *guard) look(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CancelWithin)
	defer cancel()
	switch g.stage {
	case copying:
		return g.afterCopy(ctx, c)
	case copied:
		return g.beforeChange(ctx, c)
	case released:
	}
	return nil
}

func (g *guard) afterCopy(ctx context.Context, c *pgx.Conn) error {
	// This also keeps the session from looking frozen.
	if _, err := g.older.Exec(ctx, "select 1"); err != nil {
		return fmt.Errorf("the transaction that pg_repack waits for: %w", err)
	}
	var is bool
	if err := c.QueryRow(ctx, "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace "+
		"where n.nspname = 'repack' and c.relname = 'table_' || $1::int8)", g.step.Args.OID).Scan(&is); err != nil {
		return fmt.Errorf("the copy that pg_repack makes: %w", err)
	}
	if !is {
		return g.astray(ctx, c)
	}
	// pg_repack does not wait for a transaction that begins now.
	if _, err := g.holder.Exec(ctx, "begin"); err != nil {
		return err
	}
	g.stage = copied
	if _, err := g.holder.Exec(ctx, "select from pg_trigger where tgrelid::int8 = $1 and tgname = 'repack_trigger' "+
		"for share", g.oid); err != nil {
		return fmt.Errorf("the row of pg_repack's trigger: %w", err)
	}
	if err := g.compare(ctx, c, 0); err != nil {
		return err
	}
	_, err := g.older.Exec(ctx, "commit")
	return err
}

// astraySQL finds the table that a pg_repack works on which is not the planned one.
const astraySQL = `
select l.relation::regclass::text
  from pg_locks l
  join pg_stat_activity a on a.pid = l.pid
  join pg_class c on c.oid = l.relation and c.relkind in ('r', 'p')
  join pg_namespace n on n.oid = c.relnamespace
 where l.locktype = 'relation' and l.granted and l.relation::int8 <> $1
   and l.database = (select oid from pg_database where datname = current_database())
   and n.nspname not in ('pg_catalog', 'information_schema', 'repack')
   and a.application_name = $2 and a.pid <> pg_backend_pid()
 limit 1`

// astray refuses where pg_repack was given another table: the name was passed on
// before it looked. It would wait for our transaction, and we for its copy.
func (g *guard) astray(ctx context.Context, c *pgx.Conn) error {
	var other string
	err := c.QueryRow(ctx, astraySQL, g.oid, programName(g.fence)).Scan(&other)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the table that pg_repack works on: %w", err)
	}
	return remediate.Refuse(remediate.ReasonChanged,
		"the name was given to another table (%s) while pg_repack began: plan again", other)
}

// repackBehindSQL finds who waits for the session that holds the trigger's row.
const repackBehindSQL = `
select a.pid, starts_with(a.application_name, 'upkeep postgres/repack '), a.query like '%repack_swap%'
  from pg_stat_activity a
 where a.wait_event_type = 'Lock' and $1 = any (pg_blocking_pids(a.pid))
 order by 2, 1
 limit 1`

func (g *guard) beforeChange(ctx context.Context, c *pgx.Conn) error {
	if _, err := g.holder.Exec(ctx, "select 1"); err != nil {
		return fmt.Errorf("the transaction that holds pg_repack's trigger: %w", err)
	}
	var pid int32
	var ours, change bool
	err := c.QueryRow(ctx, repackBehindSQL, int32(g.holder.PgConn().PID())).Scan(&pid, &ours, &change)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("who waits for pg_repack's trigger: %w", err)
	case !ours:
		return remediate.Refuse(remediate.ReasonChanged,
			"session %d waits to change the trigger by which pg_repack learns of changes", pid)
	case change:
		if err := g.compare(ctx, c, pid); err != nil {
			return err
		}
	}
	// What waits and is no change of the files is its cleaning up.
	g.stage = released
	_, err = g.holder.Exec(ctx, "commit")
	return err
}

// compare refuses where the table or what pg_repack has made of it is not what it was
// planned and begun for. The session pid, if any, must hold the table for itself.
func (g *guard) compare(ctx context.Context, c *pgx.Conn, pid int32) error {
	var what, marks string
	now, err := g.relied.reader.Read(ctx, c, []int64{g.oid})
	if err != nil {
		return err
	}
	if err := g.relied.contract.Check(now.Without("trigger", "repack_trigger")); err != nil {
		return err
	}
	if err := c.QueryRow(ctx, marksSQL, g.oid).Scan(&marks); err != nil {
		return fmt.Errorf("the table's columns: %w", err)
	}
	if marks != g.marks {
		return remediate.Refuse(remediate.ReasonChanged,
			"the definition of the table's columns or of its schema was changed while pg_repack began: plan again")
	}
	if err := c.QueryRow(ctx, repackMadeSQL, g.step.Args.OID, pid).Scan(&what); err != nil {
		return fmt.Errorf("what pg_repack has made: %w", err)
	}
	if what != "" {
		return remediate.Refuse(remediate.ReasonChanged, "%s: plan again", what)
	}
	who, err := builder(ctx, c, g.step)
	if err != nil || who == "" {
		return err
	}
	return fmt.Errorf("%s, which it would leave pointing into the old file", who)
}

// stop ends pg_repack's sessions where they could change the files as soon as the
// trigger's row is free, and lets it go when they are gone. The older transaction
// stays until the program has ended.
func (g *guard) stop(ctx context.Context) (ended bool) {
	if g.stage != copied {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CancelWithin)
	defer cancel()
	g.stage = released
	defer func() { _, _ = g.holder.Exec(ctx, "rollback") }() // a lost session holds nothing
	all, err := workers(ctx, g.holder, g.oid)
	for _, w := range all {
		if w.Ours && err == nil {
			_, err = g.holder.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and "+
				"backend_start = $2", w.PID, w.Started)
		}
	}
	for err == nil {
		var left int
		// A transaction sees one state of the sessions else.
		if _, err = g.holder.Exec(ctx, "select pg_stat_clear_snapshot()"); err != nil {
			break
		}
		pids := make([]int32, 0, len(all))
		for _, w := range all {
			if w.Ours {
				pids = append(pids, w.PID)
			}
		}
		if err = g.holder.QueryRow(ctx, "select count(*) from pg_stat_activity where pid = any ($1)", pids).Scan(
			&left); err != nil || left == 0 {
			break
		}
		time.Sleep(lookAfter)
	}
	return len(all) > 0
}

func (g *guard) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CancelWithin)
	defer cancel()
	for _, c := range []*pgx.Conn{g.older, g.holder} {
		if c != nil {
			_ = c.Close(ctx) // whatever it held it holds no more
		}
	}
}

// guardsSQL finds the sessions of frozen guards of the table: one that works
// says something all the time.
const guardsSQL = `
select a.pid, a.backend_start, a.application_name, true,
  extract(epoch from clock_timestamp() - a.state_change)::float8, a.state
  from pg_stat_activity a
 where a.datid = (select oid from pg_database where datname = current_database())
   and a.usesysid = (select usesysid from pg_stat_activity where pid = pg_backend_pid())
   and starts_with(a.application_name, $1) and a.state = 'idle in transaction'
   and a.state_change < clock_timestamp() - $2::text::interval`

func stillGuards(ctx context.Context, c *pgx.Conn, oid int64) ([]worker, error) {
	rows, err := c.Query(ctx, guardsSQL, fmt.Sprintf("%sof %d ", guardPrefix, oid),
		fmt.Sprintf("%dms", frozenFor.Milliseconds()))
	if err != nil {
		return nil, fmt.Errorf("who guards a pg_repack: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[worker])
}

// orphansSQL finds the triggers of a pg_repack of the table, by the tables that they are
// on: the table itself, whatever its name is now, and one that had its name when
// pg_repack made the trigger. Without the log each write to either fails.
const orphansSQL = `
select c.oid::int8, quote_ident(s.nspname) || '.' || quote_ident(c.relname)
  from pg_trigger t
  join pg_class c on c.oid = t.tgrelid
  join pg_namespace s on s.oid = c.relnamespace
  join pg_proc f on f.oid = t.tgfoid
  join pg_namespace n on n.oid = f.pronamespace
 where n.nspname = 'repack' and t.tgname = 'repack_trigger'
   and (c.oid = $1::int8::oid or position(convert_to('INSERT INTO repack.log_' || $1::int8 || '(',
     getdatabaseencoding()) in t.tgargs) = 1)
`

// sweeps are the statements that remove what was left. They lock by name, so what has
// the name is looked at once more under the lock.
func sweeps(ctx context.Context, tx pgx.Tx, oid int64) error {
	rows, err := tx.Query(ctx, orphansSQL, oid)
	if err != nil {
		return err
	}
	type table struct {
		OID  int64
		Name string
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		return err
	}
	for _, t := range all {
		if err := run(ctx, tx, "LOCK TABLE "+t.Name+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		var is bool
		if err := tx.QueryRow(ctx, "select $1::text::regclass::oid::int8 = $2", t.Name, t.OID).Scan(&is); err != nil {
			return err
		}
		if !is {
			return fmt.Errorf("table %s is another by now", t.Name)
		}
		if err := run(ctx, tx, "DROP TRIGGER IF EXISTS repack_trigger ON "+t.Name); err != nil {
			return err
		}
	}
	return run(ctx, tx, fmt.Sprintf("DROP TABLE IF EXISTS repack.log_%d, repack.table_%[1]d", oid),
		fmt.Sprintf("DROP TYPE IF EXISTS repack.pk_%d", oid))
}

func run(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(sql), err)
		}
	}
	return nil
}
