// Package catalog lists what upkeep can see and do: every collector, every
// action and every metric. The lists of units are generated from the tree.
package catalog

import (
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
	"github.com/ai-micro-service/upkeep/remediate/retention"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// anyTarget is a sample configuration: one target of each kind.
func anyTarget() target.Set {
	return target.Set{
		Postgres: []*target.Postgres{{}}, Redis: []*target.Redis{{}},
		Sentinel: []*target.Sentinel{{}}, Host: []*target.Host{{}},
		Docker: []*target.Docker{{}},
		Probe:  []*target.Probe{{}}, Backup: []*target.Backup{{}}, Packages: []*target.Packages{{}},
	}
}

// EveryCollector returns each collector once, without a target to ask.
func EveryCollector() []collectors.Collector { return Collectors(anyTarget()) }

// EveryAction returns each action once, without a target to act on.
func EveryAction() []remediate.Action { return Actions(anyTarget()) }

// Own returns the metrics that upkeep serves about itself, by name: each package declares its
// own, and registers from the same declarations.
func Own() []*collectors.Metric {
	all := slices.Concat(
		Process(), scrape.Metrics(), webhook.Metrics(), inbox.Metrics(), journal.Metrics(),
		engine.Metrics(), schedule.Metrics(), notify.Metrics(), retention.Metrics(), embedded.Metrics(),
	)
	slices.SortFunc(all, func(a, b *collectors.Metric) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Process returns the metrics of the process and its configuration, which package app writes.
func Process() []*collectors.Metric {
	return []*collectors.Metric{BuildInfo(), ReloadSuccess(), ReloadTime(), LoginFailures()}
}

// BuildInfo is which version runs, and where people reach it: dashboards take their links from it.
func BuildInfo() *collectors.Metric {
	return metric.Gauge("upkeep_build_info", "1, with the version and the external URL as labels.", "version", "url")
}

// ReloadSuccess is whether the last reload succeeded.
func ReloadSuccess() *collectors.Metric {
	return metric.Gauge("upkeep_config_last_reload_success",
		"1 when the last reload of the configuration succeeded, else 0.").
		WithoutPanel("for users' own rules; a reload returns the answer")
}

// LoginFailures counts who was not let in.
func LoginFailures() *collectors.Metric {
	return metric.Counter("upkeep_login_failures_total",
		"Requests with a wrong token or password, or a one-time link that is not valid, by what was wrong: "+
			"token, user or link.", "kind").WithoutPanel("for users' own rules; each failure is in the log")
}

// ReloadTime is when it last did.
func ReloadTime() *collectors.Metric {
	return metric.Gauge("upkeep_config_last_reload_success_timestamp_seconds",
		"When the configuration in use was loaded.").
		WithoutPanel(collectors.AdHoc)
}
