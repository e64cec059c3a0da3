package schedule

import (
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A Schedule asks for an action whenever its time comes.
type Schedule struct {
	Name   string
	Cron   Cron
	Zone   *time.Location
	Missed Missed

	// Query is PromQL; each series that it gives is worked on. Without one the schedule
	// asks for the same each time.
	Query string

	// Request makes what is asked for from the labels of a series, of none if there is
	// no query, or reports that the series is not the schedule's. The scheduler adds
	// which occurrence it is that asks.
	Request func(labels map[string]string) (r remediate.Request, ok bool)

	// For people, as it is written.
	Action  string
	Mode    remediate.Mode
	Subject map[string]string
	Windows []string
}

// expression is what makes a schedule another one when it changes.
func (c Schedule) expression() string { return c.Cron.String() + " " + c.Zone.String() }

// Missed says what happens to an occurrence that was missed.
type Missed string

// What happens to missed occurrences. Of several only the newest can be late: what
// was to be done five times is still to be done once.
const (
	Late Missed = "late" // the newest is run late, the others are skipped
	Skip Missed = "skip" // all are skipped
)

// A due is what has become due of one schedule.
type due struct {
	each    []time.Time // the newest last; never empty where anything is due
	more    int         // those before them, which are written as one
	first   time.Time   // of more
	upTo    time.Time   // the last of more
	again   bool        // each is one that was skipped before its time
	outcome Outcome     // of the newest
}

// individually is how many missed occurrences are written one by one. A process
// that was away for a month has missed forty thousand minutes.
const individually = 100

// due returns the occurrences after from, up to now.
func (c Schedule) due(from, now time.Time) (d due) {
	for at := c.Cron.Next(from, c.Zone); !at.IsZero() && !at.After(now); at = c.Cron.Next(at, c.Zone) {
		d.each = append(d.each, at)
		if len(d.each) < 2*individually {
			continue
		}
		if d.more == 0 {
			d.first = d.each[0]
		}
		d.more, d.upTo = d.more+individually, d.each[individually-1]
		d.each = append(d.each[:0], d.each[individually:]...)
	}
	return d
}
