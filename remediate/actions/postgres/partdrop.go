package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/remediate"
)

// backWithin is how long a detachment is tried to be undone after the step was
// stopped: a person waits for the answer.
const backWithin = 10 * time.Second

// usedFor is how long another transaction has had a lock of the table for it to be
// one that a detachment would wait for.
const usedFor = time.Second

// remove takes the partition out of its table and drops it. Where that cannot be
// completed, the partition is one of its table again.
func (p part) remove(ctx context.Context) error {
	now, err := p.whereabouts(ctx, p.c)
	if errors.Is(err, remediate.ErrGone) {
		return nil // dropped before
	}
	if err != nil {
		return err
	}
	if err := p.still(now); err != nil {
		return p.leave(ctx, now, err)
	}
	if now, err = p.ours(ctx, now); err != nil {
		return err
	}
	if now.Parent != 0 && !now.Pending {
		if err := p.unhindered(ctx); err != nil {
			return err
		}
		if err := p.affordable(ctx); err != nil {
			return err
		}
		watched, err := dropsWatched(ctx, p.c)
		if err != nil {
			return err
		}
		if p.version < 140000 || now.Defaults || watched {
			return p.dropAttached(ctx)
		}
	}
	if err := p.detached(ctx, now); err != nil {
		return p.again(ctx, err)
	}
	if err := p.dropDetached(ctx); err != nil {
		return p.again(ctx, err)
	}
	return nil
}

// dropsWatchedSQL tells whether an event trigger fires when a table is dropped. It may
// refuse that, which cannot be known before, and refuse to undo a detachment as well.
const dropsWatchedSQL = `
select exists (select from pg_event_trigger where evtenabled in ('O', 'A') and evtevent in ('ddl_command_start', 'sql_drop', 'ddl_command_end') and (evttags is null or 'DROP TABLE' = any(evttags)))`

// dropsWatched reports whether a partition is dropped in one transaction for that.
func dropsWatched(ctx context.Context, q read.Querier) (bool, error) {
	watched, err := one(ctx, q, pgx.RowTo[bool], dropsWatchedSQL)
	if err != nil {
		return false, fmt.Errorf("event triggers: %w", err)
	}
	return watched, nil
}

// leave takes back what a run of ours has done to a partition that the step cannot go on
// with.
func (p part) leave(ctx context.Context, now partState, err error) error {
	if now.Ours || now.Pending && now.Named && now.Bounded {
		return p.again(ctx, err)
	}
	return err
}

// unhindered refuses a partition that something depends on.
func (p part) unhindered(ctx context.Context) error {
	what, err := hinders(ctx, p.c, p.part.OID)
	if err == nil && what != "" {
		err = remediate.Refuse(remediate.ReasonChanged, "%s depends on partition %s: it is not dropped, and stays in %s", what, p.self, p.from)
	}
	return err
}

// detached takes the partition out of its table without keeping anybody waiting.
func (p part) detached(ctx context.Context, now partState) error {
	switch {
	case now.Parent == 0:
		return nil
	case now.Pending:
		return p.finalize(ctx, now)
	}
	if err := p.mark(ctx, now); err != nil {
		return err
	}
	if err := p.quiet(ctx); err != nil {
		return err
	}
	if err := p.unhindered(ctx); err != nil {
		return err
	}
	now.Marked = 1
	if err := p.relied(ctx, p.c, now); err != nil {
		return err
	}
	// It waits for the sessions that use the table, and no session waits for it. With a
	// lock_timeout it would stop half way, and the rows would be invisible.
	if err := p.do(ctx, 0, p.detachText()+" CONCURRENTLY"); err != nil {
		return err
	}
	return p.soon(ctx, func(ctx context.Context, tx pgx.Tx) error { return p.exec(ctx, tx, p.claim()) })
}

// lockersSQL names the transactions that have a lock of the table $1 or its partition
// $2, also prepared ones, and their sessions.
const lockersSQL = `
select virtualtransaction, coalesce(pid, 0)
  from pg_locks
 where locktype = 'relation' and granted and pid is distinct from pg_backend_pid()
   and database = (select oid from pg_database where datname = current_database())
   and relation in ($1::int8::oid, $2::int8::oid)
 group by 1, 2`

type user struct {
	Transaction string
	PID         int32
}

