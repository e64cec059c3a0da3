package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/webhook"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus"
	commonconfig "github.com/prometheus/common/config"
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

// An alertmanager is Alertmanager without its command: one route, one receiver.
type alertmanager struct {
	log        *slog.Logger
	external   string
	alerts     *mem.Alerts
	silences   *silence.Silences
	inhibitor  *inhibit.Inhibitor
	dispatcher *dispatch.Dispatcher
	silenced   *snapshotFile
	notified   *durableLog
	api        http.Handler
	ended      chan struct{} // closed to end the maintenance
	cancel     context.CancelFunc
}

func newAlertmanager(c Config, p *pipe) (*alertmanager, error) {
	if !compat.IsValidLabelName("in.utf-8") { // the library begins with the classic parser, and its command does not
		compat.InitFromFlags(slog.New(slog.DiscardHandler), featurecontrol.NoopFlags{})
	}
	a := &alertmanager{log: c.Logger.With("part", "alertmanager"), external: c.ExternalURL.String(), ended: make(chan struct{})}
	conf, err := config.Load(fmt.Sprintf(`route:
  receiver: %s
  group_by: ['...']
  group_wait: %s
  group_interval: %s
  repeat_interval: %s
receivers:
  - name: %s
    webhook_configs: [{url: 'http://upkeep%s'}]
`, Receiver, model.Duration(c.GroupWait), model.Duration(c.GroupInterval), model.Duration(repeatInterval), Receiver, webhookPath))
	if err != nil {
		return nil, err
	}
	if err := a.openLogs(c); err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, a.cancel = context.WithCancel(context.Background()) // of the store of alerts; ended by close
	recorder := eventrecorder.NopRecorder()
	if a.alerts, err = mem.NewAlerts(ctx, alertGC, 0, nil, a.log, recorder, c.Registerer, featurecontrol.NoopFlags{}); err != nil {
		return nil, err
	}
	return a, a.assemble(c, conf, p, recorder)
}

// openLogs reads what was silenced and what was told.
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
	return nil
}

// assemble joins the parts from the alert to the webhook.
func (a *alertmanager) assemble(c Config, conf *config.Config, p *pipe, recorder eventrecorder.Recorder) error {
	tmpl, err := template.FromGlobs(nil)
	if err != nil {
		return err
	}
	tmpl.ExternalURL = c.ExternalURL
	hook := conf.Receivers[0].WebhookConfigs[0]
	notifier, err := webhook.New(hook, tmpl, a.log, commonconfig.WithDialContextFunc(p.DialContext))
	if err != nil {
		return err
	}
	receivers := map[string][]notify.Integration{Receiver: {notify.NewIntegration(notifier, hook, "webhook", 0, Receiver)}}
	silencer := silence.NewSilencer(a.silences, a.log, recorder)
	groups := marker.NewGroupMarker()
	a.inhibitor = inhibit.NewInhibitor(a.alerts, nil, a.log, recorder)
	pipeline := notify.NewPipelineBuilder(c.Registerer, featurecontrol.NoopFlags{}, recorder).New(
		receivers, func() time.Duration { return 0 }, a.inhibitor, silencer, timeinterval.NewIntervener(nil), groups, a.notified, nil)
	routes := dispatch.NewRoute(conf.Route, nil)
	a.dispatcher = dispatch.NewDispatcher(a.alerts, routes, pipeline, groups,
		func(d time.Duration) time.Duration { return max(d, deliverAtLeast) },
		dispatchGC, nil, a.log, recorder, dispatch.NewDispatcherMetrics(false, c.Registerer, featurecontrol.NoopFlags{}), tmpl)

	stock, err := api.New(api.Options{
		Alerts: a.alerts, Silences: a.silences, GroupMutedFunc: groups.Muted, Logger: a.log, Registry: c.Registerer,
		RequestDuration: requestDuration(c.Registerer),
		GroupFunc: func(ctx context.Context, r func(*dispatch.Route) bool, f func(*alert.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
			return a.dispatcher.Groups(ctx, r, f)
		},
	})
	if err != nil {
		return err
	}
	stock.Update(conf, func(ctx context.Context, l model.LabelSet) {
		a.inhibitor.Mutes(ctx, l)
		silencer.Mutes(ctx, l)
	})
	a.api = durable(stock.Register(route.New(), "/"), a.silenced)
	return nil
}

func requestDuration(r prometheus.Registerer) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "alertmanager_http_request_duration_seconds", Help: "Histogram of latencies for HTTP requests.", Buckets: prometheus.DefBuckets}, []string{"handler", "method", "code"})
	r.MustRegister(h)
	return h
}

func (a *alertmanager) start() {
	go a.maintain()
	go a.inhibitor.Run()
	a.inhibitor.WaitForLoading()
	go a.dispatcher.Run(time.Now())
	a.dispatcher.WaitForLoading()
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
	a.dispatcher.Stop()
	a.inhibitor.Stop()
	a.alerts.Close()
	a.cancel()
}

// take is told by the rule manager what fires and what is over, as Alertmanager
// would be over HTTP. An alert that is not told again ends by itself.
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
				GeneratorURL: a.external + strutil.TableLinkForExpression(expr),
			},
			UpdatedAt: now,
		})
	}
	if err := a.alerts.Put(ctx, all...); err != nil {
		a.log.Error("alerts not taken", "err", err)
	}
}

func labelSet(l promlabels.Labels) model.LabelSet {
	set := make(model.LabelSet, l.Len())
	l.Range(func(l promlabels.Label) {
		if l.Value != "" { // an empty label is none
			set[model.LabelName(l.Name)] = model.LabelValue(l.Value)
		}
	})
	return set
}

// A durableLog is the notification log, on disk after each entry: what was told
// before a kill is not told again after it.
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
