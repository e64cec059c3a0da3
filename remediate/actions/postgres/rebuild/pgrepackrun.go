package rebuild

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// executable finds the pg_repack of a version: where Debian keeps it for each major
// version of the server, or in PATH.
func executable(ctx context.Context, version string) (path string, err error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_repack") // the pattern is well formed
	slices.Sort(found)
	slices.Reverse(found)
	if path, err := child.Find("pg_repack"); err == nil {
		found = append(found, path)
	}
	var others []string
	for _, path := range found {
		asking, cancel := context.WithTimeout(ctx, askVersion)
		out, err := child.Run(asking, child.Program{Path: path, Args: []string{"--version"}})
		cancel()
		if err != nil {
			continue // whatever it is, it is not ours
		}
		has := strings.TrimPrefix(strings.TrimSpace(string(out.Out)), "pg_repack ")
		if has == version {
			return path, nil
		}
		others = append(others, has+" ("+path+")")
	}
	if len(others) == 0 {
		return "", fmt.Errorf("its program is not on this machine: install version %s of it, as in the package "+
			"postgresql-NN-repack", version)
	}
	return "", fmt.Errorf("its program here is of version %s, and the extension in the database of %s: they must be "+
		"the same", strings.Join(others, " and "), version)
}

// understood refuses connection data that pg_repack does not support. It puts the name of the database
// and the password unquoted into the text by which it connects, where a word
// more could mean another server.
func understood(database string, env []string) error {
	if strings.ContainsFunc(database, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return errors.New("the name of the database has more than letters, digits, dots, hyphens and underscores, " +
			"which it does not quote")
	}
	if strings.ContainsAny(secretOf(env), " \t\n\r\f\v'\\") {
		return errors.New("the password has a space, a quote or a backslash, which it does not quote")
	}
	return nil
}

// execute runs pg_repack and looks after it: it ends when the step's time is
// over, when the right to act has passed to another, when the session with the
// subject's lock is lost, and when somebody waits to change the table's definition.
func (a Repack) execute(ctx context.Context, c *pgx.Conn, f remediate.Fence, s repackStep, oid int64) error {
	path, err := executable(ctx, s.Args.Version)
	if err != nil {
		return err
	}
	env, err := a.environ(ctx, c, f, s)
	if err != nil {
		return err
	}
	if err := a.ready(ctx, c, f, s, env); err != nil {
		return err
	}
	g, err := a.newGuard(ctx, c, f, s, oid)
	if err != nil {
		return err
	}
	defer g.close(ctx)
	if err := f.Check(ctx); err != nil {
		return err
	}
	ours, err := launch(path, arguments(s.Args.Place), env)
	if err != nil {
		return err
	}
	err = attend(ctx, c, f, s, g, ours)
	if g.stop(ctx) {
		select { // it cleans up when it has lost its sessions
		case <-ours.Ended():
		case <-time.After(session.CancelWithin):
		}
	}
	ours.end()
	if ctx.Err() != nil {
		return errors.Join(err, ours.fault())
	}
	return err
}

// ready looks once more whether pg_repack can work on the table.
func (a Repack) ready(ctx context.Context, c *pgx.Conn, f remediate.Fence, s repackStep, env []string) error {
	if err := understood(s.Args.Database, env); err != nil {
		return err
	}
	if who, err := builder(ctx, c, s); err != nil || who != "" {
		return errors.Join(err, errors.New("the table is not as it was planned for: "+who))
	}
	if _, _, err := a.obstacles(ctx, c, s.Args.OID); err != nil {
		return session.Changed(err)
	}
	// Its first lock is tried out beforehand, with pauses in which others pass: it
	// makes none between its own tries.
	if err := session.RetryLock(ctx, c, f, session.ShortPatience,
		func() error { return momentary(ctx, c, s) }); session.LockTimedOut(err) {
		return errors.Join(err, TableUsers(ctx, c, s.Args.OID))
	} else if err != nil {
		return err
	}
	if s.Args.Unprivileged != "" { // in plans of earlier versions
		return remediate.Refuse(remediate.ReasonPrivilege, "pg_repack is used as a superuser only: plan again")
	}
	return nil
}