// quiet waits until no session has used the table for long. A detachment waits for all
// who use it when it begins, and until then the rows are invisible: that is to
// be a moment, and a run that is stopped while it waits here leaves all as it was.
func (p part) quiet(ctx context.Context) error {
	began := time.Now()
	before, err := many[user](ctx, p.c, lockersSQL, p.source, p.part.OID)
	for len(before) > 0 && err == nil {
		if err := stay(ctx, p.c, usedFor); err != nil {
			return err
		}
		if err := p.fence.Check(ctx); err != nil {
			return err
		}
		var now []user
		now, err = many[user](ctx, p.c, lockersSQL, p.source, p.part.OID)
		before = slices.DeleteFunc(now, func(u user) bool { return !slices.Contains(before, u) })
		if len(before) > 0 && time.Since(began) > pauseMost {
			var pids []string
			for _, u := range before {
				pids = append(pids, fmt.Sprint(u.PID))
			}
			return fmt.Errorf("%s is in use for more than %s, by the sessions %s (0: a prepared transaction): %w", p.from, pauseMost, strings.Join(pids, ", "), errPaused)
		}
	}
	if err != nil {
		return fmt.Errorf("who uses %s: %w", p.from, err)
	}
	return nil
}

// affordable counts, before the first partition of a run is dropped, all that the run
// would remove. Each partition is counted again under the lock in which it is dropped.
func (p part) affordable(ctx context.Context) error {
	if p.args["first"] == "" || !p.quota.Bounded() {
		return nil
	}
	parts, err := p.parts(ctx, p.c, survey{version: p.version, source: side{OID: p.source, Kind: "p"}, kind: p.args["kind"]})
	if err != nil {
		return err
	}
	t := tally{Bytes: amountOf(slices.DeleteFunc(parts, func(o partition) bool { return !o.Old || !o.Plain })).Bytes}
	err = bounded(ctx, p.c, func(ctx context.Context) (err error) {
		t.Rows, err = one(ctx, p.c, pgx.RowTo[float64], "select count(*)::float8 from "+p.from.String()+" t where t."+pgx.Identifier{p.column}.Sanitize()+" < now() - make_interval(secs => $1)", p.age.Seconds())
		return err
	})
	if err != nil {
		return fmt.Errorf("rows of %s: %w", p.from, err)
	}
	return p.allowed(t, p.from)
}

// A tally is what is counted of a partition.
type tally struct {
	Rows, Bytes float64
	Young       bool // there are rows that are not past their age
}

func (p part) tallySQL() string {
	column := "t." + pgx.Identifier{p.column}.Sanitize()
	return "select count(*)::float8, pg_table_size('" + fmt.Sprint(p.part.OID) + "'::oid)::float8, coalesce(bool_or(" + column + " is null or " + column + " >= now() - make_interval(secs => $1)), false) from only " + p.self.String() + " t"
}

// allowed refuses what must not be dropped.
func (p part) allowed(t tally, of place) error {
	most, sum := p.fence.Most, p.fence.Taken
	if t.Young {
		return remediate.Refuse(remediate.ReasonUnfit, "%s holds rows that are not past their age: it is not dropped", of)
	}
	if p.quota.Fits(t.amount()) {
		return nil
	}
	rest := ""
	if sum != (remediate.Amount{}) {
		rest = fmt.Sprintf(", of which %s are removed", &sum)
	}
	if most.Rows > 0 && sum.Rows+t.Rows > most.Rows {
		return remediate.Refuse(remediate.ReasonAmount, "%s holds %.0f rows to be removed, and the run may remove %.0f%s", of, t.Rows, most.Rows, rest)
	}
	return remediate.Refuse(remediate.ReasonAmount, "%s holds %s to be removed, and the run may remove %s%s", of, remediate.Quantity("_bytes", t.Bytes), remediate.Quantity("_bytes", most.Bytes), rest)
}

func (t tally) amount() remediate.Amount { return remediate.Amount{Rows: t.Rows, Bytes: t.Bytes} }

// dropDetached drops a partition that is a table of its own. Everything is looked at
// under the lock that the drop has: only sessions wait that use that table by
// its own name.
func (p part) dropDetached(ctx context.Context) error {
	return p.soon(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := p.exec(ctx, tx, "LOCK TABLE ONLY "+p.self.String()+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		return p.dropLocked(ctx, tx, true)
	})
}

// dropAttached drops a partition out of its table, in one transaction. While its rows
// are counted others can read them, and only who writes to this one partition waits.
func (p part) dropAttached(ctx context.Context) error {
	root := "LOCK TABLE ONLY " + p.from.String() + " IN ACCESS EXCLUSIVE MODE"
	return p.soon(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := p.exec(ctx, tx, "LOCK TABLE ONLY "+p.self.String()+" IN SHARE MODE"); err != nil {
			return err
		}
		if err := p.counted(ctx, tx); err != nil {
			return err
		}
		if err := p.exec(ctx, tx, root, "LOCK TABLE ONLY "+p.self.String()+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		return p.dropLocked(ctx, tx, false)
	})
}

