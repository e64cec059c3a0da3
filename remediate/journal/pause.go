package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// CheckPause returns what is wrong with a pause.
func CheckPause(p remediate.Pause) error {
	kind, name, named := strings.Cut(p.Scope, "/")
	switch {
	case p.Scope == "all":
	case named && name != "" && (kind == "policy" || kind == "action" || kind == "target"):
	default:
		return fmt.Errorf("scope %q: want all, policy/NAME, action/NAME or target/NAME", p.Scope)
	}
	if p.Reason == "" {
		return errors.New("a pause needs a reason")
	}
	return nil
}

// SetPause begins a pause, or replaces the one of the same scope.
func (j *Journal) SetPause(ctx context.Context, p remediate.Pause) error {
	if err := CheckPause(p); err != nil {
		return err
	}
	now := j.now().UTC()
	return j.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`insert into pauses (scope, reason, by, since, until) values (?, ?, ?, ?, ?)
			on conflict (scope) do update set reason = excluded.reason, by = excluded.by,
			since = excluded.since, until = excluded.until`,
			p.Scope, p.Reason, p.By, store.Millis(now), store.Millis(p.Until))
		if err != nil {
			return err
		}
		return appendEntry(tx, remediate.Entry{At: now, Note: remediate.NotePaused, By: p.By, Why: pauseText(p),
			About: p.Scope})
	})
}

// EndPause ends the pause of a scope and reports whether there was one. why is the reason that the
// person gives; it may be empty.
func (j *Journal) EndPause(ctx context.Context, scope, by, why string) (was bool, err error) {
	err = j.store.Write(ctx, func(tx *store.Tx) error {
		res, err := tx.Exec("delete from pauses where scope = ?", scope)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if was = n > 0; err != nil || !was {
			return err
		}
		// Runs that wait for it are evaluated now, not at the time that the guard had set.
		if _, err := tx.Exec("update runs set due = ? where "+isWaiting()+" and reason = ?", store.Millis(j.now()),
			remediate.ReasonPause); err != nil {
			return err
		}
		return appendEntry(tx, remediate.Entry{At: j.now(), Note: remediate.NoteResumed, By: by,
			Why: scope + because(why), About: scope})
	})
	return was, err
}

// Pauses returns the pauses that hold now.
func (j *Journal) Pauses(ctx context.Context) ([]remediate.Pause, error) {
	return j.pauses(func(query string, args ...any) (*sql.Rows, error) { return j.store.Query(ctx, query, args...) })
}

func (j *Journal) pauses(q querier) (all []remediate.Pause, err error) {
	rows, err := q("select scope, reason, by, since, until from pauses where until = 0 or until > ? order by scope",
		store.Millis(j.now()))
	if err != nil {
		return nil, fmt.Errorf("pauses: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p remediate.Pause
		var since, until int64
		if err := rows.Scan(&p.Scope, &p.Reason, &p.By, &since, &until); err != nil {
			return nil, err
		}
		p.Since, p.Until = store.Time(since), store.Time(until)
		all = append(all, p)
	}
	return all, rows.Err()
}

const untilText = ", until "

// pauseText is what an entry says of a pause.
func pauseText(p remediate.Pause) string {
	why := p.Scope + ": " + p.Reason
	if !p.Until.IsZero() {
		why += untilText + p.Until.UTC().Format(time.RFC3339)
	}
	return why
}

// because writes the reason that a person gives, where one is given.
func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
