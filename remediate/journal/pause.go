package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/store"
)

// A Pause stops every run of its scope from acting. It outlives a restart.
type Pause struct {
	Scope  string    `json:"scope"` // "all", "policy/NAME", "action/NAME" or "target/NAME"
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until somebody ends it
}

// Check returns what is wrong with the pause.
func (p Pause) Check() error {
	kind, name, named := strings.Cut(p.Scope, "/")
	switch {
	case p.Scope == "all":
	case named && name != "" && (kind == "policy" || kind == "action" || kind == "target"):
	default:
		return fmt.Errorf("scope %q: want all, policy/NAME, action/NAME or target/NAME", p.Scope)
	}
	if p.Reason == "" {
		return errors.New("a pause needs a reason, for those who find it")
	}
	return nil
}

// SetPause begins a pause, or replaces the one of the same scope.
func (j *Journal) SetPause(ctx context.Context, p Pause) error {
	if err := p.Check(); err != nil {
		return err
	}
	return j.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`insert into pauses (scope, reason, by, since, until) values (?, ?, ?, ?, ?)
			on conflict (scope) do update set reason = excluded.reason, by = excluded.by, since = excluded.since, until = excluded.until`,
			p.Scope, p.Reason, p.By, store.Millis(j.now()), store.Millis(p.Until))
		return err
	})
}

// EndPause ends the pause of a scope and reports whether there was one.
func (j *Journal) EndPause(ctx context.Context, scope string) (was bool, err error) {
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		res, err := tx.Exec("delete from pauses where scope = ?", scope)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		was = n > 0
		return err
	})
	return was, err
}

// Pauses returns the pauses that hold now.
func (j *Journal) Pauses(ctx context.Context) (all []Pause, err error) {
	rows, err := j.store.Query(ctx, "select scope, reason, by, since, until from pauses where until = 0 or until > ? order by scope", store.Millis(j.now()))
	if err != nil {
		return nil, fmt.Errorf("pauses: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p Pause
		var since, until int64
		if err := rows.Scan(&p.Scope, &p.Reason, &p.By, &since, &until); err != nil {
			return nil, err
		}
		p.Since, p.Until = store.Time(since), store.Time(until)
		all = append(all, p)
	}
	return all, rows.Err()
}
