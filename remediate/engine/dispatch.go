package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/remediate"
)

// tick is how often the engine looks for work that nothing woke it for: runs
// whose time to look again has come.
const tick = time.Second

// Wake makes the engine look for work now.
func (e *Engine) Wake() {
	select {
	case e.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run decides about episodes and carries runs until ctx is done. It returns when
// all it carried has stopped; what was not finished goes on at the next start.
func (e *Engine) Run(ctx context.Context) error {
	var carriers sync.WaitGroup
	defer carriers.Wait()
	slots := make(chan struct{}, e.concurrency)
	timer := time.NewTicker(tick)
	defer timer.Stop()
	idle := make(map[int64]int)
	for {
		var err error
		idle, err = e.decide(ctx, idle)
		if err == nil {
			err = e.dispatch(ctx, slots, &carriers)
		}
		if err != nil && ctx.Err() == nil {
			e.log.Error("cannot look for work", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-timer.C:
		}
	}
}

// decide makes runs for the open episodes that a policy matches. It returns the
// episodes that were left alone, with the edition of the policies that did so,
// so that each is looked at once.
func (e *Engine) decide(ctx context.Context, idle map[int64]int) (map[int64]int, error) {
	episodes, err := e.inbox.Undecided(ctx)
	if err != nil {
		return idle, err
	}
	e.mu.Lock()
	book, edition := e.book, e.edition
	e.mu.Unlock()
	still := make(map[int64]int)
	var faults []error
	for _, episode := range episodes {
		if idle[episode.ID] == edition {
			still[episode.ID] = edition
			continue
		}
		d := book.Decide(episode)
		if d.Request == nil {
			e.log.Info("episode left alone", "episode", episode.ID, "alertname", episode.Name(), "why", d.Why)
			still[episode.ID] = edition
			continue
		}
		if _, err := e.request(ctx, *d.Request, d.Why); err != nil {
			faults = append(faults, err) // the others get their runs
		}
	}
	return still, errors.Join(faults...)
}

// dispatch carries the runs that are due and not being carried, as far as there
// are slots.
func (e *Engine) dispatch(ctx context.Context, slots chan struct{}, carriers *sync.WaitGroup) error {
	due, err := e.queue.Due(ctx)
	if err != nil {
		return err
	}
	for _, run := range due {
		if !e.claim(run.ID) {
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			e.release(run.ID)
			return nil // the end of a run wakes us
		}
		carriers.Go(func() {
			defer e.Wake()
			defer func() { <-slots }()
			defer e.release(run.ID)
			if err := e.carry(ctx, run.ID); err != nil && ctx.Err() == nil {
				e.log.Error("run stopped", "run", run.ID, "action", run.Request.Action, "err", err)
			}
		})
	}
	return nil
}

// carry reads the run again, now that nobody else carries it: what the queue
// told may be from before its last carrier let go.
func (e *Engine) carry(ctx context.Context, id int64) error {
	run, still, err := e.queue.Ready(ctx, id)
	if err != nil || !still {
		return err
	}
	return e.Do(ctx, run)
}

// claim reports whether the run was free and is now being carried.
func (e *Engine) claim(run int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inFlight[run] {
		return false
	}
	e.inFlight[run] = true
	return true
}

func (e *Engine) release(run int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.inFlight, run)
}

// Request makes a run of what a person asks for, and carries it. What can be
// seen to be wrong with it at once is a refusal, and makes no run.
func (e *Engine) Request(ctx context.Context, r remediate.Request) (remediate.Run, error) {
	if _, err := e.action(r); err != nil {
		return remediate.Run{}, err
	}
	return e.request(ctx, r, "asked for by "+r.By)
}

func (e *Engine) request(ctx context.Context, r remediate.Request, why string) (remediate.Run, error) {
	run, made, err := e.journal.Create(ctx, r, why)
	if err != nil {
		return run, fmt.Errorf("request %s: %w", r.Key, err)
	}
	if made {
		e.tell(run, remediate.Entry{Run: run.ID, To: run.State, Why: why})
		e.Wake()
	}
	return run, nil
}

// A Preview is what would become of a request now.
type Preview struct {
	Plan     remediate.Plan       `json:"plan"`
	Hash     string               `json:"hash"`
	Lowers   string               `json:"lowers"`
	Risk     string               `json:"risk"`
	Before   *float64             `json:"before,omitempty"`
	Limit    *float64             `json:"limit,omitempty"`
	Refusals []*remediate.Refusal `json:"refusals,omitempty"` // what stands in the way
}

// Preview makes the plan of a request and asks every guard. It journals nothing
// and changes nothing.
func (e *Engine) Preview(ctx context.Context, r remediate.Request) (p Preview, err error) {
	a, err := e.action(r)
	if err != nil {
		return p, err
	}
	p.Lowers, p.Risk, p.Limit = a.Lowers, a.Risk.String(), r.Limit
	p.Before, p.Plan, err = e.look(ctx, r)
	if refused, ok := remediate.Refused(err); ok {
		p.Refusals = append(p.Refusals, refused)
		return p, nil
	} else if err != nil {
		return p, err
	}
	p.Hash = p.Plan.Hash()
	for _, g := range e.guards {
		err := g.Check(ctx, remediate.Run{Request: r, Plan: p.Plan})
		if refused, ok := remediate.Refused(err); ok {
			p.Refusals = append(p.Refusals, refused)
		} else if err != nil {
			return p, fmt.Errorf("guard %s: %w", g.Name, err)
		}
	}
	return p, nil
}

// tell logs and counts what was journalled.
func (e *Engine) tell(run remediate.Run, entry remediate.Entry) {
	log := e.log.With("run", run.ID, "action", run.Request.Action, "state", entry.To)
	switch {
	case entry.Step != 0 && entry.Done:
		log.Info("step done", "step", entry.Step, "why", entry.Why)
	case entry.Step != 0:
		log.Info("step begun", "step", entry.Step, "do", entry.Why)
	case entry.From == entry.To:
		log.Warn("run tried again", "why", entry.Why)
	case entry.To == remediate.Failed:
		log.Error("run failed", "err", errors.New(entry.Why))
	default:
		log.Info("run moved", "from", entry.From, "why", entry.Why)
	}
	e.metrics.count(run, entry)
}

// metrics are the engine's own.
type metrics struct {
	transitions, refusals *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upkeep_run_transitions_total",
			Help: "Runs that went into a state, since the start of the process.",
		}, []string{"action", "to"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upkeep_run_refusals_total",
			Help: "Runs that were declined or made to wait, by the reason.",
		}, []string{"reason"}),
	}
	r.MustRegister(m.transitions, m.refusals)
	return m
}

func (m metrics) count(run remediate.Run, entry remediate.Entry) {
	if entry.From != entry.To {
		m.transitions.WithLabelValues(run.Request.Action, string(entry.To)).Inc()
	}
	if entry.Reason != "" {
		m.refusals.WithLabelValues(entry.Reason).Inc()
	}
}
