package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// reloadPause is the least time from the end of one reload to the next: those who ask
// for one without end must not take the processor from the runs.
const reloadPause = 250 * time.Millisecond

// Reload reads the configuration again and works by it. When anything is wrong
// with the new one it is refused whole, and the old one stays. One reading serves all
// who ask before it begins; what has not changed is left alone.
func (a *App) Reload() error {
	a.queue.Lock()
	r := a.next
	if r != nil {
		a.queue.Unlock()
		<-r.done
		return r.err
	}
	r = &reload{done: make(chan struct{})}
	a.next = r
	a.queue.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	time.Sleep(time.Until(a.read.Add(reloadPause)))
	a.queue.Lock()
	a.next = nil // who asks from now on may have changed the file since
	a.queue.Unlock()
	defer close(r.done)
	r.err = a.again()
	a.read = time.Now()
	return r.err
}

// again reads the configuration and puts it in the place of the one before. The caller
// holds mu.
func (a *App) again() error {
	if a.options.Load == nil {
		return errors.New("no configuration file to reload")
	}
	c, err := a.options.Load()
	if err == nil {
		err = c.Restartless(a.config)
	}
	changed := err == nil && !reflect.DeepEqual(c, a.config)
	if err == nil {
		err = a.adopt(c, false)
	}
	a.reloaded.observe(err)
	if err != nil {
		a.log.Error("configuration refused, the old one stays in force", "err", err)
		return err
	}
	if changed {
		a.idle()
	}
	a.log.Info("configuration reloaded", "changed", changed)
	return nil
}

// expected are the policies with the actions of their steps.
func expected(c *config.Config) (all []journal.Expected) {
	for _, p := range c.Policies {
		for _, s := range p.Steps {
			all = append(all, journal.Expected{Policy: p.Name, Action: s.Action})
		}
	}
	return all
}

// names are what a pause can be about.
func names(c *config.Config, made pieces) *console.Names {
	n := &console.Names{Kinds: make(map[string][]string), Windows: c.Times()}
	for _, p := range made {
		kind, name, _ := strings.Cut(p.id, "/")
		n.Targets = append(n.Targets, name)
		n.Kinds[name] = append(n.Kinds[name], kind)
	}
	slices.Sort(n.Targets)
	n.Targets = slices.Compact(n.Targets) // a backup has the name of its server
	for _, p := range c.Policies {
		n.Policies = append(n.Policies, p.Name)
	}
	for name := range Known().Actions {
		n.Actions = append(n.Actions, name)
	}
	for _, s := range c.Schedules {
		n.Schedules = append(n.Schedules, s.Name)
	}
	return n
}

func (a *App) names() console.Names {
	if n := a.known.Load(); n != nil {
		return *n
	}
	return console.Names{}
}

// inForce is the configuration that was loaded last, with its targets.
func (a *App) inForce() console.Loaded {
	if l := a.loaded.Load(); l != nil {
		return *l
	}
	return console.Loaded{Config: a.start}
}

// idle warns of pauses whose target, policy or action is no longer there: who set them
// may believe that something is safe.
func (a *App) idle() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	all, err := a.journal.Pauses(ctx)
	if err != nil {
		a.log.Warn("pauses could not be checked against the configuration", "err", err)
	}
	for _, p := range all {
		if err := a.names().Check(p.Scope); err != nil {
			a.log.Warn("a pause no longer has any effect", "scope", p.Scope, "by", p.By, "err", err)
		}
	}
}

// requests are what the schedules ask for now, by their names.
func requests(schedules []schedule.Schedule) map[string]func(map[string]string) (remediate.Request, bool) {
	all := make(map[string]func(map[string]string) (remediate.Request, bool), len(schedules))
	for _, s := range schedules {
		all[s.Name] = s.Request
	}
	return all
}

// addressed says of each action where its target is. A password is in no URL of the
// configuration.
func addressed(c *config.Config, actions []remediate.Action) []remediate.Action {
	at := make(map[string]string)
	for _, t := range c.Targets.Postgres {
		at[t.Name] = t.URL
	}
	for _, t := range c.Targets.Redis {
		at[t.Name] = t.URL
	}
	for _, t := range c.Targets.Docker {
		at[t.Name] = t.Host
	}
	for i := range actions {
		actions[i].At = at[actions[i].Target]
	}
	return actions
}

// configured applies the intervals of the configuration and leaves out what it disables.
func configured(c *config.Config, all []collectors.Collector) (wanted []collectors.Collector) {
	for _, k := range all {
		s := c.Collectors.Settings[k.Name]
		if s.Disabled || slices.Contains(s.DisabledFor, k.Target) {
			continue
		}
		if c.Collectors.Interval > 0 {
			k.Every = c.Collectors.Interval
		}
		if s.Every > 0 {
			k.Every = s.Every
		}
		if s.Limit > 0 {
			k.Limit = s.Limit
		}
		if s.Timeout > 0 {
			k.Timeout = s.Timeout
		}
		wanted = append(wanted, k)
	}
	return wanted
}

// ruleLimits returns for each action the limit in the first rule that asks for it: a
// person who runs the action means the same. An action that lowers one metric or another
// has a limit for each, under "action metric".
func ruleLimits(files fs.FS) (map[string]float64, error) {
	rules, err := alerts.Parse(files)
	if err != nil {
		return nil, err
	}
	limits, lowers := make(map[string]float64), make(map[string][]string)
	for _, a := range catalog.EveryAction() {
		lowers[a.Name] = a.Metrics()
	}
	for _, r := range rules {
		action := r.Annotations["action"]
		if action == "" || action == "none" {
			continue
		}
		limit, err := strconv.ParseFloat(r.Annotations["limit"], 64)
		if err != nil {
			return nil, fmt.Errorf("rule %s: limit: %w", r.Name, err)
		}
		of := []string{action} // several rules may name it; the first is what it is mostly for
		for _, metric := range lowers[action] {
			if strings.Contains(r.Expr, metric) {
				of = append(of, limitOf(action, metric))
			}
		}
		for _, name := range of {
			if _, named := limits[name]; !named {
				limits[name] = limit
			}
		}
	}
	return limits, nil
}

func limitOf(action, metric string) string { return action + " " + metric }

// Known returns the names that a configuration may use.
func Known() config.Known {
	k := config.Known{Actions: make(map[string]policy.Action), Foreign: foreign}
	for _, c := range catalog.EveryCollector() {
		k.Collectors = append(k.Collectors, c.Name)
	}
	for _, a := range catalog.EveryAction() {
		k.Actions[a.Name] = policy.Action{Name: a.Name, Subject: a.Subject, Params: a.Params, Asks: a.Asks,
			Windowed: a.Windowed}
	}
	return k
}

// foreign asks Prometheus what it does not take of a part in its own syntax.
func foreign(part, text, dir string) (all []config.Fault) {
	for _, f := range embedded.CheckPart(part, text, dir) {
		all = append(all, config.Fault(f))
	}
	return all
}
