package inbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/ai-micro-service/upkeep/remediate"
)

// Incidents returns open incidents, the oldest first: those after a number, n at most.
func (i *Inbox) Incidents(ctx context.Context, after int64, n int) ([]remediate.Incident, error) {
	return i.incidents(ctx, "where closed = 0 and id > ? order by id limit ?", after, n)
}

// Incident returns one incident, open or closed.
func (i *Inbox) Incident(ctx context.Context, id int64) (remediate.Incident, error) {
	all, err := i.incidents(ctx, "where id = ?", id)
	if err != nil {
		return remediate.Incident{}, err
	}
	if len(all) == 0 {
		return remediate.Incident{}, fmt.Errorf("there is no incident %d", id)
	}
	return all[0], nil
}

func (i *Inbox) incidents(ctx context.Context, condition string, args ...any) ([]remediate.Incident, error) {
	rows, err := i.read(ctx, condition, args...)
	all := make([]remediate.Incident, len(rows))
	for n, e := range rows {
		all[n] = e.Incident
	}
	return all, err
}

func (i *Inbox) read(ctx context.Context, condition string, args ...any) (all []incident, err error) {
	rows, err := i.store.Query(ctx, "select "+columns+" from incidents "+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("incidents: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("incidents: %w", err)
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

// Open returns how many incidents are open.
func (i *Inbox) Open(ctx context.Context) (n int64, err error) {
	err = i.one(ctx, &n, "select opened from incident_counts where scope = 'all' and name = ''")
	return n, err
}

// openByName returns how many incidents are open of those alerts that have the most, and of all
// others together.
func (i *Inbox) openByName(ctx context.Context) (counts map[string]int64, err error) {
	all, err := i.Open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := i.store.Query(ctx, "select name, opened from incident_counts where scope = 'alert' order by opened "+
		"desc, name desc limit ?", shownNames)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counts = make(map[string]int64)
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		counts[clipped(name)] += n
		all -= n
	}
	if all > 0 {
		counts[others] += all
	}
	return counts, rows.Err()
}
