package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// Undo implements remediate.Undoer.
func (a archive) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (string, error) {
	return a.moving().undo(ctx, f, s)
}

// Undo implements remediate.Undoer.
func (a purge) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (string, error) {
	return a.moving().undo(ctx, f, s)
}

// Undo implements remediate.Undoer.
func (a restoreArchived) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (string, error) {
	return a.moving().undo(ctx, f, s)
}

// left says what a step on a partition leaves where it is interrupted.
func (m movement) left(p partition) string {
	return fmt.Sprintf("where the rows of %s are not seen in %s: ALTER TABLE %s DETACH PARTITION %s FINALIZE (if it is pending), then %s; a constraint of ours may be left: ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s",
		p.place(), m.from, m.from, p.place(), attachText(m.from, p.place(), p.From, p.To), p.place(), boundName)
}

// undo makes the partition of an interrupted step one of its table again. Rows that go
// one by one go in whole batches, and leave nothing half done.
func (a moving) undo(ctx context.Context, f remediate.Fence, s remediate.Step) (found string, err error) {
	switch s.Args["part"] {
	case partDrop, partOver, partBack, partAttach:
	default:
		return "", nil
	}
	p, err := partOf(s.Args)
	if err != nil {
		return "", err
	}
	p.j = job{target: a.target, server: session.Planned(s), action: a.action, writes: true, database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"], lockTimeout: rowWait}
	p.fence = f
	err = p.j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) (err error) {
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
		return fmt.Sprintf("partition %s is one of %s", p.self, p.to), nil
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
	return fmt.Sprintf("partition %s is one of %s again, as it was", p.self, p.from), nil
}

// Undo implements remediate.Undoer.
func (a repack) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (found string, err error) {
	if s.Args["way"] != byProgram && s.Args["way"] != sweeping {
		return "", nil
	}
	rewrote := false
	swept, err := a.clear(ctx, f, s, func(ctx context.Context, c *pgx.Conn) (err error) {
		if s.Args["way"] != byProgram {
			return nil
		}
		rewrote, err = rewritten(ctx, c, s)
		if _, refused := remediate.Refused(err); refused || errors.Is(err, remediate.ErrGone) {
			return nil // the table is dropped, or another
		} else if err != nil || !rewrote {
			return err
		}
		return a.mend(ctx, c, f, s) // an index that was made meanwhile points into the old file
	})
	var all []string
	if rewrote {
		all = append(all, "the table has been repacked")
	}
	if swept {
		all = append(all, "the trigger and the log that pg_repack left are dropped")
	}
	return strings.Join(all, ", "), err
}

// Undo implements remediate.Undoer.
func (a reindex) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (found string, err error) {
	if s.Args["drop"] != "" {
		return "", nil
	}
	j := job{target: a.target, server: session.Planned(s), action: "postgres/reindex", database: s.Args["database"], schema: s.Args["schema"], table: s.Args["table"], lockTimeout: 5 * time.Second}
	err = j.hold(ctx, f, func(ctx context.Context, c *pgx.Conn) error {
		done, err := rebuilt(ctx, c, s)
		if errors.Is(err, remediate.ErrGone) {
			return nil
		} else if err != nil {
			return err
		}
		own, _, err := a.ours(ctx, c, s)
		if err != nil {
			return err
		}
		if err := a.sweep(ctx, c, f, s); err != nil {
			return err
		}
		switch {
		case done:
			found = "the index is built anew"
		case len(own) > 0:
			found = strconv.Itoa(len(own)) + " invalid index that the build left is dropped"
		}
		return a.forget(ctx, c, s)
	})
	return found, err
}
