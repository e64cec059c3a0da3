package remediate

import (
	"maps"
	"strconv"
	"strings"
)

// A Rule is an alerting rule that upkeep knows from where it is configured, and not from a
// delivery.
type Rule struct {
	Name, Expr          string
	Labels, Annotations map[string]string
}

// A RuleSource says where the limit and the expression of an alert come from.
type RuleSource string

// The sources of a rule.
const (
	RuleDelivered RuleSource = ""        // the delivery, which was not compared with any rule
	RuleKnown     RuleSource = "known"   // the rule that is loaded or shipped
	RuleUnknown   RuleSource = "unknown" // the delivery, and upkeep knows no such rule
)

// Believed returns an alert with the limit, the decay and the expression of the rule that
// it claims to be of: the delivery may be forged. Where no such rule is known, the alert has no expression, and the
// limit of its delivery is for people to look at.
func (a Alert) Believed(rules []Rule) Alert {
	r, ok := a.rule(rules)
	a.Annotations = maps.Clone(a.Annotations)
	if !ok {
		a.Rule, a.Expr = RuleUnknown, ""
		delete(a.Annotations, "decay")
		return a
	}
	a.Rule, a.Expr = RuleKnown, r.Expr
	if a.Annotations == nil {
		a.Annotations = make(map[string]string)
	}
	for _, name := range []string{"limit", "decay"} {
		delete(a.Annotations, name)
		if value, ok := r.Annotations[name]; ok {
			a.Annotations[name] = value
		}
	}
	if _, err := strconv.ParseFloat(a.Annotations["limit"], 64); err != nil {
		a.Rule = RuleUnknown // its limit is a template, or there is none
		delete(a.Annotations, "limit")
	}
	return a
}

// rule finds the rule of an alert by its name. Of several one that sets labels that the alert
// has is taken, of these the one whose expression the delivery names, and else the one with the largest limit, by
// which the least is done.
func (a Alert) rule(rules []Rule) (found Rule, ok bool) {
	fitted := false // labels may have been changed on the way
	for _, r := range rules {
		fits := r.fits(a.Labels)
		if r.Name != a.Labels["alertname"] || fitted && !fits {
			continue
		}
		if fits && !fitted {
			fitted, found, ok = true, r, true
			continue
		}
		switch {
		case !ok || squeezed(r.Expr) == squeezed(a.Expr) && squeezed(found.Expr) != squeezed(a.Expr):
			found, ok = r, true
		case squeezed(found.Expr) != squeezed(a.Expr) && r.limit() > found.limit():
			found = r
		}
	}
	return found, ok
}

// fits reports whether an alert can be one of the rule: it has the labels that the rule sets.
// One with a template in it sets any value.
func (r Rule) fits(labels map[string]string) bool {
	for name, value := range r.Labels {
		if labels[name] != value && !strings.Contains(value, "{{") {
			return false
		}
	}
	return true
}

func (r Rule) limit() float64 {
	v, _ := strconv.ParseFloat(r.Annotations["limit"], 64) // 0 where it is no number
	return v
}

// squeezed is an expression without its spaces: Prometheus writes them as it likes.
func squeezed(expr string) string { return strings.Join(strings.Fields(expr), "") }
