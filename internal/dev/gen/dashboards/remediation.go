package main

import (
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// remediation is the page for the owners of upkeep's actions: the results of each policy,
// pending approvals, the flow of alerts and notifications, and the backups that actions rely on.
func remediation(rules map[string]rule) *board {
	b := begin(rules, "upkeep-remediation", "remediation",
		"Runs and their results, pending approvals, delivery of notifications, backups.", itself,
		choice("policy", "Policy", itself, "upkeep_policy_runs_total", "policy"),
		choice("backup", "Backup", itself, "upkeep_backups", "server"))
	b.Time = timeRange{From: "now-7d", To: "now"}
	effect(b)
	underWay(b)
	inAndOut(b)
	backedUp(b)
	return b
}

// inStore is by how much a counter of the store has grown in the chosen range. It
// outlives restarts, so the difference is exact; increase would leave out the
// first run of each policy, and runs are rare.
func inStore(metric string, matchers ...string) string {
	s := policies.raw(metric, matchers...)
	now := once(s)
	return "(" + now + " - (" + once(s+" offset $__range") + " or 0 * " + now + "))"
}

func outcomes(all ...remediate.State) string {
	var names []string
	for _, s := range all {
		names = append(names, string(s))
	}
	return `outcome=~"` + strings.Join(names, "|") + `"`
}

func judged() string {
	return outcomes(remediate.Resolved, remediate.Unresolved, remediate.Inconclusive, remediate.Failed)
}

const (
	policyRuns = "upkeep_policy_runs_total"
	resolving  = "upkeep_policy_resolve_seconds_total"
	perPolicy  = "sum by (policy, action) ("
)

func effect(b *board) {
	resolved := inStore(policyRuns, outcomes(remediate.Resolved))
	b.row("Results in the selected range")
	b.stat("Resolved", "Share of the acting runs after which the problem was gone, by the metric and by the "+
		"alert's own "+
		"expression.", "percentunit", "no runs",
		"sum("+resolved+") / (sum("+inStore(policyRuns, judged())+") > 0)").page("Policies", "/")
	b.stat("Time to resolve", "From the request to the resolution, on average.", "s", "no runs",
		"sum("+inStore(resolving)+") / (sum("+resolved+") > 0)")
	b.stat("Came back within a day", "Incidents that were resolved and needed another run soon after.", "short", "0",
		zero("sum("+inStore("upkeep_policy_came_back_total")+")")).from(1, "orange")
	b.stat("Awaiting approval", "Plans that are neither approved nor rejected: upkeep runs lists them.", "short", "0",
		zero("sum("+itself.of("upkeep_runs_active", `state="`+string(remediate.AwaitingApproval)+`"`)+")")).
		any("UpkeepPlanUnanswered").page("Runs", "/")
	b.stat("Demoted policies", "Policies whose runs need approval, because too few of them helped or a person demoted "+
		"them: upkeep policy list "+
		"shows why.", "short", "0", zero("count("+policies.of("upkeep_policy_demoted")+")")).
		any("UpkeepPolicyDemoted")
	b.stat("Replicas", "Processes that execute runs from the same store.", "short", "not known",
		"max("+itself.of("upkeep_replicas")+")")
	b.table(12, "Runs by outcome", "Final states of the runs of each policy.",
		[]column{{"runs", "short", inStore(policyRuns) + " > 0"}}, "policy", "action", "outcome").to(toPolicy)
	b.table(12, "Policies", "Of the runs of each policy: share that resolved the incident, how many changed "+
		"something, "+
		"mean time from the request to the resolution, and how many incidents came back within a day.",
		[]column{
			{"resolved", "percentunit", perPolicy + resolved + ") / (" + perPolicy + inStore(policyRuns, judged()) +
				") > 0)"},
			{"acted", "short", perPolicy + inStore("upkeep_policy_acted_total") + ") > 0"},
			{"time", "s", perPolicy + inStore(resolving) + ") / (" + perPolicy + resolved + ") > 0)"},
			{"came back", "short", perPolicy + inStore("upkeep_policy_came_back_total") + ") > 0"},
		}, "policy", "action").to(toPolicy)
	b.table(24, "Last runs that acted", "The last run of each action on each server that changed something. Its "+
		"number "+
		"leads to the run.", []column{{"ago", "s", "time() - " + itself.of("upkeep_run_acted_timestamp_seconds")}},
		"action", "server", "run").run().smallest().high(6)
}

func underWay(b *board) {
	b.row("Under way")
	b.graph(8, "Runs by state", "Runs that have not ended: awaiting_approval waits for a person, waiting for a guard, "+
		"applied for its verdict.", "short",
		line{"sum by (state) (" + itself.of("upkeep_runs_active") + ")", "{{state}}"}).page("Runs", "/").
		runbook("UpkeepRunStuck")
	b.graph(8, "State transitions", "An hour.", "short",
		line{"3600 * " + summed("to", "upkeep_run_transitions_total"), "{{to}}"}).page("Runs", "/")
	b.graph(8, "Reasons for refused and waiting runs", "An hour, by guard or reason.", "short",
		line{"3600 * " + summed("reason", "upkeep_run_refusals_total"), "{{reason}}"}).page("Runs", "/")
	b.graph(8, "Open incidents", "Incidents whose alert is not resolved.", "short",
		line{itself.of("upkeep_incidents_open"), "{{alertname}}"}).page("Incidents", "/")
	b.table(8, "Pauses", "upkeep does not act in their scope: upkeep status shows who set them and why.",
		[]column{{"pauses", "short", itself.of("upkeep_paused")}}, "scope").page("Pauses", "/")
	b.table(8, "Demoted policies", "To let one act without approval again: upkeep policy promote POLICY --why REASON.",
		[]column{{"demoted", "short", policies.of("upkeep_policy_demoted")}}, "policy").
		runbook("UpkeepPolicyDemoted").to(toPolicy)
}

func inAndOut(b *board) {
	b.row("Alerts received, notifications sent")
	b.graph(8, "Alerts received", "A second; each is stored before it is acknowledged.", "ops",
		line{summed("source, status", "upkeep_inbox_alerts_total"), "{{source}} {{status}}"})
	b.graph(8, "Webhook responses", "A second. 503: the sender should retry; 4xx: a retry does not help.", "reqps",
		line{summed("source, code", "upkeep_webhook_requests_total"), "{{source}} {{code}}"}).
		runbook("UpkeepWebhookBusy")
	b.graph(8, "Webhook latency p99", "Includes the write to the store.", "s",
		line{"histogram_quantile(0.99, " + summed("le", "upkeep_webhook_duration_seconds_bucket") + ")",
			"all"})
	b.graph(8, "Undelivered notifications", "Summed over the notifiers.", "short",
		line{itself.of("upkeep_notifications_pending"), "notifications"}).any("UpkeepNotificationsNotDelivered")
	b.graph(8, "Notifications", "An hour, by result of each attempt.", "short",
		line{"3600 * " + summed("notifier, kind, result", "upkeep_notifications_total"),
			"{{notifier}} {{kind}} {{result}}"}).runbook("UpkeepNotificationsNotDelivered")
	b.graph(8, "Refused alerts", "An hour, by name: too many incidents are open. Their deliveries are answered 503.",
		"short", line{"3600 * " + summed("alertname", "upkeep_inbox_alerts_refused_total"), "{{alertname}}"}).
		runbook("UpkeepWebhookBusy")
	b.graph(8, "Size of the store", "Journal, runs, incidents, notifications and dead letters.", "bytes",
		line{itself.of("upkeep_store_size_bytes"), "size"}).alert("UpkeepStoreLarge")
	b.graph(8, "Age of the store", "Oldest journal entry whose run and incident have ended; overdue is what "+
		"store.retention should have deleted.", "s",
		line{itself.of("upkeep_store_age_seconds"), "age"},
		line{itself.of("upkeep_store_overdue_seconds"), "overdue"}).runbook("UpkeepStoreOverdue")
	b.stat("Dead letters", "Payloads that could not be parsed: upkeep inbox lists them.", "short", "0",
		zero("max("+itself.of("upkeep_inbox_dead_letters")+")")).any("UpkeepDeadLetters").high(8)
	b.stat("Journal", "Whether every entry was unchanged when the process started.", "short", "not known",
		"min("+itself.raw("upkeep_journal_intact")+")").words("intact",
		"changed").below1("UpkeepJournalChanged").high(8)
}

func backedUp(b *board) {
	b.row("Backups, as far as they are seen")
	b.table(8, "Age of the newest backup", "Of each server or stanza.",
		[]column{{"age", "s", "time() - " + backups.of("upkeep_backup_last_timestamp_seconds")}}, "server", "stanza").
		alert("BackupOld")
	b.table(8, "Since a backup was restored", "Backups that were never restored are not shown.",
		[]column{{"age", "s", "time() - " + backups.of("upkeep_backup_verified_timestamp_seconds")}}, "server",
		"stanza").
		runbook("BackupUnverified")
	b.states(8, "Newest backup", "Whether it looks valid without a restore.", [2]string{"looks valid", "doubtful"},
		line{backups.of("upkeep_backup_last_ok"), "{{server}} {{stanza}}"}).runbook("BackupDoubtful")
	b.graph(12, "Size of the newest backup", "A sudden drop may mean an incomplete backup.", "bytes",
		line{backups.of("upkeep_backup_last_size_bytes"), "{{server}} {{stanza}}"}).runbook("BackupDoubtful")
	b.graph(12, "Number of backups", "That exist.", "short",
		line{backups.of("upkeep_backups"), "{{server}} {{stanza}}"}).runbook("BackupMissing")
}
