package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// talliedAtMost is how many of a policy's last runs a Tally counts: it costs the same however many there are.
const talliedAtMost = 1000

// A Tally counts the runs of a policy that acted and ended in a time, the end of which is not part of it.
type Tally struct {
	Resolved     int `json:"resolved"` // CameBack are among them
	CameBack     int `json:"came_back"`
	Unresolved   int `json:"unresolved"`
	Inconclusive int `json:"inconclusive"`
	Failed       int `json:"failed"`
	Stopped      int `json:"stopped"` // by a person, a guard or a change of the configuration

	// Since says from when on runs are counted, where there were more than are counted.
	Since time.Time `json:"since,omitzero"`
}

// All is how many runs were counted.
func (t Tally) All() int { return t.Resolved + t.Unresolved + t.Inconclusive + t.Failed + t.Stopped }

func (t *Tally) take(state remediate.State, runs, back int) {
	switch state {
	case remediate.Resolved:
		t.Resolved, t.CameBack = t.Resolved+runs, t.CameBack+back
	case remediate.Unresolved:
		t.Unresolved += runs
	case remediate.Inconclusive:
		t.Inconclusive += runs
	case remediate.Failed:
		t.Failed += runs
	default:
		t.Stopped += runs
	}
}

// Tally counts what came of the runs of a policy since a moment: a thousand at most, the last ones.
func (j *Journal) Tally(ctx context.Context, policy string, since time.Time) (t Tally, err error) {
	rows, err := j.store.Query(ctx, "select state, count(*), cast(sum(came_back) as bigint), min(changed) from "+
		"(select state, came_back, changed from runs where "+isTallied()+" order by changed desc, id desc limit ?) "+
		"as last group by state", policy, store.Millis(since), talliedAtMost)
	if err != nil {
		return t, fmt.Errorf("runs of policy %q: %w", policy, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var first time.Time
	for rows.Next() {
		var state remediate.State
		var runs, back int
		var from int64
		if err := rows.Scan(&state, &runs, &back, &from); err != nil {
			return t, err
		}
		t.take(state, runs, back)
		if at := store.Time(from); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if t.All() == talliedAtMost {
		t.Since = first
	}
	return t, rows.Err()
}

// LastActed returns the last run of a policy that acted and ended, and false where none did.
func (j *Journal) LastActed(ctx context.Context, policy string) (run remediate.Run, ok bool, err error) {
	all, err := j.read(ctx, isTallied()+" order by changed desc, id desc limit 1", policy, 0)
	if err != nil || len(all) == 0 {
		return run, false, err
	}
	return all[0], true, nil
}

// actedAtMost is how many runs of a period are read one by one.
const actedAtMost = 1000

// A Review is what the runs that ended in a time came to.
type Review struct {
	Outcomes []Outcome     // by action, policy, state and reason
	Acted    []ReviewedRun // runs that changed something, the newest first, a thousand at most

	OutcomesSQL, ActedSQL string // how they were read, for people
}

// An Outcome counts runs.
type Outcome struct {
	Action, Policy, Reason string
	State                  remediate.State
	Runs, Acted, CameBack  int64
}

// A ReviewedRun is a run that changed something.
type ReviewedRun struct {
	ID             int64
	Action, Policy string
	Subject        map[string]string
	Request        remediate.Request
	State          remediate.State
	Why            string
	Before, After  *float64
	Created        time.Time
	Changed        time.Time
}

// Review sums up the runs that ended in a time, the end of which is not part of it.
func (j *Journal) Review(ctx context.Context, from, to time.Time) (r Review, err error) {
	ended := " from runs where changed >= ? and changed < ? and " + in(remediate.State.Ended)
	sums := "select action, policy, state, reason, count(*), cast(sum(case when begun > 0 then 1 else 0 end) as " +
		"bigint), " +
		"cast(sum(came_back) as bigint)" + ended + " group by action, policy, state, reason order by 1, 2, 3, 4"
	acted := "select id, request, state, why, before, after, created, changed" + ended +
		" and begun > 0 order by changed desc, id desc limit ?"
	a, b := store.Millis(from), store.Millis(to)
	r.OutcomesSQL, r.ActedSQL = filled(sums, a, b), filled(acted, a, b, actedAtMost)
	if r.Outcomes, err = j.outcomes(ctx, sums, a, b); err == nil {
		r.Acted, err = store.List(ctx, j.store, scanReviewed, acted, a, b, actedAtMost)
	}
	if err != nil {
		return r, fmt.Errorf("journal: review: %w", err)
	}
	return r, nil
}

func (j *Journal) outcomes(ctx context.Context, query string, args ...any) (all []Outcome, err error) {
	rows, err := j.store.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var o Outcome
		if err := rows.Scan(&o.Action, &o.Policy, &o.State, &o.Reason, &o.Runs, &o.Acted, &o.CameBack); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, rows.Err()
}

func scanReviewed(rows *sql.Rows) (r ReviewedRun, err error) {
	var request []byte
	var created, changed int64
	if err := rows.Scan(&r.ID, &request, &r.State, &r.Why, &r.Before, &r.After, &created, &changed); err != nil {
		return r, err
	}
	if err := json.Unmarshal(request, &r.Request); err != nil {
		return r, fmt.Errorf("run %d: %w", r.ID, err)
	}
	r.Action, r.Policy, r.Subject = r.Request.Action, r.Request.Policy, r.Request.Subject
	r.Created, r.Changed = store.Time(created), store.Time(changed)
	return r, nil
}

// filled writes numbers into a query, as a person would run it.
func filled(query string, args ...int64) string {
	for _, a := range args {
		query = strings.Replace(query, "?", strconv.FormatInt(a, 10), 1)
	}
	return query
}
