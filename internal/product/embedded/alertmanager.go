package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/route"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/strutil"
)

const (
	repeatInterval = 4 * time.Hour    // of an alert that goes on firing
	retention      = 120 * time.Hour  // of silences and notifications that are over
	maintenance    = 15 * time.Minute // removes what is over; changes are written at once
	alertGC        = 30 * time.Minute // removes resolved alerts
	dispatchGC     = 30 * time.Second // removes empty groups
	deliverAtLeast = 10 * time.Second // how long a delivery may take
)

// An alertmanager is Alertmanager without its command. What depends on its
// configuration is in the routed, which a reload replaces.
type alertmanager struct {
	log       *slog.Logger
	config    Config
	pipe      *pipe
	alerts    *mem.Alerts
	silences  *silence.Silences
	silencer  *silence.Silencer
	groups    marker.GroupMarker
	pipelines *notify.PipelineBuilder
	measured  *dispatch.DispatcherMetrics
	silenced  *snapshotFile
	notified  *durableLog
	kept      *keptAlerts
	stock     *api.API
	api       http.Handler
	ended     chan struct{} // closed to end the maintenance
	cancel    context.CancelFunc

	mu     sync.Mutex // held while the routed is replaced
	routed *routed    // nil before the start and after the end
}

func newAlertmanager(c Config, p *pipe) (*alertmanager, error) {
	if !compat.IsValidLabelName("in.utf-8") { // the library begins with the classic parser, and its command does not
		compat.InitFromFlags(slog.New(slog.DiscardHandler), featurecontrol.NoopFlags{})
	}
	a := &alertmanager{log: c.Logger.With("part", "alertmanager"), config: c, pipe: p, ended: make(chan struct{})}
	if err := a.openLogs(c); err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, a.cancel = context.WithCancel(context.Background()) // of the store of alerts; ended by close
	recorder := eventrecorder.NopRecorder()
	var err error
	if a.alerts, err = mem.NewAlerts(ctx, alertGC, 0, nil, a.log, recorder, c.Registerer, featurecontrol.NoopFlags{}); err != nil {
		return nil, err
	}
	a.groups = marker.NewGroupMarker()
	a.silencer = silence.NewSilencer(a.silences, a.log, recorder)
	a.pipelines = notify.NewPipelineBuilder(c.Registerer, featurecontrol.NoopFlags{}, recorder)
	a.measured = dispatch.NewDispatcherMetrics(false, c.Registerer, featurecontrol.NoopFlags{})
	first, err := a.prepare(c.Routing)
	if err != nil {
		return nil, err
	}
	if err := a.serve(); err != nil {
		return nil, err
	}
	a.stock.Update(first.conf, func(_ context.Context, l model.LabelSet) {}) // it answers before the start, too
	return a, nil
}

// openLogs reads what was silenced, what was notified and what fired.
func (a *alertmanager) openLogs(c Config) (err error) {
	silencesFile, nflogFile := filepath.Join(c.Dir, "silences"), filepath.Join(c.Dir, "nflog")
	a.silences, err = silence.New(silence.Options{SnapshotFile: silencesFile, Retention: retention, Logger: a.log, Metrics: c.Registerer, EventRecorder: eventrecorder.NopRecorder()})
	if err != nil {
		return fmt.Errorf("silences: %w", err)
	}
	l, err := nflog.New(nflog.Options{SnapshotFile: nflogFile, Retention: retention, Logger: a.log, Metrics: c.Registerer})
	if err != nil {
		return fmt.Errorf("notification log: %w", err)
	}
	a.silenced = &snapshotFile{path: silencesFile, snapshot: a.silences.Snapshot}
	a.notified = &durableLog{log: l, file: &snapshotFile{path: nflogFile, snapshot: l.Snapshot}}
	a.kept, err = openKept(filepath.Join(c.Dir, "alerts"))
	return err
}

