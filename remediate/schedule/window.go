package schedule

import (
	"time"
)

// A Window is when something may be done: while any of its intervals holds.
type Window struct {
	Name      string
	Intervals []Interval
}

// An Interval holds in those minutes that are in all of its parts; a part without a
// range does not restrict it. It means in its time zone what Alertmanager's time
// intervals mean.
type Interval struct {
	Zone     *time.Location
	Times    []Range // minutes of the day; Last is the first minute that is no longer in
	Weekdays []Range // 0 is Sunday
	Days     []Range // of the month; -1 is the last
	Months   []Range
	Years    []Range
}

// A Range is from First to Last, both being in.
type Range struct{ First, Last int }

const (
	minutesPerDay = 24 * 60

	// foreseenYears is how far Next and Until look.
	foreseenYears = 2
)

// Open reports whether the window is open at a moment. The zero Window never is.
func (w Window) Open(at time.Time) bool {
	for _, i := range w.Intervals {
		if i.holds(at) {
			return true
		}
	}
	return false
}

// Next returns the first moment from at on at which the window is open: at itself
// while it is. It is zero where that is not so within two years.
func (w Window) Next(at time.Time) time.Time { return w.until(at, true) }

// Until returns the first moment from at on at which the window is closed: at itself
// while it is. It is zero where that is not so within two years.
func (w Window) Until(at time.Time) time.Time { return w.until(at, false) }

func (w Window) until(at time.Time, open bool) time.Time {
	end := at.AddDate(foreseenYears, 0, 0)
	for w.Open(at) != open {
		next := end
		for _, i := range w.Intervals {
			if change := i.change(at); change.Before(next) {
				next = change
			}
		}
		if at = next; !at.Before(end) {
			return time.Time{}
		}
	}
	return at
}

func (i Interval) holds(at time.Time) bool {
	at = at.In(i.Zone)
	return i.holdsOn(at) && (len(i.Times) == 0 || i.during(minuteOf(at)))
}

func (i Interval) during(minute int) bool {
	for _, r := range i.Times {
		if r.First <= minute && minute < r.Last {
			return true
		}
	}
	return false
}

// holdsOn reports whether the interval holds at some time of a day.
func (i Interval) holdsOn(at time.Time) bool {
	year, month, day := at.Date()
	if !in(i.Weekdays, int(at.Weekday())) || !in(i.Months, int(month)) || !in(i.Years, year) {
		return false
	}
	if len(i.Days) == 0 {
		return true
	}
	length := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	for _, r := range i.Days {
		if fromEnd(r.First, length) <= day && day <= fromEnd(r.Last, length) {
			return true
		}
	}
	return false
}

// fromEnd returns the day that a negative number means in a month of some length.
func fromEnd(day, length int) int {
	if day < 0 {
		return length + 1 + day
	}
	return day
}

func in(ranges []Range, v int) bool {
	for _, r := range ranges {
		if r.First <= v && v <= r.Last {
			return true
		}
	}
	return len(ranges) == 0
}

// change returns a moment after at up to which the interval holds or does not as it
// does at at: the next edge of its times or of the day, or a change of the clock.
func (i Interval) change(at time.Time) time.Time {
	at = at.In(i.Zone)
	now, edge := minuteOf(at), minutesPerDay
	if i.holdsOn(at) {
		for _, r := range i.Times {
			for _, e := range [...]int{r.First, r.Last} {
				if e > now {
					edge = min(edge, e)
				}
			}
		}
	}
	begun := time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
	next := at.Add(time.Duration(edge-now)*time.Minute - begun)
	if end := steady(at); !end.IsZero() && end.Before(next) {
		return end
	}
	return next
}

func minuteOf(at time.Time) int { return at.Hour()*60 + at.Minute() }
