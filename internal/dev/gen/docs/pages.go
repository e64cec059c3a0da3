package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/rights"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
)

// pages returns every generated page by its path.
func pages() (map[string]string, error) {
	rules, err := alerts.Parse(alerts.Files())
	if err != nil {
		return nil, err
	}
	files, err := schemas()
	if err != nil {
		return nil, err
	}
	others, err := exporters()
	if err != nil {
		return nil, err
	}
	answers, err := exporterAnswers()
	if err != nil {
		return nil, err
	}
	maps.Copy(files, map[string]string{
		"docs/exporters.md":                    exportersPage(others, answers),
		"alerts/oldnames/old-names.rules.yaml": oldNames(others, answers),

		"docs/collectors.md":  collectorsPage(),
		"docs/metrics.md":     metricsPage(),
		"docs/actions.md":     actionsPage(rules),
		"docs/alerts.md":      alertsPage(rules),
		"docs/states.md":      statesPage(),
		"docs/manual.md":      manualPage(),
		"docs/compare.md":     comparePage(),
		"docs/config.md":      config.Reference(),
		"upkeep.example.yaml": config.Example(),

		"docs/rights/postgres.sql": rights.PostgresScript("", rights.Of(rights.Postgres, catalog.EveryAction())),
		"docs/rights/redis.acl":    rights.RedisLine("", rights.Of(rights.Redis, catalog.EveryAction())),
	})
	return files, nil
}

func collectorsPage() string {
	p := new(page)
	p.f("# Collectors\n\nA collector runs one query on one target at its own interval. A failed collector reports " +
		"no\nvalue, never zero.\n\n| collector | every | at most | what it reports |\n| --- | --- | --- | --- |\n")
	for _, c := range catalog.EveryCollector() {
		summary, _ := doc(c.Doc)
		p.f("| [`%s`](#%s) | %s | %s | %s |\n", c.Name, anchor(c.Name), model.Duration(c.Every),
			model.Duration(c.Timeout), cell(summary))
	}
	for _, c := range catalog.EveryCollector() {
		summary, rest := doc(c.Doc)
		p.f("\n## %s\n\n%s\n\n%s\n\n", c.Name, summary, rest)
		metricTable(p, c.Metrics)
	}
	return p.String()
}

func metricTable(p *page, metrics []*collectors.Metric) {
	p.f("| metric | type | labels | what it means |\n| --- | --- | --- | --- |\n")
	for _, m := range metrics {
		p.f("| `%s` | %s | %s | %s |\n", m.Name, m.Type, code(m.Labels), cell(m.Help))
	}
}

