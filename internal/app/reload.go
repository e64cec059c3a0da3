package app

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/catalog"
	"github.com/ai-micro-service/upkeep/internal/config"
	"github.com/ai-micro-service/upkeep/internal/depot"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/policy"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// Reload reads the configuration again and works by it. When anything is wrong
// with the new one it is refused whole, and the old one stays.
func (a *App) Reload() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.options.Load == nil {
		return errors.New("there is no configuration file to read again")
	}
	c, err := a.options.Load()
	if err == nil {
		err = c.Restartless(a.config)
	}
	if err == nil && a.embedded != nil {
		err = a.embedded.Reload(a.options.Rules, c.Embedded.RuleFiles)
	}
	if err == nil {
		err = a.apply(c)
	}
	a.reloaded.observe(err)
	if err != nil {
		a.log.Error("configuration refused, the old one stays", "err", err)
		return err
	}
	a.log.Info("configuration reloaded")
	return nil
}

func (a *App) reload(w http.ResponseWriter, _ *http.Request) {
	if err := a.Reload(); err != nil {
		say(w, http.StatusUnprocessableEntity, "the configuration was refused, the old one stays:\n%v", err)
		return
	}
	say(w, http.StatusOK, "reloaded")
}

// use works by a configuration for the first time.
func (a *App) use(c *config.Config) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.apply(c)
	a.reloaded.observe(err)
	return err
}

