package report

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ErrNoData says that nothing is known of a period.
var ErrNoData = errors.New("no data")

// A Period is a month or a quarter of UTC.
type Period struct {
	Name     string // 2026-10 or 2026-Q3
	From, To time.Time

	end    time.Time // up to when data are read
	months int
}

// Month reads a month like 2026-10; the one before now where the text is empty.
func Month(text string, now time.Time) (Period, error) {
	now = now.UTC()
	if text == "" {
		return months(time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC), 1), nil
	}
	from, err := time.Parse("2006-01", text)
	if err != nil {
		return Period{}, fmt.Errorf("month %q: want year and month, like %s", text,
			time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC).Format("2006-01"))
	}
	return months(from, 1).past(now, "month")
}

// Quarter reads a quarter like 2026-Q3; the one before now where the text is empty.
func Quarter(text string, now time.Time) (Period, error) {
	now = now.UTC()
	first := time.Date(now.Year(), now.Month()-(now.Month()-1)%3, 1, 0, 0, 0, 0, time.UTC)
	last := months(first.AddDate(0, -3, 0), 3)
	if text == "" {
		return last, nil
	}
	parts := regexp.MustCompile(`^([0-9]{4})-Q([1-4])$`).FindStringSubmatch(strings.ToUpper(text))
	if parts == nil {
		return Period{}, fmt.Errorf("quarter %q: want year and quarter, like %s", text, last.Name)
	}
	year, _ := strconv.Atoi(parts[1])    // digits
	quarter, _ := strconv.Atoi(parts[2]) // digits
	return months(time.Date(year, time.Month(quarter*3-2), 1, 0, 0, 0, 0, time.UTC), 3).past(now, "quarter")
}

// Named reads a month or a quarter.
func Named(text string, now time.Time) (Period, error) {
	if strings.Contains(strings.ToUpper(text), "Q") {
		return Quarter(text, now)
	}
	return Month(text, now)
}

func months(from time.Time, n int) Period {
	p := Period{Name: from.Format("2006-01"), From: from, To: from.AddDate(0, n, 0), months: n}
	if n == 3 {
		p.Name = fmt.Sprintf("%d-Q%d", from.Year(), (int(from.Month())+2)/3)
	}
	p.end = p.To
	return p
}

// past refuses a period that has not begun.
func (p Period) past(now time.Time, kind string) (Period, error) {
	if !p.From.Before(now) {
		return p, fmt.Errorf("%s %s is in the future: it begins on %s; choose an earlier one, or leave --%s out "+
			"for the "+
			"last %[1]s that is over", kind, p.Name, p.From.Format(time.DateOnly), kind)
	}
	return p, nil
}

// until returns the period up to the last midnight, where it is not over.
func (p Period) until(now time.Time) (Period, error) {
	if p.end = p.To; now.Before(p.To) {
		p.end = now.UTC().Truncate(day)
	}
	if !p.end.After(p.From) {
		return p, fmt.Errorf("%w of %s yet: it has no whole day; ask again tomorrow, or for the period before",
			ErrNoData,
			p.Title())
	}
	return p, nil
}

// before returns the period before it; of one that is not over as many days, since a sum of ten days is not
// compared with that of a month.
func (p Period) before() Period {
	b := months(p.From.AddDate(0, -p.months, 0), p.months)
	if end := b.From.AddDate(0, 0, p.days()); p.end.Before(p.To) && end.Before(b.To) {
		b.end = end
	}
	return b
}

// days is how many days of it are read.
func (p Period) days() int { return int(p.end.Sub(p.From) / day) }

// lasts is its length in PromQL, like 31d.
func (p Period) lasts() string { return strconv.Itoa(p.days()) + "d" }

// Title is its name for people.
func (p Period) Title() string {
	if p.months == 3 {
		return fmt.Sprintf("quarter %d of %d", (int(p.From.Month())+2)/3, p.From.Year())
	}
	return p.From.Format("January 2006")
}

// Part is the name of the days that are read of it, for people.
func (p Period) Part() string {
	if p.end.Before(p.To) {
		return fmt.Sprintf("the first %d days of %s", p.days(), p.Title())
	}
	return p.Title()
}

// dates writes days as ranges: 2–4, 17 October.
func dates(all []string) string {
	var parts []string
	for i := 0; i < len(all); {
		to := i
		for to+1 < len(all) && next(all[to], all[to+1]) {
			to++
		}
		text := all[i]
		if to > i {
			text += " to " + all[to]
		}
		parts = append(parts, text)
		i = to + 1
	}
	return strings.Join(parts, ", ")
}

// next reports whether a day follows another one.
func next(a, b string) bool {
	at, err := time.Parse(time.DateOnly, a)
	return err == nil && at.AddDate(0, 0, 1).Format(time.DateOnly) == b
}
