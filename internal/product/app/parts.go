package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promcollectors "github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/docs/runbooks"
	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/platform/webconfig"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
	"github.com/ai-micro-service/upkeep/remediate/silence"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// list returns the parts of an upkeep: each works with those before it. A reload takes the
// connections of a target from the collectors before it takes them from the runs.
func (a *App) list() []part {
	return []part{
		{open: a.openProcess},
		{open: a.openStore},
		{open: a.openAccess, prepare: a.prepareAccess},
		{prepare: a.prepareTargets},
		{open: a.openCollectors, prepare: a.prepareCollectors,
			run: func(ctx context.Context) error { return a.scraper.Run(ctx) }},
		{open: a.openJournal, prepare: a.prepareJournal, run: a.audit},
		{open: a.openInbox, run: a.expire},
		{open: a.openEmbedded, prepare: a.prepareEmbedded, run: a.runEmbedded},
		{open: a.openNotifications, prepare: a.prepareNotifications,
			run: func(ctx context.Context) error { return a.outbox.Run(ctx) }},
		{open: a.openAlertmanager, run: a.reconcile},
		{run: a.sweep},
		{open: a.openRetention, run: func(ctx context.Context) error { return a.sweeper.Run(ctx) }},
		{open: a.openEngine, prepare: a.prepareEngine,
			run: func(ctx context.Context) error { return a.engine.Run(ctx) }},
		{open: a.openSchedules, prepare: a.prepareSchedules,
			run: func(ctx context.Context) error { return a.scheduler.Run(ctx) }},
		{run: a.sendReviews},
		{open: a.openPages, prepare: a.preparePages, run: a.serve},
	}
}

// openProcess makes what is served of the process itself.
func (a *App) openProcess(context.Context) error {
	a.registry.MustRegister(promcollectors.NewGoCollector(),
		promcollectors.NewProcessCollector(promcollectors.ProcessCollectorOpts{}))
	a.reloaded = newReloadMetrics(a.registry)
	return nil
}

// openStore takes what others must not have at the same time: the store and the address.
func (a *App) openStore(ctx context.Context) (err error) {
	c := a.start
	if a.web, err = webconfig.New(c.Web.ConfigFile, a.component("web")); err != nil {
		return err
	}
	go func() { _, _ = a.limits() }() // a start waits for the disk here: the rules are parsed meanwhile
	if a.store, err = store.Open(ctx, storeOptions(c, true)); err != nil {
		return err
	}
	if a.listener, err = net.Listen("tcp", c.Web.Listen); err != nil {
		return fmt.Errorf("web.listen: %w", err)
	}
	at := strings.TrimSuffix(a.externalURL(), "/")
	metric.NewGauge(a.registry, catalog.BuildInfo()).WithLabelValues(a.options.Version, at).Set(1)
	return nil
}

// prepareTargets makes the targets. One whose configuration has not changed stays. The
// connections of one that has end when no run uses them any more: prepareEngine.
func (a *App) prepareTargets(d *draft) (_ change, err error) {
	d.made, err = targets(d.config, a.pieces, a.store)
	return change{drop: func() { d.made.close(a.pieces) }}, err
}

func (a *App) openCollectors(context.Context) error {
	a.scraper = scrape.New(scrape.Config{Logger: a.component("scrape"), Registry: a.registry})
	a.looker = look.New(a.scraper, func() (forecast.Asker, bool) {
		if p, ok := a.prometheus(); ok {
			return p, a.embedded == nil || a.embedded.Ready()
		}
		return nil, false
	})
	return nil
}

func (a *App) prepareCollectors(d *draft) (change, error) {
	use, err := a.scraper.Prepare(configured(d.config, d.made.collectors()))
	return change{use: func() {
		use()
		a.looker.Use(d.made.set())
	}}, err
}

func (a *App) openJournal(context.Context) error {
	a.journal = journal.New(journal.Config{
		Store: a.store, Name: instanceName(), Lease: a.start.Engine.Lease, Shared: a.store.Shared(),
	})
	a.registry.MustRegister(a.journal)
	return nil
}

func (a *App) prepareJournal(d *draft) (change, error) {
	return change{use: func() { a.journal.Expect(expected(d.config)) }}, nil
}

