package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// A Calendar is what comes next of the schedules, and what became of what came last.
type Calendar struct {
	Next []schedule.Coming `json:"next"` // the soonest first
	Last []Happened        `json:"last"` // the newest first
}

// Happened is an occurrence of a schedule with the runs that it made.
type Happened struct {
	schedule.Occurrence
	Runs []Made `json:"runs"`
}

// Made is a run of an occurrence.
type Made struct {
	ID    int64           `json:"id"`
	State remediate.State `json:"state,omitempty"` // empty where the run is not kept any more
	Why   string          `json:"why,omitempty"`
}

func (c *Console) schedules(g *gin.Context) {
	n, err := strconv.Atoi(cmp.Or(g.Query("limit"), "10"))
	if err != nil || n < 1 || n > 1000 {
		c.Answer(g, 0, nil, portal.BadRequest("limit: want a number from 1 to 1000"))
		return
	}
	calendar, err := c.calendar(g.Request.Context(), n)
	c.Answer(g, http.StatusOK, calendar, err)
}

func (c *Console) calendar(ctx context.Context, n int) (Calendar, error) {
	calendar := Calendar{Next: c.Scheduler.Coming(n), Last: []Happened{}}
	if calendar.Next == nil {
		calendar.Next = []schedule.Coming{} // a list in JSON too
	}
	last, err := c.Scheduler.Last(ctx, n)
	if err != nil {
		return calendar, err
	}
	for _, o := range last {
		h := Happened{Occurrence: o, Runs: []Made{}}
		for _, id := range o.Runs {
			run, err := c.Journal.Get(ctx, id)
			if err != nil && !errors.Is(err, journal.ErrNoRun) {
				return calendar, err
			}
			h.Runs = append(h.Runs, Made{id, run.State, run.Why})
		}
		calendar.Last = append(calendar.Last, h)
	}
	return calendar, nil
}

const (
	// calendarDays is how far the calendar looks ahead.
	calendarDays = 30

	// occursShown is how many occurrences a part of the calendar lists, and spansShown how often each window opens.
	occursShown, spansShown = 150, 100

	// schedulesShown is how many schedules are listed, lastShown how many of the last occurrences of each, and
	// madeShown how many runs of an occurrence.
	schedulesShown, lastShown, madeShown = 200, 2, 3

	// wrongShown is how many letters of a wrong value of an address are shown.
	wrongShown = 40
)

func (c *Console) calendarPage(g *gin.Context) {
	v := page.Calendar{At: time.Now(), First: true}
	if c.Scheduler != nil {
		v.At = c.Scheduler.Now()
	}
	v.From = v.At
	v.To = v.At.AddDate(0, 0, calendarDays)
	if text := g.Query(page.KeyFrom); text != "" {
		from, err := time.Parse(time.RFC3339, text)
		if err != nil || from.After(v.To) || from.Before(v.At.AddDate(0, 0, -calendarDays)) {
			c.Fail(g, portal.BadRequest(fmt.Sprintf("from %q: want what a link of the page has",
				portal.Line(text, wrongShown))), page.CalendarPath)
			return
		}
		v.From, v.First = from, false
	}
	events := c.heardFrom(g.Request.Context())
	if err := c.foreseen(g.Request.Context(), &v); err != nil {
		c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), page.CalendarPath)
		return
	}
	f := c.Frame(g, "Calendar", page.CalendarPath)
	if v.First {
		f.Events = events
	}
	c.Write(g, http.StatusOK, f, v.Nodes()...)
}

// foreseen reads what comes of the schedules, and what became of what came.
func (c *Console) foreseen(ctx context.Context, v *page.Calendar) error {
	pauses, err := c.Journal.Pauses(ctx)
	if err != nil {
		return err
	}
	var windows map[string]schedule.Window
	if c.Names != nil {
		windows = c.Names().Windows
	}
	if c.Scheduler == nil {
		return nil
	}
	agenda := c.Scheduler.Agenda(v.From, v.To, occursShown)
	v.Often, v.More = agenda.Often, agenda.More
	if !v.More.IsZero() {
		v.To = v.More
	}
	v.Days = days(agenda.Coming, windows, pauses, v.From, v.To)
	all, err := c.Scheduler.Keepings(ctx, schedulesShown, lastShown)
	if err != nil {
		return err
	}
	v.Left = c.Scheduler.Count() - len(all)
	v.Schedules, err = c.happened(ctx, all, agenda.Often)
	return err
}

