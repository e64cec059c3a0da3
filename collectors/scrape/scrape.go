// Package scrape asks the collectors on their own clocks, keeps the last answer
// of each as exposition text, and serves them joined. A scrape touches no target.
package scrape

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/collectors"
)

const (
	// spread is how far apart the first questions are at most, so that a start
	// does not ask every target everything in the same instant.
	spread = 200 * time.Millisecond

	// grace is how much older than its interval and timeout an answer may be
	// before it is no longer served: a collector that hangs is not stale for ever.
	grace = 10 * time.Second
)

// Config is what a Scraper is made of.
type Config struct {
	Logger   *slog.Logger
	Registry *prometheus.Registry // upkeep's own metrics, served after the collectors'
	Now      func() time.Time     // time.Now where nil
}

// A Scraper keeps the last answer of every collector.
type Scraper struct {
	log      *slog.Logger
	registry *prometheus.Registry
	now      func() time.Time
	metrics  metrics
	next     chan []*asker

	mu      sync.RWMutex
	askers  []*asker
	joined  []family
	pending int // collectors that have not answered for the first time
}

// An asker is one collector with its last answer.
type asker struct {
	collectors.Collector

	mu     sync.RWMutex
	writer *collectors.Writer // of the last answer; nil before the first
	spare  *collectors.Writer // for the next one
	status Status
}

// A Status is how the last question to a collector went.
type Status struct {
	Collector string        `json:"collector"`
	Server    string        `json:"server"`
	Every     time.Duration `json:"every"`
	At        time.Time     `json:"at,omitzero"` // when it answered; zero before the first answer
	Took      time.Duration `json:"took"`
	Samples   int           `json:"samples"`
	Err       string        `json:"err,omitempty"`
}

// A family is one metric with all the collectors that write it.
type family struct {
	metric  *collectors.Metric
	sources []source
}

type source struct {
	asker *asker
	at    int // of the metric among the collector's
}

// New returns a Scraper without collectors. It starts nothing.
func New(c Config) *Scraper {
	s := &Scraper{log: c.Logger, registry: c.Registry, now: c.Now, metrics: newMetrics(c.Registry), next: make(chan []*asker, 1)}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Use sets the collectors that are asked, in place of those before, whose
// answers are forgotten. Two collectors of one name and target are an error.
func (s *Scraper) Use(all []collectors.Collector) error {
	askers := make([]*asker, len(all))
	seen := make(map[[2]string]bool)
	for i, c := range all {
		id := [2]string{c.Name, c.Target}
		switch {
		case seen[id]:
			return fmt.Errorf("collector %s for %s is there twice", c.Name, c.Target)
		case c.Every <= 0 || c.Timeout <= 0:
			return fmt.Errorf("collector %s for %s needs an interval and a timeout", c.Name, c.Target)
		}
		seen[id] = true
		askers[i] = &asker{Collector: c, spare: collectors.NewWriter(c), status: Status{Collector: c.Name, Server: c.Target, Every: c.Every}}
	}
	s.mu.Lock()
	s.askers, s.joined, s.pending = askers, join(askers), len(askers)
	s.mu.Unlock()
	s.metrics.reset()
	select {
	case <-s.next: // a set that Run has not taken yet
	default:
	}
	s.next <- askers
	return nil
}

// join finds which collectors write which metric. The families are in the order
// of their names, as the exposition format wants each of them in one piece.
func join(askers []*asker) []family {
	byName := make(map[string]int)
	var all []family
	for _, a := range askers {
		for i, m := range a.Metrics {
			at, ok := byName[m.Name]
			if !ok {
				at = len(all)
				byName[m.Name] = at
				all = append(all, family{metric: m})
			}
			all[at].sources = append(all[at].sources, source{a, i})
		}
	}
	slices.SortFunc(all, func(a, b family) int { return cmp.Compare(a.metric.Name, b.metric.Name) })
	return all
}

// Run asks until ctx is done.
func (s *Scraper) Run(ctx context.Context) error {
	stop := func() {}
	for {
		select {
		case <-ctx.Done():
			stop()
			return nil
		case askers := <-s.next:
			stop()
			stop = s.start(ctx, askers)
		}
	}
}

// start asks each collector on a clock of its own, and returns what ends that.
func (s *Scraper) start(ctx context.Context, askers []*asker) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, a := range askers {
		all.Go(func() { s.clock(ctx, a) })
	}
	return func() {
		cancel()
		all.Wait()
	}
}

