// Package scrape asks the collectors on their own clocks, keeps the last answer
// of each as exposition text, and serves them joined. A scrape touches no target.
package scrape

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/collectors"
)

const (
	// spread is how far apart the first questions are at most, so that a start
	// does not ask every target everything in the same instant.
	spread = 200 * time.Millisecond

	// apart is how far apart the steps of two targets are at most.
	apart = 15 * time.Second

	// grace is how much older than its interval and timeout an answer may be
	// before it is no longer served: a collector that hangs is not stale for ever.
	grace = 10 * time.Second
)

// Path is where a Scraper is served.
const Path = "/metrics"

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
	press    *presser
	next     chan []*asker
	began    time.Time
	joined   atomic.Pointer[[]family]

	ownOld  atomic.Bool // a collector has answered since upkeep's own metrics were read
	ownMu   sync.Mutex
	ownLast *block
	ownAt   time.Time

	mu     sync.RWMutex
	askers []*asker
}

// An asker is one collector with its last answer.
type asker struct {
	collectors.Collector

	writer *collectors.Writer // for the next answer; only who asks uses it
	hurry  chan struct{}      // it is to be asked before its time
	answer atomic.Pointer[answer]

	retired atomic.Bool // it is no longer asked: what it says now counts for nothing

	mu     sync.Mutex
	status Status
	fault  error // of the last question
}

// An answer is what a collector said last. It is not changed any more.
type answer struct {
	blocks []*block // for each metric of the collector; nil where it wrote none
	at     time.Time
}

// A family is one metric with all the collectors that write it.
type family struct {
	head    *block
	sources []source
}

type source struct {
	asker *asker
	at    int // of the metric among the collector's
}

// New returns a Scraper without collectors. It starts nothing.
func New(c Config) *Scraper {
	s := &Scraper{log: c.Logger, registry: c.Registry, now: c.Now, metrics: newMetrics(c.Registry), press: newPresser(),
		next: make(chan []*asker, 1), began: time.Now()}
	if s.now == nil {
		s.now = time.Now
	}
	s.joined.Store(new([]family))
	return s
}

// Use sets the collectors that are asked, in place of those before.
func (s *Scraper) Use(all []collectors.Collector) error {
	use, err := s.Prepare(all)
	if err == nil {
		use()
	}
	return err
}

// Prepare returns what sets the collectors that are asked, in place of those before, and
// changes nothing yet. One that is the same as before goes on with its clock and its answer;
// the answers of all others are forgotten. Two collectors of one name and target are an error.
func (s *Scraper) Prepare(all []collectors.Collector) (use func(), err error) {
	seen := make(map[id]bool)
	for _, c := range all {
		id := id{c.Name, c.Target}
		switch {
		case seen[id]:
			return nil, fmt.Errorf("collector %s for %s is there twice", c.Name, c.Target)
		case c.Every <= 0 || c.Timeout <= 0:
			return nil, fmt.Errorf("collector %s for %s needs an interval and a timeout", c.Name, c.Target)
		}
		seen[id] = true
	}
	return func() { s.use(all) }, nil
}

func (s *Scraper) use(all []collectors.Collector) {
	before := make(map[id]*asker)
	s.mu.RLock()
	for _, a := range s.askers {
		before[a.id()] = a
	}
	s.mu.RUnlock()
	askers := make([]*asker, len(all))
	for i, c := range all {
		if old := before[id{c.Name, c.Target}]; old != nil && same(old.Collector, c) {
			askers[i] = old
			continue
		}
		askers[i] = &asker{Collector: c, writer: collectors.NewWriter(c), hurry: make(chan struct{}, 1),
			status: Status{Collector: c.Name, Server: c.Target, Every: c.Every}}
	}
	s.mu.Lock()
	s.askers = askers
	s.mu.Unlock()
	s.joined.Store(s.join(askers))
	for id, old := range before {
		if !slices.Contains(askers, old) {
			old.retired.Store(true)
			s.metrics.forget(id)
		}
	}
	select {
	case <-s.next: // a set that Run has not taken yet
	default:
	}
	s.next <- askers
}

