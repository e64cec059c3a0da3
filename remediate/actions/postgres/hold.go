package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

// hold opens a session that holds the subject's lock and gives it to work, which
// may run many statements there. The fence is for work to check, before each
// change. A process that is killed in the middle loses the session, and the server
// rolls back what was not committed.
func (j job) hold(ctx context.Context, f remediate.Fence, work func(ctx context.Context, c *pgx.Conn) error) error {
	c, err := j.open(ctx, f, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // the work is done or has failed
	if err := j.prepare(ctx, c, f); err != nil {
		return err
	}
	return work(ctx, c)
}

// wait pauses, or returns early why ctx has ended.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
