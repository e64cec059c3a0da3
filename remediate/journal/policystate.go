package journal

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// A PolicyState is the state of a policy that differs from its configuration.
type PolicyState struct {
	Policy  string    `json:"policy"`
	Demoted time.Time `json:"demoted,omitzero"` // since when it asks instead of acting
	Why     string    `json:"why,omitempty"`
	Breaker time.Time `json:"breaker,omitzero"` // ends before do not count for the breaker
	Effect  time.Time `json:"effect,omitzero"`  // nor for the measured effect
}

func policyState(q querier, policy string) (s PolicyState, err error) {
	rows, err := q("select policy, demoted, why, breaker, effect from policy_states where policy = ?", policy)
	all, err := policyStates(rows, err)
	if err != nil || len(all) == 0 {
		return PolicyState{Policy: policy}, err
	}
	return all[0], nil
}

// PolicyStates returns every policy whose state differs from its configuration.
func (j *Journal) PolicyStates(ctx context.Context) ([]PolicyState, error) {
	return policyStates(j.store.Query(ctx,
		"select policy, demoted, why, breaker, effect from policy_states order by policy"))
}

func policyStates(rows *sql.Rows, asked error) (all []PolicyState, err error) {
	if asked != nil {
		return nil, asked
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s PolicyState
		var demoted, breaker, effect int64
		if err := rows.Scan(&s.Policy, &demoted, &s.Why, &breaker, &effect); err != nil {
			return nil, err
		}
		s.Demoted, s.Breaker, s.Effect = store.Time(demoted), store.Time(breaker), store.Time(effect)
		all = append(all, s)
	}
	return all, rows.Err()
}
