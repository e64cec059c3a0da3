package rows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// run passes over the table until nothing is left that can go.
func (b *batches) run(ctx context.Context) error {
	b.guess()
	few, err := b.few(ctx)
	if err != nil {
		return err
	}
	if err := b.count(ctx); err != nil {
		return err
	}
	through := b.heap
	if few {
		through = b.index
	}
	for range Passes {
		moved, updates := b.moved, b.updates
		b.missed = len(b.refers()) > 0 // rows that another one referred to, which has gone
		if err := through(ctx); err != nil {
			return err
		}
		if err := b.count(ctx); err != nil {
			return err
		}
		// An updated row may have moved to where the pass had been before. If no session has
		// updated one, or met a batch, there is nothing to be found by another pass.
		if b.moved == moved || !b.missed && b.updates == updates {
			break
		}
	}
	return b.watch.check(ctx, b.relies...) // a batch that found nothing was not compared
}

// count asks the server how often rows of the table were updated. A session tells
// of its updates a moment after them: what is missed by that is for the next run.
func (b *batches) count(ctx context.Context) error {
	err := b.c.QueryRow(ctx, "select pg_stat_get_tuples_updated($1::int8::oid)", b.oid).Scan(&b.updates)
	if err != nil {
		return fmt.Errorf("the statistics of %s: %w", b.table, err)
	}
	return nil
}

// IndexedSQL reports whether a B-tree begins with a column of a table.
const IndexedSQL = `
select exists (select from pg_index i
                 join pg_class x on x.oid = i.indexrelid
                 join pg_am m on m.oid = x.relam
                 join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                where i.indrelid = $1::int8::oid and i.indisvalid and i.indpred is null and m.amname = 'btree'
                  and a.attname = $2)`

// few reports whether so few rows go that an index finds them faster.
func (b *batches) few(ctx context.Context) (bool, error) {
	s, err := ReadSide(ctx, b.c, b.table, deletes())
	if err != nil {
		return false, err
	}
	if s.OID != b.oid {
		return false, b.another(b.table)
	}
	if s.Blocks > 0 && s.Tuples > 0 {
		b.density = max(1, s.Tuples/float64(s.Blocks))
	}
	indexed, err := session.One(ctx, b.c, pgx.RowTo[bool], IndexedSQL, b.oid, b.Column)
	if err != nil || !indexed {
		return false, err
	}
	rows, err := b.expect(ctx, b.c, b.table)
	return rows <= fewShare*s.Tuples, err
}

func (b *batches) another(p Table) error {
	return fmt.Errorf("%s is another table than that of the plan: %w", p, remediate.ErrGone)
}

// heap reads the table's blocks in their order, up to its end at the start.
func (b *batches) heap(ctx context.Context) error {
	for at := int64(0); ; {
		var end int64
		if err := b.c.QueryRow(ctx, "select pg_relation_size($1::int8::oid) / current_setting('block_size')::int",
			b.oid).Scan(&end); err != nil {
			return fmt.Errorf("the size of %s: %w", b.table, err)
		}
		if at >= end {
			return nil
		}
		for at < end {
			n := b.blocks
			count, took, err := b.batch(ctx, b.swift && b.busy == 0,
				func(h how) (string, []any) { return b.rangeSQL(at, at+n, h) })
			if errors.Is(err, errOver) && n > 1 {
				b.blocks = max(1, n/4)
				continue
			}
			if err != nil {
				return b.over(err)
			}
			at += n
			b.busy = max(0, b.busy-1)
			b.learn(count.Moved, n, took)
		}
	}
}

// index reads the table in the order of the age column. Each batch begins
// where the one before has ended, so that it does not step over the dead again.
func (b *batches) index(ctx context.Context) error {
	last, after := "-infinity", false
	for {
		n := b.rows
		if b.most >= 0 {
			n = min(n, max(1, b.most-b.moved)) // one more than may go shows that more are left
		}
		count, took, err := b.batch(ctx, false,
			func(h how) (string, []any) { return b.keySQL(last, after, n, h == bySkip) })
		if err != nil || count.Last == nil {
			return b.over(err)
		}
		// Rows of one moment that cannot go would be met for ever.
		after = count.Moved == 0 && *count.Last == last || count.Moved == 0 && after
		last = *count.Last
		b.learn(count.Moved, b.blocks, took)
	}
}

// batch carries one batch out, and tries again what was in somebody's way. It
// returns how long the server took for what it did.
func (b *batches) batch(ctx context.Context, swift bool, text func(how) (string, []any)) (n count, took time.Duration,
	err error) {
	tries, h := session.StartRetries(), byWait
	if swift {
		h = byCopy
	}
	for {
		if err := b.pace.Keep(ctx, b.c); err != nil {
			return n, 0, err
		}
		if err := b.reserve(ctx); err != nil {
			return n, 0, err
		}
		sql, args := text(h)
		// without a name, the statement is planned for its very range
		args = append([]any{pgx.QueryExecModeExec}, args...)
		sent := time.Now()
		err := session.Cancellable(ctx, b.c, func(ctx context.Context) (err error) {
			n, err = b.commit(ctx, h, sql, args)
			return err
		})
		if err == nil {
			b.moved, b.recent = b.moved+n.Moved, n.Moved
			return n, time.Since(sent), nil
		}
		if ctx.Err() != nil {
			return n, 0, err
		}
		if err := b.again(ctx, err); err != nil {
			return n, 0, err
		}
		if err := tries.Again(ctx, b.table.String(), err); err != nil {
			return n, 0, err
		}
		b.missed = true
		if h == byCopy {
			b.busy = BusyFor // where rows are being changed, the next batches would probably fail too
		}
		h = bySkip
	}
}

// reserve takes from the quota what a batch will probably take, and checks the fence.
func (b *batches) reserve(ctx context.Context) error {
	next := b.recent
	if b.most >= 0 {
		next = max(0, min(next, b.most-b.moved))
	}
	if err := b.quota.Reserve(ctx, b.amount(next)); err != nil {
		return err
	}
	return b.fence.Check(ctx)
}

// again returns nil where a batch may succeed when it is tried once more, and else
// the error, without content of the rows. What fails because a table is
// not as it was is refused for that.
func (b *batches) again(ctx context.Context, err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok && !errors.Is(err, errUneven) {
		return fmt.Errorf("rows of %s: %w", b.table, err)
	}
	if ok && slices.Contains([]string{session.CodeLock, session.CodeDeadlock, session.CodeConflict}, refused.Code) {
		return nil
	}
	if changed := b.watch.check(ctx, b.watch.plan.OIDs()...); changed != nil {
		return changed
	}
	if !ok {
		return fmt.Errorf("rows of %s: %w", b.table, err)
	}
	switch refused.Code {
	case session.CodeForeignKey:
		if refused.SchemaName == b.To.Schema && refused.TableName == b.To.Name {
			break
		}
		return nil // somebody has begun to refer to a row: it is left the next time
	case session.CodeUnique, session.CodeExclusion:
		return fmt.Errorf("a row of %s is in %s already, by %s; nothing of this batch was done, and what was moved "+
			"before stays moved: find out how it came there", b.table, b.To,
			pgx.Identifier{refused.ConstraintName}.Sanitize())
	case session.CodeDivision:
		return fmt.Errorf("%s: %w", b.table, errUneven)
	}
	refused.Detail, refused.Where = "", "" // rows of people
	return fmt.Errorf("rows of %s: %w", b.table, refused)
}
