package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Spec is an interval as it is written, in Alertmanager's syntax for time
// intervals.
type Spec struct {
	Times       []Times  `yaml:"times" doc:"Times of the day. Default: the whole day."`
	Weekdays    []string `yaml:"weekdays" doc:"Days of the week by name, or ranges: sunday, monday:friday."`
	DaysOfMonth []string `yaml:"days_of_month" doc:"Days of the month, or ranges: 15, 1:7; -1 is the last one, -3:-1 the last three."`
	Months      []string `yaml:"months" doc:"Months by name or number, or ranges: january, 5:8."`
	Years       []string `yaml:"years" doc:"Years, or ranges: 2030, 2030:2032."`
	Location    string   `yaml:"location" doc:"Time zone, like Europe/Berlin. Default: UTC."`
}

// Times are from one time of the day up to another one, which is no longer in.
type Times struct {
	Start string `yaml:"start_time" required:"a time like 22:30" doc:"Start, like 22:30."`
	End   string `yaml:"end_time" required:"a time like 24:00" doc:"End, like 05:00; 24:00 is the end of the day. A window across midnight needs two entries, up to 24:00 and from 00:00."`
}

// Zone returns a time zone by its name; an empty one is UTC.
func Zone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q is not known on this machine: want a name like Europe/Berlin, or UTC; "+
			"the system's package tzdata brings the names", name)
	}
	return zone, nil
}

// ParseInterval reads an interval as it is written. The error names the part, what
// is wrong with it and what is right.
func ParseInterval(s Spec) (i Interval, err error) {
	if i.Zone, err = Zone(s.Location); err != nil {
		return Interval{}, err
	}
	for _, t := range s.Times {
		r, err := t.parse()
		if err != nil {
			return Interval{}, err
		}
		i.Times = append(i.Times, r)
	}
	for _, part := range []struct {
		key   string
		texts []string
		value func(string) (int, error)
		into  *[]Range
	}{
		{"weekdays", s.Weekdays, weekday, &i.Weekdays},
		{"days_of_month", s.DaysOfMonth, dayOfMonth, &i.Days},
		{"months", s.Months, month, &i.Months},
		{"years", s.Years, year, &i.Years},
	} {
		for _, text := range part.texts {
			r, err := parseRange(text, part.value)
			if err != nil {
				return Interval{}, fmt.Errorf("%s %q: %w", part.key, text, err)
			}
			*part.into = append(*part.into, r)
		}
	}
	if len(s.Times)+len(s.Weekdays)+len(s.DaysOfMonth)+len(s.Months)+len(s.Years) == 0 {
		return Interval{}, errors.New("the interval is empty and would always be open; want at least one of times, " +
			"weekdays, days_of_month, months and years")
	}
	return i, nil
}

func (t Times) parse() (r Range, err error) {
	if r.First, err = timeOfDay(t.Start); err != nil {
		return r, fmt.Errorf("start_time %w", err)
	}
	if r.Last, err = timeOfDay(t.End); err != nil {
		return r, fmt.Errorf("end_time %w", err)
	}
	if r.First >= r.Last {
		return r, fmt.Errorf("end_time %s is not after start_time %s; what goes over midnight is two: %s to 24:00 "+
			"and 00:00 to %s", t.End, t.Start, t.Start, t.End)
	}
	return r, nil
}

func timeOfDay(text string) (int, error) {
	hours, minutes, ok := strings.Cut(text, ":")
	h, hoursOK := number(hours)
	m, minutesOK := number(minutes)
	if !ok || !hoursOK || !minutesOK || len(hours) != 2 || len(minutes) != 2 || m > 59 || h*60+m > minutesPerDay {
		return 0, fmt.Errorf("%q: want 00:00 to 24:00", text)
	}
	return h*60 + m, nil
}

func parseRange(text string, value func(string) (int, error)) (r Range, err error) {
	first, last, ranged := strings.Cut(text, ":")
	if r.First, err = value(first); err != nil {
		return r, err
	}
	if r.Last = r.First; !ranged {
		return r, nil
	}
	if r.Last, err = value(last); err != nil {
		return r, err
	}
	// Days from the end are compared in the longest month: a range that is empty in
	// that one is empty in all.
	if fromEnd(r.First, 31) > fromEnd(r.Last, 31) {
		return r, fmt.Errorf("%s comes after %s; write it as two", first, last)
	}
	return r, nil
}

func weekday(text string) (int, error) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(text, d.String()) {
			return int(d), nil
		}
	}
	return 0, errors.New("want sunday to saturday, or a range like monday:friday")
}

func dayOfMonth(text string) (int, error) {
	abs, back := strings.CutPrefix(text, "-")
	d, ok := number(abs)
	if !ok || d < 1 || d > 31 {
		return 0, errors.New("want 1 to 31, -31 to -1 from the end, or a range like 1:7")
	}
	if back {
		return -d, nil
	}
	return d, nil
}

func month(text string) (int, error) {
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(text, m.String()) || text == strconv.Itoa(int(m)) {
			return int(m), nil
		}
	}
	return 0, errors.New("want january to december, 1 to 12, or a range like may:august")
}

func year(text string) (int, error) {
	y, ok := number(text)
	if !ok || y < 1970 {
		return 0, errors.New("want a year like 2030, or a range like 2030:2032")
	}
	return y, nil
}