// counted counts the rows under a lock that keeps them as they are, however long it
// takes.
func (p part) counted(ctx context.Context, tx pgx.Tx) error {
	if err := p.exec(ctx, tx, "set local statement_timeout = "+literal(p.limit)); err != nil {
		return err
	}
	t, err := one(ctx, tx, pgx.RowToStructByPos[tally], p.tallySQL(), p.age.Seconds())
	if err != nil {
		return fmt.Errorf("rows of %s: %w", p.self, err)
	}
	if err := p.allowed(t, p.self); err != nil {
		return err
	}
	if err := p.quota.Exactly(ctx, t.amount()); err != nil {
		return err
	}
	if err := p.fence.Check(ctx); err != nil {
		return err
	}
	return p.exec(ctx, tx, fmt.Sprintf("set local statement_timeout = '%dms'", handTime.Milliseconds()))
}

// dropLocked drops the partition, which no other session can use, if it is as the plan
// has it.
func (p part) dropLocked(ctx context.Context, tx pgx.Tx, detached bool) error {
	now, err := p.whereabouts(ctx, tx)
	if err != nil {
		return err
	}
	if err := p.still(now); err != nil {
		return err
	}
	if detached != (now.Parent == 0) || now.Pending || detached && !now.Proven {
		return remediate.Refuse(remediate.ReasonChanged, "partition %s was attached or detached by somebody else", p.self)
	}
	if err := p.relied(ctx, tx, now); err != nil {
		return err
	}
	what, err := hinders(ctx, tx, p.part.OID)
	switch {
	case err != nil:
		return err
	case what != "":
		return remediate.Refuse(remediate.ReasonChanged, "%s depends on partition %s: it is not dropped", what, p.self)
	}
	if detached {
		if err := p.counted(ctx, tx); err != nil {
			return err
		}
	}
	return p.exec(ctx, tx, "DROP TABLE "+p.self.String()+" RESTRICT")
}

// again makes the partition one of its table again, after a step that was stopped or
// could not go on, and adds to its error what came of it.
func (p part) again(ctx context.Context, cause error) error {
	if errors.Is(cause, remediate.ErrFenced) {
		return cause // another goes on with it
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), backWithin, fmt.Errorf("it took longer than %s", backWithin))
	defer cancel()
	var err error
	if p.c.IsClosed() {
		err = p.j.hold(ctx, p.fence, func(ctx context.Context, c *pgx.Conn) error {
			p.c = c
			return p.undone(ctx)
		})
	} else {
		err = p.undone(ctx)
	}
	if errors.Is(err, remediate.ErrGone) {
		return cause
	}
	if err == nil {
		return cause
	}
	now, known := p.whereabouts(ctx, p.c)
	name := p.self.String()
	if known == nil {
		name = now.Name // somebody may have given it another
	}
	unmark := fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s", name, boundName)
	if errors.Is(err, errMarked) {
		return &remediate.LeftError{Err: cause, Detail: fmt.Sprintf(
			"%s, which is in %s or which somebody else has taken, has a constraint of ours that is still to be taken away: %s",
			p.self, p.from, unmark)}
	}
	if no, refused := remediate.Refused(err); refused && known == nil && now.Marked == 0 {
		// Nothing of ours is left, but people should know.
		return &remediate.LeftError{Err: cause, Detail: no.Detail}
	} else if refused && known == nil && !now.Ours {
		return &remediate.LeftError{Err: cause, Detail: fmt.Sprintf("%s; a constraint of ours is left on it: %s", no.Detail, unmark)}
	}
	return &remediate.LeftError{Err: cause, Detail: fmt.Sprintf(
		"the detachment of %s from %s may have begun and was not undone; where its rows are not seen in %s, %s FINALIZE "+
			"(if it is pending), then %s, has them seen again, and %s takes away the constraint that is left on it: %v",
		p.self, p.from, p.from, p.detachText(), attachText(p.from, p.self, p.part.From, p.part.To), unmark, err)}
}

// errMarked says that a partition is in its table with a constraint of ours, which
// somebody's lock kept from being taken away.
var errMarked = errors.New("a constraint of ours is left")