// attend looks after a pg_repack until it ends, or is to be ended.
func attend(ctx context.Context, c *pgx.Conn, f remediate.Fence, s repackStep, g *guard, ours *running) error {
	waiting := ""
	for {
		select {
		case <-ours.Ended():
			return ours.fault()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookAfter):
		}
		if err := g.look(ctx, c); err != nil {
			select {
			case <-ours.Ended(): // by another's hand, and its locks with it
				if fault := ours.fault(); fault != nil {
					return fault
				}
			case <-time.After(time.Second):
			}
			return fmt.Errorf("pg_repack was stopped: %w", err)
		}
		// Ending the program would leave what it has made: a refusal waits for its end.
		if err := f.Keeps(ctx); err != nil {
			return err
		}
		if err := yield(ctx, c, g.oid); err != nil {
			return fmt.Errorf("the session with the subject's lock: %w", err)
		}
		who, err := builder(ctx, c, s)
		if err != nil {
			return fmt.Errorf("the session with the subject's lock: %w", err)
		}
		if who != "" {
			return fmt.Errorf("pg_repack was stopped: %s, which it would leave pointing into the old file", who)
		}
		who, err = definer(ctx, c, g.oid)
		if err != nil {
			return fmt.Errorf("the session with the subject's lock: %w", err)
		}
		if who != "" && who == waiting {
			return fmt.Errorf("pg_repack was stopped: %s waits to lock the table, and everybody else behind it", who)
		}
		waiting = who
	}
}

// momentary takes the lock that pg_repack begins with, for no more than a moment, and
// gives it back.
func momentary(ctx context.Context, c *pgx.Conn, s repackStep) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it has changed nothing
	for _, sql := range []string{
		fmt.Sprintf("set local lock_timeout = %d", queueMost.Milliseconds()),
		"lock table " + s.Args.Name() + " in access exclusive mode",
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// queueSQL ends the try of a pg_repack of ours to lock the table, where others have
// queued behind it for long enough. It takes that for its own timeout, lets them
// pass, and tries again.
const queueSQL = `
select count(pg_cancel_backend(a.pid))
  from pg_locks l
  join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and not l.granted
   and l.database = (select oid from pg_database where datname = current_database())
   and l.relation::int8 = $1
   and a.usesysid = (select usesysid from pg_stat_activity where pid = pg_backend_pid())
   and starts_with(a.application_name, 'upkeep postgres/repack ')
   and a.query_start < clock_timestamp() - $2::text::interval
   and exists (select from pg_locks o
                where o.locktype = 'relation' and not o.granted and o.database = l.database and o.relation = l.relation
                  and o.mode <> 'AccessExclusiveLock')`

func yield(ctx context.Context, c *pgx.Conn, oid int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), session.CancelWithin)
	defer cancel()
	_, err := c.Exec(ctx, queueSQL, oid, fmt.Sprintf("%dms", queueMost.Milliseconds()))
	return err
}

// environ is the environment of pg_repack. Its sessions have no
// timeout that would end a long copy, and end when it is killed.
func (a Repack) environ(ctx context.Context, c *pgx.Conn, f remediate.Fence, s repackStep) ([]string, error) {
	env, err := a.Target.Environ(s.Args.Database, programName(f.Token))
	if err != nil {
		return nil, err
	}
	options := ""
	i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, "PGOPTIONS=") })
	if i >= 0 {
		options, env = strings.TrimPrefix(env[i], "PGOPTIONS="), slices.Delete(env, i, i+1)
	}
	for name, value := range map[string]int64{
		"lock_timeout": repackLock.Milliseconds(), "statement_timeout": 0, "idle_in_transaction_session_timeout": 0,
		"idle_session_timeout": 0, "transaction_timeout": 0, "client_connection_check_interval": 1000,
	} {
		var known bool // servers before 14 and 17 know less
		if err := c.QueryRow(ctx, "select exists (select from pg_settings where name = $1)", name).Scan(
			&known); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if known {
			options += fmt.Sprintf(" -c %s=%d", name, value)
		}
	}
	env, err = session.Pin(ctx, c, env)
	return append(env, "PGOPTIONS="+strings.TrimSpace(options)), err
}

