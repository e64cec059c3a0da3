package inbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Incidents returns every open incident, the oldest first.
func (i *Inbox) Incidents(ctx context.Context) ([]remediate.Incident, error) {
	return i.episodes(ctx, "where closed = 0 order by id")
}

// Undecided returns the open episodes that want a decision, the oldest first and
// limit of them at most: their hold-down is over, no run of theirs is under way,
// and they were not settled under this edition of the policies. Incidents that are over
// before their hold-down is, again and again, are among them after a while, with
// FlappingSince set.
func (i *Inbox) Undecided(ctx context.Context, edition string, limit int) ([]remediate.Incident, error) {
	unfinished := remediate.States().Where(remediate.State.Unfinished).SQL()
	// Two ranges instead of an inequality: an index finds them, however many are settled.
	rest := "? and ripe <= ? and not exists (select 1 from runs where runs.episode = episodes.id and runs.state in " + unfinished + ")"
	now := store.Millis(i.now())
	all, err := i.episodes(ctx, "where closed = 0 and settled < "+rest+" union all select "+columns+" from episodes where closed = 0 and settled > "+rest+" order by 1 limit ?",
		edition, now, edition, now, limit)
	if err != nil {
		return nil, err
	}
	flapping, err := i.flapping(ctx)
	return append(all, flapping...), err
}

// Incident returns one episode, open or closed.
func (i *Inbox) Incident(ctx context.Context, id int64) (remediate.Incident, error) {
	all, err := i.episodes(ctx, "where id = ?", id)
	if err != nil {
		return remediate.Incident{}, err
	}
	if len(all) == 0 {
		return remediate.Incident{}, fmt.Errorf("there is no episode %d", id)
	}
	return all[0], nil
}

func (i *Inbox) episodes(ctx context.Context, condition string, args ...any) ([]remediate.Incident, error) {
	rows, err := i.read(ctx, condition, args...)
	all := make([]remediate.Incident, len(rows))
	for n, e := range rows {
		all[n] = e.Incident
	}
	return all, err
}

func (i *Inbox) read(ctx context.Context, condition string, args ...any) (all []incident, err error) {
	rows, err := i.store.Query(ctx, "select "+columns+" from episodes "+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("episodes: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("episodes: %w", err)
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// one reads one number.
func (i *Inbox) one(ctx context.Context, into *int64, query string, args ...any) (err error) {
	rows, err := i.store.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(into); err != nil {
			return err
		}
	}
	return rows.Err()
}
