package schedule

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
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
	CreateIn(tx *store.Tx, r remediate.Request, why string, decided json.RawMessage) (run remediate.Run, made bool,
		err error)
	NoteIn(tx *store.Tx, e remediate.Entry) error
}

// Config is what a Scheduler is made of.
type Config struct {
	Store   *store.Store
	Journal Journal
	// nil: queries cannot be asked
	Query func(ctx context.Context, query string, at time.Time) (labels []map[string]string, err error)
	// is called when runs were made; may be nil
	Wake func()
	// time.Now where nil
	Now    func() time.Time
	Logger *slog.Logger
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

	tick     sync.Mutex // held by Tick
	queries  queries
	since    map[string]time.Time // from when each schedule counts; nil until it was looked up
	failures map[string]string    // why a query could not be asked
}

// NewScheduler returns a Scheduler of some schedules, whose names differ.
func NewScheduler(c Config, schedules []Schedule) *Scheduler {
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Scheduler{Config: c, changed: make(chan struct{}, 1), schedules: schedules, failures: make(map[string]string)}
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
