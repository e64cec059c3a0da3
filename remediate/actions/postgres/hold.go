package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

// hold opens a session that holds the subject's lock and gives it to work, which
// may run many statements there. The fence is for work to check, before each
// change. A process that is killed in the middle loses the session, and the server
// rolls back what was not committed.
func (j job) hold(ctx context.Context, f remediate.Fence, work func(ctx context.Context, c *pgx.Conn) error) error {
	c, err := j.target.Session(ctx, j.database, fmt.Sprintf("upkeep %s fence %d", j.action, f.Token), nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // the work is done or has failed
	if err := j.prepare(ctx, c, f); err != nil {
		return err
	}
	return work(ctx, c)
}

// bounded runs what asks the server once, and when ctx ends first cancels it there
// and waits for its end: pgx would close the connection and leave the server
// working. The error tells both.
func bounded(ctx context.Context, c *pgx.Conn, ask func(ctx context.Context) error) error {
	ended := make(chan error, 1)
	go func() { ended <- ask(context.WithoutCancel(ctx)) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelWithin)
	defer cancel()
	if err := c.PgConn().CancelRequest(last); err != nil {
		return errors.Join(context.Cause(ctx), fmt.Errorf("cancel: %w", err))
	}
	select {
	case err := <-ended:
		if err == nil {
			return nil // it was faster than the cancellation
		}
		return errors.Join(context.Cause(ctx), err)
	case <-last.Done():
		return errors.Join(context.Cause(ctx), errors.New("the server did not end the statement"))
	}
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
