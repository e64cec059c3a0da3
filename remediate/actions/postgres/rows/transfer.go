package rows

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	read "github.com/ai-micro-service/upkeep/collectors/postgres"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A Transfer carries out the step that moves rows from table to table, or deletes them.
type Transfer struct {
	Target *target.Postgres
	Action string
	Now    func() time.Time // upkeep's clock; nil: that of the system

	// aside lists the partitions of the source that the step leaves alone.
	Aside func(ctx context.Context, q read.Querier, m Movement, s Survey) ([]int64, error)
}

// Run moves the rows. What the plan relied on is compared before the first of them
// and at the end of each batch.
func (a Transfer) Run(ctx context.Context, c *pgx.Conn, f remediate.Fence, planned remediate.Step) error {
	s, err := remediate.TypedOf[Args](planned)
	if err != nil {
		return err
	}
	m, err := MovementOf(s.Args)
	if err != nil {
		return err
	}
	pace, err := session.NewPace(s.Args.Pacing)
	if err != nil {
		return fmt.Errorf("step: %w", err)
	}
	pace.Ask = f.Check
	// A batch is to see what others have committed, and to be planned for its own
	// range; row security is to be an error and not to hide rows.
	if err := SetUp(ctx, c, s.Args.Zone); err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	w, err := watching(ctx, a.Target, fmt.Sprintf("upkeep %s fence %d, comparing", a.Action, f.Token), s)
	if err != nil {
		return err
	}
	defer w.close(ctx)
	v, err := m.Surveyed(ctx, c)
	if err != nil {
		return err
	}
	w.durable = v.durable
	v.wider = s.Args.Wider // of the plan: it is compared before each commit
	if err := m.CheckReaders(ctx, c, v.Source.OID, v.Dest.OID, v.wider); err != nil {
		return err
	}
	b := batches{Movement: m, Survey: v, c: c, fence: f, pace: pace, watch: w}
	if err := b.begin(ctx, a.Now, planned); err != nil {
		return err
	}
	if b.Back {
		return a.all(ctx, &b) // what comes back is not removed
	}
	return b.quota.Stopped(ctx, a.all(ctx, &b))
}

// all moves the rows of the table and of its parts.
func (a Transfer) all(ctx context.Context, b *batches) error {
	aside, err := a.Aside(ctx, b.c, b.Movement, b.Survey)
	if err != nil {
		return err
	}
	for _, l := range b.Giving.Leaves() {
		if !b.watch.knows(l.OID) || slices.Contains(aside, l.OID) {
			continue // no row of it goes, or it was not there when the plan was made
		}
		b.of(l)
		if err := b.run(ctx); err != nil {
			return err
		}
	}
	if b.Back {
		return b.unspoiled(ctx, b.c, b.Survey)
	}
	return nil
}
