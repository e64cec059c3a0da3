package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/webhook"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/timeinterval"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/receivers"
)

// placePrefix is what the names of the places' receivers begin with.
const placePrefix = "notify/"

// prepare makes of a routing what can fail, and starts nothing.
func (a *alertmanager) prepare(r Routing) (*routed, error) {
	conf, err := a.ownConfig()
	if err != nil {
		return nil, err
	}
	n := &routed{routing: r, receivers: make(map[string][]notify.Integration)}
	if n.template, err = template.FromGlobs(nil); err != nil {
		return nil, err
	}
	if r.File != nil {
		if n.template, err = r.File.Templates(a.config.ExternalURL); err != nil {
			return nil, err
		}
	}
	n.template.ExternalURL = a.config.ExternalURL
	hook := conf.Receivers[0].WebhookConfigs[0]
	own, err := webhook.New(hook, n.template, a.log, commonconfig.WithDialContextFunc(a.pipe.DialContext))
	if err != nil {
		return nil, err
	}
	n.receivers[Receiver] = []notify.Integration{receivers.Careful(notify.NewIntegration(own, hook, "webhook", 0,
		Receiver), Receiver, func() []string { return nil })}
	if r.File != nil {
		err = n.fromFile(conf, a.log)
	} else {
		n.toPlaces(conf, r.Places, a.config)
	}
	if err != nil {
		return nil, err
	}
	n.route = dispatch.NewRoute(n.conf.Route, nil)
	return n, nil
}

// ownConfig is a configuration that delivers every alert to upkeep, each in a group of its own.
func (a *alertmanager) ownConfig() (*config.Config, error) {
	c := a.config
	return config.Load(fmt.Sprintf(`route:
  receiver: %[1]s
  routes:
    - receiver: %[1]s
      continue: true
      group_by: ['...']
      group_wait: %[2]s
      group_interval: %[3]s
      repeat_interval: %[4]s
receivers:
  - name: %[1]s
    webhook_configs: [{url: 'http://upkeep%[5]s'}]
`, Receiver, model.Duration(c.GroupWait), model.Duration(c.GroupInterval), model.Duration(repeatInterval), webhookPath))
}

// fromFile adds what a file says: its top route comes after upkeep's own, and both get
// every alert.
func (n *routed) fromFile(own *config.Config, log *slog.Logger) error {
	conf := *n.routing.File.Config // the routes within it are not changed
	theirs := conf.Route
	conf.Route = own.Route
	conf.Route.Routes = append(conf.Route.Routes, theirs)
	conf.Receivers = append(slices.Clone(own.Receivers), conf.Receivers...)
	n.conf = &conf
	for _, name := range n.routing.File.Names() {
		all, err := n.routing.File.Integrations(name, n.template, log)
		if err != nil {
			return err
		}
		n.receivers[name] = all
	}
	return nil
}

// unimportant are the severities that no place is notified of. An alert without any may
// be important.
const unimportant = "info|none|debug"

// toPlaces adds a route to each place.
func (n *routed) toPlaces(own *config.Config, all []Place, c Config) {
	n.conf = own
	wait, interval, repeat := model.Duration(c.GroupWait), model.Duration(c.GroupInterval),
		model.Duration(repeatInterval)
	for _, p := range all {
		name := placePrefix + p.Name
		own.Route.Routes = append(own.Route.Routes, &config.Route{
			Receiver: name, Continue: true,
			Matchers:  []*labels.Matcher{important()},
			GroupBy:   []model.LabelName{model.AlertNameLabel, "server"},
			GroupWait: &wait, GroupInterval: &interval, RepeatInterval: &repeat,
		})
		own.Receivers = append(own.Receivers, config.Receiver{Name: name})
		n.receivers[name] = []notify.Integration{p.integration(name)}
	}
}

// important matches alerts of severity warning or worse.
func important() *labels.Matcher {
	m, err := labels.NewMatcher(labels.MatchNotRegexp, "severity", unimportant)
	if err != nil {
		panic(err) // a constant
	}
	return m
}

// begin lets a routed take the alerts, the present ones first.
func (a *alertmanager) begin(n *routed) {
	recorder := eventrecorder.NopRecorder()
	intervals := make(map[string][]timeinterval.TimeInterval)
	for _, t := range n.conf.MuteTimeIntervals {
		intervals[t.Name] = t.TimeIntervals
	}
	for _, t := range n.conf.TimeIntervals {
		intervals[t.Name] = t.TimeIntervals
	}
	n.inhibitor = inhibit.NewInhibitor(a.alerts, n.conf.InhibitRules, a.log, recorder)
	pipeline := a.pipelines.New(n.receivers, func() time.Duration { return 0 }, n.inhibitor, a.silencer,
		timeinterval.NewIntervener(intervals), a.groups, a.notified, nil)
	n.dispatcher = dispatch.NewDispatcher(a.alerts, n.route, n.counted(pipeline), a.groups,
		func(d time.Duration) time.Duration { return max(d, deliverAtLeast) },
		dispatchGC, nil, a.log, recorder, a.measured, n.template)
	go n.inhibitor.Run()
	n.inhibitor.WaitForLoading()
	a.stock.Update(n.conf, func(ctx context.Context, l model.LabelSet) {
		n.inhibitor.Mutes(ctx, l)
		a.silencer.Mutes(ctx, l)
	})
	go n.dispatcher.Run(time.Now())
	n.dispatcher.WaitForLoading()
	a.routed = n
}

// counted lets a delivery be waited for until it is noted what came of it.
func (n *routed) counted(pipeline notify.Stage) notify.Stage {
	return notify.StageFunc(func(ctx context.Context, l *slog.Logger, alerts ...*alert.Alert) (context.Context,
		[]*alert.Alert, error) {
		n.under.RLock()
		defer n.under.RUnlock()
		return pipeline.Exec(ctx, l, alerts...)
	})
}

// stop ends the deliveries, and returns when it is noted what came of the last.
func (n *routed) stop() {
	if n == nil {
		return
	}
	n.dispatcher.Stop()
	n.inhibitor.Stop()
	n.under.Lock()   // those that are under way have been cancelled
	n.under.Unlock() //nolint:staticcheck // nothing is to be done under it
}

// reroute puts another routing in the place of the one in use, where it differs.
func (a *alertmanager) reroute(next *routed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config.Routing = next.routing
	if a.routed == nil || a.routed.routing.same(next.routing) {
		return
	}
	a.routed.stop()
	a.begin(next)
}

// same reports whether two routings notify alike.
func (r Routing) same(other Routing) bool {
	return r.File.Same(other.File) && slices.EqualFunc(r.Places, other.Places,
		func(a, b Place) bool { return a.Name == b.Name && a.Of == b.Of })
}
