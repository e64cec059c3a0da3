package redis

import (
	"context"
	"fmt"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// BGRewriteAOF writes the append-only file anew.
func BGRewriteAOF(t *target.Redis) remediate.Action {
	return remediate.Action{
		Name:   "redis/bgrewriteaof",
		Target: t.Name,
		Doc: `BGRewriteAOF rewrites the append-only file with BGREWRITEAOF, to its smallest size, and waits for the end.

A large file takes disk space and makes the next start slow. The server is blocked during
the fork (about 10 ms for each GB), and memory that is written meanwhile is needed twice.
Clients do not wait otherwise, and the old file stays in use until the new one is
complete. If another client has already started a save or a rewrite, the plan says so and
the action waits for it; a rewrite that succeeds counts as this one. It refuses a server
without an append-only file, one that is loading its data set, and, if upkeep runs on the
same machine and can read the server's process, a disk or a machine without enough space.
The step is done when the server's count of rewrites (before Redis 7.0: the size that the file
had at its last rewrite) has changed and the last rewrite has succeeded. Rights: +info
+bgrewriteaof +client|setname, and +multi +discard to find a missing right
at plan time.`,
		Lowers: "upkeep_redis_aof_growth_ratio",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "every client during the fork, about 10 ms for each GB",
			WAL:    "–",
			Disk:   "a second append-only file until its end",
			Undo:   "nothing to undo",
		},
		Rights:    rights(rewriting()),
		Params:    boundParams(),
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Timeout:   time.Hour,
		Executor:  bgrewriteaof{t},
	}
}

func rewriting() need { return need{"+bgrewriteaof", []any{"bgrewriteaof"}} }

type bgrewriteaof struct{ target *target.Redis }

// Headroom implements remediate.Roomer.
func (a bgrewriteaof) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// look reads the state of the file, and refuses if there is no file.
func (a bgrewriteaof) look(ctx context.Context) (read.Snapshot, error) {
	s, err := persistence(ctx, a.target.Client)
	if err == nil && !s.AOF {
		err = remediate.Refuse(remediate.ReasonUnfit, "the server keeps no append-only file (appendonly is no)")
	}
	return s, err
}

// rewriteArgs are the arguments of a step.
type rewriteArgs struct {
	processArgs

	Rewrites int64 `arg:"rewrites"` // that were begun before; -1 where the server does not count them
	Base     int64 `arg:"base"`     // bytes of the file after the last one
}

// Plan implements remediate.Executor.
func (a bgrewriteaof) Plan(ctx context.Context, r remediate.Request) (p remediate.Plan, err error) {
	b, err := bounds(r.Params)
	if err != nil {
		return p, err
	}
	s, err := a.look(ctx)
	if err != nil {
		return p, err
	}
	if err := p.NoteMissing(allowed(ctx, a.target.Client, rewriting())); err != nil {
		return p, err
	}
	state, err := read.ReadState(ctx, a.target.Client)
	if err != nil {
		return p, err
	}
	if p.Facts, err = find(state).fits(s, b, "the new append-only file"); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, fmt.Sprintf("the append-only file has %s, and had %s when it was last written anew",
		remediate.Quantity("_bytes", s.AOFSize), remediate.Quantity("_bytes", s.AOFBase)))
	p.Facts = append(p.Facts, underway(s)...)
	if !s.RewriteOK {
		p.Facts = append(p.Facts, "the last attempt failed; the server's log says why, most often a full disk or too "+
			"little memory to fork")
	}
	if !s.AOFOK {
		p.Facts = append(p.Facts, "the last write to the append-only file failed: the server refuses every write "+
			"until one succeeds")
	}
	rewrites := s.Rewrites
	if s.Rewriting && !s.Scheduled && rewrites > 0 {
		rewrites-- // the server counts a rewrite when it begins
	}
	p.Steps = []remediate.Step{remediate.StepOf("BGREWRITEAOF",
		rewriteArgs{processArgs{state.RunID}, rewrites, int64(s.AOFBase)})}
	return p, p.Missing()
}

// Apply implements remediate.Executor.
func (a bgrewriteaof) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[rewriteArgs](s)
	if err != nil {
		return err
	}
	return child{
		client: a.target.Client, process: args.Process, command: "bgrewriteaof", grant: rewriting().grant,
		failed: "the rewrite failed: the server's log says why, most often a full disk; the old file still holds",
		done: func(now read.Snapshot) (bool, error) {
			switch {
			case !now.AOF:
				return false, remediate.Refuse(remediate.ReasonUnfit, "the server keeps no append-only file any more")
			case now.Rewrites >= 0:
				return now.RewriteOK && now.Rewrites > args.Rewrites, nil
			default:
				// Of two files that are equally long nothing can be said: it is written once more.
				return now.RewriteOK && int64(now.AOFBase) != args.Base, nil
			}
		},
	}.carry(ctx, f)
}

// Measure implements remediate.Executor.
func (a bgrewriteaof) Measure(ctx context.Context, _ remediate.Request) (float64, error) {
	s, err := a.look(ctx)
	return s.AOFGrowth(), err
}
