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
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promcollectors "github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/docs/runbooks"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/webconfig"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
	"github.com/ai-micro-service/upkeep/remediate/silence"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// farewell is how long the answers that are under way may take at the end.
const farewell = 5 * time.Second

// Options is what an App needs beside its configuration.
type Options struct {
	Version string
	Logger  *slog.Logger

	// Load reads the configuration again, for a reload; nil: a reload is not possible.
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
	start    *config.Config // for what a reload cannot change

	store    *store.Store
	scraper  *scrape.Scraper
	inbox    *inbox.Inbox
	journal  *journal.Journal
	engine   *engine.Engine
	webhook  *webhook.Handler
	embedded *embedded.Embedded // nil in outside mode
	web      *webconfig.File
	gate     *console.Gate
	console  *console.Console
	hurry    chan struct{}
	signer   *notify.Signer
	outbox   *notify.Outbox
	keeper   *silence.Keeper // nil where there is no Alertmanager to ask
	delivery *inbox.Delivery // the same

	scheduler *schedule.Scheduler

	reloaded reloadMetrics

	known  atomic.Pointer[console.Names] // of the configuration in force
	people atomic.Pointer[people]        // who is notified under it

	queue sync.Mutex
	next  *reload // that has not begun

	mu     sync.Mutex // held during a reload
	config *config.Config
	pieces pieces
	read   time.Time // when the last reload ended
}

// New opens the store and the address to listen on, and prepares the rest. It
// asks no target and serves nothing yet.
func New(ctx context.Context, c *config.Config, o Options) (*App, error) {
	if o.Rules == nil {
		o.Rules = alerts.Files()
	}
	a := &App{options: o, log: o.Logger, registry: prometheus.NewRegistry(), start: c, config: c, hurry: make(chan struct{}, 1)}
	if err := a.open(ctx, c); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *App) open(ctx context.Context, c *config.Config) (err error) {
	a.registry.MustRegister(promcollectors.NewGoCollector(), promcollectors.NewProcessCollector(promcollectors.ProcessCollectorOpts{}), buildInfo(a.options.Version))
	a.reloaded = newReloadMetrics(a.registry)
	if a.web, err = webconfig.New(c.Web.ConfigFile, c.Web.Token(), a.log.With("component", "web")); err != nil {
		return err
	}
	if a.store, err = store.Open(ctx, storeOptions(c, true)); err != nil {
		return err
	}
	if a.listener, err = net.Listen("tcp", c.Web.Listen); err != nil {
		return fmt.Errorf("web.listen: %w", err)
	}
	a.remediation()
	if err := a.embed(); err != nil {
		return err
	}
	if err := a.carriers(ctx); err != nil {
		return err
	}
	if err := a.page(); err != nil {
		return err
	}
	return a.use(c)
}

// remediation makes what is between an alert and its effect.
func (a *App) remediation() {
	c := a.start
	a.journal = journal.New(journal.Config{Store: a.store, Name: instanceName(), Lease: c.Engine.Lease, Shared: a.store.Shared()})
	a.inbox = inbox.New(inbox.Config{Store: a.store, FlapWindow: c.Engine.Flap, Wake: func() { a.engine.Wake() }})
	a.scraper = scrape.New(scrape.Config{Logger: a.log.With("component", "scrape"), Registry: a.registry})
	a.gate = console.NewGate(c.Web.Token())
	a.webhook = webhook.New(webhook.Config{
		Inbox: a.inbox, Authorize: a.gate.Authorize, Truncated: a.reconcileNow,
		Signature: webhook.Signature{Secret: c.Grafana.Secret(), Timestamp: c.Grafana.TimestampHeader},
		Logger:    a.log.With("component", "webhook"), Registerer: a.registry,
	})
}

