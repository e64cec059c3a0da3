package remediate_test

import (
	"testing"

	"github.com/ai-micro-service/upkeep/remediate"
)

// What a delivery says of its rule counts for nothing where the rule is known, and its
// expression is never evaluated where it is not.
func TestBelieved(t *testing.T) {
	rule := func(name, expr, limit, severity string) remediate.Rule {
		r := remediate.Rule{Name: name, Expr: expr, Annotations: map[string]string{"limit": limit, "decay": "5m"},
			Labels: map[string]string{"severity": severity}}
		if limit == "" {
			delete(r.Annotations, "limit")
		}
		return r
	}
	rules := []remediate.Rule{rule("Dead", "dead > 0.2", "0.2", "warning"), rule("Dead", "dead > 0.4", "0.4", "critical"),
		rule("Two", "a > 1", "1", "warning"), rule("Two", "b > 2", "2", "warning"), rule("None", "c", "", "warning"),
		rule("Template", "c", "{{ $value }}", "warning")}
	const bomb = "vector(1)[5200h:1s]"
	for what, tc := range map[string]struct {
		name, severity, limit, expr string
		wantLimit, wantExpr         string
		want                        remediate.RuleSource
	}{
		"limit 0":                 {"Dead", "warning", "0", "dead > 0.2", "0.2", "dead > 0.2", remediate.RuleKnown},
		"limit -1":                {"Dead", "critical", "-1", "dead > 0.4", "0.4", "dead > 0.4", remediate.RuleKnown},
		"no limit":                {"Dead", "warning", "", "dead > 0.2", "0.2", "dead > 0.2", remediate.RuleKnown},
		"a bomb":                  {"Dead", "warning", "0.2", bomb, "0.2", "dead > 0.2", remediate.RuleKnown},
		"as Prometheus writes it": {"Two", "warning", "9", "a>1", "1", "a > 1", remediate.RuleKnown},
		"the larger limit":        {"Two", "warning", "0", bomb, "2", "b > 2", remediate.RuleKnown},
		"another severity":        {"Dead", "page", "0", bomb, "0.4", "dead > 0.4", remediate.RuleKnown},
		"an unknown rule":         {"Mine", "warning", "0", bomb, "0", "", remediate.RuleUnknown},
		"a rule without a limit":  {"None", "warning", "0", bomb, "", "c", remediate.RuleUnknown},
		"a template":              {"Template", "warning", "0", bomb, "", "c", remediate.RuleUnknown},
	} {
		a := remediate.Alert{Labels: map[string]string{"alertname": tc.name, "severity": tc.severity}, Expr: tc.expr,
			Annotations: map[string]string{"limit": tc.limit, "decay": "100h", "summary": "s"}}
		got := a.Believed(rules)
		if got.Annotations["limit"] != tc.wantLimit || got.Expr != tc.wantExpr || got.Rule != tc.want ||
			got.Annotations["decay"] == "100h" || got.Annotations["summary"] != "s" {
			t.Errorf("%s: %+v", what, got)
		}
		if a.Annotations["limit"] != tc.limit {
			t.Errorf("%s: the delivery was changed", what)
		}
	}
}