func (a *asker) id() id { return id{a.Name, a.Target} }

// same reports whether two collectors are one. Each call of a constructor makes metrics
// of its own.
func same(a, b collectors.Collector) bool {
	return a.Every == b.Every && a.Timeout == b.Timeout && a.Limit == b.Limit && slices.Equal(a.Metrics, b.Metrics)
}

// join finds which collectors write which metric. The families are in the order
// of their names, as the exposition format wants each of them in one piece.
func (s *Scraper) join(askers []*asker) *[]family {
	metrics := make(map[string]*collectors.Metric)
	sources := make(map[string][]source)
	for _, a := range askers {
		for i, m := range a.Metrics {
			metrics[m.Name] = m
			sources[m.Name] = append(sources[m.Name], source{a, i})
		}
	}
	all := make([]family, 0, len(metrics))
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		all = append(all, family{head: s.press.press(metrics[name].AppendHeader(nil), nil), sources: sources[name]})
	}
	return &all
}

// Run asks until ctx is done.
func (s *Scraper) Run(ctx context.Context) error {
	running := make(map[*asker]func())
	for {
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return nil
		case askers := <-s.next:
			s.turn(ctx, running, askers)
		}
	}
}

// turn ends the clocks of the collectors that are no longer asked, and starts those of
// the ones that are new.
func (s *Scraper) turn(ctx context.Context, running map[*asker]func(), askers []*asker) {
	var ending sync.WaitGroup
	for a, stop := range running {
		if !slices.Contains(askers, a) {
			delete(running, a)
			ending.Go(func() {
				stop()
				if !slices.ContainsFunc(askers, func(now *asker) bool { return now.id() == a.id() }) {
					s.metrics.forget(a.id()) // it may have answered once more
				}
			})
		}
	}
	ending.Wait()
	for _, a := range askers {
		if running[a] == nil {
			running[a] = s.start(ctx, a)
		}
	}
}

// start asks a collector on a clock of its own, and returns what ends that.
func (s *Scraper) start(ctx context.Context, a *asker) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.clock(ctx, a)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (s *Scraper) clock(ctx context.Context, a *asker) {
	wait := rand.N(min(spread, a.Every))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-a.hurry:
		}
		s.ask(ctx, a)
		wait = a.pause(time.Since(s.began))
	}
}

// pause returns how long a collector waits for its next question. Those of one target are asked
// in step: what they ask together costs the target one connection to each database, and one look. How many ask at
// once is bounded by the target's connections. Each target has its own steps. An answer that took longer than the
// interval is not made up for.
func (a *asker) pause(since time.Duration) time.Duration {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(a.Target)) // never fails
	since += time.Duration(sum.Sum32()%uint32(apart/time.Millisecond)) * time.Millisecond
	next := ((since+a.Every/10)/a.Every + 1) * a.Every
	return next - since
}

// collect makes an error of a panic: what one target answers must not take the others
// with it.
func (s *Scraper) collect(ctx context.Context, a *asker) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a collector panicked", "collector", a.Name, "server", a.Target, "err", p, "stack",
				string(debug.Stack()))
			err = fmt.Errorf("the collector panicked, which is a bug in it: %v", p)
		}
	}()
	return a.Collect(ctx, a.writer)
}

// ask puts the question once and keeps the answer.
func (s *Scraper) ask(ctx context.Context, a *asker) {
	limited, cancel := context.WithTimeoutCause(ctx, a.Timeout, fmt.Errorf("no answer within %s", a.Timeout))
	defer cancel()
	began := time.Now()
	a.writer.Reset()
	err := s.collect(limited, a)
	if ctx.Err() != nil || a.retired.Load() {
		return // stopped, not failed
	}
	if err != nil && limited.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(limited), err)
	}
	status := Status{Collector: a.Name, Server: a.Target, Every: a.Every, At: s.now(), Took: time.Since(began),
		Samples: a.writer.Samples(), Beyond: a.writer.Beyond()}
	if err != nil {
		status.Err = err.Error()
	}
	if why := a.writer.Why(); why != nil {
		status.Down = why.Error()
	}
	if what := a.writer.Noted(); what != nil {
		status.Note = what.Error()
	}
	s.keep(a, status.At)
	a.mu.Lock()
	before := a.status
	status.follow(before)
	a.status, a.fault = status, err
	a.mu.Unlock()
	s.metrics.observe(status)
	s.ownOld.Store(true)
	s.logChange(before, status)
}

