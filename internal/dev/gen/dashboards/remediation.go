package main

import "github.com/ai-micro-service/upkeep/remediate"

// remediation is the page for the owners of upkeep's actions: the results of
// each policy, pending approvals, and the flow of alerts and notifications.
func remediation(limit map[string]float64) dashboard {
	l := new(layout)
	effect(l)
	underWay(l)
	inAndOut(l, limit)
	d := page("upkeep-remediation", "upkeep: remediation",
		"Runs, their results, pending approvals, and delivery of notifications.", l)
	d.Templating.List = []variable{d.Templating.List[0],
		choice("policy", "Policy", "label_values(upkeep_policy_runs_total, policy)")}
	return d
}

// grown is by how much a counter of the store has grown in the chosen range. It
// outlives restarts, so the difference is exact; increase would leave out the
// first run of each policy, and runs are rare.
func grown(metric string, matchers string) string {
	now := once(metric + "{" + matchers + "}")
	return "(" + now + " - (" + once(metric+"{"+matchers+"} offset $__range") + " or 0 * " + now + "))"
}

const (
	ofPolicy = `policy=~"$policy"`
	judged   = `outcome=~"` +
		string(remediate.Resolved+"|"+remediate.Unresolved+"|"+remediate.Inconclusive+"|"+remediate.Failed) + `"`
)

func effect(l *layout) {
	runs, resolved := "upkeep_policy_runs_total", ofPolicy+`,outcome="`+string(remediate.Resolved)+`"`
	l.row("Results in the selected range")
	l.add(4, 4, stat("Resolved", "Share of the acting runs after which the problem was gone, by the metric and by the "+
		"alert's own expression.", "percentunit", levels(),
		"sum("+grown(runs, resolved)+") / (sum("+grown(runs, ofPolicy+","+judged)+") > 0)"))
	l.add(4, 4, stat("Time to resolve", "From the request to the resolution, on average.", "s", levels(),
		"sum("+grown("upkeep_policy_resolve_seconds_total", ofPolicy)+") / (sum("+grown(runs, resolved)+") > 0)"))
	l.add(4, 4, stat("Came back within a day", "Incidents that were resolved and needed another run soon after.",
		"short", levels(from(1, "orange")),
		"sum("+grown("upkeep_policy_came_back_total", ofPolicy)+") or vector(0)"))
	l.add(4, 4, stat("Awaiting approval", "Plans that are neither approved nor rejected: upkeep runs lists them.",
		"short", levels(from(1, "orange")),
		"sum("+once(`upkeep_runs_active{state="`+string(remediate.AwaitingApproval)+`"}`)+") or vector(0)"))
	l.add(4, 4, stat("Demoted policies", "Policies whose runs need approval, because too few of them helped: upkeep "+
		"policy list shows why.", "short", levels(from(1, "orange")),
		"count("+once("upkeep_policy_demoted")+") or vector(0)"))
	l.add(4, 4, stat("Replicas", "Processes that execute runs from the same store.", "short", levels(),
		"max(upkeep_replicas)"))

	l.add(12, 8, table("Runs by outcome", "Final states of the runs of each policy.", "short", "runs", levels(),
		grown(runs, ofPolicy)+" > 0", "policy", "action", "outcome"))
	l.add(12, 8, table("Success rate", "Of the runs of each policy that failed or have a verdict.", "percentunit",
		"resolved", levels(),
		"sum by (policy, action) ("+grown(runs, resolved)+") / (sum by (policy, action) ("+grown(runs,
			ofPolicy+","+judged)+") > 0)", "policy", "action"))
	l.add(8, 8, table("Runs that changed something", "The others were refused or failed before they acted.", "short",
		"runs", levels(),
		grown("upkeep_policy_acted_total", ofPolicy)+" > 0", "policy", "action"))
	l.add(8, 8, table("Time to resolve, by policy", "From the request to the resolution, on average; time spent "+
		"waiting for windows and approval counts.", "s", "time", levels(),
		"sum by (policy, action) ("+grown("upkeep_policy_resolve_seconds_total",
			ofPolicy)+") / (sum by (policy, action) ("+grown(runs, resolved)+") > 0)", "policy", "action"))
	l.add(8, 8, table("Came back within a day, by policy", "If an incident comes back soon, the cause is not fixed.",
		"short", "runs", levels(),
		grown("upkeep_policy_came_back_total", ofPolicy)+" > 0", "policy", "action"))
}

