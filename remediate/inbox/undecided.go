package inbox

import (
	"context"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Undecided returns the open incidents that want a decision, the oldest first and
// limit of them at most: their hold-down is over, no run of theirs is under way,
// and they were not settled under this edition of the policies. Incidents that are over
// before their hold-down is, again and again, are among them after a while, with
// FlappingSince set.
func (i *Inbox) Undecided(ctx context.Context, edition string, limit int) ([]remediate.Incident, error) {
	unfinished := remediate.States().Where(remediate.State.Unfinished).SQL()
	// Two ranges instead of an inequality: an index finds them, however many are settled.
	rest := "? and ripe <= ? and not exists (select 1 from runs where runs.incident = incidents.id and runs.state in " +
		unfinished + ")"
	now := store.Millis(i.now())
	all, err := i.incidents(ctx, "where closed = 0 and settled < "+rest+" union all select "+columns+
		" from incidents where closed = 0 and settled > "+rest+" order by 1 limit ?",
		edition, now, edition, now, limit)
	if err != nil {
		return nil, err
	}
	flapping, err := i.flapping(ctx)
	return append(all, flapping...), err
}

// Idle reports whether no incident is open and no alert was flapping lately: without a delivery, none will want a
// decision.
func (i *Inbox) Idle(ctx context.Context) (idle bool, err error) {
	if i.restless.any() {
		return false, nil
	}
	found, err := i.store.Finds(ctx, "select 1 from incidents where closed = 0 limit 1")
	return err == nil && !found, err
}
