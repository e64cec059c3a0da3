package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// New opens the store and the address to listen on, and prepares the rest. It
// asks no target and serves nothing yet.
func New(ctx context.Context, c *config.Config, o Options) (*App, error) {
	if o.Rules == nil {
		o.Rules = alerts.Files()
	}
	a := &App{options: o, log: o.Logger, registry: prometheus.NewRegistry(), start: c, config: c,
		hurry: make(chan struct{}, 1), unready: rate.Sometimes{Interval: unreadyEvery},
		limits: sync.OnceValues(func() (map[string]float64, error) { return ruleLimits(o.Rules) })}
	a.conns = web.NewConns()
	a.parts = a.list()
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// Run serves until ctx is done, and then ends in order: requests are refused,
// runs stop where they can continue later, the store is closed last.
func (a *App) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range a.parts {
		if p.run != nil {
			group.Go(func() error { return p.run(ctx) })
		}
	}
	a.log.Info("upkeep serves", "address", a.Addr(), "data_dir", a.start.DataDir, "embedded", a.embedded != nil)
	err := group.Wait()
	return errors.Join(err, a.close())
}

// stuckAfter is how long the engine's loop may take to go on. It goes on each second; what takes
// longest in it, the decision about a batch of incidents, takes seconds on a busy machine.
const stuckAfter = time.Minute

// Ready returns nil where upkeep does its work: its address is listened on, its configuration is in
// force, the embedded Prometheus runs, and the store takes writes. A store that is away is not
// waited for: metrics are served without it.
func (a *App) Ready(ctx context.Context) error { return a.readiness(ctx, true) }

// readiness returns nil, or why upkeep is not ready in words that every user may read: the log has
// the error of the store, which can name a host, a user and a file.
func (a *App) readiness(ctx context.Context, without bool) error {
	if err := a.store.Ping(ctx); err != nil && !(without && store.Away(err)) {
		a.unready.Do(func() { a.log.Warn("not ready", "err", err) })
		return errors.New("the store takes no writes; the log of upkeep says why")
	}
	if a.embedded != nil && !a.embedded.Ready() {
		return errors.New("the embedded Prometheus does not run yet")
	}
	return nil
}

// Alive returns nil unless the engine's loop does not go on, for no known reason. A store that takes no
// writes is one: a restart would not mend it, and would end the metrics too.
func (a *App) Alive(ctx context.Context) error {
	looped := a.engine.Looped()
	still := time.Since(looped)
	if looped.IsZero() || still < stuckAfter || a.store.Ping(ctx) != nil {
		return nil
	}
	return fmt.Errorf("the engine has not looked for work for %s", still.Round(time.Second))
}

// open opens all parts in their order, and works by the configuration of the start.
func (a *App) open(ctx context.Context) error {
	for _, p := range a.parts {
		if p.open == nil {
			continue
		}
		if err := p.open(ctx); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.adopt(a.start, true)
	a.reloaded.observe(err)
	return err
}
