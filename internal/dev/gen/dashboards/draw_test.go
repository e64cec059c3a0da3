package main

import (
	"context"
	"flag"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
)

//nolint:gochecknoglobals // a flag of the tests
var drawn = flag.String("panels.draw", "",
	"folder for a page of each board, to look at in a browser: a likeness, not what Grafana draws")

// Boards can be drawn: each panel has something to show. With -panels.draw the pages are kept.
func TestBoardsCanBeDrawn(t *testing.T) {
	dir, boards := *drawn, every(t)
	if dir == "" {
		dir = t.TempDir()
		boards = slices.DeleteFunc(boards, func(b file) bool { return b.UID != "upkeep-postgres-index" })
	}
	f := fill(t, time.Minute)
	for _, b := range boards {
		page := draw(f, b)
		if strings.Contains(page, "class=none") {
			t.Errorf("%s: a panel is empty", b.file)
		}
		if err := os.WriteFile(filepath.Join(dir, b.file+".html"), []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// draw makes a page of a board: all values, a day.
func draw(f *filled, b file) string {
	var s strings.Builder
	s.WriteString(`<!doctype html><meta charset=utf-8><style>
body{margin:8px;background:#111217;color:#ccccdc;font:12px/1.4 Inter,sans-serif;position:relative}
.p{position:absolute;box-sizing:border-box;background:#181b1f;border:1px solid #2a2d34;border-radius:2px;padding:6px;overflow:hidden}
.r{position:absolute;font-weight:500;font-size:14px;padding-top:6px}h2{margin:0 0 4px;font-size:12px;font-weight:500}
h2 a{color:#6e9fff;font-weight:400;float:right;margin-left:6px;font-size:10px}
.n{position:absolute;inset:26px 6px 6px;display:flex;align-items:center;justify-content:center;font-size:30px;color:#fff}
table{border-collapse:collapse;width:100%;font-size:11px;white-space:nowrap}td,th{text-align:left;padding:1px 8px 1px 0;border-bottom:1px solid #2a2d34;max-width:420px;overflow:hidden;text-overflow:ellipsis}
.l{font-size:10px;white-space:nowrap}.none{color:#f2495c}</style>`)
	fmt.Fprintf(&s, "<h1 style='font-size:16px;margin:0 0 8px'>%s</h1>", html.EscapeString(b.Title))
	var bottom int
	for _, p := range b.Panels {
		at := fmt.Sprintf("left:%dpx;top:%dpx;width:%dpx;height:%dpx", 8+p.GridPos.X*64, 40+p.GridPos.Y*34, p.GridPos.W*64-6,
			p.GridPos.H*34-6)
		bottom = max(bottom, 40+(p.GridPos.Y+p.GridPos.H)*34)
		if p.Type == "row" {
			fmt.Fprintf(&s, "<div class=r style='%s'>▾ %s</div>", at, html.EscapeString(p.Title))
			continue
		}
		fmt.Fprintf(&s, "<div class=p style='%s' title='%s'><h2>%s", at, html.EscapeString(p.Description), html.EscapeString(p.Title))
		for _, l := range p.Links {
			fmt.Fprintf(&s, "<a>%s</a>", html.EscapeString(l.Title))
		}
		s.WriteString("</h2>")
		s.WriteString(content(f, b, p))
		s.WriteString("</div>")
	}
	fmt.Fprintf(&s, "<div style='height:%dpx'></div>", bottom)
	return s.String()
}

func content(f *filled, b file, p *panel) string {
	ask := func(q query) question {
		return question{target: q, width: p.GridPos.W, values: everything(b.dashboard), span: 24 * time.Hour, scrape: time.Minute}
	}
	switch p.Type {
	case "stat":
		v, err := one(context.Background(), engine(), f, ask(p.Targets[0]).expr(), filledEnd())
		if err != nil || len(v) == 0 {
			return "<div class=n>" + p.FieldConfig.Defaults.NoValue + "</div>"
		}
		return fmt.Sprintf("<div class=n style='background:%s'>%s</div>", dark(p.colorOf(v[0].F)), p.text(v[0].F))
	case "table":
		return rows(f, p, ask)
	}
	return lines(f, p, ask)
}

func dark(color string) string {
	return map[string]string{"green": "#37872d", "orange": "#c4620a", "red": "#c4162a", "blue": "#1f60c4"}[color]
}

func (p *panel) colorOf(v float64) (c string) {
	for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
		if s.Value == nil || v >= *s.Value {
			c = s.Color
		}
	}
	return c
}

func (p *panel) text(v float64) string {
	for _, m := range p.FieldConfig.Defaults.Mappings {
		if t, ok := m.Options[fmt.Sprint(v)]; ok {
			return t.Text
		}
	}
	return unitText(v, p.FieldConfig.Defaults.Unit)
}

func unitText(v float64, unit string) string {
	scaled := func(v, by float64, names ...string) string {
		i := 0
		for math.Abs(v) >= by && i < len(names)-1 {
			v, i = v/by, i+1
		}
		return fmt.Sprintf("%.3g %s", v, names[i])
	}
	switch unit {
	case "percentunit":
		return fmt.Sprintf("%.1f%%", 100*v)
	case "bytes", "Bps":
		return scaled(v, 1024, "B", "KiB", "MiB", "GiB", "TiB") + map[bool]string{true: "/s"}[unit == "Bps"]
	case "s":
		for _, u := range []struct {
			name string
			n    float64
		}{{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}} {
			if math.Abs(v) >= u.n {
				return fmt.Sprintf("%.3g %s", v/u.n, u.name)
			}
		}
		return fmt.Sprintf("%.3g ms", v*1000)
	case "short", "none":
		return scaled(v, 1000, "", "K", "Mil", "Bil")
	}
	return scaled(v, 1000, "", "K") + " " + unit
}

// rows draws a table as Grafana's transformations merge and order it.
func rows(f *filled, p *panel, ask func(query) question) string {
	options := p.Transformations[len(p.Transformations)-1].Options
	order, names := options["indexByName"].(map[string]any), options["renameByName"].(map[string]any)
	var columns []string
	for c := range order {
		columns = append(columns, c)
	}
	slices.SortFunc(columns, func(a, b string) int { return order[a].(int) - order[b].(int) })
	merged, keys := make(map[string]map[string]string), []string(nil)
	for i, q := range p.Targets {
		v, err := one(context.Background(), engine(), f, ask(q).expr(), filledEnd())
		if err != nil {
			return "<div class=none>" + html.EscapeString(err.Error()) + "</div>"
		}
		slices.SortStableFunc(v, func(a, b promql.Sample) int { return int(math.Copysign(1, b.F-a.F)) })
		for _, s := range v {
			row := make(map[string]string)
			for _, c := range columns {
				if l := s.Metric.Get(c); l != "" {
					row[c] = l
				}
			}
			key := fmt.Sprint(row)
			if merged[key] == nil {
				merged[key], keys = row, append(keys, key)
			}
			value := "Value #" + ref(i)
			unit := p.FieldConfig.Defaults.Unit
			if len(p.Targets) == 1 {
				value = "Value"
			} else if i > 0 {
				unit = p.FieldConfig.Overrides[i-1].Properties[0].Value.(string)
			}
			merged[key][value] = map[bool]string{true: p.text(s.F), false: unitText(s.F, unit)}[i == 0]
		}
	}
	if len(keys) == 0 {
		return "<div class=none>none</div>"
	}
	var s strings.Builder
	s.WriteString("<table><tr>")
	for _, c := range columns {
		name, ok := names[c].(string)
		if !ok {
			name = c
		}
		fmt.Fprintf(&s, "<th>%s", html.EscapeString(name))
	}
	for _, k := range keys[:min(len(keys), 10)] {
		s.WriteString("<tr>")
		for _, c := range columns {
			fmt.Fprintf(&s, "<td>%s", html.EscapeString(merged[k][c]))
		}
	}
	return s.String() + "</table>"
}

// lines draws a graph with its limit and its names.
func lines(f *filled, p *panel, ask func(query) question) string {
	var paths, legend strings.Builder
	var all promql.Matrix
	var names []string
	for _, q := range p.Targets {
		asked := ask(q)
		step := asked.interval()
		r, err := engine().NewRangeQuery(context.Background(), f, nil, asked.expr(), filledEnd().Add(-24*time.Hour).Truncate(step),
			filledEnd().Truncate(step), step)
		if err != nil {
			return "<div class=none>" + html.EscapeString(err.Error()) + "</div>"
		}
		m, err := r.Exec(context.Background()).Matrix()
		if err != nil {
			return "<div class=none>" + html.EscapeString(err.Error()) + "</div>"
		}
		for _, s := range m {
			names = append(names, regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllStringFunc(q.LegendFormat, func(l string) string {
				return s.Metric.Get(strings.Trim(l, "{}"))
			}))
			all = append(all, promql.Series{Floats: slices.Clone(s.Floats)})
		}
	}
	if len(all) == 0 {
		return "<div class=none>No data</div>"
	}
	w, h := float64(p.GridPos.W*64-20), float64(p.GridPos.H*34-120)
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range all {
		for _, x := range s.Floats {
			low, high = min(low, x.F), max(high, x.F)
		}
	}
	if p.FieldConfig.Defaults.Min != nil {
		low = 0
	}
	if p.FieldConfig.Defaults.Max != nil {
		high = 1
	}
	begin, end := float64(filledEnd().Add(-24*time.Hour).UnixMilli()), float64(filledEnd().UnixMilli())
	y := func(v float64) float64 { return h - h*(v-low)/max(high-low, 1e-12) }
	for i, s := range all[:min(len(all), 12)] {
		color := fmt.Sprintf("hsl(%d 60%% 60%%)", i*67%360)
		fmt.Fprintf(&paths, "<polyline fill=none stroke='%s' points='", color)
		for _, x := range s.Floats {
			fmt.Fprintf(&paths, "%.1f,%.1f ", w*(float64(x.T)-begin)/(end-begin), y(x.F))
		}
		paths.WriteString("'/>")
		if i < 4 {
			fmt.Fprintf(&legend, "<div class=l><span style='color:%s'>—</span> %s <b>%s</b></div>", color, html.EscapeString(names[i]),
				p.text(s.Floats[len(s.Floats)-1].F))
		}
	}
	for _, s := range p.FieldConfig.Defaults.Thresholds.Steps[1:] {
		if *s.Value <= high {
			fmt.Fprintf(&paths, "<line x1=0 x2=%f y1=%f y2=%f stroke='%s' stroke-dasharray='6 4'/>", w, y(*s.Value), y(*s.Value), s.Color)
		}
	}
	return fmt.Sprintf("<div class=l>%s to %s, %d series</div><svg width=%f height=%f>%s</svg>%s", unitText(low, p.FieldConfig.Defaults.Unit),
		unitText(high, p.FieldConfig.Defaults.Unit), len(all), w, h, paths.String(), legend.String())
}
