package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

// openAgain is how soon it is tried again to open a storage that there was no room for.
const openAgain = time.Second

// Embedded is a Prometheus and an Alertmanager in the process.
type Embedded struct {
	pipe  *pipe
	parts atomic.Pointer[parts] // nil until the storage is open
	ready atomic.Bool

	mu     sync.Mutex // held while it starts, while its parts change and while it ends: each alone
	config Config
	over   bool // it has ended
}

// parts are the two, which share one folder.
type parts struct {
	prom  *prom
	alert *alertmanager
}

// New opens the storage and reads silences and the notification log. It starts
// nothing that asks or tells anybody. Where the disk has no room for it, Run opens the
// storage as soon as there is some.
func New(c Config) (*Embedded, error) {
	e := &Embedded{config: c, pipe: newPipe()}
	err := e.open(c.Registerer)
	if err != nil && noRoom(err) {
		err = CheckRules(c.Rules, c.RuleFiles) // which was not come to
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Embedded) open(registerer prometheus.Registerer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.config
	c.Registerer = registerer
	alert, err := newAlertmanager(c, e.pipe)
	if err != nil {
		return fmt.Errorf("embedded alertmanager: %w", err)
	}
	prom, err := newProm(c, e.pipe, alert.take)
	if err != nil {
		alert.close()
		return fmt.Errorf("embedded prometheus: %w", err)
	}
	e.parts.Store(&parts{prom, alert})
	return nil
}

// opened opens the storage where that is not done yet, and returns nil when ctx is done
// before.
func (e *Embedded) opened(ctx context.Context) (*parts, error) {
	for e.parts.Load() == nil {
		err := e.open(prometheus.NewRegistry()) // the first try may have registered a part
		switch {
		case err == nil:
			continue
		case !noRoom(err):
			return nil, err
		}
		e.config.Logger.Error("the storage cannot be opened; retrying", "err", err)
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(openAgain):
		}
	}
	return e.parts.Load(), nil
}

// Run scrapes, evaluates and delivers until ctx is done, and closes the storage.
func (e *Embedded) Run(ctx context.Context) error {
	router := web.New(e.config.Logger)
	router.Any("/metrics", gin.WrapH(e.config.Metrics))
	router.Any(webhookPath, gin.WrapH(e.config.Webhook))
	router.Any("/api/v1/*path", gin.WrapH(e.Prometheus()))
	router.Any("/api/v2/*path", gin.WrapH(e.Alertmanager()))
	inner := &http.Server{Handler: router, ReadHeaderTimeout: 10 * time.Second}

	var group errgroup.Group
	group.Go(func() error {
		if err := inner.Serve(e.pipe); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	p, err := e.opened(ctx)
	if err != nil || p == nil {
		return errors.Join(err, inner.Close(), group.Wait())
	}
	if err := e.start(p, &group); err != nil {
		return errors.Join(err, inner.Close(), group.Wait())
	}
	revived, over := context.WithCancel(ctx)
	defer over()
	group.Go(func() error { p.alert.revive(revived, p.prom.active); return nil })
	e.ready.Store(true)
	<-ctx.Done()
	e.ready.Store(false)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	p.prom.stop() // no more alerts
	p.alert.close()
	return errors.Join(inner.Close(), group.Wait(), p.prom.close())
}

// start begins to notify and to scrape, by the configuration in use.
func (e *Embedded) start(p *parts, group *errgroup.Group) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := p.alert.start(); err != nil {
		return err
	}
	p.prom.start(group)
	return nil
}

// Prometheus answers the stock /api/v1.
func (e *Embedded) Prometheus() http.Handler {
	return e.once(func(p *parts) http.Handler { return p.prom.api })
}

// Budgeted answers the stock /api/v1 within a budget.
func (e *Embedded) Budgeted(b Budget) http.Handler {
	return e.once(func(p *parts) http.Handler { return p.prom.within[b] })
}

// Alertmanager answers the stock /api/v2. A silence that it has acknowledged is
// on disk.
func (e *Embedded) Alertmanager() http.Handler {
	return e.once(func(p *parts) http.Handler { return p.alert.api })
}

// once answers 503 until the storage is open.
func (e *Embedded) once(handler func(*parts) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := e.parts.Load()
		if p == nil {
			http.Error(w, "the storage cannot be opened yet", http.StatusServiceUnavailable)
			return
		}
		handler(p).ServeHTTP(w, r)
	})
}

// Client returns a client whose requests reach the Prometheus (/api/v1) and the
// Alertmanager (/api/v2) within the process, whatever host they name.
func (e *Embedded) Client() *http.Client { return e.pipe.client() }

// Ready reports whether the rules are being evaluated and alerts delivered.
func (e *Embedded) Ready() bool { return e.ready.Load() }
