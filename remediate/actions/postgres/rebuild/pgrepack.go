package rebuild

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
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// planProgram plans a run of pg_repack, or refuses and says why.
func (a Repack) planProgram(ctx context.Context, db *target.Database, h heap, r remediate.Request) (p remediate.Plan,
	err error) {
	version, err := a.extension(ctx, db)
	if err != nil {
		return p, err
	}
	switch {
	case !h.Superuser:
		return p, remediate.Refuse(remediate.ReasonPrivilege,
			"only a superuser can hold back its change of the files until the table was compared with what it has "+
				"copied")
	case h.Persistence != "p":
		return p, remediate.Refuse(remediate.ReasonUnfit, "the table is unlogged")
	}
	events, indexes, err := a.obstacles(ctx, db, h.OID)
	if err != nil {
		return p, err
	}
	room, err := h.Room(ctx, db)
	if err != nil {
		return p, err
	}
	if who, ours, err := atWork(ctx, db, h.OID); err != nil {
		return p, err
	} else if who != "" {
		return p, &remediate.Refusal{Reason: remediate.ReasonCannotHelp,
			Detail: "a pg_repack works on the table already: " + who, Until: time.Now().Add(again(ours))}
	}
	if _, err := executable(ctx, version); err != nil {
		return p, remediate.Refuse(remediate.ReasonUnfit, "%v", err)
	}
	if env, err := a.Target.Environ(r.Subject["database"], "upkeep"); err != nil {
		return p, remediate.Refuse(remediate.ReasonUnfit, "%v", err)
	} else if err := understood(r.Subject["database"], env); err != nil {
		return p, remediate.Refuse(remediate.ReasonUnfit, "%v", err)
	}
	relied, err := relianceOn(ctx, db, h.OID)
	if err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, "the way is pg_repack "+version+": it copies the table, catches up, and "+
		"changes the files", room, newXmin("of the table"))
	if events != "" {
		p.Facts = append(p.Facts, "its definitions of tables and triggers fire the event triggers "+events)
	}
	args := repackArgs{TableArgs: ArgsOf(r, h.Subject), Way: byProgram, Version: version, Indexes: indexes,
		Contract: relied.contract.String()}
	p.Steps = []remediate.Step{stepOf(typed("pg_repack", arguments(args.Place)), args)}
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
func (Repack) extension(ctx context.Context, db *target.Database) (version string, err error) {
	err = db.QueryRow(ctx, "select extversion from pg_extension where extname = 'pg_repack'").Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", remediate.Refuse(remediate.ReasonUnfit,
			"the extension is not installed in the database (install the package postgresql-NN-repack, then CREATE "+
				"EXTENSION pg_repack)")
	}
	if err != nil {
		return "", fmt.Errorf("the extension pg_repack: %w", err)
	}
	return version, nil
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
			return fmt.Errorf("session %d of an earlier pg_repack still works on the table: %w", all[0].PID,
				context.Cause(ctx))
		case <-time.After(session.LockPoll):
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
		if _, err := c.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and "+
			"backend_start = $2", w.PID, w.Started); err != nil {
			return fmt.Errorf("session %d of an earlier pg_repack, which does nothing: %w", w.PID, err)
		}
	}
	return nil
}

// leftSQL reports whether a pg_repack that is gone has left something of the table.
const leftSQL = `
select exists (` + orphansSQL + `)
    or exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'repack'
      and c.relname in ('log_' || $1, 'table_' || $1))
    or exists (select from pg_type t join pg_namespace n on n.oid = t.typnamespace where n.nspname = 'repack'
      and t.typname = 'pk_' || $1)`