// apply makes targets, collectors and policies of a configuration and puts them
// in place of those before. The connections of the old targets end when nobody
// uses them any more; a run that loses its connection is taken up again.
func (a *App) apply(c *config.Config) error {
	set, err := targets(c)
	if err != nil {
		return err
	}
	schedules, err := a.schedules(c)
	if err != nil {
		return err
	}
	if err := a.engine.Adopt(engine.Setting{
		Actions: addressed(c, catalog.Actions(set)), Policies: c.Book(Known().Actions).Policies, Schedules: requests(schedules), Guards: a.guard(c),
	}); err != nil {
		return err
	}
	a.scheduler.Use(schedules)
	a.outbox.Use(notifiers(c))
	if err := a.scraper.Use(configured(c, catalog.Collectors(set))); err != nil {
		return err
	}
	old := a.targets
	a.config, a.targets = c, set
	go old.Close() // waits for the collection that is under way
	return nil
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

// archive is what the actions and the collectors know of an archive.
func archive(a config.Archive) (target.Archive, error) {
	to, err := destination(a)
	return target.Archive{Database: a.Database, Schema: a.Schema, Table: a.Table, Column: a.Column, After: a.After, To: to, Purge: a.Purge}, err
}

func destination(a config.Archive) (to target.Destination, err error) {
	switch c := a.To; {
	case c.Table != "":
		to.Schema, to.Table = cmp.Or(c.Schema, a.Schema), c.Table
	case c.Folder != "":
		to.Store, to.Label = depot.Folder(c.Folder), "folder "+c.Folder
	case c.Bucket != "":
		to.Label = "bucket " + c.Bucket + " at " + c.Endpoint + ", keys " + c.Prefix + "*"
		to.Store, err = depot.Bucket(depot.BucketConfig{Endpoint: c.Endpoint, Region: c.Region, Bucket: c.Bucket, Prefix: c.Prefix, VirtualHost: c.VirtualHost, ID: c.KeyID(), Secret: c.Secret()})
	}
	return to, err
}

// Targets makes the targets of a configuration. It connects to none of them; they
// are the caller's to close.
func Targets(c *config.Config) (target.Set, error) { return targets(c) }

func targets(c *config.Config) (set target.Set, err error) {
	byName := make(map[string]*target.Postgres)
	for _, t := range c.Targets.Postgres {
		k := target.PostgresConfig{Name: t.Name, URL: t.URL, Password: t.Password(), WithoutText: !t.StatementText, Advice: filepath.Join(c.DataDir, "advice")}
		k.Rebuilds, k.Alone = filepath.Join(c.DataDir, "rebuilds", url.PathEscape(t.Name)+".json"), c.Store.URL == ""
		k.Exclude = t.Exclude
		for _, a := range t.Archives {
			made, err := archive(a)
			if err != nil {
				return set, fmt.Errorf("postgres %s: archive of %s.%s: %w", t.Name, a.Schema, a.Table, err)
			}
			k.Archives = append(k.Archives, made)
		}
		p, err := target.NewPostgres(k)
		if err != nil {
			return set, err
		}
		byName[t.Name] = p
		set.Postgres = append(set.Postgres, p)
	}
	for _, t := range c.Targets.Postgres {
		if primary := byName[t.ReplicaOf]; primary != nil {
			primary.Replicas = append(primary.Replicas, byName[t.Name])
		}
	}
	engines := make(map[string]*target.Docker)
	for _, t := range c.Targets.Docker {
		d, err := target.NewDocker(target.DockerConfig{Name: t.Name, Host: t.Host, Root: t.Root, Logs: target.LogFields(t.Logs), LogArchive: t.LogArchive, Sightings: filepath.Join(c.DataDir, "images", url.PathEscape(t.Name)+".json")})
		if err != nil {
			return set, err
		}
		set.Docker = append(set.Docker, d)
		engines[t.Name] = d
	}
	for _, t := range c.Targets.Redis {
		r, err := target.NewRedis(target.RedisConfig{
			Name: t.Name, URL: t.URL, Password: t.Password(),
			Restart: target.Restart{Docker: engines[t.Restart.Docker], Container: t.Restart.Container, Unit: t.Restart.Systemd},
		})
		if err != nil {
			return set, err
		}
		set.Redis = append(set.Redis, r)
	}
	for _, h := range c.Targets.Host {
		set.Host = append(set.Host, new(target.Host(h)))
	}
	for _, p := range c.Targets.Probe {
		set.Probe = append(set.Probe, new(target.Probe(p)))
	}
	for _, b := range c.Targets.Backup {
		set.Backup = append(set.Backup, new(target.Backup(b)))
	}
	for _, p := range c.Targets.Packages {
		set.Packages = append(set.Packages, new(target.Packages(p)))
	}
	return set, nil
}

// configured applies the intervals of the configuration and leaves out what it disables.
func configured(c *config.Config, all []collectors.Collector) (wanted []collectors.Collector) {
	for _, k := range all {
		s := c.Collectors.Settings[k.Name]
		if s.Disabled {
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
// person who runs the action means the same.
func ruleLimits(files fs.FS) (map[string]float64, error) {
	rules, err := alerts.Parse(files)
	if err != nil {
		return nil, err
	}
	limits := make(map[string]float64)
	for _, r := range rules {
		action := r.Annotations["action"]
		if action == "" || action == "none" {
			continue
		}
		limit, err := strconv.ParseFloat(r.Annotations["limit"], 64)
		if err != nil {
			return nil, fmt.Errorf("rule %s: limit: %w", r.Name, err)
		}
		if _, named := limits[action]; !named { // several rules may name it; the first is what it is mostly for
			limits[action] = limit
		}
	}
	return limits, nil
}

// reloadMetrics say how the last reload went.
type reloadMetrics struct{ ok, at prometheus.Gauge }

func newReloadMetrics(r prometheus.Registerer) reloadMetrics {
	m := reloadMetrics{
		ok: prometheus.NewGauge(prometheus.GaugeOpts{Name: "upkeep_config_last_reload_success", Help: "1 when the last configuration that was read is the one in use, 0 when it was refused."}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{Name: "upkeep_config_last_reload_success_timestamp_seconds", Help: "When the configuration in use was taken."}),
	}
	r.MustRegister(m.ok, m.at)
	return m
}

func (m reloadMetrics) observe(err error) {
	if err != nil {
		m.ok.Set(0)
		return
	}
	m.ok.Set(1)
	m.at.SetToCurrentTime()
}

func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "upkeep_build_info", Help: "1, with the version as a label.", ConstLabels: prometheus.Labels{"version": version}})
	g.Set(1)
	return g
}

// Known returns the names that a configuration may use.
func Known() config.Known {
	k := config.Known{Actions: make(map[string]policy.Action)}
	for _, c := range catalog.EveryCollector() {
		k.Collectors = append(k.Collectors, c.Name)
	}
	for _, a := range catalog.EveryAction() {
		k.Actions[a.Name] = policy.Action{Name: a.Name, Subject: a.Subject, Params: a.Params, Asks: a.Asks, Windowed: a.Windowed}
	}
	return k
}
