package partition

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/relation"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Apply carries out a step on one partition.
func Apply(ctx context.Context, j session.Job, c *pgx.Conn, f remediate.Fence, s remediate.Step) error {
	p, err := partOf(s)
	if err != nil {
		return err
	}
	p.j, p.c, p.fence = j, c, f
	if p.quota, err = f.Quota(s); err != nil {
		return err
	}
	p.quota.Anew()
	if err := c.QueryRow(ctx,
		"select current_setting('server_version_num')::int, current_setting('statement_timeout')").Scan(&p.version,
		&p.limit); err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if p.reader, err = relation.NewReader(ctx, c); err != nil {
		return err
	}
	switch p.args.Part {
	case Drop:
		return p.remove(ctx)
	case Finish:
		return p.finish(ctx)
	case Attach:
		return p.undone(ctx)
	default:
		return p.hand(ctx)
	}
}

// finish ends a detachment that another has begun.
func (p part) finish(ctx context.Context) error {
	now, err := p.whereabouts(ctx, p.c)
	switch {
	case err != nil:
		return err
	case now.Parent == 0:
		return nil
	case now.Parent != p.source || !now.Pending || !now.Named:
		return remediate.Refuse(remediate.ReasonChanged, "the detachment of %s from %s is not pending any more",
			p.self, p.From)
	}
	return p.do(ctx, 0, p.detachText()+" FINALIZE")
}
