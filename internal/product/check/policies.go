package check

import (
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// policies checks which alerts each policy matches, what is left of them by those before
// it, and whether its steps fit them.
func (k *checker) policies() {
	var before []chain
	for i, p := range k.config.Policies {
		c := chain{Policy: p, at: in("policies", i), who: "policy " + strconv.Quote(p.Name)}
		c.lines = k.matcherPlaces(c)
		for _, a := range k.words.alerts {
			if !slices.ContainsFunc(p.Match, func(m *labels.Matcher) bool { return !k.can(m, a) }) {
				c.matches = append(c.matches, a)
			}
		}
		k.limits(c)
		said := k.names(c)
		switch {
		case k.contradicts(c):
		case len(c.matches) == 0 && !said:
			k.matchesNothing(c)
		case len(c.matches) > 0 && k.shadowed(c, before):
		case len(c.matches) > 0:
			k.steps(c)
		}
		before = append(before, c)
	}
}

// contradicts says when the matchers of one label leave it no value.
func (k *checker) contradicts(c chain) bool {
	for i, m := range c.Match {
		all := values(m)
		if len(all) > 0 && !slices.ContainsFunc(all, func(v string) bool { return allows(c, m.Name, v) }) {
			k.fault(c.lines[i], "%s can never match: no value of %s satisfies all of its matchers for it; an alert "+
				"has one value of each label, so leave one matcher, like %s=~\"a|b\" for either", c.who, m.Name, m.Name)
			return true
		}
	}
	return false
}

// matcherPlaces returns where each matcher is: an entry of the list may hold several.
func (k *checker) matcherPlaces(c chain) (all []place) {
	for j := 0; len(all) < len(c.Match); j++ {
		at := c.at.in("match", j)
		several, err := policy.ParseMatchers(k.source.Value(at...))
		if err != nil || len(several) == 0 {
			several = labels.Matchers{nil} // an alias or a text that was read otherwise
		}
		for range several {
			all = append(all, at)
		}
	}
	return all
}

// names checks the names of alerts that a policy's matchers say, and reports whether it
// found a fault.
func (k *checker) names(c chain) (faulty bool) {
	known := k.words.alertNames()
	for i, m := range c.Match {
		if m.Name != "alertname" {
			continue
		}
		wanted := []string{m.Value}
		if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
			wanted = alternatives(m.Value)
		}
		for _, w := range wanted {
			if w == "" || slices.Contains(known, w) {
				continue
			}
			faulty = k.unknownAlert(c, c.lines[i], m, w, known) || faulty
		}
		if len(wanted) == 0 && m.Type == labels.MatchRegexp && !slices.ContainsFunc(known, m.Matches) {
			k.report(c.lines[i], k.delivered(),
				"%s: no rule declares an alert whose name matches %s; docs/alerts.md lists the alerts", c.who, m)
			faulty = true
		}
	}
	return faulty
}

func (k *checker) unknownAlert(c chain, at place, m *labels.Matcher, name string, known []string) bool {
	near := meant(name, known, "")
	switch {
	case m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp:
		if near != "" {
			k.warn(at, "%s: no rule declares the alert %q, which is left out here; %s", c.who, name, near)
		}
		return false
	case near != "":
		k.fault(at, "%s: no rule declares the alert %q; %s", c.who, name, near)
		return true
	}
	k.report(at, k.delivered(),
		"%s: no rule declares the alert %q; docs/alerts.md lists those of upkeep, "+
			"and embedded.rule_files adds your own", c.who, name)
	return true
}

// matchesNothing says which matcher of a policy no alert can satisfy.
func (k *checker) matchesNothing(c chain) {
	named := k.words.alerts
	for _, m := range c.Match {
		if m.Name == "alertname" {
			named = slices.DeleteFunc(slices.Clone(named), func(a *rule) bool { return !m.Matches(a.alert) })
		}
	}
	for i, m := range c.Match {
		if len(named) == 0 || m.Name == "alertname" || slices.ContainsFunc(named,
			func(a *rule) bool { return k.can(m, a) }) {
			continue
		}
		k.impossible(c, i, named)
		return
	}
	k.report(c.at.in("match"), k.delivered(),
		"%s: no alert satisfies all of its matchers together; test it with upkeep policy test", c.who)
}

// impossible says why no alert of some rules satisfies a matcher.
func (k *checker) impossible(c chain, i int, named []*rule) {
	m, a := c.Match[i], named[0]
	about := a.alert
	if len(named) > 3 {
		about = "every alert that it names"
	}
	if value, ok := a.gives.fixed[m.Name]; ok {
		var values []string
		for _, n := range named {
			if v := n.gives.fixed[m.Name]; v != "" && !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		if len(values) > 1 {
			value = strings.Join(values, " or ")
		}
		k.fault(c.lines[i], "%s can never match %s: %s has %s %q; write that", c.who, m, about, m.Name, value)
		return
	}
	if m.Name == "server" {
		names, _ := k.serversOf(a)
		k.fault(c.lines[i], "%s can never match %s: %s is about the targets %s; %s", c.who, m, about,
			strings.Join(names, ", "), meant(m.Value, names, "write one of these names"))
		return
	}
	near := meant(m.Name, a.gives.names(), "its labels are "+strings.Join(a.gives.names(), ", "))
	k.report(c.lines[i], k.delivered(), "%s can never match %s: %s has no label %q; %s", c.who, m, about, m.Name, near)
}
