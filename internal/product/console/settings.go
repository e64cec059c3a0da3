package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// rightsTime is how long one server may take to say what a role may, and allRightsTime how long all of them.
	rightsTime, allRightsTime = 15 * time.Second, 40 * time.Second

	// rightsFor is how long what was found is shown again: many who look at once are one question.
	rightsFor = 3 * time.Second

	// rightsAtOnce is how many servers are asked at the same time.
	rightsAtOnce = 8
)

func (c *Console) loaded() Loaded {
	if c.Loaded == nil {
		return Loaded{Config: &config.Config{}}
	}
	return c.Loaded()
}

func (c *Console) settingsPage(g *gin.Context) {
	lines, err := c.targetLines(g.Request.Context())
	if err != nil {
		c.Fail(g, fmt.Errorf("the store cannot be read: %w", err), "/")
		return
	}
	in := c.loaded()
	s := page.Settings{At: time.Now(), Server: g.Query(page.KeyServer), Versions: c.versions(in.Config)}
	for _, l := range lines {
		s.Targets = append(s.Targets, page.Monitored{Name: l.Name, Kinds: l.Kinds, State: l.State, Why: short(l.Why),
			Since: l.Since, Total: l.Collectors, Last: l.Answered})
	}
	s.Collectors = c.collecting(in.Config)
	if portal.May(g).Operate {
		s.Config = in.Config.Shown()
	}
	c.Write(g, http.StatusOK, c.Frame(g, "Settings", page.SettingsPath), s.Nodes()...)
}

// collecting lists the collectors: those that fail first, and those that are off last.
func (c *Console) collecting(in *config.Config) (all []page.Collecting) {
	if c.Scraper != nil {
		for _, s := range c.Scraper.Status() {
			all = append(all, page.Collecting{Name: s.Collector, Server: s.Server, Every: s.Every, Took: s.Took,
				Good: s.Good, Asked: !s.At.IsZero(), Err: short(s.Err)})
		}
	}
	slices.SortStableFunc(all, func(a, b page.Collecting) int {
		return cmp.Or(-cmp.Compare(min(len(a.Err), 1), min(len(b.Err), 1)), strings.Compare(a.Server, b.Server),
			strings.Compare(a.Name, b.Name))
	})
	for _, name := range slices.Sorted(maps.Keys(in.Collectors.Settings)) {
		if in.Collectors.Settings[name].Disabled {
			all = append(all, page.Collecting{Name: name, Off: true})
		}
	}
	return all
}

// commit is set by the linker in a release, which is built without what Go notes of a checkout: a file
// beside the tree would change the program.
//
//nolint:gochecknoglobals // the linker sets variables
var commit = ""

// BuildOf says what this binary was built from.
func BuildOf(version string) Build {
	b := Build{Version: version, Commit: commit, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Committed = s.Value
			}
		}
	}
	return b
}

// versions are those of upkeep and of what it is made of.
func (c *Console) versions(in *config.Config) [][2]string {
	b := BuildOf(c.Version)
	all := [][2]string{{"upkeep", b.Version}, {"Go", b.Go + ", " + b.OS + "/" + b.Arch}}
	if b.Commit != "" {
		all = append(all, [2]string{"Commit", strings.TrimSpace(b.Commit + " " + b.Committed)})
	}
	outside := map[string]string{"github.com/prometheus/prometheus": "Prometheus",
		"github.com/prometheus/alertmanager": "Alertmanager"}
	if info, ok := debug.ReadBuildInfo(); ok && in.Embedded.Enabled {
		for _, m := range info.Deps {
			if name := outside[m.Path]; name != "" {
				all = append(all, [2]string{name, m.Version + ", embedded"})
			}
		}
	}
	where := "SQLite, in data_dir"
	if in.Store.URL != "" {
		where = "PostgreSQL, store.url"
	}
	return append(all, [2]string{"Store", where})
}

// needs returns what the collectors and the actions of the policies and schedules need on a kind of target.
func needs(kind rights.Kind, in *config.Config, known []remediate.Action) []rights.Need {
	var names []string
	for _, p := range in.Policies {
		for _, s := range p.Steps {
			names = append(names, s.Action)
		}
	}
	for _, s := range in.Schedules {
		names = append(names, s.Action)
	}
	var actions []remediate.Action // each once, though several targets take it
	for _, a := range known {
		if slices.Contains(names, a.Name) &&
			!slices.ContainsFunc(actions, func(b remediate.Action) bool { return a.Name == b.Name }) {
			actions = append(actions, a)
		}
	}
	return rights.Of(kind, actions)
}

func (c *Console) rightsPage(g *gin.Context) {
	select {
	case c.missing.turn <- struct{}{}:
	case <-g.Request.Context().Done():
		return
	}
	defer func() { <-c.missing.turn }()
	if time.Since(c.missing.last.At) > rightsFor {
		c.missing.last = c.Rights(context.WithoutCancel(g.Request.Context())) // who asked first may go
	}
	c.Write(g, http.StatusOK, c.Frame(g, "Missing rights", page.SettingsPath), c.missing.last.Nodes()...)
}

// FindRights asks every server that knows rights what is missing there for the collectors, and for those of the known
// actions that the configuration asks for. What does not answer in time is said to be unknown.
func FindRights(ctx context.Context, in Loaded, known []remediate.Action) page.Rights {
	r := page.Rights{Servers: make([]page.ServerRights, len(in.Targets.Postgres)+len(in.Targets.Redis))}
	ctx, cancel := context.WithTimeoutCause(ctx, allRightsTime, fmt.Errorf("no answer within %s", allRightsTime))
	defer cancel()
	var group sync.WaitGroup
	slots := make(chan struct{}, rightsAtOnce)
	ask := func(i int, name string, kind rights.Kind,
		find func(ctx context.Context, needs []rights.Need) (rights.Missing, error)) {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeoutCause(ctx, rightsTime, fmt.Errorf("no answer within %s", rightsTime))
			defer cancel()
			s := page.ServerRights{Name: name, Kind: kind}
			var err error
			if s.Missing, err = find(ctx, needs(kind, in.Config, known)); err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				s.Err = short(err.Error())
			}
			r.Servers[i] = s
		})
	}
	for i, p := range in.Targets.Postgres {
		ask(i, p.Name, rights.Postgres, func(ctx context.Context, needs []rights.Need) (rights.Missing, error) {
			return rights.Find(ctx, p, needs)
		})
	}
	for i, t := range in.Targets.Redis {
		ask(len(in.Targets.Postgres)+i, t.Name, rights.Redis,
			func(ctx context.Context, needs []rights.Need) (rights.Missing, error) {
				return rights.FindRedis(ctx, t, needs)
			})
	}
	group.Wait()
	r.At = time.Now()
	return r
}
