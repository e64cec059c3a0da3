package report

import (
	"context"
	"time"
)

// A Listed is a period of which a report can be made, with what is known of it.
type Listed struct {
	Name    string // as a report is asked for: 2026-10 or 2026-Q3
	Title   string
	Quarter bool
	Over    bool     // else its report is of the days until the last midnight
	Share   *float64 // of its hours, the share in which upkeep was scraped; nil where that is not known
}

// mostMonths is how many months are listed, with one that is not over: what is older than store.retention by default
// is deleted.
const mostMonths = 14

// List returns the months and quarters since the oldest entry of the journal, the newest first. It asks Prometheus
// once: where that fails, the shares are not known and err says why, and the list holds all the same. A period
// in which upkeep was not running is listed too, with the share that says so.
func List(ctx context.Context, c Config) (all []Listed, err error) {
	now := time.Now().UTC()
	if c.Now != nil {
		now = c.Now().UTC()
	}
	oldest, err := c.Journal.Oldest(ctx)
	if err != nil || oldest.IsZero() {
		return nil, err
	}
	this := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	if first := this.AddDate(0, 1-mostMonths, 0); oldest.Before(first) {
		oldest = first
	}
	whole := months(time.Date(oldest.Year(), oldest.Month(), 1, 0, 0, 0, 0, time.UTC), 1)
	whole.end = now.Truncate(day)
	var days []*float64
	if c.Prometheus != nil && whole.end.After(whole.From) {
		values, failed := (&builder{Config: c}).daily(ctx, whole, covers("upkeep_build_info").Text, nil)
		days, err = values[keyOf(nil, nil)], failed
	}
	known := c.Prometheus != nil && err == nil
	for from := this; !from.Before(whole.From); from = from.AddDate(0, -1, 0) {
		if from.Month()%3 == 0 || from.Equal(this) { // a quarter is before its months
			quarter := months(time.Date(from.Year(), (from.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC), 3)
			all = quarter.list(all, now, oldest, whole, days, known)
		}
		all = months(from, 1).list(all, now, oldest, whole, days, known)
	}
	return all, err
}

// list appends a period that has a day whose end the journal has seen.
func (p Period) list(all []Listed, now, oldest time.Time, whole Period, days []*float64, known bool) []Listed {
	p, err := p.until(now)
	if err != nil || !p.end.After(oldest) {
		return all
	}
	l := Listed{Name: p.Name, Title: p.Title(), Quarter: p.months == 3, Over: !p.end.Before(p.To)}
	if known {
		sum := 0.0
		for i := range p.days() {
			at := int(p.From.AddDate(0, 0, i).Sub(whole.From) / day)
			if at >= 0 && at < len(days) && days[at] != nil {
				sum += min(*days[at], 1) // before Prometheus 3 both ends of a range count
			}
		}
		l.Share = new(sum / float64(p.days()))
	}
	return append(all, l)
}
