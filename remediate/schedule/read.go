package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A Coming is an occurrence that is still to come.
type Coming struct {
	Schedule string            `json:"schedule"`
	At       time.Time         `json:"at"` // in the schedule's zone
	Zone     string            `json:"zone"`
	Cron     string            `json:"cron"`
	Action   string            `json:"action"`
	Mode     remediate.Mode    `json:"mode"`
	Subject  map[string]string `json:"subject,omitempty"`
	Query    string            `json:"query,omitempty"`
	Windows  []string          `json:"windows,omitempty"`
}

// Coming returns the next n occurrences of all schedules.
func (s *Scheduler) Coming(n int) (all []Coming) {
	for _, c := range s.current() {
		at := s.Now()
		for range n {
			if at = c.Cron.Next(at, c.Zone); at.IsZero() {
				break
			}
			all = append(all, c.coming(at))
		}
	}
	slices.SortStableFunc(all, func(a, b Coming) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Schedule, b.Schedule))
	})
	return all[:min(n, len(all))]
}

// Last returns the last n occurrences of all schedules, the newest first.
func (s *Scheduler) Last(ctx context.Context, n int) (all []Occurrence, err error) {
	return s.occurrences(ctx, "order by at desc, schedule limit ?", n)
}

// ofSchedule selects the last occurrences of one schedule, from the end of the primary key.
const ofSchedule = "where schedule = ? order by at desc limit ?"

func (s *Scheduler) occurrences(ctx context.Context, which string, args ...any) (all []Occurrence, err error) {
	zones := s.zones()
	rows, err := s.Store.Query(ctx, "select schedule, at, state, why, runs from occurrences "+which, args...)
	if err != nil {
		return nil, fmt.Errorf("occurrences: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		o := Occurrence{}
		var at int64
		var runs []byte
		if err := rows.Scan(&o.Schedule, &at, &o.Outcome, &o.Why, &runs); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(runs, &o.Runs); err != nil {
			return nil, fmt.Errorf("occurrence of %s at %d: %w", o.Schedule, at, err)
		}
		zone := cmp.Or(zones[o.Schedule], time.UTC)
		o.At, o.Zone = store.Time(at).In(zone), zone.String()
		all = append(all, o)
	}
	return all, rows.Err()
}

// current returns the schedules of now.
func (s *Scheduler) current() []Schedule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.schedules)
}

// coming is an occurrence of a schedule, for people.
func (c Schedule) coming(at time.Time) Coming {
	return Coming{Schedule: c.Name, At: at, Zone: c.Zone.String(), Cron: c.Cron.String(), Action: c.Action,
		Mode: c.Mode, Subject: c.Subject, Query: c.Query, Windows: c.Windows}
}

func (s *Scheduler) zones() map[string]*time.Location {
	zones := make(map[string]*time.Location)
	for _, c := range s.current() {
		zones[c.Name] = c.Zone
	}
	return zones
}
