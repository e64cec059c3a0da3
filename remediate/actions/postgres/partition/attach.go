package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// again makes the partition one of its table again, after a step that was stopped or
// could not go on, and adds to its error what came of it.
func (p part) again(ctx context.Context, cause error) error {
	if errors.Is(cause, remediate.ErrFenced) {
		return cause // another goes on with it
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), backWithin,
		fmt.Errorf("it took longer than %s", backWithin))
	defer cancel()
	var err error
	if p.c.IsClosed() {
		err = p.j.Hold(ctx, p.fence, func(ctx context.Context, c *pgx.Conn) error {
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
			"%s, which is in %s or which somebody else has taken, has a constraint of ours that is still to be taken "+
				"away: %s",
			p.self, p.From, unmark)}
	}
	if no, refused := remediate.Refused(err); refused && known == nil && now.Marked == 0 {
		// Nothing of ours is left, but people should know.
		return &remediate.LeftError{Err: cause, Detail: no.Detail}
	} else if refused && known == nil && !now.Ours {
		return &remediate.LeftError{Err: cause, Detail: fmt.Sprintf("%s; a constraint of ours is left on it: %s",
			no.Detail, unmark)}
	}
	return &remediate.LeftError{Err: cause, Detail: fmt.Sprintf(
		"the detachment of %s from %s may have begun and was not undone; where its rows are not seen in %s, %s "+
			"FINALIZE (if it is pending), then %s, has them seen again, and %s takes away the constraint that is "+
			"left on it: %v",
		p.self, p.From, p.From, p.detachText(), attachText(p.From, p.self, p.part.From, p.part.To), unmark, err)}
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
			return remediate.Refuse(remediate.ReasonChanged,
				"%s is not as it was left, and is not attached to %s again",
				p.self, p.From)
		default:
			err = p.transact(ctx, func(ctx context.Context, tx pgx.Tx) error { return p.restore(ctx, tx, now) })
		}
		if err == nil && theirs {
			return remediate.Refuse(remediate.ReasonChanged,
				"somebody else detached or renamed %s, which was a partition of %s and is %s now: it stays as it is",
				p.self, p.From, now.Name)
		} else if err == nil {
			return nil
		}
		if ctx.Err() != nil && (now.Parent == p.source && !now.Pending || theirs) {
			return errMarked
		}
		if refused, ok := errors.AsType[*pgconn.PgError](err); ctx.Err() != nil || !ok ||
			refused.Code != session.CodeLock &&
				refused.Code != session.CodeDeadlock {
			return err
		}
		if err := session.Pause(ctx, p.c, session.Beat); err != nil && (now.Parent != p.source || now.Pending) {
			return err
		} else if err != nil {
			return errMarked
		}
	}
}

