// Package catalog lists what upkeep can see and do: every collector, every
// action and every metric. The lists of units are generated from the tree.
package catalog

import (
	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// anyTarget is a sample configuration: one target of each kind.
func anyTarget() target.Set {
	return target.Set{
		Postgres: []*target.Postgres{{}}, Redis: []*target.Redis{{}}, Host: []*target.Host{{}}, Docker: []*target.Docker{{}},
		Probe: []*target.Probe{{}}, Backup: []*target.Backup{{}}, Packages: []*target.Packages{{}},
	}
}

// EveryCollector returns each collector once, without a target to ask.
func EveryCollector() []collectors.Collector { return Collectors(anyTarget()) }

// EveryAction returns each action once, without a target to act on.
func EveryAction() []remediate.Action { return Actions(anyTarget()) }

// Own returns the metrics that upkeep serves about itself.
func Own() []*collectors.Metric {
	byCollector, byPolicy := []string{"collector", "server"}, []string{"policy", "action"}
	return []*collectors.Metric{
		{Name: "upkeep_build_info", Type: collectors.Gauge, Help: "1, with the version as a label.", Labels: []string{"version"}},
		{Name: "upkeep_collector_beyond_limit", Type: collectors.Gauge, Help: "Number of tables, statements or other subjects beyond the limit, which are not exported one by one.", Labels: byCollector},
		{Name: "upkeep_collector_duration_seconds", Type: collectors.Gauge, Help: "Duration of the last collection.", Labels: byCollector},
		{Name: "upkeep_collector_last_success_timestamp_seconds", Type: collectors.Gauge, Help: "When a collection last succeeded completely; absent before the first.", Labels: byCollector},
		{Name: "upkeep_collector_samples", Type: collectors.Gauge, Help: "Number of samples that the last collection wrote.", Labels: byCollector},
		{Name: "upkeep_collector_success", Type: collectors.Gauge, Help: "1 when the last collection succeeded completely, else 0.", Labels: byCollector},
		{Name: "upkeep_config_last_reload_success", Type: collectors.Gauge, Help: "1 when the last reload of the configuration succeeded, else 0."},
		{Name: "upkeep_config_last_reload_success_timestamp_seconds", Type: collectors.Gauge, Help: "When the configuration in use was loaded."},
		{Name: "upkeep_incidents_open", Type: collectors.Gauge, Help: "Number of open incidents.", Labels: []string{"alertname"}},
		{Name: "upkeep_inbox_alerts_total", Type: collectors.Counter, Help: "Alerts received and stored, duplicates included, by source and status.", Labels: []string{"source", "status"}},
		{Name: "upkeep_inbox_dead_letters", Type: collectors.Gauge, Help: "Number of dead letters: webhook payloads that could not be parsed. At most a thousand are kept."},
		{Name: "upkeep_inbox_dead_letters_total", Type: collectors.Counter, Help: "Webhook payloads, or alerts of one, that could not be parsed and were kept as dead letters; each delivery counts."},
		{Name: "upkeep_journal_intact", Type: collectors.Gauge, Help: "1 when every entry of the journal was unchanged at the start of the process, else 0."},
		{Name: "upkeep_notifications_pending", Type: collectors.Gauge, Help: "Number of notifications that are not delivered yet, summed over the notifiers."},
		{Name: "upkeep_notifications_total", Type: collectors.Counter, Help: "Notifications by result of each attempt: delivered, failed or given_up.", Labels: []string{"notifier", "kind", "result"}},
		{Name: "upkeep_paused", Type: collectors.Gauge, Help: "1 for each active pause; its scope is all, a policy, an action or a target.", Labels: []string{"scope"}},
		{Name: "upkeep_policy_acted_total", Type: collectors.Counter, Help: "Runs of a policy that have changed something, since the store was created.", Labels: byPolicy},
		{Name: "upkeep_policy_came_back_total", Type: collectors.Counter, Help: "Runs of a policy that resolved an incident which needed another run within 24 hours.", Labels: byPolicy},
		{Name: "upkeep_policy_resolve_seconds_total", Type: collectors.Counter, Help: "Time from the request to the resolution, summed over the runs of a policy that resolved the incident.", Labels: byPolicy},
		{Name: "upkeep_policy_demoted", Type: collectors.Gauge, Help: "1 for each policy that is demoted because too few of its runs helped.", Labels: []string{"policy"}},
		{Name: "upkeep_policy_runs_total", Type: collectors.Counter, Help: "Runs of a policy that have ended, by outcome; since the store was created.", Labels: []string{"policy", "action", "outcome"}},
		{Name: "upkeep_remote_write_delay_seconds", Type: collectors.Gauge, Help: "Age of the oldest sample that a remote storage of embedded.remote_write has not received; 0 when it has all.", Labels: []string{"remote"}},
		{Name: "upkeep_remote_write_rejected_samples_total", Type: collectors.Counter, Help: "Samples that a remote storage rejected for good, since the start of the process.", Labels: []string{"remote"}},
		{Name: "upkeep_replicas", Type: collectors.Gauge, Help: "Number of processes that execute runs from this store."},
		{Name: "upkeep_run_refusals_total", Type: collectors.Counter, Help: "Runs that were refused or have to wait, by reason.", Labels: []string{"reason"}},
		{Name: "upkeep_run_transitions_total", Type: collectors.Counter, Help: "Transitions of runs into a state, since the start of the process.", Labels: []string{"action", "to"}},
		{Name: "upkeep_runs_active", Type: collectors.Gauge, Help: "Number of runs that have not ended, by state; runs that wait or await approval are included.", Labels: []string{"action", "state"}},
		{Name: "upkeep_runs_stuck", Type: collectors.Gauge, Help: "Number of stuck runs: no progress for longer than the timeout of their step, or not picked up when due."},
		{Name: "upkeep_schedule_query_failing", Type: collectors.Gauge, Help: "1 while the last attempt of a schedule's query failed: its runs do not start.", Labels: []string{"schedule"}},
		{Name: "upkeep_schedule_query_failures_total", Type: collectors.Counter, Help: "Failed queries of a schedule, since the start of the process.", Labels: []string{"schedule"}},
		{Name: "upkeep_webhook_duration_seconds", Type: collectors.Histogram, Help: "Latency of webhook responses."},
		{Name: "upkeep_webhook_requests_total", Type: collectors.Counter, Help: "Webhook deliveries, by source and HTTP status of the response.", Labels: []string{"source", "code"}},
	}
}
