package main

import (
	"fmt"

	"github.com/ai-micro-service/upkeep/docs/runbooks"
)

func (b *board) add(w, h int, p panel) *panel {
	if b.x+w > 24 {
		b.x, b.y, b.h = 0, b.y+b.h, 0
	}
	p.ID, p.board = len(b.Panels)+1, b
	p.GridPos = gridPos{H: h, W: w, X: b.x, Y: b.y}
	b.Panels = append(b.Panels, &p)
	b.x, b.h = b.x+w, max(b.h, h)
	return &p
}

// row begins a new row with a heading.
func (b *board) row(title string) {
	b.x, b.y, b.h = 0, b.y+b.h, 0
	b.add(24, 1, panel{Type: "row", Title: title, Collapsed: new(bool), Panels: &[]*panel{}})
	b.x, b.y, b.h = 0, b.y+1, 0
}

func prometheus() *datasource { return &datasource{Type: "prometheus", UID: "${datasource}"} }

// A line is one expression and how its series are called.
type line struct{ expr, legend string }

func green() thresholds { return thresholds{Mode: "absolute", Steps: []threshold{{Color: "green"}}} }

// stat is one number, now. none is what it shows where nothing is known.
func (b *board) stat(title, description, unit, none, expr string) *panel {
	return b.add(4, 4, panel{
		Type: "stat", Title: title, Description: description, Datasource: prometheus(),
		Targets: []query{{RefID: "A", Datasource: prometheus(), EditorMode: "code", Expr: expr, Instant: true}},
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: unit, NoValue: none, Thresholds: green(),
			Color: &color{"thresholds"}}, Overrides: []override{}},
		Options: map[string]any{
			"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "values": false, "fields": ""},
			"colorMode":     "background", "graphMode": "none", "justifyMode": "auto", "textMode": "auto",
			"wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
			"orientation": "auto"},
	})
}

// graph is lines over time. Its queries are asked at most once a minute, so that a rate
// has enough samples with scrape intervals of up to one.
func (b *board) graph(w int, title, description, unit string, lines ...line) *panel {
	custom := map[string]any{"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}
	defaults := fieldDefaults{Unit: unit, Thresholds: green(), Custom: custom, Min: new(float64),
		Color: &color{"palette-classic"}}
	p := panel{
		Type: "timeseries", Title: title, Description: description, Datasource: prometheus(),
		FieldConfig: &fieldConfig{Defaults: defaults, Overrides: []override{}},
		Options: map[string]any{
			"legend": map[string]any{"displayMode": "table", "placement": "bottom", "showLegend": true,
				"calcs": []string{"lastNotNull", "max"}},
			"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
		},
	}
	for i, l := range lines {
		p.Targets = append(p.Targets, query{RefID: ref(i), Datasource: prometheus(), EditorMode: "code", Expr: l.expr,
			LegendFormat: l.legend, Range: true, Interval: "1m"})
	}
	return b.add(w, 8, p)
}

func ref(i int) string { return string(rune('A' + i)) }

// states is what something was over time, a row for each.
func (b *board) states(w int, title, description string, words [2]string, lines ...line) *panel {
	p := b.graph(w, title, description, "short", lines...)
	p.Type = "state-timeline"
	p.FieldConfig.Defaults.Min, p.FieldConfig.Defaults.Color = nil, &color{"thresholds"}
	p.FieldConfig.Defaults.Custom = map[string]any{"lineWidth": 0, "fillOpacity": 70}
	p.FieldConfig.Defaults.Mappings = yesNo(words)
	p.Options = map[string]any{"mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.9,
		"legend": map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true,
			"calcs": []string{}},
		"tooltip": map[string]any{"mode": "single", "sort": "none"}}
	return p
}

// yesNo calls 1 and 0 by words: the first is good.
func yesNo(words [2]string) []mapping {
	return []mapping{{Type: "value", Options: map[string]mappedText{
		"1": {Text: words[0], Color: "green", Index: 0}, "0": {Text: words[1], Color: "red", Index: 1}}}}
}

// A column of a table is the value of a query.
type column struct{ name, unit, expr string }

