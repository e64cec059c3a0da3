// Package schedule says when: cron expressions and maintenance windows, in time zones
// whose clocks are put forward and back.
package schedule

import (
	"math/bits"
	"time"
)

// A Cron is a cron expression: five fields, minute, hour, day of the month, month
// and day of the week. Two that mean the same are equal.
//
// A field is a list of numbers or names, ranges (1-5) and steps (*/15, 8-18/2);
// months and days of the week have names (JAN, SUN), and 0 and 7 are both Sunday.
// L as day of the month is the last one, SUN#1 the first Sunday of the month and
// SUN#L the last. @hourly, @daily (@midnight), @weekly, @monthly and @yearly (@annually) replace all five.
//
// Where both day fields are restricted, either is enough, as cron has always had
// it: "0 1 1-7 * SUN" comes on every Sunday and on each of the first seven days. The
// first Sunday alone is "0 1 * * SUN#1".
//
// A time is meant as the clock on the wall shows it. When the clock is put forward,
// the times that it jumps over come together, once, at the first moment after the
// jump; when it is put back, a time that it shows twice comes at the first. An
// expression for every hour ("*/30 * * * *") follows the hands instead: it comes
// whenever the clock shows such a minute, so that the pauses between stay even.
type Cron struct {
	minutes  uint64
	hours    uint32
	days     uint32 // of the month, from bit 1
	months   uint16 // from bit 1
	weekdays uint8  // from bit 0, Sunday

	lastDay      bool   // the last day of the month
	nthWeekdays  uint64 // bit (n-1)*7 + day: the n-th such day of the month
	lastWeekdays uint8  // the last such day of the month
}

const (
	everyMinute  = 1<<60 - 1
	everyHour    = 1<<24 - 1
	everyDay     = 1<<32 - 2
	everyMonth   = 1<<13 - 2
	everyWeekday = 1<<7 - 1

	secondsPerDay = 24 * 60 * 60

	// An expression comes every 40 years at least: a fifth Sunday of February, around
	// a year that could have been a leap year but is not.
	horizonMonths = 50 * 12
)

// Next returns the first time after a moment at which the expression comes in a
// time zone. It is zero for a Cron that ParseCron has not made.
func (c Cron) Next(after time.Time, zone *time.Location) time.Time {
	if c.hours == everyHour {
		return c.nextShown(after.In(zone))
	}
	wall := shown(after.In(zone))
	for {
		next, ok := c.seek(wall)
		if !ok {
			return time.Time{}
		}
		if at := firstShown(next, zone); at.After(after) {
			return at
		}
		wall = next + 1
	}
}

// nextShown returns when the clock next shows a minute of the expression, for the
// first time or again. Between two changes of the clock that is plain arithmetic.
func (c Cron) nextShown(after time.Time) time.Time {
	at, from := after, shown(after)+1
	for changes := 0; ; changes++ {
		next, ok := c.seek(from)
		if !ok {
			return time.Time{}
		}
		_, offset := at.Zone()
		end := steady(at)
		t := time.Unix(next*60-int64(offset), 0).In(at.Location())
		if end.IsZero() || t.Before(end) {
			return t
		}
		at = end
		// Changes of many years need not be looked at one by one, except for the first:
		// it may put the clock back to what was before after.
		if near := time.Unix(next*60-secondsPerDay, 0); changes > 0 && near.After(end) {
			at = near.In(at.Location())
		}
		from = shown(at.Add(time.Minute - 1))
	}
}

// steady returns up to when the clock goes as it does at a moment: that is when it is
// next put forward or back, or earlier. It is zero where that never happens.
func steady(at time.Time) time.Time {
	_, end := at.ZoneBounds()
	if !end.IsZero() && !end.After(at) {
		// For years that the zone's table does not reach, package time takes each year for
		// 365 days long: on the last day of a leap year the bounds end before they begin.
		return at.Add(time.Hour)
	}
	return end
}

// shown returns what the clock shows: minutes since 1970 as if it were UTC.
func shown(at time.Time) int64 {
	_, offset := at.Zone()
	seconds := at.Unix() + int64(offset)
	if seconds < 0 {
		seconds -= 59 // rounds down
	}
	return seconds / 60
}

// firstShown returns when the clock shows a minute for the first time, and where it
// jumps over that minute, the first moment after the jump.
func firstShown(wall int64, zone *time.Location) time.Time {
	at := time.Unix(wall*60-secondsPerDay, 0).In(zone) // no clock is a day off
	for {
		_, offset := at.Zone()
		end := steady(at)
		t := time.Unix(wall*60-int64(offset), 0).In(zone)
		switch {
		case t.Before(at):
			return at
		case end.IsZero() || t.Before(end):
			return t
		}
		at = end
	}
}

// seek returns the first minute of the expression from a minute on, both as shown by
// the clock.
func (c Cron) seek(from int64) (int64, bool) {
	start := time.Unix(from*60, 0).UTC()
	year, month, today := start.Date()
	clock, later := c.clock(start.Hour()*60 + start.Minute())
	if !later {
		today++ // perhaps to a 32nd, which no month has
	}
	midnight, _ := c.clock(0)
	for i := range horizonMonths {
		days := c.daysOf(year, month)
		if i == 0 {
			days = days >> today << today
		}
		if days != 0 {
			day := bits.TrailingZeros32(days)
			if i > 0 || !later || day != today {
				clock = midnight
			}
			return time.Date(year, month, day, 0, clock, 0, 0, time.UTC).Unix() / 60, true
		}
		if month++; month > time.December {
			year, month = year+1, time.January
		}
	}
	return 0, false
}

// clock returns the first minute of the day from one on.
func (c Cron) clock(from int) (int, bool) {
	hour := from / 60
	if c.hours>>hour&1 == 1 {
		if m := c.minutes >> (from % 60); m != 0 {
			return from + bits.TrailingZeros64(m), true
		}
	}
	later := c.hours >> (hour + 1)
	if later == 0 {
		return 0, false
	}
	return (hour+1+bits.TrailingZeros32(later))*60 + bits.TrailingZeros64(c.minutes), true
}

// daysOf returns the days of one month, from bit 1.
func (c Cron) daysOf(year int, month time.Month) uint32 {
	if c.months>>month&1 == 0 {
		return 0
	}
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	length := first.AddDate(0, 1, -1).Day()
	all := uint32(1)<<(length+1) - 2
	if c.anyDay() && c.anyWeekday() {
		return all
	}
	var days uint32
	if !c.anyDay() {
		days = c.days & all
		if c.lastDay {
			days |= 1 << length
		}
	}
	if c.anyWeekday() {
		return days
	}
	for day := 1; day <= length; day++ {
		weekday := (int(first.Weekday()) + day - 1) % 7
		if c.weekdays>>weekday&1 == 1 ||
			c.nthWeekdays>>((day-1)/7*7+weekday)&1 == 1 ||
			c.lastWeekdays>>weekday&1 == 1 && day > length-7 {
			days |= 1 << day
		}
	}
	return days
}

func (c Cron) anyDay() bool     { return c.days == everyDay }
func (c Cron) anyWeekday() bool { return c.weekdays == everyWeekday }
