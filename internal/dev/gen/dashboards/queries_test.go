package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

//nolint:gochecknoglobals // flags of the tests
var (
	allQuestions = flag.Bool("panels.all", false, "ask every question, and not a sample")
	panelSeed    = flag.Uint64("panels.seed", 1, "which sample of the questions is asked")
)

// A question is a query of a board as Grafana asks it: with values for its variables, over a time range, of a
// Prometheus with a scrape interval.
type question struct {
	board, panel string
	target       query
	width        int               // of the panel, in columns
	values       map[string]string // of the variables, as they are put into the query
	chosen       string            // which is not All
	needs        []string          // labels that the panel shows or that its links use
	span         time.Duration
	scrape       time.Duration
}

func (q question) String() string {
	return fmt.Sprintf("%s, %q, %s, %v, over %s, scraped each %s", q.board, q.panel, q.target.RefID, q.chosen, q.span,
		q.scrape)
}

func spans() []time.Duration   { return []time.Duration{time.Hour, 24 * time.Hour, 30 * 24 * time.Hour} }
func scrapes() []time.Duration { return []time.Duration{15 * time.Second, time.Minute} }

// interval is the step of a graph, as Grafana computes it: the range over the width, rounded, and not
// shorter than the query's own minimum or the scrape interval.
func (q question) interval() time.Duration {
	points := time.Duration(q.width) * 64 // of 1536 pixels
	raw := q.span / points
	for _, step := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
		15 * time.Second, 20 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
		10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour,
		6 * time.Hour, 12 * time.Hour, 24 * time.Hour} {
		if raw <= step*3/2 {
			return max(step, q.least())
		}
	}
	return 7 * 24 * time.Hour
}

// least is the shortest step.
func (q question) least() time.Duration {
	if d, err := time.ParseDuration(q.target.Interval); err == nil {
		return d
	}
	return q.scrape
}

// expr is the query with its variables in place.
func (q question) expr() string {
	step := q.interval()
	seconds := func(d time.Duration) string { return fmt.Sprint(int64(d.Seconds())) }
	pairs := []string{
		"$__rate_interval", seconds(max(step+q.least(), 4*q.least())) + "s",
		"$__interval_ms", fmt.Sprint(step.Milliseconds()), "$__interval", seconds(step) + "s",
		"${__range_s}", seconds(q.span), "${__range_ms}", fmt.Sprint(q.span.Milliseconds()),
		"$__range_ms", fmt.Sprint(q.span.Milliseconds()), "$__range_s", seconds(q.span), "$__range", seconds(q.span) + "s",
	}
	names := slices.SortedFunc(maps.Keys(q.values), func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		pairs = append(pairs, "$"+name, q.values[name], "${"+name+"}", q.values[name])
	}
	return strings.NewReplacer(pairs...).Replace(q.target.Expr)
}

// answer says what is wrong with the answer: "" where there is one with a value.
func (q question) answer(f *filled) string {
	expr, end := q.expr(), filledEnd()
	if unknown := regexp.MustCompile(`\$\{?[A-Za-z_]\w*`).FindString(expr); unknown != "" {
		return "it has a variable that the board does not: " + unknown
	}
	var found int
	have := make(map[string]bool)
	labelled := func(l labels.Labels) {
		found++
		l.Range(func(l labels.Label) { have[l.Name] = true })
	}
	if q.target.Instant {
		v, err := one(context.Background(), engine(), f, expr, end)
		if err != nil {
			return err.Error()
		}
		for _, s := range v {
			if !math.IsNaN(s.F) && !math.IsInf(s.F, 0) {
				labelled(s.Metric)
			}
		}
	} else {
		step := q.interval()
		begin := end.Add(-q.span)
		asked, err := engine().NewRangeQuery(context.Background(), f, nil, expr, begin.Truncate(step), end.Truncate(step), step)
		if err != nil {
			return err.Error()
		}
		defer asked.Close()
		m, err := asked.Exec(context.Background()).Matrix()
		if err != nil {
			return err.Error()
		}
		moments := make(map[int64]bool)
		for _, s := range m {
			labelled(s.Metric)
			for _, p := range s.Floats {
				if !math.IsNaN(p.F) && !math.IsInf(p.F, 0) {
					moments[p.T] = true
				}
			}
		}
		switch n := len(moments); {
		case n == 0:
			found = 0
		case !strings.HasPrefix(q.panel, "annotation") && n < int(q.span/step)/2:
			return fmt.Sprintf("gaps: values at %d of %d moments: %s", n, int(q.span/step), expr)
		}
	}
	if found == 0 && !q.unlimited(f) {
		return "no series with a value: " + expr
	}
	for _, l := range q.needs {
		if strings.HasPrefix(q.target.Expr, "topk(20, last_over_time(upkeep:capacity") {
			break // of series of several kinds the twenty first need not have the labels of all
		}
		if !have[l] && q.chosen == "all=All" {
			return "no series has the label " + l + ": " + expr
		}
	}
	return ""
}

// needs returns the labels that a panel shows of a query, or that its links use.
func needs(p *panel, q query) (all []string) {
	for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(q.LegendFormat, -1) {
		all = append(all, m[1])
	}
	for _, l := range p.FieldConfig.Defaults.Links {
		for _, m := range regexp.MustCompile(`\$\{__(?:field\.labels|data\.fields)\.(\w+)`).FindAllStringSubmatch(l.URL, -1) {
			all = append(all, m[1])
		}
	}
	for _, t := range p.Transformations {
		if order, ok := t.Options["indexByName"].(map[string]any); ok {
			for l := range order {
				if !strings.HasPrefix(l, "Value") {
					all = append(all, l)
				}
			}
		}
	}
	return all
}

