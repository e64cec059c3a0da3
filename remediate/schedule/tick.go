package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// all returns the schedules, and whether they were replaced since it was last asked.
func (s *Scheduler) all() (schedules []Schedule, renewed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	renewed, s.renewed = s.renewed, false
	return s.schedules, renewed
}

// none reports whether there is no schedule.
func (s *Scheduler) none() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.schedules) == 0
}

// Run keeps the schedules until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	for {
		now, wait := s.Now(), poll
		next, err := s.Tick(ctx, now)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.Logger.Warn("schedule query failed, retrying", "err", err)
		case !next.IsZero():
			wait = min(wait, next.Sub(now))
		}
		var again <-chan time.Time
		if err != nil || !s.none() {
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-s.changed:
		case <-again:
		}
	}
}

// Tick makes the runs of all occurrences whose time has come by now, and returns
// when the next one comes. One schedule that cannot be kept keeps no other one from it.
func (s *Scheduler) Tick(ctx context.Context, now time.Time) (next time.Time, err error) {
	s.tick.Lock()
	defer s.tick.Unlock()
	schedules, renewed := s.all()
	if renewed {
		s.since = nil
	}
	if s.since == nil || s.behind(now) {
		if err := s.begin(ctx, schedules, now); err != nil {
			return next, fmt.Errorf("schedules: %w", err)
		}
	}
	marks, err := s.marks(ctx, now)
	if err != nil {
		return next, fmt.Errorf("schedules: %w", err)
	}
	var faults []error
	for _, c := range schedules {
		from := s.from(c, marks[c.Name])
		if err := s.keep(ctx, c, from, marks[c.Name].ahead, now); err != nil {
			faults = append(faults, fmt.Errorf("schedule %s: %w", c.Name, err))
		}
		if at := c.Cron.Next(now, c.Zone); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next, errors.Join(faults...)
}

// behind reports whether the clock was put back to before a schedule was first seen.
func (s *Scheduler) behind(now time.Time) bool {
	for _, since := range s.since {
		if since.After(now) {
			return true
		}
	}
	return false
}

// from returns the moment up to which nothing is left to do for a schedule.
func (s *Scheduler) from(c Schedule, m mark) time.Time {
	since := s.since[c.Name]
	if m.expression == c.expression() {
		since = m.since
	}
	if m.last.After(since) {
		return m.last
	}
	return since
}

// keep writes what has become due of one schedule after from, and makes the runs of
// the newest. ahead is an occurrence that is due now and was skipped before its time.
func (s *Scheduler) keep(ctx context.Context, c Schedule, from, ahead, now time.Time) error {
	d := c.due(from, now)
	if len(d.each) == 0 {
		if ahead.IsZero() {
			return nil
		}
		d.each, d.again = []time.Time{ahead}, true
	}
	newest := d.each[len(d.each)-1]
	d.outcome = Punctual
	if now.Sub(newest) > punctual {
		d.outcome = MadeLate
		if c.Missed == Skip {
			d.outcome = Skipped
		}
	}
	var wanted []remediate.Request
	if d.outcome != Skipped {
		var err error
		wanted, err = s.requests(ctx, c, now)
		s.queries.note(c.Name, err)
		if err != nil {
			return s.troubled(c, err)
		}
	}
	runs, err := s.write(ctx, c, d, from, now, wanted)
	if err != nil {
		return err
	}
	if len(runs) > 0 && s.Wake != nil {
		s.Wake()
	}
	delete(s.failures, c.Name)
	return nil
}

// troubled keeps in mind why a query could not be asked. It is asked again until the
// occurrence is no longer punctual or, where it may be late, until the next one comes.
// The same error is logged once: otherwise every few seconds.
func (s *Scheduler) troubled(c Schedule, err error) error {
	if s.failures[c.Name] == err.Error() {
		return nil
	}
	s.failures[c.Name] = err.Error()
	return err
}
