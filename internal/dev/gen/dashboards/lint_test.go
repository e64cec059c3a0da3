package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ai-micro-service/upkeep/docs/runbooks"
)

// A check says what is wrong with dashboards.
type check struct {
	name string
	find func(boards []file) []string
}

// linter has the rules of Grafana's dashboard linter, by its names. Those that do not apply: the rules of LogQL
// (there is no Loki). Where one does not apply to a query, excused says why.
func linter() []check {
	return []check{
		{"template-datasource-rule", datasourceVariable},
		{"template-job-rule", func(b []file) []string { return scrapeVariable(b, "job", "Job") }},
		{"template-instance-rule", func(b []file) []string { return scrapeVariable(b, "instance", "Instance") }},
		{"template-label-promql-rule", variableQueries},
		{"template-on-time-change-reload-rule", variableRefresh},
		{"panel-datasource-rule", eachPanel(func(p *panel) string {
			if p.Datasource == nil || *p.Datasource != *prometheus() {
				return "its data source is not the variable"
			}
			for _, q := range p.Targets {
				if q.Datasource == nil || *q.Datasource != *prometheus() {
					return "the data source of " + q.RefID + " is not the variable"
				}
			}
			return ""
		})},
		{"panel-title-description-rule", eachPanel(func(p *panel) string {
			if p.Title == "" || !strings.HasSuffix(p.Description, ".") {
				return "it has no title, or no description that is a sentence"
			}
			return ""
		})},
		{"panel-units-rule", eachPanel(units)},
		{"panel-no-targets-rule", eachPanel(func(p *panel) string {
			if len(p.Targets) == 0 {
				return "it has no query"
			}
			return ""
		})},
		{"target-promql-rule", eachSelector(func(file, query, *parser.VectorSelector, []parser.Node) string { return "" })},
		{"target-rate-interval-rule", eachSelector(rateInterval)},
		{"target-job-rule", eachSelector(func(_ file, _ query, s *parser.VectorSelector, _ []parser.Node) string {
			return matched(s, "job")
		})},
		{"target-instance-rule", eachSelector(func(_ file, _ query, s *parser.VectorSelector, _ []parser.Node) string {
			return matched(s, "instance")
		})},
		{"target-counter-agg-rule", eachSelector(counters)},
		{"uneditable-dashboard", func(boards []file) (wrong []string) {
			for _, b := range boards {
				if b.Editable {
					wrong = append(wrong, b.UID+": it is editable")
				}
			}
			return wrong
		}},
	}
}

// excused says why a rule of the linter does not apply to a metric, or nothing.
func excused(metric, rule string) string {
	switch {
	case strings.Contains(metric, ":"):
		return "a recording rule has aggregated over job and instance, or job is the service's own"
	case strings.HasPrefix(metric, "upkeep_policy_") && rule == "counter":
		return "it counts since the store was created and is born at 1: increase would leave out the first run"
	}
	return ""
}

func datasourceVariable(boards []file) (wrong []string) {
	for _, b := range boards {
		v := b.Templating.List[0]
		if v.Name != "datasource" || v.Type != "datasource" || v.Query != "prometheus" || v.Label != "Data source" {
			wrong = append(wrong, b.UID+": no variable for the data source")
		}
	}
	return wrong
}

func scrapeVariable(boards []file, name, label string) (wrong []string) {
	for _, b := range boards {
		i := slices.IndexFunc(b.Templating.List, func(v variable) bool { return v.Name == name })
		if i < 0 {
			wrong = append(wrong, b.UID+": no variable "+name)
			continue
		}
		v := b.Templating.List[i]
		if v.Type != "query" || v.Label != label || !v.Multi || v.AllValue != ".+" || *v.Datasource != *prometheus() {
			wrong = append(wrong, b.UID+": the variable "+name+" is not as it should be")
		}
	}
	return wrong
}

