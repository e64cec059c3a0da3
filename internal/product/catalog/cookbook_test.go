package catalog_test

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/ai-micro-service/upkeep/collectors"
)

// cookbook returns the queries of docs/promql.md by their questions.
func cookbook(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "promql.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, m := range regexp.MustCompile("(?s)### ([^\n]+)\n\n```promql\n(.*?)\n```").FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = m[2]
	}
	if n := strings.Count(string(text), "\n### "); n != len(all) || n < 40 {
		t.Fatalf("docs/promql.md has %d questions and %d queries", n, len(all))
	}
	return all
}

// sampled are the series of a storage that a test fills.
type sampled struct {
	t    *testing.T
	db   *teststorage.TestStorage
	seen map[string]bool
}

const (
	samplesEvery = 10 * time.Minute
	sampledDays  = 40
)

func sampledEnd() time.Time { return time.Unix(0, 0).Add(sampledDays * 24 * time.Hour) }

// add writes the series that a selector asks for: all of its metric's labels, with the values that
// it names.
func (s *sampled) add(v *parser.VectorSelector, all map[string]*collectors.Metric) {
	s.t.Helper()
	values := map[string]string{"__name__": v.Name, "job": "upkeep", "instance": "upkeep"}
	m, histogram := family(all, v.Name)
	switch {
	case m != nil:
		for _, l := range m.Labels {
			values[l] = "main"
		}
	default: // what is recorded
		for _, l := range []string{"server", "database", "mountpoint", "resource"} {
			values[l] = "main"
		}
		delete(values, "job")
		delete(values, "instance")
	}
	for _, match := range v.LabelMatchers {
		switch match.Type {
		case labels.MatchEqual:
			values[match.Name] = match.Value
		case labels.MatchRegexp:
			values[match.Name], _, _ = strings.Cut(match.Value, "|")
		case labels.MatchNotEqual, labels.MatchNotRegexp: // what the label is not says nothing of what it is
		}
	}
	if !histogram {
		s.write(values, m)
		return
	}
	for _, le := range []string{"0.1", "1", "+Inf"} {
		values["le"] = le
		s.write(values, m)
	}
}

func (s *sampled) write(values map[string]string, m *collectors.Metric) {
	s.t.Helper()
	l := labels.FromMap(values)
	if s.seen[l.String()] {
		return
	}
	s.seen[l.String()] = true
	step := samplesEvery
	if strings.HasSuffix(values["__name__"], "day") {
		step = 24 * time.Hour
	}
	a := s.db.Appender(s.t.Context())
	for at := time.Unix(0, 0); !at.After(sampledEnd()); at = at.Add(step) {
		v := 1000 + at.Sub(time.Unix(0, 0)).Hours()
		if m != nil && strings.HasSuffix(m.Name, "_ratio") {
			v = 0.5
		}
		if _, err := a.Append(0, l, at.UnixMilli(), v); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := a.Commit(); err != nil {
		s.t.Fatal(err)
	}
}

// Each query of the cookbook reads what is exported and has an answer.
func TestCookbook(t *testing.T) {
	all, queries := declared(t), cookbook(t)
	_, recorded := exprs(t)
	s := sampled{t, teststorage.New(t, func(o *tsdb.Options) { // one series after the other is written
		o.MinBlockDuration, o.MaxBlockDuration = (1000 * 24 * time.Hour).Milliseconds(), (1000 * 24 * time.Hour).Milliseconds()
	}), make(map[string]bool)}
	for question, query := range queries {
		e, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		if err != nil {
			t.Errorf("%s: %v", question, err)
			continue
		}
		for name, named := range selectors(t, query) {
			m, histogram := family(all, name)
			switch {
			case recorded[name]:
			case m == nil:
				t.Errorf("%s: %s is not exported", question, name)
			default:
				for _, l := range named {
					if !(histogram && l == "le") && !slices.Contains(m.Labels, l) {
						t.Errorf("%s: %s has no label %s", question, name, l)
					}
				}
			}
		}
		parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				s.add(v, all)
			}
			return nil
		})
	}
	if t.Failed() {
		return
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 5_000_000, Timeout: time.Minute,
		LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{})})
	for question, query := range queries {
		q, err := engine.NewInstantQuery(t.Context(), s.db, nil, query, sampledEnd())
		if err != nil {
			t.Fatal(err)
		}
		r := q.Exec(t.Context())
		v, err := r.Vector()
		if err != nil || len(v) == 0 || math.IsNaN(v[0].F) {
			t.Errorf("%s: %v %v", question, v, err)
		}
		q.Close()
	}
}