// carriers makes what carries runs. It is the last, since it asks all others.
func (a *App) carriers(ctx context.Context) error {
	c := a.start
	signer, err := notify.NewSigner(ctx, a.store)
	if err != nil {
		return err
	}
	a.signer = signer
	a.outbox = notify.New(notify.Config{Store: a.store, Link: console.NotificationLinks(a.externalURL(), a.signer), Over: a.over, Logger: a.log.With("component", "notify"), Registerer: a.registry})
	e := engine.Config{
		Journal: a.journal, Queue: a.journal, Desk: a.journal, Members: a.journal, Demoter: a.journal, Watch: a.journal, Inbox: a.inbox,
		Refresh:     func(metric, server string) { a.scraper.Refresh(metric, server) },
		Notified:    a.outbox.Wake,
		Announce:    a.announced,
		Concurrency: c.Engine.Concurrency, Lease: c.Engine.Lease, Alone: !a.store.Shared(), Unmoved: a.journal.Unmoved,
		Logger: a.log.With("component", "engine"), Registerer: a.registry,
	}
	if p, ok := a.prometheus(); ok {
		e.Rules = p
	}
	if am, ok := a.alertmanager(); ok {
		a.keeper = &silence.Keeper{Store: a.store, Logger: a.log.With("component", "silence")}
		for _, url := range am.URLs {
			a.keeper.Alertmanagers = append(a.keeper.Alertmanagers, prom.Alertmanager{URL: url, Client: am.Client})
		}
		e.Silences = a.keeper
		a.delivery = &inbox.Delivery{Inbox: a.inbox, Alertmanager: am}
	}
	a.engine = engine.New(e)
	a.scheduler = schedule.NewScheduler(schedule.Config{
		Store: a.store, Journal: a.journal, Query: a.query, Wake: a.engine.Wake, Logger: a.log.With("component", "schedule"),
	}, nil)
	a.registry.MustRegister(a.journal, a.inbox, a.scheduler)
	return nil
}

// instanceName tells people which process it is.
func instanceName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// OpenStore opens the store that a configuration names.
func OpenStore(ctx context.Context, c *config.Config) (*store.Store, error) {
	return store.Open(ctx, storeOptions(c, false))
}

// storeOptions say which store a configuration names. A late one is served without until
// it can be had: metrics go on, and deliveries are answered 503.
func storeOptions(c *config.Config, late bool) store.Options {
	return store.Options{Dir: c.DataDir, Postgres: c.Store.URL, Password: c.Store.Password(), Late: late}
}

func (a *App) reconcileNow() {
	select {
	case a.hurry <- struct{}{}:
	default: // it is about to
	}
}

// embed makes Prometheus and Alertmanager, where the configuration wants them.
func (a *App) embed() error {
	c := a.start
	if !c.Embedded.Enabled {
		return nil
	}
	external, err := url.Parse(a.externalURL())
	if err != nil {
		return fmt.Errorf("web.external_url: %w", err)
	}
	informed, err := newPeople(c, a.externalURL(), a.log)
	if err != nil {
		return err
	}
	a.embedded, err = embedded.New(embedded.Config{
		Dir:                c.DataDir,
		ScrapeInterval:     c.Embedded.ScrapeInterval,
		EvaluationInterval: c.Embedded.EvaluationInterval,
		Retention:          c.Embedded.Retention,
		RetentionSize:      c.Embedded.RetentionSize,
		Parts:              a.parts(c, informed),
		ConfigDir:          c.Embedded.Dir(),
		Rewrite:            runbooks.At(a.externalURL()),
		Metrics:            a.scraper,
		Webhook:            a.webhook.Trusted(),
		ExternalURL:        external,
		GroupWait:          c.Embedded.GroupWait,
		GroupInterval:      c.Embedded.GroupInterval,
		ResendDelay:        c.Embedded.ResendDelay,
		Logger:             slog.New(quiet{a.log.With("component", "embedded").Handler()}),
		Registerer:         prometheus.NewRegistry(), // private registry: the libraries' own metrics are not exported
	})
	if err != nil {
		return err
	}
	a.registry.MustRegister(a.embedded)
	return nil
}

// parts are what of the embedded ones a reload may replace.
func (a *App) parts(c *config.Config, informed people) embedded.Parts {
	return embedded.Parts{
		Rules: a.options.Rules, RuleFiles: c.Embedded.RuleFiles, Routing: informed.routing,
		ScrapeConfigs: string(c.Embedded.ScrapeConfigs), RemoteWrite: string(c.Embedded.RemoteWrite),
	}
}

// quiet logs the libraries' own messages at the level debug only: how they
// replay a log does not matter in normal operation.
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
	if a.start.Web.ExternalURL != "" {
		return a.start.Web.ExternalURL
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
		Scraper: a.scraper, Inbox: a.inbox, Journal: a.journal, Engine: a.engine, Scheduler: a.scheduler,
		Gate: a.gate, Names: a.names, Limits: limits, Version: a.options.Version, Logger: a.log.With("component", "console"), Signer: a.signer,
	})
	return nil
}

