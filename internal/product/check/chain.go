package check

import (
	"slices"

	"github.com/prometheus/alertmanager/pkg/labels"
	promlabels "github.com/prometheus/prometheus/model/labels"

	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// A chain is one policy with where it is and which alerts it can match.
type chain struct {
	config.Policy
	at      place
	who     string
	lines   []place // of each of its matchers
	matches []*rule
}

// can reports whether an alert of a rule can satisfy a matcher.
func (k *checker) can(m *labels.Matcher, a *rule) bool {
	if value, ok := a.gives.fixed[m.Name]; ok {
		return m.Matches(value)
	}
	switch {
	case !a.gives.labels[m.Name]:
		// Relabelling of the user's own Prometheus may add labels.
		return m.Matches("") || a.gives.open || k.outside()
	case m.Name == "server":
		names, known := k.serversOf(a)
		return !known || slices.ContainsFunc(names, m.Matches)
	}
	return true
}

// serversOf returns the names that the label server of a rule's alerts can have, where
// that is known.
func (k *checker) serversOf(a *rule) (names []string, known bool) {
	var kinds []string
	for _, name := range a.gives.metrics {
		m, ok := k.words.metrics[name]
		if !ok {
			return nil, false
		}
		kinds = append(kinds, m.kind)
	}
	if len(kinds) == 0 {
		return nil, false
	}
	names = k.words.servers(kinds)
	return names, len(names) > 0
}

// alternatives returns the texts that a regular expression matches, where they can be
// counted.
func alternatives(expr string) []string {
	m, err := promlabels.NewFastRegexMatcher(expr)
	if err != nil {
		return nil
	}
	return m.SetMatches()
}
