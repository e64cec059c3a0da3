package policy_test

import (
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// An alert of no known rule acts with approval only, unless the policy has the limit itself;
// and what the rule says now holds for a run that waits.
func TestAlertIsAHint(t *testing.T) {
	own := 0.5
	for what, tc := range map[string]struct {
		source  remediate.RuleSource
		own     *float64
		said    string
		mode    remediate.Mode
		limit   *float64
		present float64 // the limit after the rule says 0.7, where a run asked with 0.2
	}{
		"known":                 {remediate.RuleKnown, nil, "0.2", remediate.Auto, new(0.2), 0.7},
		"unknown":               {remediate.RuleUnknown, nil, "-1", remediate.Ask, new(-1.0), 0.2},
		"unknown, no limit":     {remediate.RuleUnknown, nil, "", remediate.Ask, nil, 0.2},
		"the policy's limit":    {remediate.RuleUnknown, &own, "-1", remediate.Auto, &own, 0.5},
		"and of one it knows":   {remediate.RuleKnown, &own, "0.2", remediate.Auto, &own, 0.5},
		"as before, in replays": {remediate.RuleDelivered, nil, "0.2", remediate.Auto, new(0.2), 0.2},
	} {
		b := book(t)
		b.Policies[0].Limit = tc.own
		c := dead()
		c.Now = c.Now.Add(time.Hour)
		c.Incident.Alert.Rule = tc.source
		c.Incident.Alert.Annotations = map[string]string{"limit": tc.said}
		r := b.Decide(c).Request
		if r == nil || r.Mode != tc.mode || (r.Limit == nil) != (tc.limit == nil) || r.Limit != nil && *r.Limit != *tc.limit {
			t.Errorf("%s: %+v", what, r)
			continue
		}
		r.Limit = new(0.2)
		c.Incident.Alert.Annotations = map[string]string{"limit": "0.7"}
		now, err := b.Present(*r, c.Incident)
		if err != nil || now.Mode != tc.mode || now.Limit == nil || *now.Limit != tc.present {
			t.Errorf("%s: now %+v, %v", what, now, err)
		}
	}
	b := book(t)
	b.Policies[0].Expr = "mine > 1"
	if got := b.Expr("dead rows", remediate.Alert{Expr: "theirs"}); got != "mine > 1" {
		t.Errorf("the expression is %q", got)
	}
	if got := b.Expr("mapped", remediate.Alert{Expr: "theirs"}); got != "theirs" {
		t.Errorf("the expression is %q", got)
	}
}
