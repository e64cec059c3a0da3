package partition

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/rows"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

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

// unhindered refuses a partition that something depends on.
func (p part) unhindered(ctx context.Context) error {
	what, err := hinders(ctx, p.c, p.part.OID)
	if err == nil && what != "" {
		err = remediate.Refuse(remediate.ReasonChanged,
			"%s depends on partition %s: it is not dropped, and stays in %s",
			what, p.self, p.From)
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
	before, err := session.Many[user](ctx, p.c, lockersSQL, p.source, p.part.OID)
	for len(before) > 0 && err == nil {
		if err := session.Pause(ctx, p.c, usedFor); err != nil {
			return err
		}
		if err := p.fence.Check(ctx); err != nil {
			return err
		}
		var now []user
		now, err = session.Many[user](ctx, p.c, lockersSQL, p.source, p.part.OID)
		before = slices.DeleteFunc(now, func(u user) bool { return !slices.Contains(before, u) })
		if len(before) > 0 && time.Since(began) > session.PauseMost {
			var pids []string
			for _, u := range before {
				pids = append(pids, fmt.Sprint(u.PID))
			}
			return fmt.Errorf("%s is in use for more than %s, by the sessions %s (0: a prepared transaction): %w",
				p.From,
				session.PauseMost, strings.Join(pids, ", "), session.ErrPaused)
		}
	}
	if err != nil {
		return fmt.Errorf("who uses %s: %w", p.From, err)
	}
	return nil
}

// affordable counts, before the first partition of a run is dropped, all that the run
// would remove. Each partition is counted again under the lock in which it is dropped.
func (p part) affordable(ctx context.Context) error {
	if !p.args.First || !p.quota.Bounded() {
		return nil
	}
	parts, err := parts(ctx, p.Movement, p.c,
		rows.Survey{Version: p.version, Source: rows.Side{OID: p.source, Kind: "p"},
			Kind: p.args.Kind})
	if err != nil {
		return err
	}
	t := tally{Bytes: amountOf(slices.DeleteFunc(parts, func(o partition) bool { return !o.Old || !o.Plain })).Bytes}
	err = session.Cancellable(ctx, p.c, func(ctx context.Context) (err error) {
		t.Rows, err = session.One(ctx, p.c, pgx.RowTo[float64], "select count(*)::float8 from "+p.From.String()+
			" t where t."+
			pgx.Identifier{p.Column}.Sanitize()+" < now() - make_interval(secs => $1)", p.Age.Seconds())
		return err
	})
	if err != nil {
		return fmt.Errorf("rows of %s: %w", p.From, err)
	}
	return p.allowed(t, p.From)
}

// A tally is what is counted of a partition.
type tally struct {
	Rows, Bytes float64
	Young       bool // there are rows that are not past their age
}

func (p part) tallySQL() string {
	column := "t." + pgx.Identifier{p.Column}.Sanitize()
	return "select count(*)::float8, pg_table_size('" + fmt.Sprint(p.part.OID) + "'::oid)::float8, coalesce(bool_or(" +
		column + " is null or " + column + " >= now() - make_interval(secs => $1)), false) from only " +
		p.self.String() + " t"
}

// allowed refuses what must not be dropped.
func (p part) allowed(t tally, of rows.Table) error {
	most, sum := p.fence.Most, p.fence.Taken
	if t.Young {
		return remediate.Refuse(remediate.ReasonUnfit, "%s holds rows that are not past their age: it is not dropped",
			of)
	}
	if p.quota.Fits(t.amount()) {
		return nil
	}
	rest := ""
	if sum != (remediate.Amount{}) {
		rest = fmt.Sprintf(", of which %s are removed", &sum)
	}
	if most.Rows > 0 && sum.Rows+t.Rows > most.Rows {
		return remediate.Refuse(remediate.ReasonAmount,
			"%s holds %.0f rows to be removed, and the run may remove %.0f%s", of,
			t.Rows, most.Rows, rest)
	}
	return remediate.Refuse(remediate.ReasonAmount, "%s holds %s to be removed, and the run may remove %s%s", of,
		remediate.Quantity("_bytes", t.Bytes), remediate.Quantity("_bytes", most.Bytes), rest)
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
	root := "LOCK TABLE ONLY " + p.From.String() + " IN ACCESS EXCLUSIVE MODE"
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
	if err := p.exec(ctx, tx, "set local statement_timeout = "+session.Literal(p.limit)); err != nil {
		return err
	}
	t, err := session.One(ctx, tx, pgx.RowToStructByPos[tally], p.tallySQL(), p.Age.Seconds())
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
		return remediate.Refuse(remediate.ReasonChanged, "partition %s was attached or detached by somebody else",
			p.self)
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
