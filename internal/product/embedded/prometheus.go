package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/route"
	"github.com/prometheus/common/version"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/prometheus/prometheus/util/notifications"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"
	"golang.org/x/sync/errgroup"
)

const (
	// A small site has a few thousand series; the defaults are for millions and
	// cost some tens of megabytes for nothing.
	stripes     = 1 << 10
	chunkBuffer = 256 << 10

	queryTimeout = QueryTimeout
	maxSamples   = 20_000_000
	lookback     = 5 * time.Minute

	// As Prometheus' own default: blocks are joined up to a tenth of the retention, and this. The
	// library's is two hours, and a month is read from 360 of them.
	longestBlock = 31 * 24 * time.Hour

	// As Prometheus' own defaults: how long a pause is no reason to begin the
	// "for" of an alert anew, and what is left of it at least after a start.
	outageTolerance = time.Hour
	forGracePeriod  = 10 * time.Minute

	// rereadTargets is how soon a target is scraped that was found.
	rereadTargets = 100 * time.Millisecond
)

func newProm(c Config, p *pipe, notify rules.NotifyFunc) (_ *prom, err error) {
	own, err := promConfig(c)
	if err == nil {
		err = connectable(own)
	}
	if err != nil {
		return nil, err
	}
	m := &prom{config: c, begun: time.Now()}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.own.Store(own)
	if err := m.openStorage(c, own); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.closeStorage())
		}
	}()
	m.writer = newWriter(c, m.db, func() (*scrape.Manager, error) { return m.scraper, nil })
	m.scraper, err = scrape.NewManager(&scrape.Options{
		HTTPClientOptions:        []config.HTTPClientOption{config.WithDialContextFunc(p.dial)},
		DiscoveryReloadInterval:  model.Duration(rereadTargets),
		DiscoveryReloadOnStartup: true,
	}, c.Logger.With("part", "scrape"), nil, nil, m.writer, c.Registerer)
	if err != nil {
		return nil, err
	}
	found, err := discovery.CreateAndRegisterSDMetrics(c.Registerer)
	if err != nil {
		return nil, err
	}
	m.finder = discovery.NewManager(m.ctx, c.Logger.With("part", "discovery"), c.Registerer, found,
		discovery.Name("scrape"), discovery.Updatert(rereadTargets))
	if m.finder == nil {
		return nil, errors.New("what finds targets cannot be made")
	}
	if err := m.apply(own); err != nil {
		return nil, err
	}

	engine := promql.NewEngine(promql.EngineOpts{
		Logger: c.Logger.With("part", "promql"), Reg: c.Registerer, MaxSamples: maxSamples, Timeout: queryTimeout,
		LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true, Parser: promqlParser(),
		NoStepSubqueryIntervalFn: noStep,
	})
	if err := m.newRules(c, engine, notify); err != nil {
		return nil, err
	}
	m.api = m.newAPI(engine, c.Registerer)
	for b := range budgets {
		m.within[b] = m.budgeted(b)
	}
	return m, nil
}

// newRules makes the rule manager and loads the rules.
func (m *prom) newRules(c Config, engine *promql.Engine, notify rules.NotifyFunc) error {
	m.rules = rules.NewManager(&rules.ManagerOptions{
		ExternalURL: c.ExternalURL, QueryFunc: rules.EngineQueryFunc(engine, m.all), NotifyFunc: notify, Context: m.ctx,
		AppendableV2: m.writer, Queryable: m.all, Logger: c.Logger.With("part", "rules"), Registerer: c.Registerer,
		OutageTolerance: outageTolerance, ForGracePeriod: forGracePeriod, ResendDelay: c.ResendDelay,
		Parser: promqlParser(),
	})
	err := m.load(c.Rules, c.RuleFiles)
	if err == nil || noRoom(err) {
		return err
	}
	// The manager only says that it could not. What is wrong, and in which line, takes as long to
	// find out as to load, so it is asked afterwards.
	return cmp.Or(CheckRules(c.Rules, c.RuleFiles), err)
}

