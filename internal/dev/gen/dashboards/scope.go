package main

import (
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/product/page"
)

// A scope restricts metrics to what is chosen in the variables of a board: matchers of labels.
type scope string

// What the boards are about.
const (
	itself     scope = ""
	servers    scope = `server=~"$postgres"`
	databases        = servers + `,database=~"$database"`
	tables           = databases + `,schema=~"$schema",table=~"$table"`
	indexes          = tables + `,index=~"$index"`
	statements       = databases + `,queryid=~"$queryid",user!~"$leave_out"`
	caches     scope = `server=~"$redis"`
	engines    scope = `server=~"$engine"`
	containers       = engines + `,container=~"$container"`
	logServers scope = `server=~"$logserver"` // engines and hosts
	logs             = logServers + `,service=~"$log"`
	probes     scope = `server=~"$probe"`
	machines   scope = `server=~"$host"`
	backups    scope = `server=~"$backup"`
	policies   scope = `policy=~"$policy"`
	capacity   scope = `server=~"$server",resource=~"$resource"`
)

// with adds matchers.
func (s scope) with(matchers ...string) string {
	all := slices.DeleteFunc(append([]string{string(s)}, matchers...), func(m string) bool { return m == "" })
	return strings.Join(all, ",")
}

// raw selects the series of a metric. Several upkeeps can be in one Prometheus, and several replicas of one.
func (s scope) raw(metric string, matchers ...string) string {
	const upkeep scope = `job=~"$job",instance=~"$instance"`
	return metric + "{" + upkeep.with(s.with(matchers...)) + "}"
}

// of is the value of a metric. Replicas report the same of a target: it is shown once.
func (s scope) of(metric string, matchers ...string) string { return once(s.raw(metric, matchers...)) }

// rate is the rate of a counter, a second.
func (s scope) rate(metric string, matchers ...string) string {
	return once("rate(" + s.raw(metric, matchers...) + "[$__rate_interval])")
}

// hourly is the rate of a counter, an hour: of what is rare.
func (s scope) hourly(metric string, matchers ...string) string {
	return "3600 * " + s.rate(metric, matchers...)
}

// grown is by how much a counter grew in the selected range.
func (s scope) grown(metric string, matchers ...string) string {
	return once("increase(" + s.raw(metric, matchers...) + "[$__range])")
}

// before is by how much it grew in the range before, of the same length.
func (s scope) before(metric string, matchers ...string) string {
	return once("increase(" + s.raw(metric, matchers...) + "[$__range] offset $__range)")
}

// What is recorded each five minutes says nothing of the five minutes before its first sample and after its last.
const step, wider = "5m", "${__range_s}s300000ms" // the selected range, and five minutes more

// spent is by how much a counter of statements grew in the selected range. There are hundreds of them, and reading each
// sample of a month takes seconds: so a counter that was there all the time and was not reset is read at both ends, and
// the others by what a rule records each five minutes. Decision 30 has the reasons and the figures.
func (s scope) spent(counter string) string { return s.spentIn(counter, "", " offset $__range") }

// spentBefore is by how much it grew in the range before, of the same length: it begins two ranges ago.
func (s scope) spentBefore(counter string) string {
	return s.spentIn(counter, " offset $__range", " offset ${__range_s}s${__range_ms}ms")
}

func (s scope) spentIn(counter, end, begin string) string {
	raw, recorded := s.raw(counter), s.raw(sparse(counter))
	return once("(" + raw + end + " - " + raw + begin + ") >= 0" +
		" unless resets(" + recorded + "[" + wider + "]" + end + ") > 0" +
		" unless resets(" + raw + "[" + step + "]" + end + ") > 0" +
		" or increase(" + recorded + "[$__range]" + end + ") or increase(" + raw + "[" + step + "]" + end + ")")
}

// sparse is the name under which a counter of statements is recorded.
func sparse(counter string) string { return "upkeep:every5m:" + strings.TrimPrefix(counter, "upkeep_") }

// summed is the rate of a counter of what each replica does itself, a second, summed by labels.
func summed(by, metric string) string {
	return "sum by (" + by + ") (rate(" + itself.raw(metric) + "[$__rate_interval]))"
}

// recorded reads a series that a rule records: it has no job and instance. Those of capacity have a
// sample an hour, those with the suffix day one a day.
func (s scope) recorded(series string, matchers ...string) string {
	selector := series
	if all := s.with(matchers...); all != "" {
		selector += "{" + all + "}"
	}
	switch {
	case strings.HasPrefix(series, "upkeep:capacity_") && strings.HasSuffix(series, ":day"):
		return "last_over_time(" + selector + "[1d])"
	case strings.HasPrefix(series, "upkeep:capacity_") || strings.HasSuffix(series, "_rate30d"):
		return "last_over_time(" + selector + "[2h])"
	}
	return selector
}

// once removes the label of replicas.
func once(vector string) string { return "max without (instance) (" + vector + ")" }

// named gives the statements of a vector their text; utility statements have none.
func named(vector string) string {
	const on = "on (job, server, queryid)"
	info := servers.of("upkeep_postgres_statement_info")
	return "(" + vector + ") * " + on + " group_left (query) " + info +
		` or label_replace((` + vector + ") unless " + on + " " + info +
		`, "query", "statement $1, text not shown", "queryid", "(.*)")`
}

// A target is what a link leads to: a board, its title, and the variables that labels of a series set.
type target string

// What links lead to.
const (
	toServer   target = "upkeep-postgres-server Server postgres=server"
	toDatabase target = "upkeep-postgres-database Database postgres=server database=database"
	toTable    target = "upkeep-postgres-table Table postgres=server database=database schema=schema table=table"
	toIndex    target = "upkeep-postgres-index Index postgres=server database=database schema=schema table=table " +
		"index=index"
	toStatement target = "upkeep-postgres-statement Statement postgres=server database=database queryid=queryid"
	toRedis     target = "upkeep-redis Redis redis=server"
	toEngine    target = "upkeep-docker Engine engine=server"
	toContainer target = "upkeep-docker Container engine=server container=container"
	toLog       target = "upkeep-docker Service logserver=server log=service"
	toProbe     target = "upkeep-docker Probe probe=server"
	toHost      target = "upkeep-host Host host=server"
	toPolicy    target = "upkeep-remediation Policy policy=policy"
	toResource  target = "upkeep-capacity Capacity server=server resource=resource"
	toSpace     target = "upkeep-capacity Capacity server=server"
)

// link leads to the board with the time range and the data source of this one.
func (t target) link(field string) link {
	parts := strings.Fields(string(t))
	to := "/d/" + parts[0] + "/" + parts[0] + "?${datasource:queryparam}&${__url_time_range}"
	for _, s := range parts[2:] {
		variable, label, _ := strings.Cut(s, "=")
		to += "&var-" + variable + "=${" + field + label + ":percentencode}"
	}
	return link{Title: parts[1], Type: "link", URL: to, Tags: []string{}}
}

// console is a link to a page of upkeep.
func console(title, path string) link {
	return link{Title: title, Type: "link", Icon: "external link", URL: "${console:raw}" + path, Tags: []string{},
		TargetBlank: true}
}

// runPath is where the console serves a run.
const runPath = page.RunPath