// serve makes the stock API.
func (a *alertmanager) serve() (err error) {
	a.stock, err = api.New(api.Options{
		Alerts: a.alerts, Silences: a.silences, GroupMutedFunc: a.groups.Muted, Logger: a.log, Registry: a.config.Registerer,
		RequestDuration: requestDuration(a.config.Registerer),
		GroupFunc: func(ctx context.Context, r func(*dispatch.Route) bool, f func(*alert.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
			a.mu.Lock()
			now := a.routed
			a.mu.Unlock()
			if now == nil {
				return nil, nil, nil
			}
			return now.dispatcher.Groups(ctx, r, f)
		},
	})
	if err != nil {
		return err
	}
	a.api = durable(a.stock.Register(route.New(), "/"), a.silenced)
	return nil
}

func requestDuration(r prometheus.Registerer) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "alertmanager_http_request_duration_seconds", Help: "Histogram of latencies for HTTP requests.", Buckets: prometheus.DefBuckets}, []string{"handler", "method", "code"})
	r.MustRegister(h)
	return h
}

// start brings back the alerts of before and begins to notify.
func (a *alertmanager) start() error {
	if err := a.alerts.Put(context.Background(), a.kept.revived(a.linger())...); err != nil {
		return fmt.Errorf("alerts of before: %w", err)
	}
	go a.maintain()
	a.mu.Lock()
	defer a.mu.Unlock()
	next, err := a.prepare(a.config.Routing)
	if err != nil {
		return err
	}
	a.begin(next)
	return nil
}

// maintain removes silences and notifications that are over for long.
func (a *alertmanager) maintain() {
	tick := time.NewTicker(maintenance)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, err := a.silences.GC()
			err = errors.Join(err, a.silenced.write(), a.notified.collect())
			if err != nil {
				a.log.Error("maintenance of the alertmanager", "err", err)
			}
		case <-a.ended:
			return
		}
	}
}

func (a *alertmanager) close() {
	close(a.ended)
	a.mu.Lock()
	a.routed.stop()
	a.routed = nil
	a.mu.Unlock()
	a.alerts.Close()
	a.cancel()
}

// take receives firing and resolved alerts from the rule manager, as Alertmanager
// would over HTTP. An alert that is not sent again resolves by itself.
func (a *alertmanager) take(ctx context.Context, expr string, told ...*rules.Alert) {
	now := time.Now()
	all := make([]*alert.Alert, 0, len(told))
	for _, t := range told {
		ends := t.ValidUntil
		if !t.ResolvedAt.IsZero() {
			ends = t.ResolvedAt
		}
		all = append(all, &alert.Alert{
			Alert: model.Alert{
				Labels: labelSet(t.Labels), Annotations: labelSet(t.Annotations), StartsAt: t.FiredAt, EndsAt: ends,
				GeneratorURL: a.config.ExternalURL.String() + strutil.TableLinkForExpression(expr),
			},
			UpdatedAt: now,
		})
	}
	if err := a.kept.keep(all); err != nil { // before people are notified of them
		a.log.Error("alerts not stored; after a crash their resolved notification may be missing", "err", err)
	}
	if err := a.alerts.Put(ctx, all...); err != nil {
		a.log.Error("alerts not taken", "err", err)
	}
}

func labelSet(l promlabels.Labels) model.LabelSet {
	set := make(model.LabelSet, l.Len())
	l.Range(func(l promlabels.Label) {
		if l.Value != "" { // an empty label is the same as no label
			set[model.LabelName(l.Name)] = model.LabelValue(l.Value)
		}
	})
	return set
}

// A durableLog is the notification log, on disk after each entry: what was sent
// before a kill is not sent again after it.
type durableLog struct {
	log  *nflog.Log
	file *snapshotFile
}

// Log implements notify.NotificationLog.
func (l *durableLog) Log(r *nflogpb.Receiver, group string, firing, resolved []uint64, store *nflog.Store, expiry time.Duration) error {
	if err := l.log.Log(r, group, firing, resolved, store, expiry); err != nil {
		return err
	}
	return l.file.write()
}

// Query implements notify.NotificationLog.
func (l *durableLog) Query(params ...nflog.QueryParam) ([]*nflogpb.Entry, error) {
	return l.log.Query(params...)
}

func (l *durableLog) collect() error {
	_, err := l.log.GC()
	return errors.Join(err, l.file.write())
}
