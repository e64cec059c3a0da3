package check

import (
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// A rule is one alerting or recording rule.
type rule struct {
	file                string
	alert, record, text string
	labels, annotations map[string]string
	shipped             bool
	nodes               map[string]*yaml.Node // of the keys of a user's rule

	expr  parser.Expr
	gives series // what is known of its alerts, or of what it records
}

// line returns where a key of a user's rule is.
func (r *rule) line(key string) int {
	if n := r.nodes[key]; n != nil {
		return n.Line
	}
	return r.nodes[""].Line
}

// name says which rule it is.
func (r *rule) name() string {
	if r.alert != "" {
		return "alert " + strconv.Quote(r.alert)
	}
	return "recording rule " + strconv.Quote(r.record)
}

// A series is what is known of those that an expression gives, or of the alerts of a
// rule.
type series struct {
	labels  map[string]bool   // that they can have
	open    bool              // they can have others too
	fixed   map[string]string // labels that have one value
	metrics []string          // the families whose labels they carry; of an operator, those of its left side
}

func (s series) has(label string) bool { return s.open || s.labels[label] }

// names lists the labels.
func (s series) names() []string { return slices.Sorted(maps.Keys(s.labels)) }