func underWay(l *layout) {
	l.row("Under way")
	l.add(8, 8, graph("Runs by state", "Runs that have not ended: awaiting_approval waits for a person, waiting for a "+
		"guard, applied for its verdict.", "short", levels(),
		line{"sum by (state) (" + once("upkeep_runs_active") + ")", "{{state}}"}))
	l.add(8, 8, graph("State transitions", "Per hour.", "short", levels(),
		line{"sum by (to) (increase(upkeep_run_transitions_total[1h]))", "{{to}}"}))
	l.add(8, 8, graph("Reasons for refused and waiting runs", "Per hour, by guard or reason.", "short", levels(),
		line{"sum by (reason) (increase(upkeep_run_refusals_total[1h]))", "{{reason}}"}))
	l.add(8, 8, graph("Open incidents", "Incidents whose alert is not resolved.", "short", levels(),
		line{once("upkeep_incidents_open"), "{{alertname}}"}))
	l.add(8, 8, table("Pauses", "upkeep does not act in their scope: upkeep status shows who set them and why.",
		"short", "pauses", levels(),
		once("upkeep_paused"), "scope"))
	l.add(8, 8, table("Demoted policies", "To let one act without approval again: upkeep policy promote POLICY --why "+
		"REASON.", "short", "asks", levels(),
		once("upkeep_policy_demoted"), "policy"))
}

func inAndOut(l *layout, limit map[string]float64) {
	l.row("Alerts received, notifications sent")
	l.add(8, 8, graph("Alerts received", "Per second; each is stored before it is acknowledged.", "ops", levels(),
		line{"sum by (source, status) (rate(upkeep_inbox_alerts_total[$__rate_interval]))", "{{source}} {{status}}"}))
	l.add(8, 8, graph("Webhook responses", "Per second. 503: the sender should retry; 4xx: a retry does not help.",
		"reqps", levels(),
		line{"sum by (source, code) (rate(upkeep_webhook_requests_total[$__rate_interval]))", "{{source}} {{code}}"}))
	l.add(8, 8, graph("Webhook latency p99", "Includes the write to the store.", "s", levels(),
		line{"histogram_quantile(0.99, sum by (le) (rate(upkeep_webhook_duration_seconds_bucket[$__rate_interval])))",
			"all"}))
	l.add(8, 8, graph("Undelivered notifications", "Summed over the notifiers.", "short",
		levels(from(limit["UpkeepNotificationsNotDelivered"]+1, "red")),
		line{once("upkeep_notifications_pending"), "notifications"}))
	l.add(8, 8, graph("Notifications", "Per hour, by result of each attempt.", "short", levels(),
		line{"sum by (notifier, kind, result) (increase(upkeep_notifications_total[1h]))",
			"{{notifier}} {{kind}} {{result}}"}))
	l.add(8, 8, graph("Refused alerts", "Per hour, by name: too many incidents are open. Their deliveries are "+
		"answered 503.", "short", levels(),
		line{"sum by (alertname) (increase(upkeep_inbox_alerts_refused_total[1h]))", "{{alertname}}"}))
	l.add(8, 8, graph("Size of the store", "Journal, runs, incidents, notifications and dead letters.", "bytes",
		levels(from(limit["UpkeepStoreLarge"], "red")), line{once("upkeep_store_size_bytes"), "size"}))
	l.add(8, 8, graph("Age of the store", "Oldest journal entry whose run and incident have ended; overdue is what "+
		"store.retention should have deleted.", "s", levels(), line{once("upkeep_store_age_seconds"), "age"},
		line{once("upkeep_store_overdue_seconds"), "overdue"}))
	l.add(4, 8, stat("Dead letters", "Payloads that could not be parsed: upkeep inbox lists them.", "short",
		levels(from(1, "orange")),
		once("upkeep_inbox_dead_letters")))
	l.add(4, 8, stat("Journal", "1 if every entry was unchanged when the process started.", "short",
		thresholds{Mode: "absolute", Steps: []threshold{{Color: "red"}, from(1, "green")}},
		"min(upkeep_journal_intact)"))
}
