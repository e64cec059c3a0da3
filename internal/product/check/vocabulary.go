package check

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A vocabulary is every name that has a meaning in one configuration.
type vocabulary struct {
	embedded bool
	others   bool // are scraped too
	metrics  map[string]metric
	recorded map[string][]*rule // several may record series of one name
	given    map[string]series  // by those that were asked for
	alerts   []*rule
	user     []*rule // of alerts and recording rules, those of the user's files
	actions  map[string]remediate.Action
	targets  map[string][]string      // names by kind
	every    map[string]time.Duration // of collectors, as configured
}

// A metric is one that upkeep writes, and who does.
type metric struct {
	*collectors.Metric
	kind      string // of the targets that it is about; "" for upkeep itself
	collector string
}

// kindOf returns the kind of target that a collector or an action is about. Log lines
// are those of a Docker engine's containers.
func kindOf(unit string) string {
	kind, _, _ := strings.Cut(unit, "/")
	if kind == "logs" {
		return "docker"
	}
	return kind
}

func targetNames(t config.Targets) map[string][]string {
	all := make(map[string][]string)
	for _, x := range t.Postgres {
		all["postgres"] = append(all["postgres"], x.Name)
	}
	for _, x := range t.Redis {
		all["redis"] = append(all["redis"], x.Name)
	}
	for _, x := range t.Sentinel {
		all["sentinel"] = append(all["sentinel"], x.Name)
	}
	for _, x := range t.Host {
		all["host"] = append(all["host"], x.Name)
	}
	for _, x := range t.Docker {
		all["docker"] = append(all["docker"], x.Name)
	}
	for _, x := range t.Probe {
		all["probe"] = append(all["probe"], x.Name)
	}
	for _, x := range t.Backup {
		all["backup"] = append(all["backup"], x.Name)
	}
	for _, x := range t.Packages {
		all["packages"] = append(all["packages"], x.Name)
	}
	return all
}

// servers returns the names of the targets of some kinds; of all, where "" is one.
func (v *vocabulary) servers(kinds []string) (names []string) {
	for kind, all := range v.targets {
		if slices.Contains(kinds, kind) || slices.Contains(kinds, "") {
			names = append(names, all...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (v *vocabulary) alertNames() (names []string) {
	for _, a := range v.alerts {
		names = append(names, a.alert)
	}
	return names
}

// seriesNames are the names used in expressions: a histogram's have suffixes.
func (v *vocabulary) seriesNames() (names []string) {
	for name, m := range v.metrics {
		if m.Type == collectors.Histogram {
			names = append(names, name+"_bucket", name+"_sum", name+"_count")
			continue
		}
		names = append(names, name)
	}
	names = append(names, slices.Collect(maps.Keys(v.recorded))...)
	slices.Sort(names)
	return names
}

// family returns the metric that the name of a series is of.
func (v *vocabulary) family(name string) (m metric, bucket, ok bool) {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if m, ok := v.metrics[strings.TrimSuffix(name, suffix)]; ok && strings.HasSuffix(name, suffix) &&
			m.Type == collectors.Histogram {
			return m, suffix == "_bucket", true
		}
	}
	m, ok = v.metrics[name]
	return m, false, ok
}

// builtin reports whether Prometheus or the client library writes the series.
func builtin(name string) bool {
	return name == "up" || strings.HasPrefix(name, "scrape_") || strings.HasPrefix(name, "ALERTS") ||
		strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
}

func promql(text string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(text)
}

// scrapesOthers reports whether the embedded Prometheus scrapes more than upkeep.
func scrapesOthers(c *config.Config) bool { return c.Embedded.ScrapeConfigs != "" }
