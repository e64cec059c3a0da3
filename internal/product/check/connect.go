package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/probe"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Connect logs in to every server of a configuration, asks each service once that is probed, and returns what they
// say of themselves, in the order of the configuration, and what is wrong: servers that do not
// answer, rights and extensions that are missing. It changes nothing.
func Connect(ctx context.Context, c *config.Config, source *config.Source, set target.Set) ([]Seen, []Finding, error) {
	words, err := newVocabulary(c)
	if err != nil {
		return nil, nil, err
	}
	k := &checker{config: c, source: source, words: words}
	var mu sync.Mutex
	var group sync.WaitGroup
	var all []*Seen
	look := func(at place, what string, f func(context.Context, visit)) {
		v := visit{k, at, &mu, &Seen{What: what, at: at}}
		all = append(all, v.seen)
		group.Go(func() {
			ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, fmt.Errorf("no answer within %s", answerWithin))
			defer cancel()
			f(ctx, v)
		})
	}
	if u := c.Store.URL; u != "" {
		look(in("store", "url"), "store", func(ctx context.Context, v visit) { v.store(ctx, u, c.Store.Password()) })
	}
	for i, p := range set.Postgres {
		look(in("targets", "postgres", i), "postgres "+p.Name,
			func(ctx context.Context, v visit) { v.postgres(ctx, p) })
		for j, a := range c.Targets.Postgres[i].Archives {
			if a.To.Bucket != "" {
				at := in("targets", "postgres", i, "archives", j, "to", "bucket")
				look(at, "bucket "+a.To.Bucket,
					func(ctx context.Context, v visit) { v.bucket(ctx, p.Archives[j].To.Store) })
			}
		}
	}
	for i, r := range set.Redis {
		look(in("targets", "redis", i), "redis "+r.Name, func(ctx context.Context, v visit) { v.redis(ctx, r) })
	}
	for i, s := range set.Sentinel {
		look(in("targets", "sentinel", i), "sentinel "+s.Name,
			func(ctx context.Context, v visit) { v.sentinel(ctx, s) })
	}
	for i, d := range set.Docker {
		look(in("targets", "docker", i), "docker "+d.Name, func(ctx context.Context, v visit) { v.docker(ctx, d) })
	}
	for i, p := range set.Probe {
		look(in("targets", "probe", i), "probe "+p.Name, func(ctx context.Context, v visit) { v.probe(ctx, p) })
	}
	if u := c.Prometheus.URL; u != "" {
		look(in("prometheus", "url"), "prometheus", func(ctx context.Context, v visit) { v.prometheus(ctx, u) })
	}
	for i, u := range c.Alertmanager.All() {
		at := in("alertmanager", "urls", i)
		if c.Alertmanager.URL != "" {
			at = in("alertmanager", "url")
		}
		look(at, "alertmanager", func(ctx context.Context, v visit) { v.alertmanager(ctx, u) })
	}
	group.Wait()
	k.twins(all)
	var seen []Seen
	for _, s := range all {
		if s.Text != "" {
			seen = append(seen, *s)
		}
	}
	slices.SortStableFunc(k.found, func(a, b Finding) int { return a.Line - b.Line })
	return seen, k.found, nil
}

// twins warns of names that lead to one server: it would be collected twice, and what limits runs on a server would
// count it as two.
func (k *checker) twins(all []*Seen) {
	first := make(map[string]*Seen)
	for _, s := range all {
		if s.server == "" {
			continue
		}
		if other := first[s.server]; other != nil {
			k.warn(s.at, "%s is the same server as %s: its alerts come twice, and two runs may act on it at once; "+
				"keep one of them, which finds all databases of the server", s.What, other.What)
			continue
		}
		first[s.server] = s
	}
}

func (v visit) docker(ctx context.Context, d *target.Docker) {
	version, err := d.Version(ctx)
	if err != nil {
		v.unreachable(ctx, "host", err)
		return
	}
	v.seen.Text = "Docker " + version
	containers, err := d.Containers(ctx)
	if err != nil {
		v.fault(v.at.in("host"),
			"%s does not list its containers: %v; let upkeep's user read the socket, or the proxy pass GET /containers",
			v.seen.What, err)
		return
	}
	v.seen.Text += fmt.Sprintf(", %d containers", len(containers))
}

// probe asks a service once, as its collector does.
func (v visit) probe(ctx context.Context, p *target.Probe) {
	c := probe.HTTP(p)
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(v.config.Collectors.Settings[c.Name].Timeout, c.Timeout))
	defer cancel()
	w := collectors.NewWriter(c)
	if err := c.Collect(ctx, w); err != nil {
		v.fault(v.at.in("url"), "%s was not asked: %v; correct its keys", v.seen.What, err)
		return
	}
	if why := w.Why(); why != nil {
		text := strings.Join(strings.Fields(why.Error()), " ")
		v.fault(v.at.in("url"), "%s fails in phase %s; %s", v.seen.What, text, probe.Advice(text))
		return
	}
	v.seen.Text = "answers as expected"
}

