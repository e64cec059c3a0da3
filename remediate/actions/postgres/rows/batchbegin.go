package rows

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// begin finds out what all batches have in common.
func (b *batches) begin(ctx context.Context, now func() time.Time, s remediate.Step) (err error) {
	// Into a partitioned table rows are not copied: which parts they enter is reported by
	// the other ways only.
	if b.swift, err = session.One(ctx, b.c, pgx.RowTo[bool], "select $1 and current_setting('track_counts')::bool",
		b.Dest.Kind == "r"); err != nil {
		return fmt.Errorf("track_counts: %w", err)
	}
	if b.most, err = b.bound(ctx, s); err != nil {
		return err
	}
	if b.Back {
		b.args = []any{b.Since, b.Until}
		if err := b.unclashing(ctx, b.c, b.Survey); err != nil {
			return err
		}
		return b.unspoiled(ctx, b.c, b.Survey)
	}
	if err := session.CheckClock(ctx, b.c, now); err != nil {
		return err
	}
	cut, err := session.One(ctx, b.c, pgx.RowTo[time.Time], "select clock_timestamp() - make_interval(secs => $1)",
		b.Age.Seconds())
	if err != nil {
		return fmt.Errorf("the server's time: %w", err)
	}
	b.args = []any{cut}
	return nil
}

// bound is how many rows may go by the fence, less than 0 where any number may. Bytes
// are counted by the size that a row of the table has on average.
func (b *batches) bound(ctx context.Context, s remediate.Step) (n int64, err error) {
	f := b.fence
	if b.Back {
		f.Most, f.Keep = nil, nil // what comes back is not removed
	}
	if b.quota, err = f.Quota(s); err != nil || !b.quota.Bounded() {
		return -1, err
	}
	w, err := b.weight(ctx, b.c, b.Survey, 1)
	if err != nil {
		return 0, err
	}
	b.weigh = w.size
	return b.quota.Rows(b.weigh), nil
}

// of turns to another part of the source.
func (b *batches) of(l relation.Node) {
	b.table, b.oid = Table{l.Schema, l.Table}, l.OID
	line := append([]relation.Node{l}, relation.Lineage(b.Giving.Tree, l.OID)...)
	if b.To != (Table{}) {
		for _, n := range b.taking.Tree {
			if n.OID == b.Dest.OID || n.Above {
				line = append(line, n)
			}
		}
	}
	b.relies = nil
	var locked []relation.Node
	for _, n := range line {
		b.relies = append(b.relies, n.OID)
		// What is above it may be another's; a lock there wants a right that no batch needs.
		if r, ok := b.watch.plan.Relations[n.OID]; ok && r.Lockable() {
			locked = append(locked, n)
		}
	}
	b.lock = relation.LockText(locked...)
}