// left reports whether there is something to remove. What a pg_repack that works
// has there is not.
func (Repack) left(ctx context.Context, db *target.Database, oid int64) (left bool, err error) {
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
func leftStep(r remediate.Request, rel relation.Subject) remediate.Step {
	args := repackArgs{TableArgs: TableArgs{Place: session.PlaceOf(r), OID: rel.OID}, Way: sweeping}
	return stepOf(strings.Join(sweepSQL(args.TableArgs), "; "), args)
}

// stepOf is a step that works with pg_repack, or with what one has left.
func stepOf(do string, args repackArgs) remediate.Step {
	s := remediate.StepOf(do, args)
	s.Left = swept(args.TableArgs)
	return s
}

// swept says what a pg_repack leaves that is interrupted.
func swept(of TableArgs) string {
	return "a trigger that writes down every change of the table may be left, and its log: BEGIN; " +
		strings.Join(sweepSQL(of), "; ") + "; COMMIT"
}

// sweepSQL takes the locks in the order in which a writer does, who fires the
// trigger. The types of names are those of pg_repack, which has the table's oid in each.
func sweepSQL(of TableArgs) []string {
	name, oid := of.Name(), strconv.FormatInt(of.OID, 10)
	return []string{
		"LOCK TABLE " + name + " IN ACCESS EXCLUSIVE MODE",
		"DROP TRIGGER IF EXISTS repack_trigger ON " + name,
		"DROP TABLE IF EXISTS repack.log_" + oid + ", repack.table_" + oid,
		"DROP TYPE IF EXISTS repack.pk_" + oid,
	}
}

// sweep removes what was left, when no session works on the table any more.
func (a Repack) sweep(ctx context.Context, c *pgx.Conn, f remediate.Fence, s repackStep) error {
	var left bool
	if err := c.QueryRow(ctx, leftSQL, s.Args.OID).Scan(&left); err != nil {
		return fmt.Errorf("what a pg_repack has left: %w", err)
	}
	if !left {
		return nil
	}
	return session.RetryLock(ctx, c, f, session.LongPatience, func() error {
		tx, err := c.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing, after a commit
		if _, err := tx.Exec(ctx, fmt.Sprintf("set local lock_timeout = %d",
			session.ShortLock.Milliseconds())); err != nil {
			return err
		}
		if err := sweeps(ctx, tx, s.Args.OID); err != nil {
			return err
		}
		return tx.Commit(ctx)
	})
}

// clear removes what was left, if anything was, and then looks further.
func (a Repack) clear(ctx context.Context, f remediate.Fence, s repackStep,
	then func(context.Context, *pgx.Conn) error) (swept bool, err error) {
	oid := s.Args.OID
	err = session.Job{
		Target: a.Target, Server: session.Planned(s.Step), Action: "postgres/repack", Writes: true, Place: s.Args.Place,
		LockTimeout: session.ShortLock,
		Done: func(ctx context.Context, c *pgx.Conn) (bool, error) {
			if err := awaitWorkers(ctx, c, f, oid); err != nil {
				return false, err
			}
			var left bool
			if err := c.QueryRow(ctx, leftSQL, s.Args.OID).Scan(&left); err != nil || left {
				return false, err
			}
			return true, then(ctx, c)
		},
		Work: func(ctx context.Context, c *pgx.Conn) error {
			if err := a.sweep(ctx, c, f, s); err != nil {
				return err
			}
			swept = true
			return then(ctx, c)
		},
	}.Run(ctx, f, strings.Join(sweepSQL(s.Args.TableArgs), "; "))
	return swept, err
}

// applyProgram runs pg_repack, unless the table has another file already.
func (a Repack) applyProgram(ctx context.Context, f remediate.Fence, s repackStep) error {
	oid := s.Args.OID
	look := func(ctx context.Context, c *pgx.Conn) (bool, error) {
		if err := awaitWorkers(ctx, c, f, oid); err != nil {
			return false, err
		}
		// First, whatever has become of the table: a trigger without a log fails each write.
		if err := a.sweep(ctx, c, f, s); err != nil {
			return false, err
		}
		done, err := Rewritten(ctx, c, s.Args.TableArgs)
		if err != nil || !done {
			return false, err
		}
		return true, errors.Join(a.mend(ctx, c, f, s), Refresh(ctx, c, f, s.Args.TableArgs))
	}
	return session.Job{
		Target: a.Target, Server: session.Planned(s.Step), Action: "postgres/repack", Writes: true, Place: s.Args.Place,
		LockTimeout: session.ShortLock,
		Done:        look,
		Work: func(ctx context.Context, c *pgx.Conn) error {
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
	}.Run(ctx, f, s.Do)
}

// strangersSQL finds indexes of the table that were not there at the plan.
const strangersSQL = `
select n.nspname::text, c.relname::text
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_namespace n on n.oid = c.relnamespace
 where i.indrelid::int8 = $1::int8 and i.indexrelid::text <> all (string_to_array($2, ','))
 order by 1, 2`

// mend builds indexes anew that were made while pg_repack was at work: it does not
// know them, and they point into the old file. A run is stopped when somebody
// makes one; this is for one that was faster.
func (Repack) mend(ctx context.Context, c *pgx.Conn, f remediate.Fence, s repackStep) error {
	rows, err := c.Query(ctx, strangersSQL, s.Args.OID, s.Args.Indexes)
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