// Run serves until ctx is done, and then ends in order: requests are refused,
// runs stop where they can continue later, the store is closed last.
func (a *App) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.scraper.Run(ctx) })
	group.Go(func() error { return a.engine.Run(ctx) })
	if a.embedded != nil {
		group.Go(func() error { return a.embedded.Run(ctx) })
	}
	unlisted := inbox.Unlisted{Sources: []string{webhook.Grafana}, After: a.config.Engine.ExpireAfter, Every: a.config.Engine.ReconcileInterval, Logger: a.log.With("component", "inbox")}
	if am, ok := a.alertmanager(); ok {
		group.Go(func() error { return a.inbox.Watch(ctx, am) })
		group.Go(func() error { return a.keeper.Run(ctx) })
	} else {
		unlisted.Sources = append(unlisted.Sources, webhook.Alertmanager)
	}
	group.Go(func() error { return a.inbox.Expire(ctx, unlisted) })
	group.Go(func() error { return a.outbox.Run(ctx) })
	group.Go(func() error { return a.scheduler.Run(ctx) })
	group.Go(func() error { a.audit(ctx); return nil })
	server := &http.Server{
		Handler: a.router(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.With("component", "web").Handler(), slog.LevelWarn), // of handshakes, in the form of all others
	}
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
	a.log.Info("upkeep serves", "address", a.Addr(), "data_dir", a.start.DataDir, "embedded", a.embedded != nil)
	err := group.Wait()
	return errors.Join(err, a.close())
}

// auditAgain is how soon the journal is read again that could not be read to its end.
const auditAgain = 3 * time.Second

// audit reads the journal once, from its beginning. If the journal was
// changed, that is logged and exported; upkeep goes on, since the servers still need it. One that
// cannot be read says nothing, and is read again.
func (a *App) audit(ctx context.Context) {
	intact := prometheus.NewGauge(prometheus.GaugeOpts{Name: "upkeep_journal_intact", Help: "1 when every entry of the journal was unchanged at the start of the process, else 0."})
	for {
		entries, err := a.journal.Verify(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			intact.Set(1)
			a.log.Debug("the journal is unchanged", "entries", entries)
			a.registry.MustRegister(intact) // not before it is known
			return
		case journal.Broken(err):
			a.log.Error("the journal was changed", "err", err)
			a.registry.MustRegister(intact)
			return
		}
		a.log.Warn("the journal could not be read; retrying", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(auditAgain):
		}
	}
}

// alertmanager says which Alertmanager is asked what is still there, if one is.
func (a *App) alertmanager() (inbox.Alertmanager, bool) {
	am := inbox.Alertmanager{
		URLs: a.start.Alertmanager.All(), Receiver: a.start.Alertmanager.Receiver, Source: webhook.Alertmanager,
		Every: a.start.Engine.ReconcileInterval, Absent: a.start.Engine.ResolveAfter,
		Hurry: a.hurry, Logger: a.log.With("component", "inbox"),
	}
	if a.embedded != nil {
		am.URLs, am.Receiver = []string{inProcess}, embedded.Receiver
		am.Client = a.embedded.Client()
	}
	return am, len(am.URLs) > 0
}

// inProcess is the address of the Prometheus and the Alertmanager within the process,
// whose client goes there whatever the host.
const inProcess = "http://embedded"

// prometheus says which Prometheus is asked for expressions, if one is.
func (a *App) prometheus() (prom.Prometheus, bool) {
	if a.embedded != nil {
		return prom.Prometheus{URL: inProcess, Client: a.embedded.Client()}, true
	}
	return prom.Prometheus{URL: a.start.Prometheus.URL}, a.start.Prometheus.URL != ""
}

// query asks for the subjects of a schedule.
func (a *App) query(ctx context.Context, expr string, at time.Time) (labels []map[string]string, err error) {
	p, ok := a.prometheus()
	if !ok {
		return nil, errors.New("no Prometheus is configured; set prometheus.url")
	}
	samples, err := p.Query(ctx, expr, at)
	for _, s := range samples {
		labels = append(labels, s.Labels)
	}
	return labels, err
}

func (a *App) close() error {
	var err error
	if a.listener != nil {
		if e := a.listener.Close(); !errors.Is(e, net.ErrClosed) {
			err = e
		}
	}
	a.mu.Lock()
	a.pieces.close(nil)
	a.mu.Unlock()
	if a.store != nil {
		err = errors.Join(err, a.store.Close())
	}
	return err
}
