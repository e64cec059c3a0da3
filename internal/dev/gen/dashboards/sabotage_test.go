package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Each check finds the defect that it is for: without one it finds nothing (the other tests), with one it says so.
func TestChecksFindDefects(t *testing.T) {
	all := make(map[string]func([]file) []string)
	for _, c := range slices.Concat(linter(), house()) {
		all[c.name] = c.find
	}
	all["strict"] = func(b []file) []string { return decoded(b[0]) }
	stores := map[time.Duration]*filled{time.Minute: fill(t, time.Minute)}
	all["data"] = func(b []file) []string {
		_, wrong := unanswered(stores, b[:1], func(q question) bool { return q.span == time.Hour && q.panel == "Defect" })
		return wrong
	}
	for _, d := range defects() {
		boards := every(t)
		d.put(boards[0].board)
		found := all[d.check](boards)
		if !slices.ContainsFunc(found, func(w string) bool { return strings.Contains(w, d.finding) }) {
			t.Errorf("%s: %s: found %q, want %q", d.check, d.what, found, d.finding)
		}
	}
	tested := make(map[string]bool)
	for _, d := range defects() {
		tested[d.check] = true
	}
	for name := range all {
		if !tested[name] {
			t.Errorf("no defect is put in for %s", name)
		}
	}
}

// A defect is something wrong that a check must find in a board.
type defect struct {
	check, what string
	put         func(b *board)
	finding     string
}

// first is the first panel of a kind.
func (b *board) first(kind string) *panel {
	return b.Panels[slices.IndexFunc(b.Panels, func(p *panel) bool { return p.Type == kind })]
}

// graphOf adds a panel with a query.
func graphOf(expr string) func(b *board) {
	return func(b *board) { b.graph(12, "Defect", "A graph.", "short", line{expr, "name"}) }
}

func statOf(expr, none string) func(b *board) {
	return func(b *board) { b.stat("Defect", "A number.", "short", none, expr) }
}

func defects() []defect {
	up := func(matchers string) string { return "upkeep_postgres_up{" + matchers + "}" }
	both := `job=~"$job",instance=~"$instance"`
	return slices.Concat(defectsOfBoards(), []defect{
		{"template-label-promql-rule", "no PromQL", func(b *board) { b.Templating.List[2].Query = "label_values(a{, b)" },
			"variable instance"},
		{"template-label-promql-rule", "All has no value", func(b *board) { b.Templating.List[4].AllValue = "" },
			"no value for All"},
		{"target-promql-rule", "no PromQL", graphOf("sum(" + up(both)), "parse error"},
		{"target-rate-interval-rule", "a fixed window", graphOf("rate(upkeep_redis_commands_total{" + both + "}[5m])"),
			"not over $__rate_interval"},
		{"target-rate-interval-rule", "an increase over an hour", graphOf("increase(upkeep_redis_commands_total[1h])"),
			"not over $__rate_interval"},
		{"target-rate-interval-rule", "a rate at one moment", statOf("sum("+itself.rate("upkeep_redis_commands_total")+")",
			"none"), "of one moment"},
		{"target-job-rule", "no job", graphOf(up(`instance=~"$instance"`)), "chosen job"},
		{"target-job-rule", "equal, where several may be chosen", graphOf(up(`job="$job",instance=~"$instance"`)),
			"chosen job"},
		{"target-instance-rule", "no instance", graphOf(up(`job=~"$job"`)), "chosen instance"},
		{"target-counter-agg-rule", "a bare counter", graphOf("sum(" + itself.raw("upkeep_redis_commands_total") + ")"),
			"without rate"},
		{"target-counter-agg-rule", "delta of a counter",
			graphOf("delta(" + itself.raw("upkeep_redis_commands_total") + "[$__rate_interval])"), "without rate"},
		{"target-counter-agg-rule", "a counter less its later value", graphOf(itself.raw("upkeep_redis_commands_total") +
			" - " + itself.raw("upkeep_redis_commands_total")), "without rate"},
		{"target-rate-interval-rule", "a fixed window of a young series",
			graphOf("increase(" + itself.raw("upkeep_redis_commands_total") + "[" + step + "])"), "over 5m0s"},
		{"fixed ranges", "a fixed window", graphOf("max_over_time(" + itself.raw("upkeep_postgres_up") + "[1h])"), "1h"},
		{"forecasts", "a naive forecast", graphOf("predict_linear(" + itself.raw("upkeep_postgres_up") + "[$__range], 86400)"),
			"no rule bounds"},
		{"a fresh install", "a blank count", statOf("count("+itself.of("upkeep_postgres_up")+" == 0)", "0"), "of nothing"},
		{"a fresh install", "no text for nothing", statOf("max("+itself.of("upkeep_postgres_up")+")", ""), "of nothing"},

		{"data", "a misspelt metric", graphOf(servers.of("upkeep_postgres_upp")), "no series"},
		{"data", "a label that the metric has not", graphOf(servers.of("upkeep_postgres_up", `database="authdb"`)),
			"no series"},
		{"data", "another kind of target", graphOf(caches.of("upkeep_postgres_up")), "no series"},
		{"data", "an unknown variable", graphOf(`upkeep_postgres_up{server=~"$nosuch"}`), "a variable that the board"},
		{"data", "an hourly series without a look back", graphOf("upkeep:capacity_headroom"), "gaps"},
		{"data", "a window shorter than two scrapes", graphOf("rate(upkeep_redis_commands_total[$__interval])"), "no series"},
		{"data", "one value where several are chosen", graphOf(`upkeep_postgres_up{server="$postgres"}`), "no series"},
		{"data", "a join that is not one to one", graphOf(itself.of("upkeep_postgres_connections") +
			" * on (server) " + itself.of("upkeep_postgres_up")), "multiple matches"},
		{"data", "a name of a label that no series has", func(b *board) {
			b.graph(12, "Defect", "A graph.", "short", line{servers.of("upkeep_postgres_up"), "{{database}}"})
		}, "the label database"},
		{"data", "a link by a label that no series has", func(b *board) {
			b.graph(12, "Defect", "A graph.", "short", line{servers.of("upkeep_postgres_up"), "{{server}}"}).to(toTable)
		}, "the label database"},
		{"data", "values that are not numbers", graphOf("0 / (0 * " + servers.of("upkeep_postgres_up") + ")"), "no series"},
		{"data", "a variable of nothing", func(b *board) {
			b.Templating.List[4].Query = "label_values(upkeep_postgres_upp, server)"
		}, "has no values"},
	})
}