// openStorage opens the storage of the samples and that of the daily values.
func (m *prom) openStorage(c Config, own *promconfig.Config) (err error) {
	if m.db, err = openDB(c, own); err != nil {
		return err
	}
	if m.daily, err = openDaily(c, m.db); err != nil {
		return errors.Join(err, m.db.Close())
	}
	m.all = longer{m.db, m.daily.db}
	return nil
}

func (m *prom) closeStorage() error { return errors.Join(m.daily.close(), m.db.Close()) }

func openDB(c Config, own *promconfig.Config) (*tsdb.DB, error) {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = c.Retention.Milliseconds()
	o.MaxBlockDuration = max(o.MinBlockDuration, min(c.Retention/10, longestBlock).Milliseconds())
	if r := own.StorageConfig.TSDBConfig.Retention; r != nil {
		o.MaxBytes = int64(r.Size)
	}
	o.EnableExemplarStorage, o.MaxExemplars = true, own.StorageConfig.ExemplarsConfig.MaxExemplars
	o.StripeSize = stripes
	o.HeadChunksWriteBufferSize = chunkBuffer
	o.WALCompression = compression.Snappy
	return tsdb.Open(filepath.Join(c.Dir, "tsdb"), c.Logger.With("part", "tsdb"), c.Registerer, o, nil)
}

// apply makes scraping work by a configuration.
func (m *prom) apply(c *promconfig.Config) error {
	jobs, err := discoverers(c)
	if err != nil {
		return err
	}
	if err := m.db.ApplyConfig(c); err != nil { // how many exemplars are kept
		return err
	}
	if err := m.scraper.ApplyConfig(c); err != nil {
		return fmt.Errorf("scrape_configs: %w", hush(err))
	}
	if err := m.finder.ApplyConfig(jobs); err != nil {
		return fmt.Errorf("scrape_configs: %w", hush(err))
	}
	m.own.Store(c)
	return nil
}

func (m *prom) start(group *errgroup.Group) {
	group.Go(func() error {
		if err := m.finder.Run(); m.ctx.Err() == nil {
			return err
		}
		return nil
	})
	group.Go(func() error { return m.scraper.Run(m.finder.SyncCh()) })
	m.writer.use(m.own.Load())
	group.Go(func() error { m.rules.Run(); return nil })
	m.keeping.Go(func() { m.daily.run(m.ctx) })
}

// stop ends scraping and evaluating; the storage can still be read.
func (m *prom) stop() {
	m.scraper.Stop()
	m.cancel()
	m.rules.Stop()
	m.keeping.Wait()
}

// active returns the alerts that the rules hold: they fire, or wait for their time.
func (m *prom) active() map[model.Fingerprint]bool {
	all := make(map[model.Fingerprint]bool)
	for _, r := range m.rules.AlertingRules() {
		for _, a := range r.ActiveAlerts() {
			all[labelSet(a.Labels).Fingerprint()] = true
		}
	}
	return all
}

func (m *prom) close() error { return errors.Join(m.writer.close(), m.closeStorage()) }

// budgeted returns the stock API within a budget.
func (m *prom) budgeted(b Budget) *budgeted {
	l := b.limits()
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: m.config.Logger.With("part", "promql"), MaxSamples: l.samples, Timeout: l.timeout,
		LookbackDelta: lookback, EnableAtModifier: true, EnableNegativeOffset: true, Parser: promqlParser(),
		NoStepSubqueryIntervalFn: noStep,
	})
	return &budgeted{limits: l, api: m.newAPI(frugal{engine, l.steps}, prometheus.NewRegistry()),
		places: make(chan struct{}, l.atOnce+l.waiting), turns: make(chan struct{}, l.atOnce)}
}

