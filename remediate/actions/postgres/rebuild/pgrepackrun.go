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