func variableQueries(boards []file) (wrong []string) {
	for _, b := range boards {
		for _, v := range b.Templating.List {
			if v.Type != "query" {
				continue
			}
			parts := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Query)
			if parts == nil {
				wrong = append(wrong, b.UID+": the variable "+v.Name+" is no label_values(…)")
				continue
			}
			if _, err := parser.NewParser(parser.Options{}).ParseMetricSelector(parts[1]); err != nil {
				wrong = append(wrong, b.UID+": the variable "+v.Name+": "+err.Error())
			}
			if v.IncludeAll != v.Multi || v.IncludeAll && v.AllValue == "" {
				wrong = append(wrong, b.UID+": the variable "+v.Name+" has no value for All")
			}
		}
	}
	return wrong
}

func variableRefresh(boards []file) (wrong []string) {
	for _, b := range boards {
		for _, v := range b.Templating.List {
			if v.Type == "query" && v.Refresh != 2 {
				wrong = append(wrong, b.UID+": the variable "+v.Name+" is not read again when the time range changes")
			}
		}
	}
	return wrong
}

func eachPanel(find func(p *panel) string) func([]file) []string {
	return func(boards []file) (wrong []string) {
		for _, b := range boards {
			for _, p := range b.shown() {
				if what := find(p); what != "" {
					wrong = append(wrong, fmt.Sprintf("%s, %q: %s", b.UID, p.Title, what))
				}
			}
		}
		return wrong
	}
}

// units are those of Grafana that are used here.
func units(p *panel) string {
	known := []string{"short", "none", "percentunit", "s", "bytes", "Bps", "ops", "reqps", "iops", "pps"}
	if !slices.Contains(known, p.FieldConfig.Defaults.Unit) {
		return fmt.Sprintf("%q is no unit", p.FieldConfig.Defaults.Unit)
	}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if v, ok := property.Value.(string); ok && property.ID == "unit" && !slices.Contains(known, v) {
				return fmt.Sprintf("%q is no unit", v)
			}
		}
	}
	return ""
}

const rateWindow = 3*time.Minute + 1234*time.Millisecond

// parsed parses a query with values in the place of Grafana's intervals.
func parsed(expr string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(strings.NewReplacer("$__rate_interval", "181234ms",
		"${__range_s}", "604800", "${__range_ms}", "604800000", "$__range_s", "604800", "$__range", "7d", "$__interval_ms", "60000", "$__interval", "1m").Replace(expr))
}

// eachSelector looks at each selector of each query, annotations included.
func eachSelector(find func(b file, q query, s *parser.VectorSelector, path []parser.Node) string) func([]file) []string {
	return func(boards []file) (wrong []string) {
		for _, b := range boards {
			look := func(title string, q query) {
				e, err := parsed(q.Expr)
				if err != nil {
					wrong = append(wrong, fmt.Sprintf("%s, %q, %s: %v", b.UID, title, q.RefID, err))
					return
				}
				parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
					if s, ok := n.(*parser.VectorSelector); ok {
						if what := find(b, q, s, path); what != "" {
							wrong = append(wrong, fmt.Sprintf("%s, %q, %s: %s: %s", b.UID, title, q.RefID, s.Name, what))
						}
					}
					return nil
				})
			}
			for _, p := range b.shown() {
				for _, q := range p.Targets {
					look(p.Title, q)
				}
			}
			for _, a := range b.Annotations.List {
				look(a.Name, query{RefID: "A", Expr: a.Expr})
			}
		}
		return wrong
	}
}

// rateInterval wants rates over $__rate_interval; what counts in the selected range is over $__range, at
// one moment.
func rateInterval(_ file, q query, _ *parser.VectorSelector, path []parser.Node) string {
	if len(path) < 2 {
		return ""
	}
	m, ok := path[len(path)-1].(*parser.MatrixSelector)
	call, isCall := path[len(path)-2].(*parser.Call)
	if !ok || !isCall || !slices.Contains([]string{"rate", "irate", "increase", "changes"}, call.Func.Name) {
		return ""
	}
	inRange := call.Func.Name == "increase" && m.Range == 7*24*time.Hour && q.Instant && strings.Contains(q.Expr, "$__range")
	if inRange = inRange || call.Func.Name == "increase" && beginning(m, q); !inRange &&
		m.Range.Truncate(time.Millisecond) != rateWindow {
		return fmt.Sprintf("%s over %s, and not over $__rate_interval", call.Func.Name, m.Range)
	}
	if q.Instant && !inRange {
		return "a query of one moment has no $__rate_interval that fits its range"
	}
	return ""
}

