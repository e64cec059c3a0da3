package engine

import (
	"context"
	"slices"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// keeper returns how one step of a run writes what it saw to the journal. The plan
// there holds it from then on, so each later try of the step gets it.
func (e *Engine) keeper(c *carried, d *doing, i int) func(context.Context, map[string]string, string) error {
	return func(ctx context.Context, kept map[string]string, why string) error {
		c.writing.Lock()
		defer c.writing.Unlock()
		entry := remediate.Entry{Run: c.run.ID, At: e.now(), From: c.run.State, To: c.run.State, Step: i + 1, Why: why}
		next := c.run
		next.Plan.Steps = slices.Clone(next.Plan.Steps)
		next.Plan.Steps[i].Kept = kept
		if d.moved.Load() {
			next.Lost = 0
		}
		next.Why, next.Changed = why, entry.At
		if err := e.c.Journal.Append(ctx, journal.Change{Run: next, Entry: entry, Fence: c.fence.Token, Exclusive: e.exclusive(c.run.Request)}); err != nil {
			return err
		}
		c.run, d.plan = next, next.Plan
		e.tell(next, entry)
		return nil
	}
}