func (v visit) prometheus(ctx context.Context, base string) {
	p := v.config.Prometheus
	server := prom.Prometheus{URL: base, Client: prom.LoggedIn(p.User, p.Password(), base)}
	version, err := server.Version(ctx)
	if err != nil {
		v.unreachable(ctx, "", err)
		return
	}
	v.seen.Text = "Prometheus " + version
	if series, err := server.Query(ctx, "upkeep_build_info", time.Time{}); err == nil && len(series) == 0 {
		v.warn(v.at, "prometheus has no series upkeep_build_info: it does not scrape upkeep yet; add upkeep's "+
			"address to its scrape_configs")
	}
	loaded, err := server.Rules(ctx)
	if err != nil {
		v.fault(v.at, "prometheus does not say which rules it has: %v; let upkeep reach its API", err)
		return
	}
	has := make(map[string]bool)
	for _, r := range loaded {
		has[r.Name] = true
	}
	shipped, err := alerts.Parse(alerts.Files())
	if err != nil {
		v.fault(v.at, "the shipped rules: %v", err)
		return
	}
	var lacks []string
	for _, r := range shipped {
		if !has[r.Name] {
			lacks = append(lacks, r.Name)
		}
	}
	v.seen.Text += fmt.Sprintf(", %d of %d shipped alerts", len(shipped)-len(lacks), len(shipped))
	if len(lacks) > 0 {
		v.warn(v.at, "Prometheus does not have %d of the shipped alerts (%s); upkeep export DIR writes them for its "+
			"rule_files", len(lacks), few(lacks))
	}
	for i, p := range v.config.Policies {
		v.rulesOf(in("policies", i, "match"), p, loaded, shipped)
	}
}

// rulesOf warns of a policy whose alerts are of no rule that upkeep knows.
func (v visit) rulesOf(at place, p config.Policy, loaded []remediate.Rule, shipped []alerts.Rule) {
	own := make(map[string]bool) // those that upkeep knows by itself; Config looks at them
	known := slices.Clone(loaded)
	for _, r := range shipped {
		own[r.Name] = true
		known = append(known, remediate.Rule{Name: r.Name, Labels: r.Labels, Annotations: r.Annotations})
	}
	for _, m := range p.Match {
		for _, name := range values(m) {
			if m.Name == "alertname" && !slices.ContainsFunc(known,
				func(r remediate.Rule) bool { return r.Name == name }) {
				v.warn(at, "policy %q: prometheus has no rule for the alert %q; add it to its rule_files", p.Name, name)
				return
			}
		}
	}
	acts := func(s config.Step) bool { return remediate.Mode(s.Mode) == remediate.Auto && s.Limit == nil }
	if p.Limit != nil || !slices.ContainsFunc(p.Steps, acts) {
		return
	}
	matched := false
	for _, r := range known {
		if !mayMatch(p, r) {
			continue
		}
		matched = true
		if _, err := strconv.ParseFloat(r.Annotations["limit"], 64); err != nil && !own[r.Name] {
			v.warn(at, "policy %q: the rule %s of prometheus has no limit annotation with a number, so that mode auto "+
				"only asks; add one to the rule, or set limit in the policy", p.Name, r.Name)
			return
		}
	}
	if !matched {
		v.warn(at, "policy %q: prometheus has no rule of the alerts that it matches, so that mode auto only asks; add "+
			"it to its rule_files, or set limit in the policy", p.Name)
	}
}

// mayMatch reports whether a policy may match an alert of a rule: the labels that come with
// the series are not known.
func mayMatch(p config.Policy, r remediate.Rule) bool {
	return !slices.ContainsFunc(p.Match, func(m *labels.Matcher) bool {
		value, ok := r.Labels[m.Name]
		if m.Name == "alertname" {
			value, ok = r.Name, true
		}
		return ok && !strings.Contains(value, "{{") && !m.Matches(value)
	})
}

func (v visit) alertmanager(ctx context.Context, base string) {
	am := v.config.Alertmanager
	server := prom.Alertmanager{URL: base, Client: prom.LoggedIn(am.User, am.Password(), base)}
	version, err := server.Version(ctx)
	if err != nil {
		v.unreachable(ctx, "", err)
		return
	}
	v.seen.Text = "Alertmanager " + version
	names, err := server.Receivers(ctx)
	if err != nil {
		v.fault(v.at, "alertmanager does not list its receivers: %v; let upkeep reach its API", err)
		return
	}
	if want := v.config.Alertmanager.Receiver; want != "" && !slices.Contains(names, want) {
		v.fault(in("alertmanager", "receiver"), "alertmanager has no receiver %q; %s", want,
			meant(want, names, choose(names)))
	}
}