// beginning reports whether a range is that of a series which is too young for what is recorded of it.
func beginning(m *parser.MatrixSelector, q query) bool {
	d, err := time.ParseDuration(step)
	return err == nil && m.Range == d && q.Instant && strings.Contains(q.Expr, sparse("upkeep_"))
}

func matched(s *parser.VectorSelector, label string) string {
	if excused(s.Name, "label") != "" {
		return ""
	}
	for _, m := range s.LabelMatchers {
		if m.Name == label && m.Type == labels.MatchRegexp && m.Value == "$"+label {
			return ""
		}
	}
	return "it is not restricted to the chosen " + label
}

func counters(_ file, _ query, s *parser.VectorSelector, path []parser.Node) string {
	counter := regexp.MustCompile(`_(total|bucket|sum|count)$`).MatchString(s.Name)
	if !counter || excused(s.Name, "counter") != "" {
		return ""
	}
	if len(path) > 1 {
		if call, ok := path[len(path)-2].(*parser.Call); ok &&
			slices.Contains([]string{"rate", "irate", "increase", "resets"}, call.Func.Name) {
			return ""
		}
	}
	if len(path) > 0 && subtracted(path[len(path)-1], s) {
		return ""
	}
	return "a counter is read without rate or increase"
}

// subtracted reports whether the value of a counter at one moment is subtracted from that at a later one.
func subtracted(n parser.Node, s *parser.VectorSelector) bool {
	b, ok := n.(*parser.BinaryExpr)
	if !ok || b.Op != parser.SUB {
		return false
	}
	late, first := b.LHS.(*parser.VectorSelector)
	early, second := b.RHS.(*parser.VectorSelector)
	return first && second && late.Name == s.Name && early.Name == s.Name && early.OriginalOffset > late.OriginalOffset
}

// house has what this house wants besides.
func house() []check {
	return []check{
		{"size", func(boards []file) (wrong []string) {
			for _, b := range boards {
				if n := len(b.shown()); n > 40 {
					wrong = append(wrong, fmt.Sprintf("%s: %d panels, 40 at most", b.UID, n))
				}
			}
			return wrong
		}},
		{"grid", overlaps},
		{"identity", identity},
		{"links", brokenLinks},
		{"names", eachPanel(func(p *panel) string {
			for _, q := range p.Targets {
				if strings.Contains(q.LegendFormat, "{{queryid}}") {
					return "a statement is called by its number"
				}
				if p.Type == "timeseries" && q.LegendFormat == "" {
					return "its series have no name"
				}
			}
			return ""
		})},
		{"fixed ranges", eachSelector(func(_ file, q query, s *parser.VectorSelector, path []parser.Node) string {
			if len(path) > 0 {
				if m, ok := path[len(path)-1].(*parser.MatrixSelector); ok && !strings.Contains(s.Name, ":") &&
					m.Range.Truncate(time.Millisecond) != rateWindow && m.Range != 7*24*time.Hour && m.Range != 7*24*time.Hour+5*time.Minute &&
					!beginning(m, q) {
					return fmt.Sprintf("a fixed range of %s", m.Range)
				}
			}
			return ""
		})},
		{"forecasts", eachPanel(func(p *panel) string {
			for _, q := range p.Targets {
				if strings.Contains(q.Expr, "predict_linear") || strings.Contains(q.Expr, "deriv(") {
					return "a forecast that no rule bounds"
				}
			}
			return ""
		})},
		{"a fresh install", emptyStats},
	}
}

