package journal

import (
	"context"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Hurry makes those runs due at once that wait or are asked about and that are affected.
// Nothing else is changed.
func (j *Journal) Hurry(ctx context.Context, affected func(remediate.Run) bool) error {
	runs, err := j.read(ctx, isLater()+" order by due, id", store.Millis(j.now()))
	if err != nil {
		return err
	}
	var ids []int64
	for _, run := range runs {
		if affected(run) {
			ids = append(ids, run.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return j.store.Write(ctx, func(tx *store.Tx) error {
		now := store.Millis(j.now())
		for _, id := range ids {
			if _, err := tx.Exec("update runs set due = ? where id = ? and due > ?", now, id, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// Progress says that the step that a run is in has made progress: starts that ended
// without a word before do not count any more.
func (j *Journal) Progress(ctx context.Context, run, token int64) error {
	return j.store.Write(ctx, func(tx *store.Tx) error {
		if err := j.held(tx, run, token); err != nil {
			return err
		}
		_, err := tx.Exec("update runs set lost = 0 where id = ? and lost > 0", run)
		return err
	})
}
