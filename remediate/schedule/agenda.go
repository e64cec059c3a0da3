package schedule

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"time"
)

// listedPerDay is how often a schedule may come a day and be listed each time: one for every minute comes 43,200
// times a month.
const listedPerDay = 4

// An Agenda is what schedules will do in a time.
type Agenda struct {
	Coming []Coming   // the soonest first
	Often  []Frequent // those that come too often to be listed each time, in the order of the configuration
	More   time.Time  // the first occurrence that there was no room for; zero where all are listed
}

// A Frequent is a schedule that comes often.
type Frequent struct {
	Coming // the next time
	PerDay int
	Every  time.Duration // as long as two are apart; 0 where that differs
}

// Agenda returns what the schedules will do from a moment on and before another one, n occurrences at most. Those of
// one moment are listed together, unless that alone are more than n.
func (s *Scheduler) Agenda(from, to time.Time, n int) (a Agenda) {
	for _, c := range s.current() {
		at := c.Cron.Next(from.Add(-1), c.Zone)
		if per := c.Cron.PerDay(); per > listedPerDay {
			if !at.IsZero() {
				a.Often = append(a.Often, Frequent{c.coming(at), per, c.Cron.Every()})
			}
			continue
		}
		for i := 0; i <= n && !at.IsZero() && at.Before(to); i++ {
			a.Coming = append(a.Coming, c.coming(at))
			at = c.Cron.Next(at, c.Zone)
		}
	}
	slices.SortStableFunc(a.Coming, func(a, b Coming) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Schedule, b.Schedule))
	})
	if len(a.Coming) <= n {
		return a
	}
	a.More = a.Coming[n].At
	first := slices.IndexFunc(a.Coming, func(c Coming) bool { return c.At.Equal(a.More) })
	if first == 0 {
		first = n
	}
	a.Coming = a.Coming[:first]
	return a
}

// A Keeping is a schedule with its next occurrence and the last ones.
type Keeping struct {
	Coming // its At is zero where it does not come again
	Last   []Occurrence
}

// Keepings returns the schedules in the order of the configuration, n at most, each with its last occurrences.
func (s *Scheduler) Keepings(ctx context.Context, n, last int) (all []Keeping, err error) {
	current := s.current()
	for _, c := range current[:min(n, len(current))] {
		k := Keeping{Coming: c.coming(c.Cron.Next(s.Now(), c.Zone))}
		if k.Last, err = s.occurrences(ctx, ofSchedule, c.Name, last); err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// Count returns how many schedules there are.
func (s *Scheduler) Count() int { return len(s.current()) }

// PerDay returns how often the expression comes on a day on which it comes, where no clock is put forward or back.
func (c Cron) PerDay() int { return bits.OnesCount64(c.minutes) * bits.OnesCount32(c.hours) }

// Every returns how long two occurrences are apart where that is always the same on the days of the expression:
// 5 minutes for "*/5 * * * *". It is 0 for all others, like "0,20 * * * *".
func (c Cron) Every() time.Duration {
	first, n := bits.TrailingZeros64(c.minutes), bits.OnesCount64(c.minutes)
	if c.hours != everyHour || n == 0 || minutesPerHour%n != 0 {
		return 0
	}
	apart := minutesPerHour / n
	for minute := first; minute < minutesPerHour; minute += apart {
		if c.minutes>>minute&1 == 0 {
			return 0
		}
	}
	return time.Duration(apart) * time.Minute
}

const minutesPerHour = 60

// A Span is a time in which a window is open. To is zero where it does not close within two years.
type Span struct{ From, To time.Time }

// Spans returns when a window is open from a moment on and before another one, n times at most. One that is open at
// the moment began then or before.
func (w Window) Spans(from, to time.Time, n int) (all []Span) {
	for len(all) < n {
		opens := w.Next(from)
		if opens.IsZero() || !opens.Before(to) {
			return all
		}
		closes := w.Until(opens)
		all = append(all, Span{opens, closes})
		if closes.IsZero() {
			return all
		}
		from = closes
	}
	return all
}

// Zone is the time zone of a window: of its first interval.
func (w Window) Zone() *time.Location {
	if len(w.Intervals) == 0 {
		return time.UTC
	}
	return w.Intervals[0].Zone
}