// openInbox makes what takes alerts in.
func (a *App) openInbox(context.Context) error {
	c := a.start
	a.inbox = inbox.New(inbox.Config{
		Store: a.store, FlapWindow: c.Engine.Flap, Sources: webhook.Names(), Wake: func() { a.engine.Alerted() },
		Limits: inbox.Limits{All: c.Engine.MaxIncidents, PerAlert: c.Engine.MaxIncidentsPerAlert}, Page: a.page,
	})
	a.registry.MustRegister(a.inbox)
	a.webhook = webhook.New(webhook.Config{
		Inbox: a.inbox, Truncated: a.reconcileNow,
		Signatures: map[string]webhook.Signature{
			webhook.Grafana().Name: {Secret: c.Grafana.Secret(), Timestamp: c.Grafana.TimestampHeader},
		},
		Logger: a.component("webhook"), Registerer: a.registry,
	})
	return nil
}

// expire closes the incidents of sources that cannot be asked which of their alerts still fire.
func (a *App) expire(ctx context.Context) error {
	e := a.start.Engine
	return a.inbox.Expire(ctx, inbox.Unlisted{
		Sources: webhook.Unlisted(a.keeper != nil), After: e.ExpireAfter, Every: e.ReconcileInterval,
		Logger: a.component("inbox"),
	})
}

// openEmbedded makes Prometheus and Alertmanager, where the configuration wants them.
func (a *App) openEmbedded(context.Context) error {
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
		DailyRetention:     c.Embedded.DailyRetention,
		RetentionSize:      c.Embedded.RetentionSize,
		Parts:              a.embeddedParts(c, informed),
		ConfigDir:          c.Embedded.Dir(),
		Rewrite:            runbooks.At(a.externalURL()),
		Metrics:            a.scraper,
		Webhook:            a.webhook.Trusted(),
		ExternalURL:        external,
		GroupWait:          c.Embedded.GroupWait,
		GroupInterval:      c.Embedded.GroupInterval,
		ResendDelay:        c.Embedded.ResendDelay,
		Limits: embedded.AlertLimits{All: c.Engine.MaxIncidents, PerName: c.Engine.MaxIncidentsPerAlert,
			Refused: a.inbox.Turned},
		Logger:     slog.New(quiet{a.component("embedded").Handler()}),
		Registerer: prometheus.NewRegistry(), // private registry: the libraries' own metrics are not exported
	})
	if err != nil {
		return err
	}
	a.registry.MustRegister(a.embedded)
	return nil
}

// prepareEmbedded makes other rules, routes and scrape configurations. Files that they name
// are read again when they are put in force, and may have become wrong since: it is tried.
func (a *App) prepareEmbedded(d *draft) (_ change, err error) {
	if d.people, err = newPeople(d.config, a.externalURL(), a.log); err != nil {
		return change{}, err
	}
	if a.embedded == nil || d.first { // it was opened with these
		return change{}, nil
	}
	made, err := a.embedded.Prepare(a.embeddedParts(d.config, d.people))
	if err != nil {
		return change{}, err
	}
	return change{try: made.Use}, nil
}

func (a *App) runEmbedded(ctx context.Context) error {
	if a.embedded == nil {
		return nil
	}
	return a.embedded.Run(ctx)
}

func (a *App) openNotifications(ctx context.Context) (err error) {
	if a.signer, err = notify.NewSigner(ctx, a.store); err != nil {
		return err
	}
	a.outbox = notify.New(notify.Config{
		Store: a.store, Link: console.NotificationLinks(a.externalURL(), a.signer), Over: a.over,
		Rate:   notify.Rate{Most: mostMessages, Every: messageEvery},
		Logger: a.component("notify"), Registerer: a.registry,
	})
	return nil
}

func (a *App) prepareNotifications(d *draft) (change, error) {
	return change{use: func() {
		a.people.Store(&d.people)
		a.outbox.Use(d.people.notifiers)
	}}, nil
}

// openAlertmanager makes what asks Alertmanager, where there is one.
func (a *App) openAlertmanager(context.Context) error {
	am, ok := a.alertmanager()
	if !ok {
		return nil
	}
	a.keeper = &silence.Keeper{Store: a.store, Logger: a.component("silence")}
	for _, url := range am.URLs {
		a.keeper.Alertmanagers = append(a.keeper.Alertmanagers, prom.Alertmanager{URL: url, Client: am.Client})
	}
	a.delivery = &inbox.Delivery{Inbox: a.inbox, Alertmanager: am}
	return nil
}

