package journal

import (
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// count keeps what the metrics of a policy count, before a run of it is changed: that it acts
// for the first time, that it ends, and that it was resolved.
func count(tx *store.Tx, r remediate.Run, e remediate.Entry) error {
	policy, action := r.Request.Policy, r.Request.Action
	if policy == "" {
		return nil
	}
	var begun, created int64
	err := tx.QueryRow("select begun, created from runs where id = ?", r.ID).Scan(&begun, &created)
	if err != nil {
		return err
	}
	if begun == 0 && r.Begun > 0 {
		if err := countActed(tx, r, created); err != nil {
			return err
		}
	}
	if e.From == e.To || !e.To.Ended() {
		return nil
	}
	if _, err := tx.Exec("insert into policy_ends (policy, action, outcome, ended) values (?, ?, ?, 1) on conflict "+
		"(policy, action, outcome) do update set ended = policy_ends.ended + 1", policy, action,
		string(e.To)); err != nil {
		return err
	}
	var resolving int64
	if e.To == remediate.Resolved {
		resolving = store.Millis(e.At) - created
	}
	return sum(tx, policy, action, 0, resolving, 0)
}

// countActed counts a run that begins to act, and the run before that had resolved the same
// a short while ago.
func countActed(tx *store.Tx, r remediate.Run, created int64) error {
	policy, action := r.Request.Policy, r.Request.Action
	res, err := tx.Exec("update runs set came_back = 1 where subject = ? and action = ? and policy = ? and id < ? and "+
		"state = ? and came_back = 0 and changed < ? and changed >= ?", Subject(r.Request.Subject), action, policy,
		r.ID,
		string(remediate.Resolved), created, created-comeBack.Milliseconds())
	if err != nil {
		return err
	}
	back, err := res.RowsAffected()
	if err != nil {
		return err
	}
	return sum(tx, policy, action, 1, 0, back)
}

// sum adds to the sums of a policy.
func sum(tx *store.Tx, policy, action string, acted, resolving, back int64) error {
	_, err := tx.Exec("insert into policy_sums (policy, action, acted, resolving, came_back) values (?, ?, ?, ?, ?) "+
		"on conflict (policy, action) do update set acted = policy_sums.acted + excluded.acted, resolving = "+
		"policy_sums.resolving + excluded.resolving, came_back = policy_sums.came_back + excluded.came_back",
		policy, action, acted, resolving, back)
	return err
}