func metricsPage() string {
	p := new(page)
	p.f("# Metrics\n\nMetrics have base units; ratios are from 0 to 1. Unknown values are absent, not zero.\n\n## Of " +
		"the targets\n\n| metric | type | labels | collector | what it means |\n| --- | --- | --- | --- | --- |\n")
	type row struct {
		*collectors.Metric
		by string
	}
	var rows []row
	for _, c := range catalog.EveryCollector() {
		for _, m := range c.Metrics {
			rows = append(rows, row{m, c.Name})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range rows {
		p.f("| `%s` | %s | %s | [%s](collectors.md#%s) | %s |\n", r.Name, r.Type, code(r.Labels), r.by, anchor(r.by),
			cell(r.Help))
	}
	p.f("\n## Of upkeep itself\n\n")
	metricTable(p, catalog.Own())
	p.f("\nupkeep also serves the usual `go_…` and `process_…` metrics of its process.\n")
	return p.String()
}

func actionsPage(rules []alerts.Rule) string {
	p := new(page)
	p.f("# Actions\n\nAn action runs only if a policy names it with `mode: auto`, or a person approves or " +
		"requests\nit: `upkeep plan ACTION key=value…` shows the plan, `upkeep run` executes it.\n\nThe rights of " +
		"all of them, as scripts: [rights/postgres.sql](rights/postgres.sql) for psql " +
		"and\n[rights/redis.acl](rights/redis.acl) for Redis; `upkeep rights` writes those that your policies " +
		"need.\n\n| action | risk | lowers | asked for by | what it does |\n| --- | --- | --- | --- | --- |\n")
	for _, a := range catalog.EveryAction() {
		summary, _ := doc(a.Doc)
		p.f("| [`%s`](#%s) | %s | %s | %s | %s |\n", a.Name, anchor(a.Name), a.Risk, code(a.Metrics()),
			askedBy(rules, a.Name), cell(summary))
	}
	effectsTable(p)
	for _, a := range catalog.EveryAction() {
		summary, rest := doc(a.Doc)
		p.f("\n## %s\n\n%s\n\n%s\n\nSubject: %s. Runs on the same %s exclude each other. Timeout of a step: %s. %s\n",
			a.Name, summary, rest, code(a.Subject), code(a.Exclusive), model.Duration(a.Timeout), stops(a.Cancel))
		if len(a.Params) > 0 {
			p.f("\n| parameter | type | default | what it does |\n| --- | --- | --- | --- |\n")
		}
		for _, param := range a.Params {
			p.f("| `%s` | %s | `%s` | %s |\n", param.Name, param.Type, param.Default, cell(param.Doc))
		}
		rightsTable(p, a)
	}
	guardTable(p)
	p.f("\nThe action itself and the engine refuse a run for one of these reasons. Like the guards' names they "+
		"are\nvalues of the label of `upkeep_run_refusals_total`: %s.\n", code(remediate.Reasons()))
	return p.String()
}

// effectsTable says what each action does to the target while it runs, and afterwards.
func effectsTable(p *page) {
	p.f("\n## What it does to the target\n\nWho waits, what is written, and how it is taken back. Every action waits " +
		"for its lock only for a moment, and\nlets others pass before it tries again.\n\n| action | lock | who waits " +
		"for it | write-ahead log | disk | undo |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, a := range catalog.EveryAction() {
		e := a.Effects
		p.f("| [`%s`](#%s) | %s | %s | %s | %s | %s |\n", a.Name, anchor(a.Name), cell(e.Lock), cell(e.Blocks),
			cell(e.WAL), cell(e.Disk), cell(e.Undo))
	}
}

// guardTable lists the guards with the moments at which each is evaluated.
func guardTable(p *page) {
	p.f("\n## When an action does not run\n\nThe guards are evaluated for every action, with its plan. Some are also " +
		"evaluated before the plan is\n" +
		"made, in the transaction that lets the run act, before each step, or during a step. A run that a person\n" +
		"requests by hand is not subject to every guard.\n\n" +
		"| guard | evaluated | runs by hand | what it checks |\n| --- | --- | --- | --- |\n")
	for _, g := range guard.All(guard.Config{}) {
		var when []string
		for _, w := range guard.Moments() {
			if w.Asks(g) {
				when = append(when, w.String())
			}
		}
		summary, rest := doc(g.Doc)
		p.f("| `%s` | %s | %s | %s |\n", g.Name, strings.Join(when, ", "), cmp.Or(string(g.ByHand), "yes"),
			cell(summary+" "+rest))
	}
}

// stops describes what happens to an active statement when the run is stopped.
func stops(c remediate.Cancel) string {
	if c == remediate.CancelAnytime {
		return "A statement under way is cancelled when a pause, a closed window or a changed configuration stops " +
			"the run: that leaves nothing behind."
	}
	return "When a pause, a closed window or a changed configuration stops the run, a statement under way is left to " +
		"end, since cancelling it would leave something behind; nothing further is started."
}

// rightsTable says what a target must allow.
func rightsTable(p *page, a remediate.Action) {
	if len(a.Rights) == 0 {
		return
	}
	p.f("\n| right | for | on |\n| --- | --- | --- |\n")
	for _, r := range a.Rights {
		p.f("| `%s` | %s | %s |\n", strings.ReplaceAll(r.Grant, "|", `\|`), cell(r.For), releases(r))
	}
}

// releases says for which major versions of a server a right is.
func releases(r remediate.Right) string {
	switch {
	case r.Since == 0 && r.Until == 0:
		return "every version"
	case r.Until == 0:
		return fmt.Sprintf("%d and later", r.Since)
	case r.Since == 0:
		return fmt.Sprintf("%d and before", r.Until)
	}
	return fmt.Sprintf("%d to %d", r.Since, r.Until)
}

func askedBy(rules []alerts.Rule, action string) string {
	var names []string
	for _, r := range rules {
		if r.Annotations["action"] == action {
			names = append(names, fmt.Sprintf("[%s](alerts.md#%s)", r.Name, strings.ToLower(r.Name)))
		}
	}
	if len(names) == 0 {
		return "by hand"
	}
	return strings.Join(names, ", ")
}

func alertsPage(rules []alerts.Rule) string {
	p := new(page)
	p.f("# Alerts\n\nThe rules are in [alerts](../alerts), in Prometheus' own format, together with their " +
		"tests.\n\n| alert | severity | limit | action |\n| --- | --- | --- | --- |\n")
	for _, r := range rules {
		p.f("| [%s](#%s) | %s | %s | %s |\n", r.Name, strings.ToLower(r.Name), r.Labels["severity"],
			r.Annotations["limit"], actionLink(r))
	}
	for _, r := range rules {
		p.f("\n## %s\n\n```promql\n%s\n```\n\nFor %s. ", r.Name, strings.TrimSpace(r.Expr), r.For)
		if why := r.Annotations["reason"]; why != "" {
			p.f("No action: %s. ", why)
		} else {
			p.f("Action: %s. ", actionLink(r))
		}
		p.f("[Runbook](runbooks/%s.md)\n", r.Name)
	}
	return p.String()
}

func actionLink(r alerts.Rule) string {
	name := r.Annotations["action"]
	if name == "none" {
		return "none"
	}
	return fmt.Sprintf("[%s](actions.md#%s)", name, anchor(name))
}

func statesPage() string {
	p := new(page)
	p.f("# The states of a run\n\nDrawn from `remediate.Transitions`; the journal refuses any other "+
		"step.\n\n```mermaid\nstateDiagram-v2\n    [*] --> %s\n", remediate.Received)
	for _, from := range remediate.States() {
		for _, to := range remediate.Transitions()[from] {
			p.f("    %s --> %s\n", from, to)
		}
		if from.Ended() {
			p.f("    %s --> [*]\n", from)
		}
	}
	p.f("```\n\n| state | what it means | then |\n| --- | --- | --- |\n")
	for _, s := range remediate.States() {
		then := "the run has ended"
		if !s.Ended() {
			var names []string
			for _, to := range remediate.Transitions()[s] {
				names = append(names, string(to))
			}
			then = strings.Join(names, ", ")
		}
		p.f("| `%s` | %s | %s |\n", s, meaning(s), then)
	}
	return p.String()
}

func meaning(s remediate.State) string {
	return map[remediate.State]string{
		remediate.Received:         "stored, and not evaluated yet, or to be evaluated again",
		remediate.Planned:          "the plan is made",
		remediate.AwaitingApproval: "a person must approve of the plan",
		remediate.Waiting: "blocked by a guard; it is evaluated again later. A run that has begun to act keeps " +
			"its plan and continues with it",
		remediate.Allowed:      "all guards passed; steps are running",
		remediate.Applied:      "all steps are done; verification is pending",
		remediate.Resolved:     "the metric is back within its limit, and the alert's expression no longer holds",
		remediate.Unresolved:   "all steps are done, and the metric is still over its limit",
		remediate.Inconclusive: "all steps are done, and the metric and the alert's expression disagree or are unknown",
		remediate.StateRefused: "a guard, the action or the policy stopped the run, before it acted or between two " +
			"statements; its reason says which",
		remediate.Rejected:  "a person rejected the plan",
		remediate.Expired:   "approval was not given in time",
		remediate.Observed:  "the mode of the policy is observe: the plan is recorded, and nothing was changed",
		remediate.Cancelled: "a person cancelled the run, before it acted or in the middle of a step",
		remediate.Failed:    "a fault ended the run; the last journal entry has the error",
	}[s]
}