// reconcile compares the open incidents with Alertmanager's list.
func (a *App) reconcile(ctx context.Context) error {
	am, ok := a.alertmanager()
	if !ok {
		return nil
	}
	return a.inbox.Watch(ctx, am)
}

// sweep ends the silences of runs that have ended.
func (a *App) sweep(ctx context.Context) error {
	if a.keeper == nil {
		return nil
	}
	return a.keeper.Run(ctx)
}

func (a *App) openEngine(context.Context) error {
	c := engine.Config{
		Journal: a.journal, Inbox: a.inbox,
		Refresh:     func(metric, server string) { a.scraper.Refresh(metric, server) },
		Notified:    a.outbox.Wake,
		Announce:    a.announced,
		Concurrency: a.start.Engine.Concurrency, Alone: !a.store.Shared(),
		Logger: a.component("engine"), Registerer: a.registry,
	}
	if p, ok := a.prometheus(); ok {
		c.Rules = p
	}
	c.Known = a.knownRules().all
	if a.keeper != nil {
		c.Silences = a.keeper
	}
	a.engine = engine.New(c)
	return nil
}

func (a *App) prepareEngine(d *draft) (_ change, err error) {
	c := d.config
	if d.schedules, err = a.schedules(c); err != nil {
		return change{}, err
	}
	old := a.pieces
	use, err := a.engine.Prepare(engine.Setting{
		Actions: addressed(c, d.made.actions()), Policies: c.Book(Known().Actions).Policies,
		Schedules: requests(d.schedules), Guards: a.guard(c),
		Freed: func() { go old.close(d.made) }, // waits for what a collector asks
	})
	return change{use: use}, err
}

func (a *App) openSchedules(context.Context) error {
	a.scheduler = schedule.NewScheduler(schedule.Config{
		Store: a.store, Journal: a.journal, Query: a.query, Wake: a.engine.Wake, Logger: a.component("schedule"),
	}, nil)
	a.registry.MustRegister(a.scheduler)
	return nil
}

func (a *App) prepareSchedules(d *draft) (change, error) {
	return change{use: func() { a.scheduler.Use(d.schedules) }}, nil
}

func (a *App) openPages(context.Context) error {
	limits, err := a.limits()
	if err != nil {
		return err
	}
	var quiet console.Quiet // nil, and no nil of another type, where there is no Alertmanager
	var silences func(ctx context.Context) ([]inbox.Silence, error)
	if a.delivery != nil {
		quiet, silences = a.delivery, a.delivery.Silences
	}
	a.console = console.New(console.Config{
		Portal: portal.Portal{Guard: a.access, External: a.externalURL(), Version: a.options.Version,
			Logger: a.component("console")},
		Scraper: a.scraper, Inbox: a.inbox, Journal: a.journal, Engine: a.engine, Scheduler: a.scheduler,
		OtherPerson: a.start.Approvals.OtherPerson, Metrics: a.asker, Names: a.names, Limits: limits,
		Signer: a.signer, Quiet: quiet, Silences: silences, Look: a.looker.Look, Loaded: a.inForce,
		Rights: func(ctx context.Context) page.Rights {
			return console.FindRights(ctx, a.inForce(), a.engine.Actions())
		},
	})
	return nil
}

func (a *App) preparePages(d *draft) (change, error) {
	known, loaded := names(d.config, d.made), console.Loaded{Config: d.config, Targets: d.made.set()}
	return change{use: func() {
		a.known.Store(known)
		a.loaded.Store(&loaded)
	}}, nil
}

// serve answers requests until ctx is done; those under way then may end.
func (a *App) serve(ctx context.Context) error {
	server := &http.Server{
		Handler: a.router(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader, ConnState: a.conns.State,
		ConnContext:  web.FramedContext,
		WriteTimeout: 2 * time.Minute, // each route has its own
		// of handshakes, in the form of all others
		ErrorLog: slog.NewLogLogger(a.component("web").Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(a.console.Farewell)
	ended := make(chan error, 1)
	go func() { ended <- a.answer(server) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	err := server.Shutdown(last)
	if err != nil {
		err = server.Close()
	}
	return errors.Join(err, <-ended)
}