// arguments are those of the program. It reads the table's name as PostgreSQL
// does, so it is quoted; where the server is and who we are is in the environment.
func arguments(of session.Place) []string {
	return []string{
		"--no-password", "--no-order", "--no-kill-backend", fmt.Sprintf("--wait-timeout=%d", int(repackWait.Seconds())),
		"--dbname=" + of.Database, "--table=" + of.Name(),
	}
}

// typed is a command as a person would type it.
func typed(name string, args []string) string {
	for _, arg := range args {
		if strings.ContainsFunc(arg, func(r rune) bool {
			return !strings.ContainsRune("=-_.,/", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') &&
				(r < 'A' || r > 'Z')
		}) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		name += " " + arg
	}
	return name
}

// obstacles refuses a table that pg_repack cannot cope with. It names the event
// triggers that it fires, and the indexes of the table.
func (Repack) obstacles(ctx context.Context, q session.Rower, oid int64) (events, indexes string, err error) {
	var key, children bool
	var column, invalid, index, publication string
	err = q.QueryRow(ctx, obstacleSQL, oid).Scan(&key, &column, &invalid, &index, &publication,
		&events, &indexes, &children)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", "", remediate.Refuse(remediate.ReasonGone, "the table was dropped meanwhile")
	case err != nil:
		return "", "", fmt.Errorf("what blocks pg_repack: %w", err)
	case children:
		return "", "", remediate.Refuse(remediate.ReasonUnfit, "other tables inherit from the table")
	case !key:
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"the table has neither a primary key nor a unique index of columns that are not null")
	case column != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"the key column %q has a quote or a backslash in its name, which pg_repack puts into a statement as it is",
			column)
	case invalid != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"the index %q is invalid, and pg_repack may corrupt it: reindex or drop it first", invalid)
	case index != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"pg_repack misreads the definition of index %q, which has the word WHERE or TABLESPACE in it where no "+
				"such clause is", index)
	case publication != "":
		return "", "", remediate.Refuse(remediate.ReasonUnfit,
			"publication %q is for all tables and would send pg_repack's own, which no subscriber has", publication)
	}
	return events, indexes, nil
}

// obstacleSQL finds what pg_repack cannot cope with, the first of each kind. The
// key is the index that it picks (its view primary_keys): its columns are
// unquoted in a text that becomes a trigger. Of an index's definition it looks for
// the words TABLESPACE and WHERE without heeding quotes.
const obstacleSQL = `
select exists (select from pg_index i
                where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null and 0 <> all(i.indkey)
                  and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum = any(i.indkey)
                    and not a.attnotnull)),
       coalesce((select a.attname::text from pg_index i join pg_attribute a on a.attrelid = c.oid
         and a.attnum = any(i.indkey)
                  where i.indrelid = c.oid and i.indisunique and a.attname ~ '[''\\]' limit 1), ''),
       coalesce((select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
         where i.indrelid = c.oid and not i.indisvalid limit 1), ''),
       coalesce((select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
                  where i.indrelid = c.oid
                    and (pg_get_indexdef(x.oid) like '%TABLESPACE%' or pg_get_indexdef(x.oid) like '%WHERE%WHERE%'
                         or i.indpred is null and pg_get_indexdef(x.oid) like '%WHERE%') limit 1), ''),
       coalesce((select p.pubname::text from pg_publication p where p.puballtables limit 1), ''),
       coalesce((select string_agg(quote_ident(e.evtname), ', ') from pg_event_trigger e where e.evtenabled <> 'D'),
         ''),
       coalesce((select string_agg(i.indexrelid::text, ',' order by i.indexrelid) from pg_index i
         where i.indrelid = c.oid), ''),
       exists (select from pg_inherits i where i.inhparent = c.oid)
  from pg_class c
 where c.oid = $1::int8::oid`
