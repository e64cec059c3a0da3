package rebuild

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Undo implements remediate.Undoer.
func (a Repack) Undo(ctx context.Context, f remediate.Fence, planned remediate.Step) (found string, err error) {
	s, err := remediate.TypedOf[repackArgs](planned)
	if err != nil {
		return "", err
	}
	if s.Args.Way != byProgram && s.Args.Way != sweeping {
		return "", nil
	}
	rewrote := false
	swept, err := a.clear(ctx, f, s, func(ctx context.Context, c *pgx.Conn) (err error) {
		if s.Args.Way != byProgram {
			return nil
		}
		rewrote, err = Rewritten(ctx, c, s.Args.TableArgs)
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
