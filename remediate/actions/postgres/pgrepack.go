package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

const (
	// repackWait is how long pg_repack tries to get its lock, each time for 0.1 to
	// 1 second. When others queue behind it, its try is ended earlier (yield).
	repackWait = 5 * time.Second

	// repackLock bounds the one lock that pg_repack waits for without a bound: that
	// of its cleaning up. It is longer than the second of all others, which
	// pg_repack itself ends and tries again.
	repackLock = 1200 * time.Millisecond

	// frozenFor is after which time without a statement a pg_repack is taken for one
	// that is frozen: when it waits for others, it asks every second.
	frozenFor = 5 * time.Second
)

// obstacleSQL finds what pg_repack cannot cope with, the first of each kind. The
// key is the index that it picks (its view primary_keys): its columns are
// unquoted in a text that becomes a trigger. Of an index's definition it looks for
// the words TABLESPACE and WHERE without heeding quotes.
const obstacleSQL = `
select exists (select from pg_index i
                where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null and 0 <> all(i.indkey)
                  and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum = any(i.indkey) and not a.attnotnull)),
       coalesce((select a.attname::text from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
                  where i.indrelid = c.oid and i.indisunique and a.attname ~ '[''\\]' limit 1), ''),
       coalesce((select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid where i.indrelid = c.oid and not i.indisvalid limit 1), ''),
       coalesce((select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
                  where i.indrelid = c.oid
                    and (pg_get_indexdef(x.oid) like '%TABLESPACE%' or pg_get_indexdef(x.oid) like '%WHERE%WHERE%'
                         or i.indpred is null and pg_get_indexdef(x.oid) like '%WHERE%') limit 1), ''),
       coalesce((select p.pubname::text from pg_publication p where p.puballtables limit 1), ''),
       coalesce((select string_agg(quote_ident(e.evtname), ', ') from pg_event_trigger e where e.evtenabled <> 'D'), ''),
       coalesce((select string_agg(i.indexrelid::text, ',' order by i.indexrelid) from pg_index i where i.indrelid = c.oid), ''),
       exists (select from pg_inherits i where i.inhparent = c.oid)
  from pg_class c
 where c.oid = $1::text::oid`

// planProgram plans a run of pg_repack, or refuses and says why.
func (a repack) planProgram(ctx context.Context, db *target.Database, h heap, r remediate.Request) (p remediate.Plan, err error) {
	version, err := a.extension(ctx, db)
	if err != nil {
		return p, err
	}
	if !h.Superuser {
		return p, remediate.Refuse(remediate.ReasonPrivilege, "only a superuser can hold back its change of the files until the table was compared with what it has copied")
	}
	if h.Persistence != "p" {
		return p, remediate.Refuse(remediate.ReasonUnfit, "the table is unlogged")
	}
	events, indexes, err := a.obstacles(ctx, db, h.OID)
	if err != nil {
		return p, err
	}
	room, err := h.room(ctx, db)
	if err != nil {
		return p, err
	}
	if who, ours, err := atWork(ctx, db, h.OID); err != nil {
		return p, err
	} else if who != "" {
		return p, &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "a pg_repack works on the table already: " + who, Until: time.Now().Add(again(ours))}
	}
	if _, err := program(ctx, version); err != nil {
		return p, remediate.Refuse(remediate.ReasonUnfit, "%v", err)
	}
	if env, err := a.target.Environ(r.Subject["database"], "upkeep"); err != nil {
		return p, remediate.Refuse(remediate.ReasonUnfit, "%v", err)
	} else if err := understood(r.Subject["database"], env); err != nil {
		return p, remediate.Refuse(remediate.ReasonUnfit, "%v", err)
	}
	relied, err := relianceOn(ctx, db, h.OID)
	if err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, "the way is pg_repack "+version+": it copies the table, catches up, and changes the files", room, newXmin("of the table"))
	if events != "" {
		p.Facts = append(p.Facts, "its definitions of tables and triggers fire the event triggers "+events)
	}
	args := tableArgs(r, h.relation, map[string]string{"way": byProgram, "version": version, "node": strconv.FormatInt(h.Node, 10), "indexes": indexes, relianceArg: relied.contract.String()})
	p.Steps = []remediate.Step{{Do: typed("pg_repack", arguments(args)), Args: args, Left: swept(args)}}
	return p, nil
}

// again is the retry delay while a pg_repack runs on the table; it is short if it is our
// own orphan, which the run's new owner ends soon.
func again(ours bool) time.Duration {
	if ours {
		return frozenFor
	}
	return time.Minute
}