// overlaps finds panels outside of the grid, one over another, and lines without any.
func overlaps(boards []file) (wrong []string) {
	for _, b := range boards {
		taken, bottom := make(map[[2]int]string), 0
		for _, p := range b.Panels {
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if x >= 24 || taken[[2]int{x, y}] != "" {
						wrong = append(wrong, fmt.Sprintf("%s: %q is out of the grid or over %q", b.UID, p.Title,
							taken[[2]int{x, y}]))
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if empty := bottom < p.GridPos.Y; empty {
				wrong = append(wrong, fmt.Sprintf("%s: nothing is above %q", b.UID, p.Title))
			}
			bottom = max(bottom, p.GridPos.Y+p.GridPos.H)
		}
	}
	return wrong
}

// identity finds what has the identity of another.
func identity(boards []file) (wrong []string) {
	seen := make(map[string]bool)
	once := func(what string) {
		if seen[what] {
			wrong = append(wrong, what+" twice")
		}
		seen[what] = true
	}
	for _, b := range boards {
		once("board " + b.UID)
		once("title " + b.Title)
		if len(b.UID) > 40 || b.SchemaVersion != 39 {
			wrong = append(wrong, b.UID+": a uid has 40 characters at most, the schema is 39")
		}
		for _, p := range b.Panels {
			once(fmt.Sprintf("%s: panel %d", b.UID, p.ID))
		}
		for _, v := range b.Templating.List {
			once(b.UID + ": variable " + v.Name)
		}
	}
	return wrong
}

// brokenLinks finds links that lead to no runbook, board or variable.
func brokenLinks(boards []file) (wrong []string) {
	variables := make(map[string][]string)
	for _, b := range boards {
		for _, v := range b.Templating.List {
			variables[b.UID] = append(variables[b.UID], v.Name)
		}
	}
	look := func(uid, at, to string) {
		if name, ok := strings.CutPrefix(to, "${console:raw}"+runbooks.Path); ok {
			if _, found := runbooks.Read(name); !found {
				wrong = append(wrong, fmt.Sprintf("%s, %q: no runbook %s", uid, at, name))
			}
			return
		}
		if rest, ok := strings.CutPrefix(to, "/d/"); ok {
			board, arguments, _ := strings.Cut(rest, "?")
			board, _, _ = strings.Cut(board, "/")
			if variables[board] == nil {
				wrong = append(wrong, fmt.Sprintf("%s, %q: no board %s", uid, at, board))
			}
			for _, m := range regexp.MustCompile(`var-(\w+)=`).FindAllStringSubmatch(arguments, -1) {
				if !slices.Contains(variables[board], m[1]) {
					wrong = append(wrong, fmt.Sprintf("%s, %q: %s has no variable %s", uid, at, board, m[1]))
				}
			}
			return
		}
		if to != "" && !strings.HasPrefix(to, "${console:raw}/") {
			wrong = append(wrong, fmt.Sprintf("%s, %q: a link to %s", uid, at, to))
		}
	}
	for _, b := range boards {
		if !slices.Contains(variables[b.UID], "console") {
			wrong = append(wrong, b.UID+": no variable for the console")
		}
		for _, l := range b.Links {
			look(b.UID, "links", l.URL)
		}
		for _, p := range b.shown() {
			for _, l := range slices.Concat(p.Links, p.FieldConfig.Defaults.Links) {
				look(b.UID, p.Title, l.URL)
			}
		}
	}
	return wrong
}

// emptyStats finds single numbers that would be blank where upkeep was just installed and has seen nothing.
func emptyStats(boards []file) (wrong []string) {
	nothing := &filled{scrape: time.Minute, series: make(map[string][]*made)}
	for _, b := range boards {
		for _, p := range b.shown() {
			if p.Type != "stat" {
				continue
			}
			q := question{target: p.Targets[0], width: 4, values: everything(b.dashboard), span: 24 * time.Hour,
				scrape: time.Minute}
			v, err := one(context.Background(), engine(), nothing, q.expr(), filledEnd())
			none := p.FieldConfig.Defaults.NoValue
			if err != nil || none == "" || len(v) == 0 && none == "0" {
				wrong = append(wrong, fmt.Sprintf("%s, %q: of nothing it shows %v or %q: %v", b.UID, p.Title, v, none, err))
			}
		}
	}
	return wrong
}

func TestDashboardsHaveNoFindings(t *testing.T) {
	for _, c := range slices.Concat(linter(), house()) {
		for _, w := range c.find(every(t)) {
			t.Errorf("%s: %s", c.name, w)
		}
	}
}
