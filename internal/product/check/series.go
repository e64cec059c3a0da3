package check

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// with adds what a rule gives its alerts.
func (s series) with(r *rule) series {
	out := series{labels: maps.Clone(s.labels), open: s.open, fixed: maps.Clone(s.fixed), metrics: s.metrics}
	if out.labels == nil {
		out.labels = make(map[string]bool)
	}
	if out.fixed == nil {
		out.fixed = make(map[string]string)
	}
	set := func(name, value string) {
		out.labels[name] = true
		if out.fixed[name] = value; strings.Contains(value, "{{") {
			delete(out.fixed, name)
		}
	}
	if r.alert != "" {
		set("alertname", r.alert)
	}
	for name, value := range r.labels {
		set(name, value)
	}
	return out
}

// infer returns what is known of the series of an expression.
func (v *vocabulary) infer(e parser.Expr) series {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return v.selected(e)
	case *parser.MatrixSelector:
		return v.infer(e.VectorSelector)
	case *parser.SubqueryExpr:
		return v.infer(e.Expr)
	case *parser.StepInvariantExpr:
		return v.infer(e.Expr)
	case *parser.ParenExpr:
		return v.infer(e.Expr)
	case *parser.UnaryExpr:
		return v.infer(e.Expr)
	case *parser.AggregateExpr:
		return v.aggregated(e)
	case *parser.BinaryExpr:
		return v.joined(e)
	case *parser.Call:
		return v.called(e)
	}
	return series{} // a number
}

func (v *vocabulary) selected(e *parser.VectorSelector) series {
	s := series{labels: make(map[string]bool), fixed: make(map[string]string)}
	switch m, bucket, ok := v.family(e.Name); {
	case ok:
		for _, l := range append(slices.Clone(m.Labels), "job", "instance") {
			s.labels[l] = true
		}
		if bucket {
			s.labels["le"] = true
		}
		if v.embedded {
			s.fixed["job"], s.fixed["instance"] = "upkeep", "upkeep"
		}
		s.metrics = []string{m.Name}
	case v.recorded[e.Name] != nil:
		s = v.recording(e.Name)
		s = s.keep(func(string) bool { return true }) // it is changed below
	case v.embedded && !v.others && e.Name == "up":
		s.labels["job"], s.labels["instance"] = true, true
	default:
		s.open = true
	}
	for _, m := range e.LabelMatchers {
		if m.Type == labels.MatchEqual && m.Name != model.MetricNameLabel && m.Value != "" && s.has(m.Name) {
			s.labels[m.Name], s.fixed[m.Name] = true, m.Value
		}
	}
	return s
}

// recording returns what is known of the series of recording rules. One may read what it recorded
// before: nothing is known of that.
func (v *vocabulary) recording(name string) series {
	if s, known := v.given[name]; known {
		return s
	}
	v.given[name] = series{open: true}
	var out series
	for i, r := range v.recorded[name] {
		one := v.infer(r.expr).with(r)
		if i > 0 {
			one = out.or(one)
		}
		out = one
	}
	v.given[name] = out
	return out
}

func (v *vocabulary) aggregated(e *parser.AggregateExpr) series {
	inner := v.infer(e.Expr)
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return inner
	}
	out := inner.keep(func(label string) bool { return slices.Contains(e.Grouping, label) != e.Without })
	if inner.open && !e.Without {
		out.open = false
		for _, l := range e.Grouping {
			out.labels[l] = true
		}
	}
	if text, ok := e.Param.(*parser.StringLiteral); ok && e.Op == parser.COUNT_VALUES {
		out.labels[text.Val] = true
	}
	return out
}

// keep leaves out the labels that are not kept.
func (s series) keep(kept func(label string) bool) series {
	out := series{labels: make(map[string]bool), open: s.open, fixed: make(map[string]string), metrics: s.metrics}
	for l := range s.labels {
		if kept(l) {
			out.labels[l] = true
		}
	}
	for l, value := range s.fixed {
		if kept(l) {
			out.fixed[l] = value
		}
	}
	return out
}

// joined is what an operator between two sides gives: the labels of the side of which
// there are many, or those that both are matched by.
func (v *vocabulary) joined(e *parser.BinaryExpr) series {
	left, right := v.infer(e.LHS), v.infer(e.RHS)
	switch {
	case e.LHS.Type() == parser.ValueTypeScalar:
		return right
	case e.RHS.Type() == parser.ValueTypeScalar || e.Op == parser.LAND || e.Op == parser.LUNLESS:
		return left
	case e.Op == parser.LOR:
		return left.or(right)
	}
	m := e.VectorMatching
	if m == nil {
		return left
	}
	many, one := left, right
	switch m.Card {
	case parser.CardOneToOne:
		return left.keep(func(label string) bool { return slices.Contains(m.MatchingLabels, label) == m.On })
	case parser.CardOneToMany:
		many, one = right, left
	default: // the side of the many is the left one
	}
	out := many.keep(func(string) bool { return true })
	for _, l := range m.Include {
		if one.has(l) {
			out.labels[l] = true
		}
		delete(out.fixed, l)
	}
	return out
}

// or is what either of two gives.
func (s series) or(other series) series {
	out := series{labels: maps.Clone(s.labels), open: s.open || other.open, fixed: make(map[string]string),
		metrics: append(slices.Clone(s.metrics), other.metrics...)}
	if out.labels == nil {
		out.labels = make(map[string]bool)
	}
	maps.Copy(out.labels, other.labels)
	for l, value := range s.fixed {
		if other.fixed[l] == value {
			out.fixed[l] = value
		}
	}
	return out
}

func (v *vocabulary) called(e *parser.Call) series {
	var out series
	for _, arg := range e.Args {
		if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			out = v.infer(arg)
			break
		}
	}
	text := func(i int) string {
		if i < len(e.Args) {
			if s, ok := e.Args[i].(*parser.StringLiteral); ok {
				return s.Val
			}
		}
		return ""
	}
	switch e.Func.Name {
	case "absent", "absent_over_time":
		return out.keep(func(label string) bool {
			return out.fixed[label] != "" && label != "job" &&
				label != "instance"
		})
	case "histogram_quantile":
		return out.keep(func(label string) bool { return label != "le" })
	case "label_replace", "label_join":
		out = out.keep(func(label string) bool { return true })
		out.labels[text(1)] = true
		delete(out.fixed, text(1))
	case "vector", "scalar", "time":
		return series{}
	}
	return out
}