// extension returns the version of pg_repack in the database, and refuses where
// it is not installed.
func (repack) extension(ctx context.Context, db *target.Database) (version string, err error) {
	err = db.QueryRow(ctx, "select extversion from pg_extension where extname = 'pg_repack'").Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", remediate.Refuse(remediate.ReasonUnfit, "the extension is not installed in the database (install the package postgresql-NN-repack, then CREATE EXTENSION pg_repack)")
	}
	if err != nil {
		return "", fmt.Errorf("the extension pg_repack: %w", err)
	}
	return version, nil
}

// obstacles refuses a table that pg_repack cannot cope with. It names the event
// triggers that it fires, and the indexes of the table.
func (repack) obstacles(ctx context.Context, q rower, oid int64) (events, indexes string, err error) {
	var key, children bool
	var column, invalid, index, publication string
	err = q.QueryRow(ctx, obstacleSQL, strconv.FormatInt(oid, 10)).Scan(&key, &column, &invalid, &index, &publication, &events, &indexes, &children)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", "", remediate.Refuse(remediate.ReasonGone, "the table was dropped meanwhile")
	case err != nil:
		return "", "", fmt.Errorf("what blocks pg_repack: %w", err)
	case children:
		return "", "", remediate.Refuse(remediate.ReasonUnfit, "other tables inherit from the table")
	case !key:
		return "", "", remediate.Refuse(remediate.ReasonUnfit, "the table has neither a primary key nor a unique index of columns that are not null")
	case column != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit, "the key column %q has a quote or a backslash in its name, which pg_repack puts into a statement as it is", column)
	case invalid != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit, "the index %q is invalid, and pg_repack may corrupt it: reindex or drop it first", invalid)
	case index != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit, "pg_repack misreads the definition of index %q, which has the word WHERE or TABLESPACE in it where no such clause is", index)
	case publication != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit, "publication %q is for all tables and would send pg_repack's own, which no subscriber has", publication)
	}
	return events, indexes, nil
}

// arguments are those of the program. It reads the table's name as PostgreSQL
// does, so it is quoted; where the server is and who we are is in the environment.
func arguments(args map[string]string) []string {
	return []string{
		"--no-password", "--no-order", "--no-kill-backend", fmt.Sprintf("--wait-timeout=%d", int(repackWait.Seconds())),
		"--dbname=" + args["database"], "--table=" + pgx.Identifier{args["schema"], args["table"]}.Sanitize(),
	}
}