// newAPI returns the stock API. It is made at the first request: there is one for each budget,
// and each describes itself in OpenAPI first, which takes longer than to open the storage.
func (m *prom) newAPI(engine promql.QueryEngine, registerer prometheus.Registerer) http.Handler {
	stock := sync.OnceValue(func() http.Handler { return m.stock(engine, registerer) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stock().ServeHTTP(w, r) })
}

// stock makes the stock API. What would change the storage or reach other servers is off.
func (m *prom) stock(engine promql.QueryEngine, registerer prometheus.Registerer) http.Handler {
	info := &apiv1.PrometheusVersion{Version: version.Version, Revision: version.Revision, Branch: version.Branch,
		BuildUser: version.BuildUser, BuildDate: version.BuildDate, GoVersion: version.GoVersion}
	api := apiv1.NewAPI(
		engine, m.all, nil, m.db,
		func(context.Context) apiv1.ScrapePoolsRetriever { return m.scraper },
		func(context.Context) apiv1.TargetRetriever { return m.scraper },
		func(context.Context) apiv1.AlertmanagerRetriever { return ownAlertmanager{m.config.ExternalURL} },
		func() promconfig.Config { return *m.own.Load() },
		map[string]string{},
		apiv1.GlobalURLOptions{ListenAddress: m.config.ExternalURL.Host, Host: m.config.ExternalURL.Host,
			Scheme: m.config.ExternalURL.Scheme},
		func(f http.HandlerFunc) http.HandlerFunc { return f },
		stats{m.db}, m.config.Dir, false, false, 0,
		m.config.Logger.With("part", "api"),
		func(context.Context) apiv1.RulesRetriever { return m.rules },
		0, 1, 1<<20, false, regexp.MustCompile("^$"),
		m.runtimeInfo, info,
		func() []notifications.Notification { return nil },
		func() (<-chan notifications.Notification, func(), bool) { return nil, nil, false },
		noMetrics{}, registerer, nil,
		false, nil, false, false, false, lookback, false, false, nil, nil,
		apiv1.OpenAPIOptions{ExternalURL: m.config.ExternalURL.String(), Version: version.Version},
		promqlParser(), false, queryTimeout,
	)
	r := route.New()
	api.Register(r.WithPrefix("/api/v1"))
	return r
}

func (m *prom) runtimeInfo() (apiv1.RuntimeInfo, error) {
	return apiv1.RuntimeInfo{
		StartTime: m.begun, ServerTime: time.Now(), ReloadConfigSuccess: true, LastConfigTime: m.begun,
		GoroutineCount: runtime.NumGoroutine(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		StorageRetention: model.Duration(m.config.Retention).String(),
	}, nil
}

// ownAlertmanager reports where the Alertmanager is: here.
type ownAlertmanager struct{ external *url.URL }

// Alertmanagers implements the API's question.
func (a ownAlertmanager) Alertmanagers() []*url.URL {
	return []*url.URL{a.external.JoinPath("api/v2/alerts")}
}

// DroppedAlertmanagers implements the API's question.
func (ownAlertmanager) DroppedAlertmanagers() []*url.URL { return nil }

// stats answers what the API asks of the storage, and refuses to change it.
type stats struct{ db *tsdb.DB }

var errReadOnly = errors.New("the storage is read-only for clients")

func (stats) CleanTombstones() error                                         { return errReadOnly }
func (stats) Delete(context.Context, int64, int64, ...*labels.Matcher) error { return errReadOnly }
func (stats) Snapshot(string, bool) error                                    { return errReadOnly }
func (stats) WALReplayStatus() (tsdb.WALReplayStatus, error)                 { return tsdb.WALReplayStatus{}, nil }

func (s stats) BlockMetas() ([]tsdb.BlockMeta, error) { return s.db.BlockMetas(), nil }

func (s stats) Stats(label string, limit int) (*tsdb.Stats, error) {
	return s.db.Head().Stats(label, limit), nil
}

// noMetrics is what the API's own /metrics would be: upkeep has one already.
type noMetrics struct{}

func (noMetrics) Gather() ([]*dto.MetricFamily, error) { return nil, nil }
