package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// unhandled is how long an alert may be flapping without anything being decided, since
// each time it ends during its hold-down, before people hear of it.
const unhandled = 10 * time.Minute

// flapping returns the newest incident of each alert that has been flapping for too long
// without a decision. It may be over: what flaps fast is hardly ever seen open.
func (i *Inbox) flapping(ctx context.Context) (all []remediate.Incident, err error) {
	now := i.now()
	for _, key := range i.restless.due(now) {
		e, err := i.stretch(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("flapping: %w", err)
		}
		lasts := now
		if !e.Closed.IsZero() {
			lasts = e.Closed
		}
		switch {
		case e.Flaps == 0 || !e.Closed.IsZero() && now.Sub(e.Closed) >= i.config.FlapWindow:
			i.restless.again(key, time.Time{}) // it has stopped
		case e.Closed.IsZero() && !e.Ripe.After(now):
			i.restless.again(key, now.Add(unhandled)) // it is decided now
		case lasts.Sub(e.FlappingSince) < unhandled:
			i.restless.again(key, later(e.FlappingSince.Add(unhandled), now.Add(time.Second)))
		default:
			i.restless.again(key, now.Add(unhandled))
			all = append(all, e.Incident)
		}
	}
	return all, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// stretch returns the newest incident of an alert, with since when nothing was decided:
// since the end of the last incident that outlasted its hold-down, or since the first.
func (i *Inbox) stretch(ctx context.Context, key string) (e incident, err error) {
	// One may be open, the newest: there is an index for that one, and one for those that are over.
	newest, err := i.read(ctx, "where id = (select max(id) from (select id from incidents where key = ? and "+
		"closed = 0 union all select id from incidents where key = ? and closed > 0) as of_key)", key, key)
	if err != nil || len(newest) == 0 || newest[0].Flaps == 0 {
		return e, err
	}
	e = newest[0]
	rows, err := i.store.Query(ctx, "select id, opened, closed, closed >= ripe from incidents where key = ? and "+
		"closed > 0 and id < ? and id >= (select coalesce(max(id), 0) from incidents where key = ? and closed > 0 and "+
		"flaps = 0) order by id desc", key, e.ID, key)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	e.FlappingFrom, e.FlappingSince = e.ID, e.Opened
	for rows.Next() {
		var id, opened, closed int64
		var decided bool
		if err := rows.Scan(&id, &opened, &closed, &decided); err != nil {
			return e, err
		}
		if decided {
			e.FlappingSince = store.Time(closed)
			break
		}
		e.FlappingFrom, e.FlappingSince = id, store.Time(opened)
	}
	return e, rows.Err()
}
