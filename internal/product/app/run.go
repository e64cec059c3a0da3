package app

import (
	"context"
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/ai-micro-service/upkeep/alerts"
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
