// Package app wires upkeep together: what the configuration says becomes
// targets, collectors, policies, the engine and the pages, in one process.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promcollectors "github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/config"
	"github.com/ai-micro-service/upkeep/internal/console"
	"github.com/ai-micro-service/upkeep/internal/embedded"
	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/internal/webconfig"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// farewell is how long the answers that are under way may take at the end.
const farewell = 5 * time.Second

// Options is what an App needs beside its configuration.
type Options struct {
	Version string
	Logger  *slog.Logger

	// Load reads the configuration again, for a reload; nil: there is none.
	Load func() (*config.Config, error)

	// Rules are the rule files of the embedded Prometheus; the shipped ones where nil.
	Rules fs.FS
}

// An App is one upkeep.
type App struct {
	options  Options
	log      *slog.Logger
	registry *prometheus.Registry
	listener net.Listener

	store    *store.Store
	scraper  *scrape.Scraper
	inbox    *inbox.Inbox
	journal  *journal.Journal
	engine   *engine.Engine
	webhook  *webhook.Handler
	embedded *embedded.Embedded // nil in outside mode
	gate     *console.Gate
	console  *console.Console
	hurry    chan struct{}
	reloaded reloadMetrics

	mu      sync.Mutex // held during a reload
	config  *config.Config
	targets target.Set
}

// New opens the store and the address to listen on, and prepares the rest. It
// asks no target and serves nothing yet.
func New(ctx context.Context, c *config.Config, o Options) (*App, error) {
	if o.Rules == nil {
		o.Rules = alerts.Files()
	}
	a := &App{options: o, log: o.Logger, registry: prometheus.NewRegistry(), config: c, hurry: make(chan struct{}, 1)}
	if err := a.open(ctx, c); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *App) open(ctx context.Context, c *config.Config) (err error) {
	a.registry.MustRegister(promcollectors.NewGoCollector(), promcollectors.NewProcessCollector(promcollectors.ProcessCollectorOpts{}), buildInfo(a.options.Version))
	a.reloaded = newReloadMetrics(a.registry)
	if c.Web.ConfigFile != "" {
		if _, err := webconfig.Load(c.Web.ConfigFile); err != nil {
			return err
		}
	}
	if a.store, err = store.Open(ctx, store.Options{Dir: c.DataDir}); err != nil {
		return err
	}
	if a.listener, err = net.Listen("tcp", c.Web.Listen); err != nil {
		return fmt.Errorf("web.listen: %w", err)
	}
	a.remediation()
	if err := a.embed(); err != nil {
		return err
	}
	if err := a.page(); err != nil {
		return err
	}
	return a.use(c)
}

// remediation makes what is between an alert and its effect.
func (a *App) remediation() {
	c := a.config
	a.journal = journal.New(a.store, nil)
	a.inbox = inbox.New(inbox.Config{Store: a.store, Wake: func() { a.engine.Wake() }})
	a.engine = engine.New(engine.Config{
		Journal: a.journal, Queue: a.journal, Inbox: a.inbox,
		Guards: func(exclusive func(remediate.Request) string) []remediate.Guard {
			return guard.All(a.journal, exclusive, nil)
		},
		Refresh:     func(metric, server string) { a.scraper.Refresh(metric, server) },
		Concurrency: c.Engine.Concurrency,
		Logger:      a.log.With("component", "engine"),
		Registerer:  a.registry,
	})
	a.registry.MustRegister(a.journal, a.inbox)
	a.gate = console.NewGate(c.Web.Token())
	a.webhook = webhook.New(webhook.Config{
		Inbox: a.inbox, Authorize: a.gate.Authorize, Truncated: a.reconcileNow,
		Logger: a.log.With("component", "webhook"), Registerer: a.registry,
	})
	a.scraper = scrape.New(scrape.Config{Logger: a.log.With("component", "scrape"), Registry: a.registry})
}

func (a *App) reconcileNow() {
	select {
	case a.hurry <- struct{}{}:
	default: // it is about to
	}
}

