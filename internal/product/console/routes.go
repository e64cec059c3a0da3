package console

import (
	"net/http"
	"slices"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
)

// Routes returns what the console serves, and puts its pages into the navigation.
func (c *Console) Routes() []web.Route {
	all := []web.Route{
		portal.PageAt("/", access.View, "what fires, what is done about it, what to decide; after", c.nowPage),
		portal.Patient(portal.PageAt(page.LookPath, access.View,
			"what is wrong with the targets, the worst first; server, harm", c.lookPage)),
		portal.FormAt(page.PlanPath, access.Operate, "what an action would do that mends a finding", c.formPlan),
		portal.PageAt(page.RunsPath, access.View, "runs: state, action, policy, target, since, until, q, all, before",
			c.runsPage),
		portal.PageAt(page.RunPath+":id", access.View, "one run: plan, progress, effect, guards, journal", c.runPage),
		portal.PageAt(page.PoliciesPath, access.View, "the policies with their state and what came of their runs",
			c.policiesPage),
		portal.PageAt(page.PoliciesPath+"/:name", access.View, "one policy: chain, terms, guards, effect, runs",
			c.policyPage),
		portal.PageAt(page.PoliciesPath+"/:name/dry-run", access.View,
			"what a policy would decide about the alerts of a day", c.dryRun),
		portal.FormAt(page.PoliciesPath+"/:name/promote", access.Approve, "promote a policy that was demoted",
			c.formPromote),
		portal.FormAt(page.PoliciesPath+"/:name/demote", access.Approve, "demote a policy: its runs need approval",
			c.formDemote),
		portal.FormAt(page.PoliciesPath+"/:name/close", access.Approve, "close the breaker of a policy", c.formClose),
		portal.PageAt(page.CalendarPath, access.View, "the next 30 days of schedules and windows, the last runs; from",
			c.calendarPage),
		portal.PageAt(page.InboxPath, access.View, "alerts left to people, dead letters, silences; after, letters",
			c.inboxPage),
		portal.PageAt(page.DeadLetterPath+":id", access.Operate,
			"a dead letter with its body, which may have secrets in it", c.deadLetterPage),
		portal.StreamAt(EventsPath, access.View, "says when something has happened, as server-sent events", c.events),
		portal.FormAt(page.RunPath+":id/answer", access.Approve, "approve or reject the plan of a run", c.formAnswer),
		portal.FormAt(page.RunPath+":id/cancel", access.Operate, "cancel a run", c.formCancel),
		portal.FormAt(page.RunPath+":id/retry", access.Operate, "run once more what has ended", c.formRetry),
		portal.FormAt("/pause", access.Operate, "pause", c.formPause),
		portal.FormAt("/resume", access.Operate, "end a pause", c.formResume),
		portal.PageAt(page.ReportsPath, access.View, "the months and quarters of which there is a report",
			c.reportsPage),
		portal.PageAt(page.JournalPath, access.View, "the journal: kind, run, q, before", c.journalPage),
		portal.PageAt(page.SettingsPath, access.View, "targets, collectors, the configuration as loaded; server",
			c.settingsPage),
		portal.Patient(portal.PageAt(page.RightsPath, access.View,
			"rights that are missing on the targets, with the SQL that grants them", c.rightsPage)),
		portal.Bounded(portal.PageAt(ReportPath+":name", access.View,
			"the review of a month or a quarter, like 2026-10 or 2026-Q3", c.reportPage)),

		web.Get(Prefix+"/status", access.View, "what fires, waits and is paused; the collectors", c.status),
		portal.Patient(web.Get(Prefix+"/look", access.View, "what is wrong with the targets, the worst first",
			c.lookJSON)),
		web.Get(Prefix+"/incidents", access.View, "open incidents, the oldest first; limit, after", c.incidents),
		web.Get(Prefix+"/runs", access.View, "runs, the newest first; limit, state, action, policy, target, "+
			"since, until, q, all=0, before", c.runs),
		web.Get(Prefix+"/runs/:id", access.View, "one run with its journal entries; progress=1", c.run),
		web.Get(Prefix+"/pauses", access.View, "the pauses", c.pauses),
		web.Get(Prefix+"/schedules", access.View, "the next and last occurrences", c.schedules),
		web.Get(Prefix+"/forecast", access.View, "growth and time to the limit of what fills up", c.forecast),
		portal.Bounded(web.Get(Prefix+"/report", access.View, "the review of a month or a quarter: month, or quarter",
			c.reportJSON)),
		web.Get(Prefix+"/policies", access.View, "the policies with their state and results", c.policies),
		web.Get(Prefix+"/actions", access.View, "the actions with labels, parameters and effects", c.actions),
		web.Get(Prefix+"/targets", access.View, "the targets with their state", c.targets),
		web.Get(Prefix+"/journal", access.View, "the last entries of the journal; limit, kind, run, q, before", c.log),
		web.Get(Prefix+"/dead_letters", access.Operate, "deliveries that could not be parsed; limit, before",
			c.deadLetters),
		web.Get(Prefix+"/dead_letters/:id", access.Operate, "one of them with its body, which may have secrets in it",
			c.deadLetter),

		portal.RequestAt("/plans", access.Operate, "what an action would do now", c.plan),
		portal.RequestAt("/runs", access.Operate, "run an action", c.request),
		portal.RequestAt("/pauses", access.Operate, "pause", c.pause),
		portal.RequestAt("/runs/:id/cancel", access.Operate, "cancel a run", c.cancel),
		portal.RequestAt("/runs/:id/retry", access.Operate, "run once more what has ended", c.retry),
		portal.RequestAt("/runs/:id/approve", access.Approve, "approve the plan of a run", c.approve),
		portal.RequestAt("/runs/:id/reject", access.Approve, "reject the plan of a run", c.reject),
		portal.RequestAt("/policies/:name/promote", access.Approve, "promote a policy that was demoted", c.promote),
		portal.RequestAt("/policies/:name/demote", access.Approve, "demote a policy: its runs need approval", c.demote),
		portal.RequestAt("/policies/:name/close", access.Approve, "close the breaker of a policy", c.closeBreaker),
		{Methods: []string{http.MethodDelete}, Path: Prefix + "/pauses", Roles: []access.Role{access.Operate},
			Pool: web.Changes(), Doc: "end a pause", Handler: c.resume},
	}
	for _, audit := range []web.Route{
		web.Get(Prefix+"/journal/verify", access.Operate, "read the journal and compare its hashes", c.verify),
		web.Get(Prefix+"/journal/replay", access.Operate, "decide every recorded case again", c.replay),
		portal.FormAt(page.VerifyPath, access.Operate, "verify the journal, on the page", c.formVerify),
	} {
		audit.Pool, audit.Time = web.Audits(), auditTime
		all = append(all, audit)
	}
	if c.Signer != nil { // chat programs fetch what they are shown: to look is never to answer
		all = append(all,
			web.Route{Methods: []string{http.MethodGet}, Path: approvePath, Proof: signedLink, Page: true,
				Doc: "the plan of a link in a notification", Handler: c.showQuestion},
			web.Route{Methods: []string{http.MethodPost}, Path: approvePath, Proof: signedLink, Page: true,
				Body: portal.MaxForm, Doc: "approve or reject it", Handler: c.takeAnswer})
	}
	all = slices.Concat(all, c.ManualRoutes(), portal.Files(), c.LoginRoutes())
	c.Bar = page.Bar(func(path string) bool {
		return slices.ContainsFunc(all, func(r web.Route) bool { return r.Path == path })
	})
	return all
}

// signedLink is what the approval page asks for.
const signedLink = "a signed link"
