package journal

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// effectRuns is how many of a policy's last judged runs make its measured effect:
// what it did years ago says little of today.
const effectRuns = 50

// comeBack is how soon after its resolution an incident must not come back.
const comeBack = 24 * time.Hour

// Effect counts the last judged runs of a policy, and how many of them resolved
// their incident for good: it did not come back within a day.
func (j *Journal) Effect(ctx context.Context, policy string) (resolved, judged int, err error) {
	query := func(query string, args ...any) (*sql.Rows, error) { return j.store.Query(ctx, query, args...) }
	s, err := policyState(query, policy)
	if err != nil {
		return 0, 0, err
	}
	rows, err := j.store.Query(ctx,
		`select state, exists (select 1 from runs n
			where n.subject = r.subject and n.action = r.action and n.policy = r.policy
			and n.id > r.id and n.begun > 0 and n.created > r.changed and n.created <= r.changed + ?)
		from runs r where policy = ? and changed > ? and `+hasActed()+
			` and `+isJudged()+` order by changed desc, id desc limit ?`,
		comeBack.Milliseconds(), policy, store.Millis(s.Effect), effectRuns)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var state remediate.State
		var back bool
		if err := rows.Scan(&state, &back); err != nil {
			return 0, 0, err
		}
		judged++
		if state == remediate.Resolved && !back {
			resolved++
		}
	}
	return resolved, judged, rows.Err()
}
