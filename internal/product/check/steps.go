package check

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
)

// steps checks that the steps of a policy can work on what its alerts are about.
func (k *checker) steps(c chain) {
	short := k.source.Value(c.at.in("action")...) != ""
	for j, s := range c.Steps {
		at := c.at.in("steps", j)
		if short {
			at = c.at
		}
		a, ok := k.words.actions[s.Action]
		if !ok {
			continue // said already
		}
		k.fresh(c.at, c.who, c.Fresh, a)
		k.backedUp(c.at.in("backup"), c.who, c.Terms, a)
		if k.noTarget(at, c.who, a) {
			continue
		}
		k.step(at, c, s, a)
	}
}

func (k *checker) step(at place, c chain, s config.Step, a remediate.Action) {
	k.subjectServer(at, c.who, s.Subject, a)
	k.subjectTable(at, c.who, s.Subject, a)
	var fit, unfit []string
	var lacks string
	for _, r := range c.matches {
		if label := missingLabel(s, a, r); label != "" {
			unfit, lacks = append(unfit, r.alert), label
			continue
		}
		fit = append(fit, r.alert)
	}
	if len(unfit) > 0 {
		about := unfit[0]
		if len(unfit) > 1 {
			about = strings.Join(unfit[:min(len(unfit), 3)], ", ")
		}
		k.report(at.in("action"), len(fit) > 0,
			"%s: %s needs the label %q, which %s does not have; name it in subject, or match other alerts", c.who,
			a.Name, lacks, about)
		return
	}
	k.references(at, c, s)
	k.sameKind(at, c, s, a)
	k.limit(at, c, s, a)
}

// missingLabel returns a label of an action's subject that neither the step names nor the
// alert can have.
func missingLabel(s config.Step, a remediate.Action, r *rule) string {
	for _, label := range a.Subject {
		if _, named := s.Subject[label]; !named && !r.gives.has(label) {
			return label
		}
	}
	return ""
}

// references checks the labels of the alert that a step's texts name.
func (k *checker) references(at place, c chain, s config.Step) {
	for key, texts := range map[string]map[string]string{"subject": s.Subject, "with": s.With} {
		for name, text := range texts {
			for _, label := range named(text) {
				if slices.ContainsFunc(c.matches, func(r *rule) bool { return r.gives.has(label) }) {
					continue
				}
				var all []string
				for _, r := range c.matches {
					all = append(all, r.gives.names()...)
				}
				slices.Sort(all)
				all = slices.Compact(all)
				k.report(at.in(key, name), k.outside(),
					"%s: %s of %s takes $%s, and none of its alerts has that label; %s", c.who, name, key, label,
					meant(label, all, "their labels are "+strings.Join(all, ", ")))
			}
		}
	}
}

// named returns the labels that a text takes from the alert.
func named(text string) (all []string) {
	text = strings.ReplaceAll(text, "$$", "")
	for _, m := range regexp.MustCompile(`\$(?:\{([^}]+)\}|([a-zA-Z_][a-zA-Z0-9_]*))`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

// sameKind checks that an alert's own server is one that takes the action.
func (k *checker) sameKind(at place, c chain, s config.Step, a remediate.Action) {
	if _, named := s.Subject["server"]; named {
		return
	}
	takes := k.words.targets[kindOf(a.Name)]
	for _, r := range c.matches {
		servers, known := k.serversOf(r)
		if value, fixed := r.gives.fixed["server"]; fixed {
			servers, known = []string{value}, true
		}
		if !known || slices.ContainsFunc(servers,
			func(name string) bool { return slices.Contains(takes, name) && allows(c, "server", name) }) {
			return
		}
	}
	servers, _ := k.serversOf(c.matches[0])
	k.fault(at.in("action"), "%s: %s is about %s, and %s acts on %s targets (%s); name one in subject: {server: …}",
		c.who, c.matches[0].alert, strings.Join(servers, ", "), a.Name, kindOf(a.Name), strings.Join(takes, ", "))
}

// limit checks that what the action lowers is what the alert compares, where the step has
// no limit of its own.
func (k *checker) limit(at place, c chain, s config.Step, a remediate.Action) {
	if s.Limit != nil {
		return
	}
	lowers := a.Metrics()
	for _, r := range c.matches {
		if len(r.gives.metrics) == 0 ||
			slices.ContainsFunc(lowers, func(m string) bool { return strings.Contains(k.words.expanded(r), m) }) {
			return
		}
	}
	k.warn(at.in("action"), "%s: %s lowers %s, and %s compares another metric with its limit; give the step a limit "+
		"of its own", c.who, a.Name, a.Lowers, c.matches[0].alert)
}

// expanded is the expression of a rule with those of the recording rules that it reads.
func (v *vocabulary) expanded(r *rule) string {
	text := r.text
	for name, recorded := range v.recorded {
		if strings.Contains(text, name) {
			for _, one := range recorded {
				text += " " + one.text
			}
		}
	}
	return text
}

// limits checks that upkeep knows the limit of the alerts by which a policy acts without
// approval: a delivery could name any.
func (k *checker) limits(c chain) {
	if c.Limit != nil {
		return
	}
	for _, s := range c.Steps {
		if remediate.Mode(s.Mode) != remediate.Auto || s.Limit != nil {
			continue
		}
		for _, r := range c.matches {
			if !isNumber(r.annotations["limit"]) {
				k.fault(c.at, "%s: mode auto needs a limit that upkeep knows, and the rule of %s has no limit "+
					"annotation with a number: set limit in the policy, or mode: ask", c.who, r.alert)
				return
			}
		}
		if len(c.matches) == 0 && k.delivered() {
			k.unknownRule(c)
			return
		}
	}
}

// unknownRule says that a policy acts without approval on alerts whose rule is not known here.
func (k *checker) unknownRule(c chain) {
	const what = "%s: mode auto needs a limit that upkeep knows, and it knows no rule of these alerts; "
	switch {
	case k.outside() && k.config.Prometheus.URL == "":
		k.fault(c.at, what+"set limit in the policy, name the Prometheus that has the rule in prometheus.url, or "+
			"set mode: ask", c.who)
	case k.outside():
		k.warn(c.at, what+"if the Prometheus at prometheus.url does not have the rule, with a limit annotation, "+
			"upkeep only asks; upkeep check --connect looks there", c.who)
	default:
		k.warn(c.at, what+"upkeep only asks; set limit in the policy, or mode: ask", c.who)
	}
}