// undone makes the partition one of its table again, as it was, as soon as no session
// uses it that prevents it. Where somebody else has made something else of it, it
// takes our constraint off it, and refuses.
func (p part) undone(ctx context.Context) error {
	for {
		now, err := p.whereabouts(ctx, p.c)
		if err != nil {
			return err
		}
		theirs, err := p.theirs(ctx, now)
		switch {
		case err != nil:
			return err
		case now.Parent == p.source && !now.Pending && !now.Ours:
			return nil
		case theirs:
			err = p.transact(ctx, func(ctx context.Context, tx pgx.Tx) error { return p.unmark(ctx, tx, now) })
		case now.Parent != p.source && now.Parent != 0 || !now.Named || now.Parent == 0 && !now.Ours:
			return remediate.Refuse(remediate.ReasonChanged, "%s is not as it was left, and is not attached to %s again", p.self, p.from)
		default:
			err = p.transact(ctx, func(ctx context.Context, tx pgx.Tx) error { return p.restore(ctx, tx, now) })
		}
		if err == nil && theirs {
			return remediate.Refuse(remediate.ReasonChanged, "somebody else detached or renamed %s, which was a partition of %s and is %s now: it stays as it is", p.self, p.from, now.Name)
		} else if err == nil {
			return nil
		}
		if ctx.Err() != nil && (now.Parent == p.source && !now.Pending || theirs) {
			return errMarked
		}
		if refused, ok := errors.AsType[*pgconn.PgError](err); ctx.Err() != nil || !ok || refused.Code != codeLock && refused.Code != codeDeadlock {
			return err
		}
		if err := stay(ctx, p.c, beat); err != nil && (now.Parent != p.source || now.Pending) {
			return err
		} else if err != nil {
			return errMarked
		}
	}
}

// concurrentSQL tells whether table $1 has the constraint that the server makes when it
// begins to detach a partition concurrently, made after ours, $2. No other DETACH
// makes one, unless it is concurrent too.
const concurrentSQL = `
select exists (select from pg_constraint k
                where k.conrelid = $1::int8::oid and k.contype = 'c' and k.oid > $2::int8::oid and k.conislocal and k.coninhcount = 0
                  and pg_get_constraintdef(k.oid) like '% IS NOT NULL)%')`

// theirs reports whether somebody else has detached the partition, attached it to
// another table, or given it or a table of the plan another name, so that nothing but our
// constraint is ours to take back.
func (p part) theirs(ctx context.Context, now partState) (bool, error) {
	switch {
	case !now.Ours, now.Pending:
		return false, nil
	case now.Parent == p.source:
		return !now.Named, nil
	case now.Parent != 0:
		return true, nil
	case now.Proven:
		return false, nil
	}
	ours, err := one(ctx, p.c, pgx.RowTo[bool], concurrentSQL, p.part.OID, now.Marked)
	return !ours, err
}

// unmark takes our constraint off the table, whatever its name is by now.
func (p part) unmark(ctx context.Context, tx pgx.Tx, now partState) error {
	if err := p.exec(ctx, tx, fmt.Sprintf("set local lock_timeout = '%dms'", rowWait.Milliseconds()), fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", now.Name, boundName)); err != nil {
		return err
	}
	is, err := one(ctx, tx, pgx.RowTo[bool], "select coalesce(to_regclass($1)::oid = $2::int8::oid, false) and not exists (select from pg_constraint where oid = $3::int8::oid)", now.Name, p.part.OID, now.Marked)
	if err == nil && !is {
		err = remediate.Refuse(remediate.ReasonChanged, "%s has another name again", now.Name)
	}
	return err
}

// restore ends a detachment, attaches the partition again, and takes away the
// constraints that were made for it: ours, and the one by which the server proves the
// bounds of a partition that it detaches.
func (p part) restore(ctx context.Context, tx pgx.Tx, now partState) error {
	statements := []string{fmt.Sprintf("set local lock_timeout = '%dms'; set local statement_timeout = '%dms'", rowWait.Milliseconds(), (5 * time.Second).Milliseconds())}
	if now.Pending {
		statements = append(statements, p.detachText()+" FINALIZE")
	}
	if now.Pending || now.Parent == 0 {
		statements = append(statements, attachText(p.from, p.self, p.part.From, p.part.To))
	}
	if err := p.exec(ctx, tx, statements...); err != nil {
		return err
	}
	made, err := many[made](ctx, tx, madeSQL, p.part.OID, now.Marked)
	if err != nil {
		return fmt.Errorf("constraints of %s: %w", p.self, err)
	}
	for _, m := range made {
		if err := p.exec(ctx, tx, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", p.self, pgx.Identifier{m.Name}.Sanitize())); err != nil {
			return err
		}
	}
	return nil
}

type made struct{ Name string }

// madeSQL names our constraint $2 of a partition $1, and the one that the server has
// made after it when it began to detach the partition.
const madeSQL = `
select k.conname::text
  from pg_constraint k
 where k.conrelid = $1::int8::oid and k.contype = 'c' and $2::int8 <> 0
   and (k.oid = $2::int8::oid or k.oid > $2::int8::oid and k.conislocal and k.coninhcount = 0
        and pg_get_constraintdef(k.oid) = format('CHECK (%s)', pg_get_partition_constraintdef(k.conrelid)))`