// embed makes Prometheus and Alertmanager, where the configuration wants them.
func (a *App) embed() error {
	c := a.config
	if !c.Embedded.Enabled {
		return nil
	}
	external, err := url.Parse(a.externalURL())
	if err != nil {
		return fmt.Errorf("web.external_url: %w", err)
	}
	a.embedded, err = embedded.New(embedded.Config{
		Dir:                c.DataDir,
		ScrapeInterval:     c.Embedded.ScrapeInterval,
		EvaluationInterval: c.Embedded.EvaluationInterval,
		Retention:          c.Embedded.Retention,
		Rules:              a.options.Rules,
		RuleFiles:          c.Embedded.RuleFiles,
		Metrics:            a.scraper,
		Webhook:            a.webhook.Trusted(),
		ExternalURL:        external,
		GroupWait:          c.Embedded.GroupWait,
		GroupInterval:      c.Embedded.GroupInterval,
		ResendDelay:        c.Embedded.ResendDelay,
		Logger:             slog.New(quiet{a.log.With("component", "embedded").Handler()}),
		Registerer:         prometheus.NewRegistry(), // thousands of series about the libraries are nobody's question here
	})
	return err
}

// quiet lets the libraries' own news pass at the level debug only: how they
// replay a log is nobody's question while all is well.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return q.Handler.Enabled(ctx, l) && (l >= slog.LevelWarn || q.Handler.Enabled(ctx, slog.LevelDebug))
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

func (a *App) externalURL() string {
	if a.config.Web.ExternalURL != "" {
		return a.config.Web.ExternalURL
	}
	return "http://" + a.Addr()
}

// Addr returns the address that is listened on.
func (a *App) Addr() string { return a.listener.Addr().String() }

func (a *App) page() error {
	limits, err := ruleLimits(a.options.Rules)
	if err != nil {
		return err
	}
	a.console = console.New(console.Config{
		Scraper: a.scraper, Inbox: a.inbox, Journal: a.journal, Engine: a.engine,
		Gate: a.gate, Limits: limits, Version: a.options.Version, Logger: a.log.With("component", "console"),
	})
	return nil
}

// Run serves until ctx is done, and then ends in order: nobody is served any
// more, runs stop where they can go on later, the store is closed last.
func (a *App) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.scraper.Run(ctx) })
	group.Go(func() error { return a.engine.Run(ctx) })
	if a.embedded != nil {
		group.Go(func() error { return a.embedded.Run(ctx) })
	}
	if am, ok := a.alertmanager(); ok {
		group.Go(func() error { return a.inbox.Watch(ctx, am) })
	}
	group.Go(func() error { a.audit(ctx); return nil })
	server := &http.Server{Handler: a.router(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	group.Go(func() error { return a.serve(server) })
	group.Go(func() error {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if err := server.Shutdown(last); err != nil {
			return server.Close()
		}
		return nil
	})
	a.log.Info("upkeep serves", "address", a.Addr(), "data_dir", a.config.DataDir, "embedded", a.embedded != nil)
	err := group.Wait()
	return errors.Join(err, a.close())
}

// audit reads the journal once, from its beginning. A journal that somebody has
// changed is said aloud; upkeep goes on, since the servers still need it.
func (a *App) audit(ctx context.Context) {
	entries, err := a.journal.Verify(ctx)
	if ctx.Err() != nil {
		return
	}
	intact := prometheus.NewGauge(prometheus.GaugeOpts{Name: "upkeep_journal_intact", Help: "1 when every entry of the journal was what had been written, at the start of the process, else 0."})
	if err != nil {
		a.log.Error("the journal is not what was written", "err", err)
	} else {
		intact.Set(1)
		a.log.Debug("the journal is what was written", "entries", entries)
	}
	a.registry.MustRegister(intact) // not before it is known
}

// alertmanager says which Alertmanager is asked what is still there, if one is.
func (a *App) alertmanager() (inbox.Alertmanager, bool) {
	am := inbox.Alertmanager{
		URL: a.config.Alertmanager.URL, Receiver: a.config.Alertmanager.Receiver, Source: webhook.Source,
		Every: a.config.Engine.ReconcileInterval, Absent: a.config.Engine.ResolveAfter,
		Hurry: a.hurry, Logger: a.log.With("component", "inbox"),
	}
	if a.embedded != nil {
		am.URL, am.Receiver = "http://embedded", embedded.Receiver
		am.Client = a.embedded.Client()
	}
	return am, am.URL != ""
}

func (a *App) close() error {
	var err error
	if a.listener != nil {
		if e := a.listener.Close(); !errors.Is(e, net.ErrClosed) {
			err = e
		}
	}
	a.mu.Lock()
	a.targets.Close()
	a.mu.Unlock()
	if a.store != nil {
		err = errors.Join(err, a.store.Close())
	}
	return err
}
