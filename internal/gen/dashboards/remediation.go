package main

// remediation is the page for whoever answers for what upkeep does: what came of
// each policy, who is waited for, and whether alerts come in and notices go out.
func remediation(limit map[string]float64) dashboard {
	l := new(layout)
	effect(l)
	underWay(l)
	inAndOut(l, limit)
	d := page("upkeep-remediation", "upkeep: remediation", "What was done, whether it helped, who is waited for, and whether everybody is told.", l)
	d.Templating.List = []variable{d.Templating.List[0], choice("policy", "Policy", "label_values(upkeep_policy_runs_total, policy)")}
	return d
}

// once takes away what tells replicas apart: what they read from the store that
// they share is there once, whoever tells of it.
func once(selector string) string { return "max without (instance) (" + selector + ")" }

// grown is by how much a counter of the store has grown in the chosen range. It
// outlives restarts, so the difference is exact; increase would leave out the
// first run of each policy, and runs are rare.
func grown(metric string, matchers string) string {
	now := once(metric + "{" + matchers + "}")
	return "(" + now + " - (" + once(metric+"{"+matchers+"} offset $__range") + " or 0 * " + now + "))"
}

const (
	ofPolicy = `policy=~"$policy"`
	judged   = `outcome=~"cleared|uncleared|inconclusive|failed"`
)

func effect(l *layout) {
	runs, cleared := "upkeep_policy_runs_total", ofPolicy+`,outcome="cleared"`
	l.row("What came of it, in the chosen range")
	l.add(4, 4, stat("Cleared", "Share of the runs that acted whose trouble was gone afterwards, by the measure and by the alert's own expression.", "percentunit", levels(),
		"sum("+grown(runs, cleared)+") / (sum("+grown(runs, ofPolicy+","+judged)+") > 0)"))
	l.add(4, 4, stat("Time to clear", "From the request to the clearing, on average.", "s", levels(),
		"sum("+grown("upkeep_policy_clear_seconds_total", ofPolicy)+") / (sum("+grown(runs, cleared)+") > 0)"))
	l.add(4, 4, stat("Came back within a day", "Troubles that were cleared and needed another run soon after.", "short", levels(from(1, "orange")),
		"sum("+grown("upkeep_policy_came_back_total", ofPolicy)+") or vector(0)"))
	l.add(4, 4, stat("Wait for a person", "Plans that nobody has approved of or declined: upkeep runs lists them.", "short", levels(from(1, "orange")),
		"sum("+once(`upkeep_runs_active{state="asked"}`)+") or vector(0)"))
	l.add(4, 4, stat("Put back to ask", "Policies that no longer act by themselves, because too few of their runs cleared: upkeep policy list says why.", "short", levels(from(1, "orange")),
		"count("+once("upkeep_policy_demoted")+") or vector(0)"))
	l.add(4, 4, stat("Replicas", "Processes that carry runs from the same store.", "short", levels(),
		"max(upkeep_replicas)"))

	l.add(12, 8, table("Runs by outcome", "How the runs of each policy have ended.", "short", "runs", levels(),
		grown(runs, ofPolicy)+" > 0", "policy", "action", "outcome"))
	l.add(12, 8, table("Share that cleared", "Of the runs of each policy that could be judged or failed.", "percentunit", "cleared", levels(),
		"sum by (policy, action) ("+grown(runs, cleared)+") / (sum by (policy, action) ("+grown(runs, ofPolicy+","+judged)+") > 0)", "policy", "action"))
	l.add(8, 8, table("Runs that changed something", "The others were declined or failed before.", "short", "runs", levels(),
		grown("upkeep_policy_acted_total", ofPolicy)+" > 0", "policy", "action"))
	l.add(8, 8, table("Time to clear, by policy", "From the request to the clearing, on average; waiting for windows and people counts.", "s", "time", levels(),
		"sum by (policy, action) ("+grown("upkeep_policy_clear_seconds_total", ofPolicy)+") / (sum by (policy, action) ("+grown(runs, cleared)+") > 0)", "policy", "action"))
	l.add(8, 8, table("Came back within a day, by policy", "What comes back at once was not cured: look for the cause.", "short", "runs", levels(),
		grown("upkeep_policy_came_back_total", ofPolicy)+" > 0", "policy", "action"))
}

func underWay(l *layout) {
	l.row("Under way")
	l.add(8, 8, graph("Runs by state", "Those that have not ended: asked waits for a person, waiting for a guard, applied for its verdict.", "short", levels(),
		line{"sum by (state) (" + once("upkeep_runs_active") + ")", "{{state}}"}))
	l.add(8, 8, graph("Changes of state", "In an hour.", "short", levels(),
		line{"sum by (to) (increase(upkeep_run_transitions_total[1h]))", "{{to}}"}))
	l.add(8, 8, graph("Why runs were declined or made to wait", "In an hour, by the guard or the reason.", "short", levels(),
		line{"sum by (reason) (increase(upkeep_run_refusals_total[1h]))", "{{reason}}"}))
	l.add(8, 8, graph("Open episodes", "Troubles that alerts have told of and that are not over.", "short", levels(),
		line{once("upkeep_episodes_open"), "{{alertname}}"}))
	l.add(8, 8, table("Pauses", "Nothing is done in their scope: upkeep status says by whom and why.", "short", "pauses", levels(),
		once("upkeep_paused"), "scope"))
	l.add(8, 8, table("Policies that were put back to ask", "They act by themselves again after: upkeep policy promote POLICY --why REASON.", "short", "asks", levels(),
		once("upkeep_policy_demoted"), "policy"))
}

func inAndOut(l *layout, limit map[string]float64) {
	l.row("Alerts in, notices out")
	l.add(8, 8, graph("Alerts taken in", "In a second; each is on disk before it is acknowledged.", "ops", levels(),
		line{"sum by (source, status) (rate(upkeep_inbox_alerts_total[5m]))", "{{source}} {{status}}"}))
	l.add(8, 8, graph("Answers to deliveries", "In a second. 503: send it again; 4xx: sending it again is of no use.", "reqps", levels(),
		line{"sum by (source, code) (rate(upkeep_webhook_requests_total[5m]))", "{{source}} {{code}}"}))
	l.add(8, 8, graph("99 of 100 deliveries are answered within", "With the time that the store takes.", "s", levels(),
		line{"histogram_quantile(0.99, sum by (le) (rate(upkeep_webhook_duration_seconds_bucket[5m])))", "all"}))
	l.add(8, 8, graph("Notices that nobody was told of yet", "Summed over the notifiers.", "short", levels(from(limit["UpkeepNoticesNotDelivered"]+1, "red")),
		line{once("upkeep_notices_pending"), "notices"}))
	l.add(8, 8, graph("Notices", "In an hour, by what came of each try.", "short", levels(),
		line{"sum by (notifier, kind, result) (increase(upkeep_notices_total[1h]))", "{{notifier}} {{kind}} {{result}}"}))
	l.add(4, 8, stat("Deliveries that could not be read", "They are kept: upkeep inbox lists them.", "short", levels(from(1, "orange")),
		once("upkeep_inbox_letters")))
	l.add(4, 8, stat("Journal", "1 when every entry was what had been written, at the start of the process.", "short", thresholds{Mode: "absolute", Steps: []threshold{{Color: "red"}, from(1, "green")}},
		"min(upkeep_journal_intact)"))
}
