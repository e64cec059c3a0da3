package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
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

const (
	// punctual is how late an occurrence may be taken up and not be a missed one: a
	// restart or a change of replicas takes seconds, a slow update a minute or two.
	punctual = 5 * time.Minute

	// poll is how long Run sleeps at most. A clock that is put forward is noticed so
	// long after, and so is a query that can be asked again.
	poll = 15 * time.Second

	queryTimeout = 30 * time.Second

	// most is how many runs one occurrence may make: a query that gives more has lost
	// its condition.
	most = 1000
)

// A Journal makes runs and entries as a part of a transaction.
type Journal interface {
	CreateIn(tx *store.Tx, r remediate.Request, why string, decided json.RawMessage) (run remediate.Run, made bool, err error)
	NoteIn(tx *store.Tx, e remediate.Entry) error
}

// Config is what a Scheduler is made of.
type Config struct {
	Store   *store.Store
	Journal Journal
	Query   func(ctx context.Context, query string, at time.Time) (labels []map[string]string, err error) // nil: queries cannot be asked
	Wake    func()                                                                                        // is called when runs were made; may be nil
	Now     func() time.Time                                                                              // time.Now where nil
	Logger  *slog.Logger
}

// A Scheduler makes the runs of schedules. Each occurrence is written once, in the
// transaction that makes its runs, however many schedulers work on the store and
// however often they are restarted.
//
// A schedule counts from the moment at which it was first seen, and from then anew
// when its expression or its zone changes, so nothing is made up for times at which
// it was not asked for. What was written is not done again when the clock is put
// back; but what was skipped because the clock was ahead is run when its time comes.
type Scheduler struct {
	Config
	changed chan struct{}

	mu        sync.Mutex
	schedules []Schedule
	renewed   bool // since the last Tick

	tick    sync.Mutex // held by Tick
	queries queries
	since   map[string]time.Time // from when each schedule counts; nil until it was looked up
	trouble map[string]string    // why a query could not be asked
}

// NewScheduler returns a Scheduler of some schedules, whose names differ.
func NewScheduler(c Config, schedules []Schedule) *Scheduler {
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Scheduler{Config: c, changed: make(chan struct{}, 1), schedules: schedules, trouble: make(map[string]string)}
	s.queries.use(schedules)
	return s
}

// Use replaces the schedules.
func (s *Scheduler) Use(schedules []Schedule) {
	s.mu.Lock()
	s.schedules, s.renewed = schedules, true
	s.mu.Unlock()
	s.queries.use(schedules)
	select {
	case s.changed <- struct{}{}:
	default: // Run has not yet seen the change before
	}
}

// all returns the schedules, and whether they were replaced since it was last asked.
func (s *Scheduler) all() (schedules []Schedule, renewed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	renewed, s.renewed = s.renewed, false
	return s.schedules, renewed
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
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.changed:
		case <-timer.C:
		}
		timer.Stop()
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
	delete(s.trouble, c.Name)
	return nil
}

// troubled keeps in mind why a query could not be asked. It is asked again until the
// occurrence is no longer punctual or, where it may be late, until the next one comes.
// The same error is logged once: otherwise every few seconds.
func (s *Scheduler) troubled(c Schedule, err error) error {
	if s.trouble[c.Name] == err.Error() {
		return nil
	}
	s.trouble[c.Name] = err.Error()
	return err
}

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
