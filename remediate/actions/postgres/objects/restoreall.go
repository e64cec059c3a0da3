package objects

import (
	"context"
	"fmt"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/depot"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
)

// run brings all of the period back and returns how many rows that were.
func (u restorer) run(ctx context.Context) (n int64, err error) {
	if _, err := u.c.Exec(ctx, formSQL); err != nil {
		return 0, fmt.Errorf("form of the rows: %w", err)
	}
	if u.reader, err = relation.NewReader(ctx, u.c); err != nil {
		return 0, err
	}
	now, err := u.reader.Read(ctx, u.c, []int64{u.root})
	if err == nil {
		err = u.plan.Only(u.root).Check(now)
	}
	if err != nil {
		return 0, err
	}
	all, err := read.ReadParcels(ctx, u.c, u.entry, u.since, u.until)
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		if _, err := u.object(ctx, e, false); err != nil {
			return 0, fmt.Errorf("nothing was changed: %w", err)
		}
	}
	for _, e := range all {
		got, err := u.object(ctx, e, true)
		n += got
		if err != nil {
			return n, broughtBack(n, err)
		}
	}
	return n, nil
}

// broughtBack says in an error how many rows are back: each object is a transaction.
func broughtBack(n int64, err error) error {
	if n == 0 {
		return err
	}
	if r, ok := remediate.Refused(err); ok {
		stopped := *r
		stopped.Detail = fmt.Sprintf("%d rows are back, and the rest is not: %s", n, r.Detail)
		return &stopped
	}
	return fmt.Errorf("%d rows are back, and the rest is not: %w", n, err)
}

// object looks at one object and, if requested, brings its rows back. It is
// read piece by piece: what it holds goes to a temporary table of the server, and no
// further until all of it was compared.
func (u restorer) object(ctx context.Context, e read.Parcel, change bool) (n int64, err error) {
	defer func() { err = damaged(err) }()
	if err := u.pace.Keep(ctx, u.c); err != nil {
		return 0, err
	}
	if err := u.fence.Check(ctx); err != nil {
		return 0, err
	}
	content, err := depot.Open(ctx, u.entry.To.Store, e.Object)
	if err != nil {
		return 0, err
	}
	defer func() { _ = content.Close() }() // was read
	p, err := depot.ReadParcel(e.Object, content)
	if err != nil {
		return 0, err
	}
	tx, err := u.c.BeginTx(ctx, writing())
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // no error after a commit
	r, err := u.spread(ctx, tx, p, e)
	if err != nil {
		return 0, err
	}
	if err := u.choose(ctx, tx, e); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
	}
	if err := u.unspoiled(ctx, tx, r); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
	}
	if err := u.conflicts(ctx, tx); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
	}
	if !change {
		return 0, nil
	}
	if n, err = u.insert(ctx, tx, p.Parcel, r, e); err != nil {
		return 0, fmt.Errorf("object %s: %w", e.Object, err)
	}
	return n, tx.Commit(ctx)
}
