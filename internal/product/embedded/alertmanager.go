package embedded

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"
	promlabels "github.com/prometheus/prometheus/model/labels"
)

const (
	repeatInterval = 4 * time.Hour    // of an alert that goes on firing
	retention      = 120 * time.Hour  // of silences and notifications that are over
	maintenance    = 15 * time.Minute // removes what is over; changes are written at once
	alertGC        = 30 * time.Minute // removes resolved alerts
	dispatchGC     = 30 * time.Second // removes empty groups
	deliverAtLeast = 10 * time.Second // how long a delivery may take

	// All silences are written at each change, and asked for each notification: some hundreds are many.
	maxSilences = 2000
	maxSilence  = 8 << 10 // bytes
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
	census    census
	posting   sync.Mutex    // held while alerts are taken by the API
	ended     chan struct{} // closed to end the maintenance
	cancel    context.CancelFunc

	mu     sync.Mutex // held while the routed is replaced
	routed *routed    // nil before the start and after the end
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
func (l *durableLog) Log(r *nflogpb.Receiver, group string, firing, resolved []uint64, store *nflog.Store,
	expiry time.Duration) error {
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

// keptAlerts are the alerts of the rules, on disk as soon as one begins or ends.
// Alertmanager itself forgets them at its end: an alert that ended while nothing ran
// would fire for ever to those who were notified of it.
type keptAlerts struct {
	file *snapshotFile

	mu   sync.Mutex
	all  map[model.Fingerprint]keptAlert
	back map[model.Fingerprint]*alert.Alert // restored, and not sent by any rule since
}

// A keptAlert is one of them. That it has ended is noted: when it would end by itself, as
// Prometheus writes it, may have passed meanwhile.
type keptAlert struct {
	Alert *model.Alert `json:"alert"`
	Ended bool         `json:"ended,omitempty"`
}

// A routed is what of an Alertmanager depends on its configuration.
type routed struct {
	routing    Routing
	conf       *config.Config
	route      *dispatch.Route
	receivers  map[string][]notify.Integration
	template   *template.Template
	inhibitor  *inhibit.Inhibitor
	dispatcher *dispatch.Dispatcher

	under sync.RWMutex // held for reading by each delivery
}

// census counts the alerts that Alertmanager has, by their names.
type census struct {
	mu     sync.Mutex
	all    int
	byName map[string]int
}

// PreStore lets each alert in: who sends it is answered before.
func (c *census) PreStore(*alert.Alert, bool) error { return nil }

// PostStore counts an alert that is new.
func (c *census) PostStore(a *alert.Alert, existing bool) {
	if existing {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	c.byName[a.Name()]++
}

// PostDelete counts an alert no more.
func (c *census) PostDelete(a *alert.Alert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.byName[a.Name()]--; c.byName[a.Name()] <= 0 {
		delete(c.byName, a.Name())
	}
}

// PostGC is called after all of them.
func (c *census) PostGC(model.Fingerprints) {}
