package main

import (
	"strings"
)

// A layout puts panels beside and below each other on Grafana's 24 columns.
type layout struct {
	panels  []panel
	x, y, h int
}

func (l *layout) add(w, h int, p panel) {
	if l.x+w > 24 {
		l.x, l.y, l.h = 0, l.y+l.h, 0
	}
	p.ID = len(l.panels) + 1
	p.GridPos = gridPos{H: h, W: w, X: l.x, Y: l.y}
	l.panels = append(l.panels, p)
	l.x, l.h = l.x+w, max(l.h, h)
}

// row begins a new row with a heading.
func (l *layout) row(title string) {
	l.x, l.y, l.h = 0, l.y+l.h, 0
	l.add(24, 1, panel{Type: "row", Title: title})
	l.x, l.y, l.h = 0, l.y+1, 0
}

func prometheus() *datasource { return &datasource{Type: "prometheus", UID: "${datasource}"} }

// A line is one expression and how its series are called.
type line struct{ expr, legend string }

func queries(instant bool, format string, lines []line) (all []query) {
	for i, l := range lines {
		all = append(all, query{RefID: string(rune('A' + i)), Datasource: prometheus(), Expr: l.expr,
			LegendFormat: l.legend, Instant: instant, Format: format})
	}
	return all
}

// levels are the colours of a value: green, then the others from their limit on.
func levels(limits ...threshold) thresholds {
	return thresholds{Mode: "absolute", Steps: append([]threshold{{Color: "green"}}, limits...)}
}

func from(limit float64, color string) threshold { return threshold{Color: color, Value: &limit} }

// stat is one number, now.
func stat(title, description, unit string, t thresholds, expr string) panel {
	return panel{
		Type: "stat", Title: title, Description: description, Datasource: prometheus(),
		Targets:     queries(true, "", []line{{expr, ""}}),
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: unit, NoValue: "0", Thresholds: t}, Overrides: []any{}},
		Options: map[string]any{"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}},
			"colorMode": "background", "graphMode": "none"},
	}
}

// graph is lines over time; a threshold is drawn where there is one.
func graph(title, description, unit string, t thresholds, lines ...line) panel {
	custom := map[string]any{"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}
	if len(t.Steps) > 1 {
		custom["thresholdsStyle"] = map[string]any{"mode": "dashed"}
	}
	defaults := fieldDefaults{Unit: unit, Thresholds: t, Custom: custom, Min: new(0.0)}
	if unit == "percentunit" {
		defaults.Max = new(1.0)
	}
	return panel{
		Type: "timeseries", Title: title, Description: description, Datasource: prometheus(),
		Targets:     queries(false, "", lines),
		FieldConfig: &fieldConfig{Defaults: defaults, Overrides: []any{}},
		Options: map[string]any{
			"legend": map[string]any{"displayMode": "table", "placement": "bottom",
				"calcs": []string{"lastNotNull", "max"}},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
		},
	}
}

// table lists the labels of the series and their value, now, the largest first.
func table(title, description, unit, column string, t thresholds, expr string, labels ...string) panel {
	order, hidden := map[string]any{}, map[string]any{"Time": true, "__name__": true, "instance": true, "job": true}
	for i, l := range append(labels, "Value") {
		order[l] = i
	}
	return panel{
		Type: "table", Title: title, Description: description, Datasource: prometheus(),
		Targets: queries(true, "table", []line{{expr, ""}}),
		FieldConfig: &fieldConfig{
			Defaults: fieldDefaults{Unit: unit, NoValue: "none", Thresholds: t,
				Custom: map[string]any{"cellOptions": map[string]any{"type": "color-text"}}},
			Overrides: []any{},
		},
		Options: map[string]any{"sortBy": []any{map[string]any{"displayName": column, "desc": true}}},
		Transformations: []transformation{{ID: "organize", Options: map[string]any{
			"excludeByName": hidden, "indexByName": order, "renameByName": map[string]any{"Value": column},
		}}},
	}
}

// on restricts a metric to the chosen servers and further matchers.
func on(metric string, matchers ...string) string {
	return metric + "{" + strings.Join(append([]string{`server=~"$server"`}, matchers...), ",") + "}"
}

// page puts panels on a dashboard with a choice of servers, and others.
func page(uid, title, description string, l *layout, choices ...variable) dashboard {
	return dashboard{
		UID: uid, Title: title, Description: description,
		Tags: []string{"upkeep"}, SchemaVersion: 39, Version: 1, Refresh: "1m", Timezone: "browser", GraphTooltip: 1,
		Time: timeRange{From: "now-7d", To: "now"},
		Templating: templating{List: append([]variable{
			{Name: "datasource", Label: "Prometheus", Type: "datasource", Query: "prometheus"},
			choice("server", "Server", `label_values(upkeep_collector_success, server)`),
		}, choices...)},
		Panels: l.panels,
	}
}

func choice(name, label, q string) variable {
	return variable{
		Name: name, Label: label, Type: "query", Query: q, Datasource: prometheus(), Refresh: 2, Sort: 1,
		Multi: true, IncludeAll: true, AllValue: ".*", Current: &current{Text: "All", Value: "$__all"},
	}
}

// once removes the labels of replicas: what they read from the store that
// they share is shown once.
func once(selector string) string { return "max without (instance) (" + selector + ")" }