// days sorts occurrences and the openings of windows by the day that their clocks show.
func days(coming []schedule.Coming, windows map[string]schedule.Window, pauses []remediate.Pause, from,
	to time.Time) (all []page.Day) {
	byDate := make(map[string]*page.Day)
	on := func(at time.Time) *page.Day {
		key := at.Format(time.DateOnly)
		if byDate[key] == nil {
			byDate[key] = &page.Day{Date: at}
		}
		return byDate[key]
	}
	for _, o := range coming {
		d, e := on(o.At), occurs(o, windows, pauses)
		same := slices.IndexFunc(d.Entries, func(other page.Occurs) bool {
			return other.Schedule == e.Schedule && other.Window == e.Window && other.Paused == e.Paused
		})
		if same < 0 {
			d.Entries = append(d.Entries, e)
			continue
		}
		d.Entries[same].Again = append(d.Entries[same].Again, o.At)
	}
	for _, name := range slices.Sorted(maps.Keys(windows)) {
		w := windows[name]
		for _, s := range w.Spans(from, to, spansShown) {
			s.From = s.From.In(w.Zone())
			if !s.To.IsZero() {
				s.To = s.To.In(w.Zone())
			}
			d := on(s.From)
			already := s.From.Equal(from) && w.Open(from.Add(-1))
			d.Windows = append(d.Windows, page.WindowSpan{Name: name, Span: s, Already: already})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byDate)) {
		all = append(all, *byDate[key])
	}
	return all
}

// occurs says of an occurrence whether its window is open then, and whether it is paused, as far as is known now.
func occurs(o schedule.Coming, windows map[string]schedule.Window, pauses []remediate.Pause) page.Occurs {
	e := page.Occurs{Coming: o}
	var next time.Time
	for _, name := range o.Windows {
		w := windows[name]
		if w.Open(o.At) {
			e.Window, e.Waits = "in window "+name, false
			break
		}
		if at := w.Next(o.At); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at.In(o.At.Location())
			e.Window = "waits for window " + name + ", which opens " + next.Format("2 January 15:04 MST")
		}
		e.Waits = true
	}
	if e.Waits && next.IsZero() {
		e.Window = "its window does not open"
	}
	for _, p := range pauses {
		if p.Scope != "all" && p.Scope != "action/"+o.Action && p.Scope != "target/"+o.Subject["server"] {
			continue
		}
		if p.Until.IsZero() || p.Until.After(o.At) {
			e.Paused = p.Scope + " is paused by " + p.By + ": " + p.Reason
		}
	}
	return e
}

// happened is what became of the last occurrences of schedules.
func (c *Console) happened(ctx context.Context, all []schedule.Keeping,
	often []schedule.Frequent) (lines []page.ScheduleLine, err error) {
	var ids []int64
	for _, k := range all {
		for _, o := range k.Last {
			ids = append(ids, o.Runs[:min(len(o.Runs), madeShown)]...)
		}
	}
	states, err := c.Journal.States(ctx, ids)
	for _, k := range all {
		l := page.ScheduleLine{Coming: k.Coming}
		for _, f := range often {
			if f.Schedule == k.Schedule {
				l.Frequent = f
			}
		}
		for _, o := range k.Last {
			h := page.Happened{Occurrence: o}
			for _, id := range o.Runs[:min(len(o.Runs), madeShown)] {
				h.Made = append(h.Made, page.Made{ID: id, State: states[id]})
			}
			l.Last = append(l.Last, h)
		}
		lines = append(lines, l)
	}
	return lines, err
}