// keep puts what was written in the place of the last answer.
func (s *Scraper) keep(a *asker, at time.Time) {
	next := &answer{blocks: make([]*block, len(a.Metrics)), at: at}
	last := a.answer.Load()
	for i := range a.Metrics {
		var old *block
		if last != nil {
			old = last.blocks[i]
		}
		next.blocks[i] = s.press.press(a.writer.Family(i), old)
	}
	a.answer.Store(next)
}

// logChange logs state changes at Info or Warn and everything else at Debug.
func (s *Scraper) logChange(before, now Status) {
	log := s.log.With("collector", now.Collector, "target", now.Server, "duration", now.Took)
	if now.Beyond > 0 && before.Beyond == 0 {
		log.Warn("more subjects than the limit: the rest is summed or left out; raise the limit in collectors.settings",
			"beyond", now.Beyond)
	}
	if now.Note != "" && now.Note != before.Note {
		log.Warn("the configuration of the target may be wrong", "note", now.Note)
	}
	switch {
	case now.Err != "" && now.Err != before.Err:
		log.Warn("collector failed", "err", now.Err)
	case now.Down != "" && now.Down != before.Down:
		log.Warn("target does not answer", "err", now.Down)
	case now.Down == "" && before.Down != "":
		log.Info("target answers again")
	case now.Err == "" && before.Err != "":
		log.Info("collector answers again", "samples", now.Samples)
	default:
		log.Debug("collector asked", "samples", now.Samples, "err", now.Err)
	}
}

// Refresh has the collectors asked at once that tell a metric of a target: what was
// done to the target need not wait for their clocks to be seen.
func (s *Scraper) Refresh(metric, target string) {
	s.mu.RLock()
	askers := s.askers
	s.mu.RUnlock()
	for _, a := range askers {
		if a.Target != target || !a.writes(metric) {
			continue
		}
		select {
		case a.hurry <- struct{}{}:
		default: // it is about to
		}
	}
}

// Answer reports when the collector that writes a metric last answered about a subject
// without an error, zero when never, and the error that it has met since. The error of
// a part of the target that the subject is not in does not count.
func (s *Scraper) Answer(metric string, subject map[string]string) (last time.Time, err error) {
	s.mu.RLock()
	askers := s.askers
	s.mu.RUnlock()
	for _, a := range askers {
		if a.Target != subject["server"] || !a.writes(metric) {
			continue
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.fault != nil && elsewhere(a.fault, subject) {
			return a.status.At, nil
		}
		return a.status.Good, a.fault
	}
	return last, nil
}

// elsewhere reports whether an error is about parts of a target only that a subject is
// not in.
func elsewhere(err error, subject map[string]string) bool {
	parts, only := collectors.Parts(err)
	return only && !slices.ContainsFunc(parts, func(p *collectors.PartError) bool {
		value, named := subject[p.Label]
		return !named || value == p.Value
	})
}

func (a *asker) writes(metric string) bool {
	return slices.ContainsFunc(a.Metrics, func(m *collectors.Metric) bool { return m.Name == metric })
}

// Status returns how each collector is doing, in the order in which they were given.
func (s *Scraper) Status() []Status {
	s.mu.RLock()
	askers := s.askers
	s.mu.RUnlock()
	all := make([]Status, len(askers))
	for i, a := range askers {
		a.mu.Lock()
		all[i] = a.status
		a.mu.Unlock()
	}
	return all
}

// Answered reports whether every collector has answered at least once, or failed to.
func (s *Scraper) Answered() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !slices.ContainsFunc(s.askers, func(a *asker) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.status.At.IsZero()
	})
}