// table lists the labels of the series and their values, now, the largest of the first column first.
func (b *board) table(w int, title, description string, columns []column, labels ...string) *panel {
	order, renamed := map[string]any{}, map[string]any{}
	hidden := map[string]any{"Time": true, "__name__": true, "instance": true, "job": true}
	for i, l := range labels {
		order[l] = i
	}
	p := panel{
		Type: "table", Title: title, Description: description, Datasource: prometheus(),
		FieldConfig: &fieldConfig{
			Defaults: fieldDefaults{Unit: columns[0].unit, NoValue: "none", Thresholds: green(),
				Color: &color{"thresholds"},
				Custom: map[string]any{"align": "auto", "inspect": false,
					"cellOptions": map[string]any{"type": "color-text"}}},
			Overrides: []override{},
		},
		Options: map[string]any{"frameIndex": 0, "showHeader": true, "cellHeight": "sm",
			"sortBy": []any{map[string]any{"displayName": columns[0].name, "desc": true}}},
	}
	for i, c := range columns {
		p.Targets = append(p.Targets, query{RefID: ref(i), Datasource: prometheus(), EditorMode: "code", Expr: c.expr,
			Instant: true, Format: "table"})
		value := "Value #" + ref(i)
		if len(columns) == 1 {
			value = "Value"
		}
		order[value], renamed[value] = len(labels)+i, c.name
		if i > 0 {
			p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{matcher{"byName", c.name},
				[]property{{"unit", c.unit}, {"thresholds", green()}}})
		}
	}
	if len(columns) > 1 {
		p.Transformations = []transformation{{ID: "merge", Options: map[string]any{}}}
	}
	p.Transformations = append(p.Transformations, transformation{ID: "organize", Options: map[string]any{
		"excludeByName": hidden, "indexByName": order, "renameByName": renamed}})
	return b.add(w, 8, p)
}

// alert draws the limit of a rule, and links its runbook.
func (p *panel) alert(name string) *panel {
	r := p.rule(name)
	return p.from(r.limit, r.color()).runbook(name)
}

// any is red from one on: of what a rule does not allow at all.
func (p *panel) any(name string) *panel { return p.from(1, p.rule(name).color()).runbook(name) }

// below is the color of the rule under its limit: of what must not be small.
func (p *panel) below(name string) *panel {
	r := p.rule(name)
	p.FieldConfig.Defaults.Thresholds.Steps = []threshold{{Color: r.color()}, {Color: "green", Value: &r.limit}}
	return p.runbook(name)
}

func (p *panel) rule(name string) rule {
	r, ok := p.board.rules[name]
	if !ok {
		panic(fmt.Sprintf("%s: no rule %s", p.Title, name))
	}
	return r
}

// from colors values from a limit on.
func (p *panel) from(limit float64, c string) *panel {
	t := &p.FieldConfig.Defaults.Thresholds
	t.Steps = append(t.Steps, threshold{c, &limit})
	if custom, ok := p.FieldConfig.Defaults.Custom.(map[string]any); ok && p.Type == "timeseries" {
		custom["thresholdsStyle"] = map[string]any{"mode": "dashed"}
	}
	return p
}

// runbook links the page on an alert.
func (p *panel) runbook(name string) *panel {
	if _, ok := runbooks.Read(name); !ok {
		panic(fmt.Sprintf("%s: no runbook %s", p.Title, name))
	}
	return p.page("Runbook "+name, runbooks.Path+name)
}

// page links a page of upkeep.
func (p *panel) page(title, path string) *panel {
	p.Links = append(p.Links, console(title, path))
	return p
}

// to links each series, or row, to its board.
func (p *panel) to(all ...target) *panel {
	field := "__field.labels."
	if p.Type == "table" {
		field = "__data.fields."
	}
	for _, t := range all {
		p.FieldConfig.Defaults.Links = append(p.FieldConfig.Defaults.Links, t.link(field))
	}
	return p
}

// words calls 1 and 0 by words: the first is good.
func (p *panel) words(yes, no string) *panel {
	p.FieldConfig.Defaults.Mappings = yesNo([2]string{yes, no})
	return p
}

// smallest sorts a table by its first column, the smallest first.
func (p *panel) smallest() *panel {
	p.Options["sortBy"].([]any)[0].(map[string]any)["desc"] = false
	return p
}

// high sets the height.
func (p *panel) high(h int) *panel {
	p.GridPos.H, p.board.h = h, 0
	for _, other := range p.board.Panels { // of the same row
		if other.GridPos.Y == p.GridPos.Y {
			p.board.h = max(p.board.h, other.GridPos.H)
		}
	}
	return p
}

// free lets a graph have negative values.
func (p *panel) free() *panel {
	p.FieldConfig.Defaults.Min = nil
	return p
}

// share ends the scale of a graph at 1.
func (p *panel) share() *panel {
	p.FieldConfig.Defaults.Max = new(1.0)
	return p
}

func (r rule) color() string {
	switch r.severity {
	case "critical":
		return "red"
	case "warning":
		return "orange"
	}
	return "blue"
}

// run links the rows of a table to the run that the column run names.
func (p *panel) run() *panel {
	p.FieldConfig.Defaults.Links = append(p.FieldConfig.Defaults.Links,
		console("Run", runPath+"${__data.fields.run:percentencode}"))
	return p
}

// below1 is the color of the rule under 1: of what is 1 when all is well.
func (p *panel) below1(name string) *panel {
	one := 1.0
	p.FieldConfig.Defaults.Thresholds.Steps = []threshold{{Color: p.rule(name).color()}, {Color: "green", Value: &one}}
	return p.runbook(name)
}

// showing shows a label that is hidden in other tables: of what is no series of upkeep.
func (p *panel) showing(label string) *panel {
	options := p.Transformations[len(p.Transformations)-1].Options
	delete(options["excludeByName"].(map[string]any), label)
	return p
}
