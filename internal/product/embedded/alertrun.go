package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/strutil"
)

func newAlertmanager(c Config, p *pipe) (*alertmanager, error) {
	if !compat.IsValidLabelName("in.utf-8") { // the library begins with the classic parser, and its command does not
		compat.InitFromFlags(slog.New(slog.DiscardHandler), featurecontrol.NoopFlags{})
	}
	a := &alertmanager{log: c.Logger.With("part", "alertmanager"), config: c, pipe: p, ended: make(chan struct{}),
		census: census{byName: make(map[string]int)}}
	if err := a.openLogs(c); err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, a.cancel = context.WithCancel(context.Background()) // of the store of alerts; ended by close
	recorder := eventrecorder.NopRecorder()
	var err error
	if a.alerts, err = mem.NewAlerts(ctx, alertGC, 0, &a.census, a.log, recorder, c.Registerer,
		featurecontrol.NoopFlags{}); err != nil {
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
	a.silences, err = silence.New(silence.Options{SnapshotFile: silencesFile, Retention: retention, Logger: a.log,
		Metrics: c.Registerer, EventRecorder: eventrecorder.NopRecorder()})
	if err != nil {
		return fmt.Errorf("silences: %w", err)
	}
	l, err := nflog.New(nflog.Options{SnapshotFile: nflogFile, Retention: retention, Logger: a.log,
		Metrics: c.Registerer})
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
		Alerts: a.alerts, Silences: a.silences, GroupMutedFunc: a.groups.Muted, Logger: a.log,
		Registry:        a.config.Registerer,
		RequestDuration: requestDuration(a.config.Registerer),
		GroupFunc: func(ctx context.Context, r func(*dispatch.Route) bool,
			f func(*alert.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
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
	a.api = a.bounded(durable(a.stock.Register(route.New(), "/"), a.silenced))
	return nil
}

func requestDuration(r prometheus.Registerer) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "alertmanager_http_request_duration_seconds",
		Help: "Histogram of latencies for HTTP requests.", Buckets: prometheus.DefBuckets},
		[]string{"handler", "method", "code"})
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
func (a *alertmanager) take(ctx context.Context, expr string, alerts ...*rules.Alert) {
	now := time.Now()
	all := make([]*alert.Alert, 0, len(alerts))
	for _, t := range alerts {
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