func (s *Scraper) clock(ctx context.Context, a *asker) {
	wait := rand.N(min(spread, a.Every))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		s.ask(ctx, a)
		// An answer that took longer than the interval is not made up for.
		wait = max(a.Every-time.Since(began), a.Every/10)
	}
}

// ask puts the question once and keeps the answer.
func (s *Scraper) ask(ctx context.Context, a *asker) {
	limited, cancel := context.WithTimeoutCause(ctx, a.Timeout, fmt.Errorf("no answer within %s", a.Timeout))
	defer cancel()
	began := time.Now()
	a.spare.Reset()
	err := a.Collect(limited, a.spare)
	if ctx.Err() != nil {
		return // stopped, not failed
	}
	if err != nil && limited.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(limited), err)
	}
	status := Status{Collector: a.Name, Server: a.Target, Every: a.Every, At: s.now(), Took: time.Since(began), Samples: a.spare.Samples()}
	if err != nil {
		status.Err = err.Error()
	}
	a.mu.Lock()
	before, first := a.status, a.writer == nil
	a.writer, a.spare, a.status = a.spare, a.writer, status
	if a.spare == nil {
		a.spare = collectors.NewWriter(a.Collector)
	}
	a.mu.Unlock()
	if first {
		s.mu.Lock()
		s.pending--
		s.mu.Unlock()
	}
	s.metrics.observe(status)
	s.tell(before, status)
}

// tell logs a change aloud and everything else softly.
func (s *Scraper) tell(before, now Status) {
	log := s.log.With("collector", now.Collector, "target", now.Server, "duration", now.Took)
	switch {
	case now.Err != "" && now.Err != before.Err:
		log.Warn("collector failed", "err", now.Err)
	case now.Err == "" && before.Err != "":
		log.Info("collector answers again", "samples", now.Samples)
	default:
		log.Debug("collector asked", "samples", now.Samples, "err", now.Err)
	}
}

// Status returns how each collector is doing, in the order in which they were given.
func (s *Scraper) Status() []Status {
	s.mu.RLock()
	askers := s.askers
	s.mu.RUnlock()
	all := make([]Status, len(askers))
	for i, a := range askers {
		a.mu.RLock()
		all[i] = a.status
		a.mu.RUnlock()
	}
	return all
}

// Answered reports whether every collector has answered at least once, or failed to.
func (s *Scraper) Answered() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pending <= 0
}

// metrics say how the collectors are doing.
type metrics struct {
	success, duration, last, samples *prometheus.GaugeVec
}

func newMetrics(r *prometheus.Registry) metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"collector", "server"})
		r.MustRegister(v)
		return v
	}
	return metrics{
		success:  gauge("upkeep_collector_success", "1 when the last collection read everything, 0 when something of it failed."),
		duration: gauge("upkeep_collector_duration_seconds", "How long the last collection took."),
		last:     gauge("upkeep_collector_last_success_timestamp_seconds", "When a collection last read everything; absent before the first."),
		samples:  gauge("upkeep_collector_samples", "Number of samples that the last collection wrote."),
	}
}

func (m metrics) observe(s Status) {
	ok := 0.0
	if s.Err == "" {
		ok = 1
		m.last.WithLabelValues(s.Collector, s.Server).Set(float64(s.At.UnixMilli()) / 1000)
	}
	m.success.WithLabelValues(s.Collector, s.Server).Set(ok)
	m.duration.WithLabelValues(s.Collector, s.Server).Set(s.Took.Seconds())
	m.samples.WithLabelValues(s.Collector, s.Server).Set(float64(s.Samples))
}

func (m metrics) reset() {
	m.success.Reset()
	m.duration.Reset()
	m.last.Reset()
	m.samples.Reset()
}