// typed is a command as a person would type it.
func typed(name string, args []string) string {
	for _, arg := range args {
		if strings.ContainsFunc(arg, func(r rune) bool {
			return !strings.ContainsRune("=-_.,/", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		name += " " + arg
	}
	return name
}

// atWorkSQL finds a session that works for a pg_repack on the table: it holds
// pg_repack's own lock of it, or it is ours and holds a lock of the table, its
// copy or its log.
const atWorkSQL = `
select a.pid, a.backend_start, coalesce(a.application_name, ''), coalesce(starts_with(a.application_name, 'upkeep postgres/repack '), false)
         and a.usesysid = (select usesysid from pg_stat_activity where pid = pg_backend_pid()),
       coalesce(extract(epoch from clock_timestamp() - a.state_change), 0)::float8, coalesce(a.state, '')
  from pg_stat_activity a
 where a.datid = (select oid from pg_database where datname = current_database())
   and a.pid <> pg_backend_pid()
   and exists (select from pg_locks l
                where l.pid = a.pid and l.database = a.datid
                  and (l.locktype = 'advisory' and l.objsubid = 2 and l.classid::int8 = 16185446 and l.objid::int8 = ($1::int8 - 2147483648) & 4294967295
                       or l.locktype = 'relation' and starts_with(a.application_name, 'upkeep postgres/repack ')
                          and l.relation in (select c.oid from pg_class c left join pg_namespace n on n.oid = c.relnamespace
                                              where c.oid::int8 = $1 or n.nspname = 'repack' and c.relname in ('log_' || $1, 'table_' || $1))))
 order by a.backend_start`

// A worker is a session that works for a pg_repack.
type worker struct {
	PID     int32
	Started time.Time
	Name    string
	Ours    bool
	Still   float64 // seconds since its state changed
	State   string
}

func workers(ctx context.Context, q read.Querier, oid int64) ([]worker, error) {
	rows, err := q.Query(ctx, atWorkSQL, oid)
	if err != nil {
		return nil, fmt.Errorf("who works on the table: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[worker])
}

// atWork names a pg_repack that works on the table, and tells whether it is ours.
func atWork(ctx context.Context, q read.Querier, oid int64) (who string, ours bool, err error) {
	all, err := workers(ctx, q, oid)
	if err != nil || len(all) == 0 {
		return "", false, err
	}
	return fmt.Sprintf("session %d (%s)", all[0].PID, all[0].Name), all[0].Ours, nil
}

// awaitWorkers waits until no pg_repack works on the table any more. One of ours that
// works is not ended but waited for, and its work adopted; a frozen one is ended,
// by who holds the fence. Whose client was killed ends with its statement.
//
// The sessions of a frozen guard are ended last: without them pg_repack
// would go on unguarded.
func awaitWorkers(ctx context.Context, c *pgx.Conn, f remediate.Fence, oid int64) error {
	for {
		all, err := workers(ctx, c, oid)
		if err != nil {
			return err
		}
		guards, err := stillGuards(ctx, c, oid)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return dismiss(ctx, c, f, guards)
		}
		still := true
		for _, w := range all {
			if !w.Ours {
				return fmt.Errorf("a pg_repack of somebody else works on the table: session %d (%s)", w.PID, w.Name)
			}
			still = still && strings.HasPrefix(w.State, "idle") && w.Still > frozenFor.Seconds()
		}
		if still || len(guards) > 0 {
			if err := dismiss(ctx, c, f, all); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("session %d of an earlier pg_repack still works on the table: %w", all[0].PID, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}

// dismiss ends sessions of ours.
func dismiss(ctx context.Context, c *pgx.Conn, f remediate.Fence, all []worker) error {
	if len(all) == 0 {
		return nil
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	for _, w := range all {
		if _, err := c.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2", w.PID, w.Started); err != nil {
			return fmt.Errorf("session %d of an earlier pg_repack, which does nothing: %w", w.PID, err)
		}
	}
	return nil
}

// leftSQL tells whether a pg_repack that is gone has left something of the table.
const leftSQL = `
select exists (` + orphansSQL + `)
    or exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'repack' and c.relname in ('log_' || $1, 'table_' || $1))
    or exists (select from pg_type t join pg_namespace n on n.oid = t.typnamespace where n.nspname = 'repack' and t.typname = 'pk_' || $1)`

// left tells whether there is something to remove. What a pg_repack that works
// has there is not.
func (repack) left(ctx context.Context, db *target.Database, oid int64) (left bool, err error) {
	who, _, err := atWork(ctx, db, oid)
	if err != nil || who != "" {
		return false, err
	}
	if err := db.QueryRow(ctx, leftSQL, strconv.FormatInt(oid, 10)).Scan(&left); err != nil {
		return false, fmt.Errorf("what a pg_repack has left: %w", err)
	}
	return left, nil
}

// leftStep removes what was left of one table. The extension stays, and with it
// what runs on other tables need.
func leftStep(r remediate.Request, rel relation) remediate.Step {
	args := tableArgs(r, rel, map[string]string{"way": sweeping})
	return remediate.Step{Do: strings.Join(sweepSQL(args), "; "), Args: args, Left: swept(args)}
}

// swept says what a pg_repack leaves that is interrupted.
func swept(args map[string]string) string {
	return "a trigger that writes down every change of the table may be left, and its log: BEGIN; " + strings.Join(sweepSQL(args), "; ") + "; COMMIT"
}

// sweepSQL takes the locks in the order in which a writer does, who fires the
// trigger. The types of names are those of pg_repack, which has the table's oid in each.
func sweepSQL(args map[string]string) []string {
	name, oid := pgx.Identifier{args["schema"], args["table"]}.Sanitize(), args["oid"]
	return []string{
		"LOCK TABLE " + name + " IN ACCESS EXCLUSIVE MODE",
		"DROP TRIGGER IF EXISTS repack_trigger ON " + name,
		"DROP TABLE IF EXISTS repack.log_" + oid + ", repack.table_" + oid,
		"DROP TYPE IF EXISTS repack.pk_" + oid,
	}
}

// sweep removes what was left, when no session works on the table any more.
func (a repack) sweep(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	var left bool
	if err := c.QueryRow(ctx, leftSQL, s.Args["oid"]).Scan(&left); err != nil {
		return fmt.Errorf("what a pg_repack has left: %w", err)
	}
	if !left {
		return nil
	}
	if _, err := strconv.ParseUint(s.Args["oid"], 10, 32); err != nil {
		return fmt.Errorf("step: oid: %w", err)
	}
	return patiently(ctx, c, f, longPatience, func() error {
		tx, err := c.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing, after a commit
		if _, err := tx.Exec(ctx, fmt.Sprintf("set local lock_timeout = %d", shortLock.Milliseconds())); err != nil {
			return err
		}
		if err := sweeps(ctx, tx, s.Args["oid"]); err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
}

// clear removes what was left, if anything was, and then looks further.
func (a repack) clear(ctx context.Context, f remediate.Fence, s remediate.Step, then func(context.Context, *pgx.Conn) error) (swept bool, err error) {
	oid, err := strconv.ParseInt(s.Args["oid"], 10, 64)
	if err != nil {
		return false, fmt.Errorf("step: oid: %w", err)
	}
	err = job{
		target: a.target, server: session.Planned(s), action: "postgres/repack", writes: true, database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"], lockTimeout: shortLock,
		done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			if err := awaitWorkers(ctx, c, f, oid); err != nil {
				return false, err
			}
			var left bool
			if err := c.QueryRow(ctx, leftSQL, s.Args["oid"]).Scan(&left); err != nil || left {
				return false, err
			}
			return true, then(ctx, c)
		},
		run: func(ctx context.Context, c *pgx.Conn) error {
			if err := a.sweep(ctx, c, f, s); err != nil {
				return err
			}
			swept = true
			return then(ctx, c)
		},
	}.carry(ctx, f, strings.Join(sweepSQL(s.Args), "; "))
	return swept, err
}

// applyProgram runs pg_repack, unless the table has another file already.
func (a repack) applyProgram(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	oid, err := strconv.ParseInt(s.Args["oid"], 10, 64)
	if err != nil {
		return fmt.Errorf("step: oid: %w", err)
	}
	look := func(ctx context.Context, c *pgx.Conn) (bool, error) {
		if err := awaitWorkers(ctx, c, f, oid); err != nil {
			return false, err
		}
		// First, whatever has become of the table: a trigger without a log fails each write.
		if err := a.sweep(ctx, c, f, s); err != nil {
			return false, err
		}
		done, err := rewritten(ctx, c, s)
		if err != nil || !done {
			return false, err
		}
		return true, errors.Join(a.mend(ctx, c, f, s), refresh(ctx, c, f, s))
	}
	return job{
		target: a.target, server: session.Planned(s), action: "postgres/repack", writes: true, database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"], lockTimeout: shortLock,
		done: look,
		run: func(ctx context.Context, c *pgx.Conn) error {
			fault := a.execute(ctx, c, f, s, oid)
			// What the program says of itself is not to be trusted, nor its exit code.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*frozenFor)
			defer cancel()
			done, err := look(ctx, c)
			switch {
			case err != nil:
				return errors.Join(fault, err)
			case done:
				return nil
			case fault == nil:
				return errors.New("pg_repack ended, but the table has the file that it had before")
			}
			return fault
		},
	}.carry(ctx, f, s.Do)
}

// strangersSQL finds indexes of the table that were not there at the plan.
const strangersSQL = `
select n.nspname::text, c.relname::text
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_namespace n on n.oid = c.relnamespace
 where i.indrelid::int8 = $1::text::int8 and i.indexrelid::text <> all (string_to_array($2, ','))
 order by 1, 2`

// mend builds indexes anew that were made while pg_repack was at work: it does not
// know them, and they point into the old file. A run is stopped when somebody
// makes one; this is for one that was faster.
func (repack) mend(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	rows, err := c.Query(ctx, strangersSQL, s.Args["oid"], s.Args["indexes"])
	if err != nil {
		return fmt.Errorf("indexes that were made meanwhile: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Schema, Name string }])
	if err != nil {
		return fmt.Errorf("indexes that were made meanwhile: %w", err)
	}
	for _, index := range all {
		if err := f.Check(ctx); err != nil {
			return err
		}
		// As in reindex: a timeout would leave an invalid index.
		sql := "REINDEX INDEX CONCURRENTLY " + pgx.Identifier{index.Schema, index.Name}.Sanitize()
		if _, err := c.Exec(ctx, "set lock_timeout = 0"); err != nil {
			return err
		}
		if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s, which was made while the table was copied: %w", sql, err)
		}
	}
	return nil
}
