package rows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// deletedSQL is how many rows of a table this session has deleted and not reported to the
// statistics of yet: within a transaction it only grows.
const deletedSQL = "select pg_stat_get_xact_tuples_deleted($1::int8::oid)"

// copied copies and deletes the rows of a batch under one snapshot, and tells how
// many, where as many were deleted as were copied. Before is how many were deleted
// until now.
func (b *batches) copied(ctx context.Context, before int64, sql string, args []any) (n int64, err error) {
	tag, err := b.c.Exec(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	var after int64
	if err := b.c.QueryRow(ctx, deletedSQL, b.oid).Scan(&after); err != nil {
		return 0, err
	}
	if n = tag.RowsAffected(); after-before != n {
		return 0, errUneven
	}
	return n, nil
}

// open begins the transaction of a batch, takes its lock, and for a copy tells how
// many rows were deleted until now, all in one message. The lock is the first
// statement, and takes no snapshot: what it covers is for all of the batch as the
// snapshot has it.
func (b *batches) open(ctx context.Context, h how) (deleted int64, err error) {
	sql := "begin isolation level read committed read write; " + b.lock
	if h == byCopy {
		sql = "begin isolation level repeatable read read write; " + b.lock + "; " +
			strings.Replace(deletedSQL, "$1", strconv.FormatInt(b.oid, 10), 1)
	}
	results, err := b.c.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil || h != byCopy {
		return 0, err
	}
	last := results[len(results)-1].Rows
	if len(last) != 1 || len(last[0]) != 1 {
		return 0, fmt.Errorf("rows that were deleted from %s: %w", b.table, ErrUnknownStep)
	}
	return strconv.ParseInt(string(last[0][0]), 10, 64)
}

// commit carries one batch out in a transaction of its own. What no lock covers, and
// what was changed before the lock was taken, is seen by the comparison after the
// work, right before the commit.
func (b *batches) commit(ctx context.Context, h how, sql string, args []any) (n count, err error) {
	defer func() {
		if err != nil {
			_, _ = b.c.Exec(context.WithoutCancel(ctx), "rollback", pgx.QueryExecModeSimpleProtocol) // the error is why
		}
	}()
	before, err := b.open(ctx, h)
	if err != nil {
		return n, err
	}
	if h == byCopy {
		n.Moved, err = b.copied(ctx, before, sql, args)
	} else {
		err = b.c.QueryRow(ctx, sql, args...).Scan(&n.Moved, &n.Last, &n.Into)
	}
	if err != nil {
		return n, err
	}
	if b.most >= 0 && b.moved+n.Moved > b.most {
		return n, errOver
	}
	if err := b.quota.Reserve(ctx, b.amount(n.Moved)); err != nil {
		return n, err
	}
	if n.Moved > 0 {
		if err := b.compare(ctx, n.Into); err != nil {
			return n, err
		}
	}
	b.quota.Take(b.amount(n.Moved))
	tag, err := b.c.Exec(ctx, "commit", pgx.QueryExecModeSimpleProtocol)
	if err == nil && tag.String() != "COMMIT" {
		err = pgx.ErrTxCommitRollback
	}
	if session.RolledBack(err) {
		b.quota.Return(b.amount(n.Moved))
	} else if err != nil {
		b.quota.Unsure()
	}
	return n, err
}

// compare compares what the batch relied on and what its rows have entered.
func (b *batches) compare(ctx context.Context, into []int64) error {
	all := slices.Clone(b.relies)
	for _, oid := range into {
		all = append(all, oid)
		for _, n := range relation.Lineage(b.taking.Tree, oid) {
			all = append(all, n.OID)
		}
	}
	slices.Sort(all)
	if err := b.watch.check(ctx, slices.Compact(all)...); err != nil {
		return err
	}
	return b.CheckReaders(ctx, b.watch.c, b.Source.OID, b.Dest.OID, b.wider)
}

// errOver says that a batch would have taken more rows than may go.
var errOver = errors.New("more rows would go than may")

// over refuses what goes beyond the amount that the run may take.
func (b *batches) over(err error) error {
	if !errors.Is(err, errOver) {
		return err
	}
	gone := int64(b.quota.Gone().Rows)
	return remediate.Refuse(remediate.ReasonAmount,
		"%d rows of %s are gone, or count as gone, and with the next ones it would be more than the %d that may go: "+
			"the rest stays; plan again to see how much that is", gone, b.From,
		gone-b.moved+b.most)
}

// errUneven says that a batch would have taken other rows away than it put there.
var errUneven = errors.New("not every row that would have been taken away arrived; nothing of this batch was done: " +
	"is there a trigger or a rule?")

// A count is what became of a batch.
type count struct {
	Moved int64
	Last  *string // the greatest age that was met, where an index is read
	Into  []int64 // the parts of the destination that rows have entered, where it has any
}

// amount is what so many rows are of the quota.
func (b *batches) amount(n int64) remediate.Amount {
	return remediate.Amount{Rows: float64(n), Bytes: float64(n) * b.weigh}
}
