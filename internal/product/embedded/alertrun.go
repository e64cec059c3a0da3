package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
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
		Limits: silence.Limits{MaxSilences: func() int { return maxSilences },
			MaxSilenceSizeBytes: func() int { return maxSilence }},
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

// maxPosted is how many alerts a request may have: Prometheus sends 64, and four thousand of usual size fill a body.
const maxPosted = 10_000

// posted is what upkeep reads of an alert that the API is sent.
type posted struct {
	Labels, Annotations map[string]string
	GeneratorURL        string
}

func (p posted) labels() model.LabelSet {
	set := make(model.LabelSet, len(p.Labels))
	for name, value := range p.Labels {
		if value != "" { // an empty label is the same as no label
			set[model.LabelName(name)] = model.LabelValue(value)
		}
	}
	return set
}

// bounded has the API take no alert that is larger than those of the webhooks, and none beyond the limits:
// the others of a request are taken, and the answer is 503. A body is decoded here and by the API again,
// since the library takes alerts as a request only: what it does between its decoding and the
// store is not exported.
func (a *alertmanager) bounded(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/alerts") {
			api.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			answerText(w, http.StatusBadRequest, "body: "+err.Error())
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		// One request at once is decoded, which takes fifty times the memory of small alerts, and no two find
		// the same room.
		a.posting.Lock()
		defer a.posting.Unlock()
		var each []json.RawMessage
		if json.Unmarshal(body, &each) == nil && len(each) > maxPosted {
			answerText(w, http.StatusBadRequest, fmt.Sprintf("%d alerts in a request: send %d at most", len(each),
				maxPosted))
			return
		}
		var all []posted
		if json.Unmarshal(body, &all) != nil {
			api.ServeHTTP(w, r) // it says what is wrong
			return
		}
		if err := frugalAlerts(all); err != nil {
			answerText(w, http.StatusBadRequest, err.Error())
			return
		}
		names, why, left := a.room(all)
		if len(names) == 0 {
			api.ServeHTTP(w, r)
			return
		}
		part(r, api, body, left)
		text := fmt.Sprintf("%d of %d alerts found no room: %s; send them again later", len(names), len(all), why)
		if err := a.refused(r.Context(), names, why); err != nil {
			a.log.Error("a flood of alerts could not be noted", "err", err)
		}
		w.Header().Set("Retry-After", "60")
		answerText(w, http.StatusServiceUnavailable, text)
	})
}

func (a *alertmanager) refused(ctx context.Context, names []string, why string) error {
	if a.config.Limits.Refused == nil {
		return nil
	}
	return a.config.Limits.Refused(ctx, names, why)
}

// part has the API take some of the alerts of a request. What it says of them is in its log: the answer is
// about the others.
func part(r *http.Request, api http.Handler, body []byte, taken []int) {
	var all, some []json.RawMessage
	if len(taken) == 0 || json.Unmarshal(body, &all) != nil {
		return
	}
	for _, i := range taken {
		some = append(some, all[i])
	}
	text, err := json.Marshal(some)
	if err != nil {
		return // they were decoded
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	api.ServeHTTP(&heldResponse{header: make(http.Header)}, r)
}

// room returns the names of the alerts that find none and why, and which of the alerts are left.
func (a *alertmanager) room(all []posted) (refused []string, why string, left []int) {
	limits := a.config.Limits
	a.census.mu.Lock()
	total, byName := a.census.all, maps.Clone(a.census.byName)
	a.census.mu.Unlock()
	fresh := make(map[model.Fingerprint]bool)
	for i, p := range all {
		set := p.labels()
		name, print := p.Labels[model.AlertNameLabel], set.Fingerprint()
		if _, err := a.alerts.Get(print); err == nil || fresh[print] {
			left = append(left, i)
			continue
		}
		switch {
		case limits.PerName > 0 && byName[name] >= limits.PerName:
			why = fmt.Sprintf("%d alerts of one name are live (engine.max_incidents_per_alert)", limits.PerName)
		case limits.All > 0 && total >= limits.All:
			why = fmt.Sprintf("%d alerts are live (engine.max_incidents)", limits.All)
		default:
			fresh[print] = true
			total++
			byName[name]++
			left = append(left, i)
			continue
		}
		refused = append(refused, name)
	}
	return refused, why, left
}

// frugalAlerts refuses alerts that are larger than those that the webhooks take.
func frugalAlerts(all []posted) error {
	for i, a := range all {
		kept, err := remediate.Alert{Labels: a.Labels, Annotations: a.Annotations}.Bounded()
		switch {
		case len(a.GeneratorURL) > maxGenerator:
			return fmt.Errorf("alert %d: its generatorURL has %d bytes, %d are allowed", i, len(a.GeneratorURL),
				maxGenerator)
		case err != nil:
			return fmt.Errorf("alert %d: %w", i, err)
		case !maps.Equal(kept.Annotations, a.Annotations):
			return fmt.Errorf("alert %d: its annotations are more or longer than upkeep keeps", i)
		}
	}
	return nil
}
