package redis

import (
	"context"
	"fmt"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// PurgeMemory gives memory that the allocator holds on to back to the machine.
func PurgeMemory(t *target.Redis) remediate.Action {
	return remediate.Action{
		Name:   "redis/purge_memory",
		Target: t.Name,
		Doc: `PurgeMemory lets the allocator give back what it holds and does not use, with MEMORY PURGE.

That is memory in whole pages that was freed and kept for later use. Partly used pages
stay, so this does not lower the allocator's fragmentation; redis/defrag and
redis/restart do. With background threads, the default since Redis 6, the allocator
returns such pages within about ten seconds by itself: the action rarely helps, and if
it does, at once. The server is blocked while the kernel takes the pages, some tens of
milliseconds for each GB. It refuses an allocator that is not jemalloc, for which the
command does nothing. Running it twice does no harm. Rights: +info +memory|purge
+client|setname, and +multi +discard to find a missing right at plan time.`,
		Lowers: "upkeep_redis_memory_retained_bytes",
		Risk:   remediate.Guarded,
		Effects: remediate.Effects{
			Lock:   "none",
			Blocks: "every client, some tens of milliseconds for each GB",
			WAL:    "–",
			Disk:   "none",
			Undo:   "nothing to undo",
		},
		Rights:    rights(purging()),
		Subject:   []string{"server"},
		Exclusive: []string{"server"},
		Timeout:   time.Minute,
		Cancel:    remediate.CancelAnytime,
		Executor:  purgememory{t},
	}
}

func purging() need { return need{"+memory|purge", []any{"memory", "purge"}} }

type purgememory struct{ target *target.Redis }

// Headroom implements remediate.Roomer.
func (a purgememory) Headroom(ctx context.Context, _ remediate.Request) (remediate.Headroom, error) {
	return headroom(ctx, a.target)
}

// Plan implements remediate.Executor.
func (a purgememory) Plan(ctx context.Context, _ remediate.Request) (p remediate.Plan, err error) {
	if _, err := persistence(ctx, a.target.Client); err != nil {
		return p, err
	}
	u, err := read.ReadMemory(ctx, a.target.Client)
	if err != nil {
		return p, err
	}
	if !u.Jemalloc() {
		return p, remediate.Refuse(remediate.ReasonCannotHelp,
			"the server's allocator is %q: MEMORY PURGE does nothing but for jemalloc", u.Allocator)
	}
	if err := p.NoteMissing(allowed(ctx, a.target.Client, purging())); err != nil {
		return p, err
	}
	p.Facts = append(p.Facts, fmt.Sprintf("the allocator holds %s that it does not use; the server uses %s and has "+
		"%s of the machine's memory",
		remediate.Quantity("_bytes", u.Retained), remediate.Quantity("_bytes", u.Used),
		remediate.Quantity("_bytes", u.Resident)))
	id, err := process(ctx, a.target.Client)
	p.Steps = []remediate.Step{remediate.StepOf("MEMORY PURGE", processArgs{id})}
	if err == nil {
		err = p.Missing()
	}
	return p, err
}

// countedIn is how long the server may take to tell what the allocator has: it
// counts every tenth of a second.
const countedIn = time.Second

// Apply implements remediate.Executor.
func (a purgememory) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	args, err := remediate.ArgsOf[processArgs](s)
	if err != nil {
		return err
	}
	before, err := read.ReadMemory(ctx, a.target.Client)
	if err != nil {
		return privilege(err, "+info")
	}
	if err := answers(ctx, a.target.Client, args.Process); err != nil {
		return err
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if err := a.target.Client.Do(ctx, "memory", "purge").Err(); err != nil {
		return fmt.Errorf("memory purge: %w", privilege(err, purging().grant))
	}
	for end := time.Now().Add(countedIn); time.Now().Before(end); {
		now, err := read.ReadMemory(ctx, a.target.Client)
		if err != nil || now.Retained < before.Retained {
			return err
		}
		if err := pause(ctx, savePoll); err != nil {
			return err
		}
	}
	return nil // it had nothing to give back
}

// Measure implements remediate.Executor.
func (a purgememory) Measure(ctx context.Context, _ remediate.Request) (float64, error) {
	u, err := read.ReadMemory(ctx, a.target.Client)
	return u.Retained, privilege(err, "+info")
}
