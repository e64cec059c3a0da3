package main

import (
	"strings"

	"github.com/ai-micro-service/upkeep/remediate"
)

// begin makes a board with what all have: the choice of a Prometheus, of an upkeep and of what is
// shown, a link to the other boards and to upkeep, and marks where runs acted.
func begin(rules map[string]rule, uid, title, description string, acted scope, choices ...variable) *board {
	b := &board{rules: rules, dashboard: dashboard{
		UID: uid, Title: "upkeep: " + title, Description: description,
		Tags: []string{"upkeep"}, SchemaVersion: 39, Version: 1, Refresh: "1m", Timezone: "browser", GraphTooltip: 1,
		Time: timeRange{From: "now-24h", To: "now"},
		Templating: templating{List: append([]variable{
			{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus"},
			chosen("job", "Job", "label_values(upkeep_build_info, job)", ".+"),
			chosen("instance", "Instance", `label_values(upkeep_build_info{job=~"$job"}, instance)`, ".+"),
			{Name: "console", Label: "Console", Type: "query", Query: consoleQuery, Definition: consoleQuery,
				Datasource: prometheus(), Refresh: 2, Hide: 2},
		}, choices...)},
		Annotations: marks{List: []annotation{{
			Name: "Runs that acted", Datasource: prometheus(), Enable: true, IconColor: "purple", Step: "60s",
			Expr: runsThatActed(acted), TitleFormat: "{{action}} on {{server}}",
			TextFormat: `<a href="{{url}}` + runPath + `{{run}}" target="_blank">Run {{run}}</a>`,
			TagKeys:    "server,action",
		}}},
		Links: []link{
			{Title: "upkeep", Type: "dashboards", Icon: "external link", Tags: []string{"upkeep"}, AsDropdown: true,
				IncludeVars: true, KeepTime: true},
			console("Console", "/"),
		},
	}}
	return b
}

const consoleQuery = `label_values(upkeep_build_info{job=~"$job",instance=~"$instance"}, url)`

// runsThatActed has a value for as long as a step of the graph, and one scrape, after a run acted.
func runsThatActed(s scope) string {
	acted := s.raw("upkeep_run_acted_timestamp_seconds")
	return "(" + acted + " > time() - 60 - $__interval_ms / 1000) * on (job, instance) group_left (url) " +
		itself.raw("upkeep_build_info")
}

// restarts marks when servers were started.
func (b *board) restarts(s scope, metric string) {
	b.Annotations.List = append(b.Annotations.List, annotation{Name: "Restarts", Datasource: prometheus(), Enable: true,
		IconColor: "orange", Step: "60s", Expr: "changes(" + s.raw(metric) + "[$__rate_interval]) > 0",
		TitleFormat: "{{server}} was started", TextFormat: "Its statistics may begin anew.", TagKeys: "server"})
}

// chosen is a variable with the values of a label.
func chosen(name, label, q, all string) variable {
	return variable{
		Name: name, Label: label, Type: "query", Query: q, Definition: q, Datasource: prometheus(), Refresh: 2, Sort: 1,
		Multi: true, IncludeAll: true, AllValue: all, Current: &current{[]string{"All"}, []string{"$__all"}},
	}
}

// choice is a variable for the values of a label of a metric; the label may be empty or absent.
func choice(name, label string, s scope, metric, of string) variable {
	return chosen(name, label, "label_values("+s.raw(metric)+", "+of+")", ".*")
}

// The variables of the boards of PostgreSQL.
func postgresChoices() []variable {
	return []variable{
		choice("postgres", "Server", itself, "upkeep_postgres_up", "server"),
		choice("database", "Database", servers, "upkeep_postgres_database_commits_total", "database"),
	}
}

// ownQueries leaves out the statements of users, by a regular expression: upkeep's own, so that
// they do not fill the list of a quiet server.
func ownQueries() variable {
	return variable{Name: "leave_out", Label: "Leave out users", Type: "textbox", Query: "upkeep",
		Current: &current{"upkeep", "upkeep"}}
}

// became counts the runs that came into one of the states, in the selected range.
func became(states ...remediate.State) string {
	var all []string
	for _, s := range states {
		all = append(all, string(s))
	}
	return "round(sum(increase(" + itself.raw("upkeep_run_transitions_total", `to=~"`+strings.Join(all, "|")+`"`) +
		"[$__range]))) or vector(0)"
}

// zero is what a count is where nothing is counted.
func zero(expr string) string { return expr + " or vector(0)" }

func top(n, expr string) string { return "topk(" + n + ", " + expr + ")" }
