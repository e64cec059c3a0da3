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
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/platform/webconfig"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
	"github.com/ai-micro-service/upkeep/remediate/retention"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
	"github.com/ai-micro-service/upkeep/remediate/silence"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// farewell is how long the answers that are under way may take at the end.
const farewell = 5 * time.Second

// unreadyEvery is how often the log says why upkeep is not ready.
const unreadyEvery = 10 * time.Second

// maxHeader is far above the longest approval link and what proxies add.
const maxHeader = 64 << 10

// component is the logger of a part.
func (a *App) component(name string) *slog.Logger { return a.log.With("component", name) }

// Options is what an App needs beside its configuration.
type Options struct {
	Version string
	Logger  *slog.Logger

	// Load reads the configuration again, for a reload; nil: a reload is not possible.
	Load func() (*config.Config, error)

	// Rules are the rule files of the embedded Prometheus; the shipped ones where nil.
	Rules fs.FS

	// Now tells which month is to be reviewed; time.Now where nil.
	Now func() time.Time
}

// An App is one upkeep.
type App struct {
	options  Options
	log      *slog.Logger
	registry *prometheus.Registry
	listener net.Listener
	start    *config.Config // for what a reload cannot change
	parts    []part

	store    *store.Store
	scraper  *scrape.Scraper
	looker   *look.Looker
	inbox    *inbox.Inbox
	journal  *journal.Journal
	engine   *engine.Engine
	webhook  *webhook.Handler
	embedded *embedded.Embedded // nil in outside mode
	web      *webconfig.File
	access   *access.Guard
	conns    *web.Conns
	console  *console.Console
	hurry    chan struct{}
	signer   *notify.Signer
	outbox   *notify.Outbox
	keeper   *silence.Keeper // nil where there is no Alertmanager to ask
	delivery *inbox.Delivery // the same

	scheduler *schedule.Scheduler
	sweeper   *retention.Sweeper

	reloaded reloadMetrics
	unready  rate.Sometimes // says in the log why, and not for each who asks

	// limits returns the limits in the rules, which are parsed once.
	limits func() (map[string]float64, error)

	known  atomic.Pointer[console.Names] // of the configuration in force
	loaded atomic.Pointer[console.Loaded]
	people atomic.Pointer[people] // who is notified under it

	queue sync.Mutex
	next  *reload // that has not begun

	mu     sync.Mutex // held during a reload
	config *config.Config
	pieces pieces
	read   time.Time // when the last reload ended
}

// instanceName names this process for people.
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

// embeddedParts are what of the embedded ones a reload may replace.
func (a *App) embeddedParts(c *config.Config, informed people) embedded.Parts {
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

// auditAgain is how soon the journal is read again that could not be read to its end.
const auditAgain = 3 * time.Second

// audit reads the journal once, from its beginning. If the journal was
// changed, that is logged and exported; upkeep goes on, since the servers still need it. One that
// cannot be read says nothing, and is read again.
func (a *App) audit(ctx context.Context) error {
	for {
		v, err := a.journal.Verify(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			metric.NewGauge(a.registry, journal.Intact()).WithLabelValues().Set(1) // not before it is known
			a.log.Debug("the journal is unchanged", "entries", v.Entries)
			return nil
		case journal.Broken(err):
			a.log.Error("the journal was changed", "err", err)
			metric.NewGauge(a.registry, journal.Intact()).WithLabelValues().Set(0)
			return nil
		}
		a.log.Warn("the journal could not be read; retrying", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(auditAgain):
		}
	}
}

// alertmanager says which Alertmanager is asked what is still there, if one is.
func (a *App) alertmanager() (inbox.Alertmanager, bool) {
	c := a.start.Alertmanager
	am := inbox.Alertmanager{
		URLs: c.All(), Receiver: c.Receiver, Source: remediate.SourceAlertmanager,
		Client: prom.LoggedIn(c.User, c.Password(), c.All()...),
		Every:  a.start.Engine.ReconcileInterval, Absent: a.start.Engine.ResolveAfter,
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
	p := a.start.Prometheus
	return prom.Prometheus{URL: p.URL, Client: prom.LoggedIn(p.User, p.Password(), p.URL)}, p.URL != ""
}

// asker returns the same for the console, or nil.
func (a *App) asker() report.Prometheus {
	if p, ok := a.prometheus(); ok {
		return p
	}
	return nil
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

// A part is one of those that an upkeep is made of. All are opened in the order of the list,
// and run until the end. A reload prepares all of them before it changes any.
type part struct {
	// open makes the part, by the configuration of the start. Those before it are there.
	open func(ctx context.Context) error

	// prepare makes of a configuration what can fail, and changes nothing; nil: a reload
	// changes nothing here. What the parts before have made is in the draft.
	prepare func(d *draft) (change, error)

	// run blocks until ctx is done; nil: there is nothing to run.
	run func(ctx context.Context) error
}

// A draft is a configuration that is being prepared, with what was made of it so far.
type draft struct {
	config *config.Config
	first  bool // it is the configuration of the start
	same   bool // it is equal to the one in force: only the files that it names may differ

	people    people
	schedules []schedule.Schedule
	made      pieces
}

// A change is what a part has prepared.
type change struct {
	// try puts the change in force where that may still fail, and has then changed nothing. At
	// most one part has it: it is tried before any other change is in force, and also where
	// the configuration is the same.
	try func() error

	use  func() // puts the change in force; it cannot fail
	drop func() // gives up what was made for a change that is not put in force
}

// people are those who are notified under a configuration.
type people struct {
	routing   embedded.Routing // of alerts
	notifiers []notify.Named   // of what upkeep does
}

// A reload is one reading of the configuration, for all who ask before it begins.
type reload struct {
	done chan struct{}
	err  error
}

// reloadMetrics say how the last reload went.
type reloadMetrics struct{ ok, at prometheus.Gauge }

func newReloadMetrics(r prometheus.Registerer) reloadMetrics {
	return reloadMetrics{
		ok: metric.NewGauge(r, catalog.ReloadSuccess()).WithLabelValues(),
		at: metric.NewGauge(r, catalog.ReloadTime()).WithLabelValues(),
	}
}

func (m reloadMetrics) observe(err error) {
	if err != nil {
		m.ok.Set(0)
		return
	}
	m.ok.Set(1)
	m.at.SetToCurrentTime()
}
