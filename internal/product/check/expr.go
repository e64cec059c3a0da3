package check

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ai-micro-service/upkeep/collectors"
)

// A note takes what is wrong at a byte of an expression.
type note func(offset int, warning bool, format string, args ...any)

// expr checks that what an expression reads exists.
func (k *checker) expr(e parser.Expr, who string, add note) {
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			k.selector(s, who, add)
		}
		return nil
	})
}

func (k *checker) selector(s *parser.VectorSelector, who string, add note) {
	at := int(s.PosRange.Start)
	m, _, ok := k.words.family(s.Name)
	switch {
	case s.Name == "" || builtin(s.Name):
		return
	case ok && m.Type == collectors.Histogram && s.Name == m.Name:
		add(at, false, "%s: %s is a histogram, and no series has its bare name; write %s_bucket, %s_sum or %s_count",
			who, s.Name, s.Name, s.Name, s.Name)
		return
	case k.words.recorded[s.Name] != nil:
		k.matchers(s, k.words.recording(s.Name), who, add)
		return
	case !ok:
		k.unknown(s.Name, who, at, add)
		return
	}
	if m.collector != "" {
		switch {
		case k.config.Collectors.Settings[m.collector].Disabled:
			add(at, false, "%s: %s has no series: its collector %s is disabled; enable it in collectors.settings", who,
				s.Name, m.collector)
		case len(k.words.targets[m.kind]) == 0:
			add(at, true, "%s: %s has no series: there is no %s target; add one to targets.%s, or remove this", who,
				s.Name, m.kind, m.kind)
			return // its server cannot be right either
		}
	}
	k.matchers(s, k.words.infer(&parser.VectorSelector{Name: s.Name}), who, add)
	for _, match := range s.LabelMatchers {
		if match.Name == "server" && slices.Contains(m.Labels, "server") {
			k.server(match, m, who, at, add)
		}
	}
}

// unknown says that nothing writes a metric.
func (k *checker) unknown(name, who string, at int, add note) {
	near := meant(name, k.words.seriesNames(), "")
	switch {
	case strings.HasPrefix(name, "upkeep_") || strings.Contains(name, ":upkeep_"):
		if near == "" {
			near = "docs/metrics.md lists the metrics of upkeep"
		}
		add(at, false, "%s: nothing declares the metric %s; %s", who, name, near)
	case k.foreign():
	case near != "":
		add(at, false, "%s: nothing declares the metric %s; %s", who, name, near)
	default:
		add(at, false, "%s: nothing declares the metric %s, and only upkeep itself is scraped; name what exports it "+
			"in embedded.scrape_configs", who, name)
	}
}

// matchers checks the labels that a selector names.
func (k *checker) matchers(s *parser.VectorSelector, gives series, who string, add note) {
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel || gives.has(m.Name) {
			continue
		}
		near := meant(m.Name, gives.names(), "")
		if near == "" {
			near = "its labels are " + strings.Join(gives.names(), ", ")
		}
		add(int(s.PosRange.Start), k.outside(), "%s: %s has no label %q; %s", who, s.Name, m.Name, near)
	}
}

// server checks that a selector's server is one that is asked.
func (k *checker) server(match *labels.Matcher, m metric, who string, at int, add note) {
	names := k.words.servers([]string{m.kind})
	var wanted []string
	switch match.Type {
	case labels.MatchEqual:
		wanted = []string{match.Value}
	case labels.MatchRegexp:
		wanted = match.SetMatches()
	default:
		return
	}
	for _, w := range wanted {
		if w != "" && !slices.Contains(names, w) {
			add(at, false, "%s: no %s target is called %q; %s", who, kindName(m.kind), w,
				meant(w, names, choose(names)))
		}
	}
	if len(wanted) == 0 && match.Value != "" && !slices.ContainsFunc(names, match.Matches) {
		add(at, false, "%s: no %s target's name matches %q; %s", who, kindName(m.kind), match.Value, choose(names))
	}
}

// kindName is the kind, where there is one.
func kindName(kind string) string {
	if kind == "" {
		return "configured"
	}
	return kind
}

// choose lists what there is to choose from.
func choose(names []string) string {
	if len(names) == 0 {
		return "none is configured"
	}
	return "choose one of " + strings.Join(names, ", ")
}