// concurrentSQL reports whether table $1 has the constraint that the server makes when it
// begins to detach a partition concurrently, made after ours, $2. No other DETACH
// makes one, unless it is concurrent too.
const concurrentSQL = `
select exists (select from pg_constraint k
                where k.conrelid = $1::int8::oid and k.contype = 'c' and k.oid > $2::int8::oid and k.conislocal
                  and k.coninhcount = 0
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
	ours, err := session.One(ctx, p.c, pgx.RowTo[bool], concurrentSQL, p.part.OID, now.Marked)
	return !ours, err
}

// unmark takes our constraint off the table, whatever its name is by now.
func (p part) unmark(ctx context.Context, tx pgx.Tx, now partState) error {
	if err := p.exec(ctx, tx, fmt.Sprintf("set local lock_timeout = '%dms'", session.RowWait.Milliseconds()),
		fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", now.Name, boundName)); err != nil {
		return err
	}
	is, err := session.One(ctx, tx, pgx.RowTo[bool], "select coalesce(to_regclass($1)::oid = $2::int8::oid, false) "+
		"and not exists (select from pg_constraint where oid = $3::int8::oid)", now.Name, p.part.OID, now.Marked)
	if err == nil && !is {
		err = remediate.Refuse(remediate.ReasonChanged, "%s has another name again", now.Name)
	}
	return err
}

// restore ends a detachment, attaches the partition again, and takes away the
// constraints that were made for it: ours, and the one by which the server proves the
// bounds of a partition that it detaches.
func (p part) restore(ctx context.Context, tx pgx.Tx, now partState) error {
	statements := []string{fmt.Sprintf("set local lock_timeout = '%dms'; set local statement_timeout = '%dms'",
		session.RowWait.Milliseconds(), (5 * time.Second).Milliseconds())}
	if now.Pending {
		statements = append(statements, p.detachText()+" FINALIZE")
	}
	if now.Pending || now.Parent == 0 {
		statements = append(statements, attachText(p.From, p.self, p.part.From, p.part.To))
	}
	if err := p.exec(ctx, tx, statements...); err != nil {
		return err
	}
	made, err := session.Many[made](ctx, tx, madeSQL, p.part.OID, now.Marked)
	if err != nil {
		return fmt.Errorf("constraints of %s: %w", p.self, err)
	}
	for _, m := range made {
		if err := p.exec(ctx, tx, fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", p.self,
			pgx.Identifier{m.Name}.Sanitize())); err != nil {
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

// leave takes back what a run of ours has done to a partition that the step cannot go on
// with.
func (p part) leave(ctx context.Context, now partState, err error) error {
	if now.Ours || now.Pending && now.Named && now.Bounded {
		return p.again(ctx, err)
	}
	return err
}

// backWithin is how long a detachment is tried to be undone after the step was
// stopped: a person waits for the answer.
const backWithin = 10 * time.Second

// ours attaches a partition again of which it is not known who detached it: a run that was
// killed, or somebody since. The step begins anew with it.
func (p part) ours(ctx context.Context, now partState) (partState, error) {
	if now.Parent != 0 || now.Proven {
		return now, nil
	}
	if err := p.undone(ctx); err != nil {
		return now, err
	}
	now, err := p.whereabouts(ctx, p.c)
	if err == nil {
		err = p.still(now)
	}
	return now, err
}

// finalize ends a detachment that is pending, and marks the partition, which could not
// be done before. It waits for those who see the partition still.
func (p part) finalize(ctx context.Context, now partState) error {
	if err := p.fence.Check(ctx); err != nil {
		return err
	}
	return p.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return p.exec(ctx, tx, append(append([]string{"set local lock_timeout = 0", p.detachText() + " FINALIZE"},
			p.marks(now)...), p.claim())...)
	})
}

// Undo makes the partition of an interrupted step one of its table again.
func Undo(ctx context.Context, j session.Job, f remediate.Fence, s remediate.Step) (found string, err error) {
	p, err := partOf(s)
	if err != nil {
		return "", err
	}
	p.j, p.fence = j, f
	err = j.Hold(ctx, f, func(ctx context.Context, c *pgx.Conn) (err error) {
		p.c = c
		if err := c.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&p.version); err != nil {
			return err
		}
		found, err = p.returned(ctx)
		return err
	})
	return found, err
}

// returned undoes what a run of ours has done to the partition, and says what it found.
func (p part) returned(ctx context.Context) (string, error) {
	now, err := p.whereabouts(ctx, p.c)
	switch {
	case errors.Is(err, remediate.ErrGone):
		return fmt.Sprintf("partition %s is dropped", p.self), nil
	case err != nil:
		return "", err
	case now.Parent == p.dest && p.dest != 0:
		return fmt.Sprintf("partition %s is one of %s", p.self, p.To), nil
	case now.Parent == p.source && !now.Ours:
		return "", nil // also where somebody else's detachment of it is pending
	}
	if err := p.fence.Keeps(ctx); err != nil {
		return "", err
	}
	if err := p.undone(ctx); err != nil {
		return "", err
	}
	if now.Parent == p.source && !now.Pending {
		return fmt.Sprintf("the constraint %s of %s is taken away again", boundName, p.self), nil
	}
	return fmt.Sprintf("partition %s is one of %s again, as it was", p.self, p.From), nil
}
