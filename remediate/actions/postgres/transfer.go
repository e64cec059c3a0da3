package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A transfer carries out the step that moves rows from table to table, or deletes them.
type transfer struct {
	target *target.Postgres
	action string
	now    func() time.Time // upkeep's clock; nil: that of the system

	// aside lists the partitions of the source that the step leaves alone.
	aside func(ctx context.Context, q read.Querier, m movement, s survey) ([]int64, error)
}

// run moves the rows. What the plan relied on is compared before the first of them
// and at the end of each batch.
func (a transfer) run(ctx context.Context, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	m, err := movementOf(s.Args)
	if err != nil {
		return err
	}
	pace, err := paceOf(s.Args)
	if err != nil {
		return fmt.Errorf("step: %w", err)
	}
	pace.asks = f.Check
	// A batch is to see what others have committed, and to be planned for its own
	// range; row security is to be an error and not to hide rows.
	if err := settle(ctx, c); err != nil {
		return err
	}
	if err := inZone(ctx, c, s); err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	w, err := watching(ctx, a.target, m.database, fmt.Sprintf("upkeep %s fence %d, comparing", a.action, f.Token), s.Args)
	if err != nil {
		return err
	}
	defer w.close(ctx)
	v, err := m.surveyed(ctx, c)
	if err != nil {
		return err
	}
	w.durable = v.durable
	v.wider = s.Args["wider"] // of the plan: it is compared before each commit
	if err := m.unseen(ctx, c, v.source.OID, v.dest.OID, v.wider); err != nil {
		return err
	}
	b := batches{movement: m, survey: v, c: c, fence: f, pace: pace, watch: w}
	if err := b.begin(ctx, a.now, s); err != nil {
		return err
	}
	if b.back {
		return a.all(ctx, &b) // what comes back is not removed
	}
	return b.quota.Stopped(ctx, a.all(ctx, &b))
}

// all moves the rows of the table and of its parts.
func (a transfer) all(ctx context.Context, b *batches) error {
	aside, err := a.aside(ctx, b.c, b.movement, b.survey)
	if err != nil {
		return err
	}
	for _, l := range b.giving.leaves() {
		if !b.watch.knows(l.OID) || slices.Contains(aside, l.OID) {
			continue // no row of it goes, or it was not there when the plan was made
		}
		b.of(l)
		if err := b.run(ctx); err != nil {
			return err
		}
	}
	if b.back {
		return b.unspoiled(ctx, b.c, b.survey)
	}
	return nil
}
