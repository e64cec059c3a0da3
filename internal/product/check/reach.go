package check

import (
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/pkg/labels"
)

// shadowed says when earlier policies match every alert that a policy can match: the
// first that matches decides.
func (k *checker) shadowed(c chain, before []chain) bool {
	by := make(map[string][]string) // alerts by the policy that takes them
	var order []string
	for _, a := range c.matches {
		i := slices.IndexFunc(before, func(b chain) bool { return k.covers(b, c, a) })
		if i < 0 {
			return false
		}
		if by[before[i].Name] == nil {
			order = append(order, before[i].Name)
		}
		by[before[i].Name] = append(by[before[i].Name], a.alert)
	}
	if !k.bounded(c) {
		// It may match alerts of which upkeep knows nothing: one policy must take them all.
		i := slices.IndexFunc(before, func(b chain) bool { return k.covers(b, c, nil) })
		if i < 0 {
			return false
		}
		order = []string{before[i].Name}
	}
	if len(order) == 1 {
		k.fault(c.at, "%s is never reached: policy %s before it matches everything that it matches, and the first "+
			"that matches decides; put it before that one, or narrow that one's matchers", c.who,
			strconv.Quote(order[0]))
		return true
	}
	var parts []string
	for _, name := range order {
		parts = append(parts, "policy "+strconv.Quote(name)+" ("+strings.Join(by[name], ", ")+")")
	}
	k.fault(c.at, "%s is never reached: the policies before it match all of its alerts: %s; the first that matches "+
		"decides; put it before them", c.who, strings.Join(parts, ", "))
	return true
}

// bounded reports whether a policy matches alerts of known rules only.
func (k *checker) bounded(c chain) bool {
	if !k.delivered() {
		return true
	}
	known := k.words.alertNames()
	return slices.ContainsFunc(c.Match, func(m *labels.Matcher) bool {
		if m.Name != "alertname" {
			return false
		}
		values := values(m)
		return len(values) > 0 && !slices.ContainsFunc(values,
			func(v string) bool { return !slices.Contains(known, v) })
	})
}

// values returns the values that a matcher allows, where they can be counted.
func values(m *labels.Matcher) []string {
	switch m.Type {
	case labels.MatchEqual:
		return []string{m.Value}
	case labels.MatchRegexp:
		return alternatives(m.Value)
	default:
		return nil
	}
}

// covers reports whether an earlier policy matches each alert of a rule that a later one
// matches; of any alert, where the rule is nil.
func (k *checker) covers(earlier, later chain, a *rule) bool {
	return !slices.ContainsFunc(earlier.Match, func(m *labels.Matcher) bool { return !k.implied(m, later, a) })
}

// implied reports whether every alert of a rule that a policy matches satisfies a matcher.
func (k *checker) implied(m *labels.Matcher, later chain, a *rule) bool {
	if m.Type == labels.MatchRegexp && m.Value == ".*" {
		return true
	}
	if a != nil {
		if value, ok := a.gives.fixed[m.Name]; ok {
			return m.Matches(value)
		}
		if !a.gives.has(m.Name) && !k.outside() {
			return m.Matches("")
		}
		if names, known := k.serversOf(a); m.Name == "server" && known && a.gives.labels["server"] {
			return !slices.ContainsFunc(names,
				func(name string) bool { return allows(later, "server", name) && !m.Matches(name) })
		}
	}
	return slices.ContainsFunc(later.Match, func(l *labels.Matcher) bool {
		if l.Name != m.Name {
			return false
		}
		if l.Type == m.Type && l.Value == m.Value {
			return true
		}
		all := values(l)
		return len(all) > 0 && !slices.ContainsFunc(all, func(v string) bool { return !m.Matches(v) })
	})
}

// allows reports whether the matchers of a policy let a label have a value.
func allows(c chain, label, value string) bool {
	return !slices.ContainsFunc(c.Match, func(m *labels.Matcher) bool { return m.Name == label && !m.Matches(value) })
}