func defectsOfBoards() []defect {
	return []defect{
		{"template-datasource-rule", "a fixed data source", func(b *board) { b.Templating.List = b.Templating.List[1:] },
			"no variable for the data source"},
		{"template-job-rule", "no choice of a job", func(b *board) { b.Templating.List[1].Name = "jobs" }, "no variable job"},
		{"template-instance-rule", "only one instance", func(b *board) { b.Templating.List[2].Multi = false },
			"variable instance"},
		{"template-on-time-change-reload-rule", "read once", func(b *board) { b.Templating.List[2].Refresh = 1 }, "instance"},
		{"panel-datasource-rule", "of the panel", func(b *board) { b.first("stat").Datasource = nil }, "data source"},
		{"panel-datasource-rule", "of a query",
			func(b *board) { b.first("table").Targets[0].Datasource = &datasource{"prometheus", "abc"} }, "data source of A"},
		{"panel-title-description-rule", "no title", func(b *board) { b.first("stat").Title = "" }, "no title"},
		{"panel-title-description-rule", "no description", func(b *board) { b.first("table").Description = "" },
			"no description"},
		{"panel-units-rule", "no unit", func(b *board) { b.first("stat").FieldConfig.Defaults.Unit = "" }, "no unit"},
		{"panel-units-rule", "an unknown unit", func(b *board) { b.first("stat").FieldConfig.Defaults.Unit = "bytez" },
			"no unit"},
		{"panel-no-targets-rule", "no query", func(b *board) { b.first("timeseries").Targets = nil }, "no query"},
		{"uneditable-dashboard", "editable", func(b *board) { b.Editable = true }, "editable"},

		{"size", "many panels", func(b *board) {
			for range 41 {
				graphOf("1")(b)
			}
		}, "40 at most"},
		{"grid", "one over the other", func(b *board) { b.Panels[3].GridPos.X-- }, "over"},
		{"grid", "outside", func(b *board) { b.Panels[3].GridPos.W = 24 }, "out of the grid"},
		{"identity", "the uid of another", func(b *board) { b.UID = "upkeep-host" }, "board upkeep-host twice"},
		{"identity", "two panels with a number", func(b *board) { b.Panels[2].ID = 1 }, "panel 1 twice"},
		{"identity", "the schema of version 2", func(b *board) { b.SchemaVersion = 42 }, "schema"},
		{"links", "no such runbook",
			func(b *board) { b.first("stat").page("Runbook", "/runbooks/PostgresDwon") }, "no runbook"},
		{"links", "no such board", func(b *board) { b.first("table").to("upkeep-databases Databases") }, "no board"},
		{"links", "no such variable", func(b *board) { b.first("table").to("upkeep-redis Redis postgres=server") },
			"no variable postgres"},
		{"links", "a page elsewhere", func(b *board) { b.first("stat").Links[0].URL = "https://example.com" }, "a link to"},
		{"names", "a statement by its number",
			func(b *board) { b.first("timeseries").Targets[0].LegendFormat = "{{queryid}}" }, "by its number"},
		{"names", "no name", func(b *board) { b.first("timeseries").Targets[0].LegendFormat = "" }, "no name"},

		{"strict", "an unknown option",
			func(b *board) { b.first("timeseries").Options["legends"] = map[string]any{} }, "unexpected field 'legends'"},
		{"strict", "an unknown field of a query", func(b *board) {
			b.first("stat").Options["reduceOptions"] = map[string]any{"calc": []string{"last"}}
		}, "reduceOptions"},
		{"strict", "a missing option", func(b *board) { delete(b.first("stat").Options, "graphMode") }, "graphMode"},
		{"strict", "a value outside the enumeration",
			func(b *board) { b.first("stat").Options["colorMode"] = 7 }, "colorMode"},
		{"strict", "a link without its type", func(b *board) { b.Links[0].Tags = nil }, "tags"},
	}
}