// valuesOf returns the values that each variable of a board can have, where the others are All.
func valuesOf(f *filled, d dashboard) (map[string][]string, []string) {
	all, wrong := make(map[string][]string), []string(nil)
	every := everything(d)
	query := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type == "textbox" {
			all[v.Name] = []string{v.Query, "", "nosuchuser"}
		}
		parts := query.FindStringSubmatch(v.Query)
		if parts == nil {
			continue
		}
		selector := question{target: query2(parts[1]), values: every, span: time.Hour, scrape: time.Minute, width: 24}.expr()
		matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(selector)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: variable %s: %v", d.UID, v.Name, err))
			continue
		}
		q, _ := f.Querier(0, math.MaxInt64)
		values, _, _ := q.LabelValues(context.Background(), parts[2], nil, matchers...)
		if len(values) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s: variable %s has no values: %s", d.UID, v.Name, selector))
		}
		for i, value := range values {
			values[i] = strings.ReplaceAll(regexp.QuoteMeta(value), `\`, `\\`)
		}
		all[v.Name] = values
	}
	return all, wrong
}

func query2(expr string) query { return query{Expr: expr} }

// everything is what the variables are at All, or by default.
func everything(d dashboard) map[string]string {
	all := make(map[string]string)
	for _, v := range d.Templating.List {
		switch {
		case v.Type == "textbox":
			all[v.Name] = v.Query
		case v.IncludeAll:
			all[v.Name] = v.AllValue
		case v.Name == "console":
			all[v.Name] = "https://upkeep.example"
		}
	}
	return all
}

// questions returns every query of a board with every value of each of its variables, all of them, and two together.
func questions(d dashboard, values map[string][]string, span, scrape time.Duration) (all []question) {
	targets := func(panel string, width int, needs []string, q query) {
		every := everything(d)
		ask := func(name, value string) {
			values := maps.Clone(every)
			values[name] = value
			all = append(all, question{d.UID, panel, q, width, values, name + "=" + value, needs, span, scrape})
		}
		ask("all", "All")
		for name, choices := range values {
			if !regexp.MustCompile(`\$(\{)?` + name + `\b`).MatchString(q.Expr) {
				continue
			}
			for _, value := range choices {
				ask(name, value)
			}
			if len(choices) > 1 && name != "leave_out" {
				ask(name, "("+strings.Join(choices[:2], "|")+")")
			}
		}
	}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			targets(p.Title, p.GridPos.W, needs(p, q), q)
		}
	}
	for _, a := range d.Annotations.List { // Grafana asks for a hundred points of these
		targets("annotation "+a.Name, 2, nil, query{RefID: "A", Expr: a.Expr, Interval: a.Step, Range: true})
	}
	slices.SortFunc(all, func(a, b question) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// unanswered asks the questions that are picked, and returns what is wrong.
func unanswered(stores map[time.Duration]*filled, boards []file, pick func(question) bool) (asked int, wrong []string) {
	var picked []question
	for _, b := range boards {
		for scrape, f := range stores {
			values, bad := valuesOf(f, b.dashboard)
			wrong = append(wrong, bad...)
			for _, span := range spans() {
				for _, q := range questions(b.dashboard, values, span, scrape) {
					if pick(q) {
						picked = append(picked, q)
					}
				}
			}
		}
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	next := make(chan question)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for q := range next {
				if what := q.answer(stores[q.scrape]); what != "" {
					mu.Lock()
					wrong = append(wrong, q.String()+": "+what)
					mu.Unlock()
				}
			}
		})
	}
	for _, q := range picked {
		next <- q
	}
	close(next)
	group.Wait()
	slices.Sort(wrong)
	return len(picked), slices.Compact(wrong)
}

func stores(t testing.TB) map[time.Duration]*filled {
	all := make(map[time.Duration]*filled)
	for _, s := range scrapes() {
		all[s] = fill(t, s)
	}
	return all
}

// Every query of every panel, with every value of its variables and All, over an hour, a day and a month,
// with scrape intervals of 15 seconds and a minute, has an answer. A sample is asked unless -panels.all says
// otherwise: each query once, of the cheap ones some, and of those over a month a few.
func TestEveryPanelHasData(t *testing.T) {
	began := time.Now()
	r := rand.New(rand.NewPCG(*panelSeed, 0))
	asked, wrong := unanswered(stores(t), every(t), func(q question) bool {
		return *allQuestions || r.Float64() < share(q)
	})
	for _, w := range wrong {
		t.Error(w)
	}
	t.Logf("%d questions, seed %d, %s", asked, *panelSeed, time.Since(began).Round(time.Second))
}

// share is how much of the questions of a kind a sample has.
func share(q question) float64 {
	switch {
	case q.span == time.Hour && q.scrape == time.Minute && q.chosen == "all=All":
		return 1
	case q.span > 24*time.Hour && strings.Contains(q.target.Expr, "$__range"):
		return 0.003
	case q.span > 24*time.Hour:
		return 0.015
	}
	return 0.04
}

// A limit is read where there is one: what reads the time to it has no answer of servers and resources without.
func (q question) unlimited(f *filled) bool {
	if q.board != "upkeep-capacity" || !strings.Contains(q.target.Expr, "seconds_to_limit") &&
		!strings.Contains(q.target.Expr, "ratio_max1d") {
		return false
	}
	limited := question{target: query{Expr: "last_over_time(upkeep:capacity_limit{" + string(capacity) + "}[2h])"},
		width: q.width, values: q.values, span: q.span, scrape: q.scrape}
	v, err := one(context.Background(), engine(), f, limited.expr(), filledEnd())
	return err == nil && len(v) == 0
}
