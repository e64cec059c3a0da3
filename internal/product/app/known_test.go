package app

import (
	"context"
	"errors"
	"testing"

	"github.com/ai-micro-service/upkeep/remediate"
)

// The rules that are loaded hold, the shipped ones where none of their name is; a Prometheus
// that is away changes nothing.
func TestKnownRules(t *testing.T) {
	shipped := remediate.Rule{Name: "A", Expr: "shipped", Annotations: map[string]string{"limit": "1"}}
	other := remediate.Rule{Name: "B", Expr: "shipped", Annotations: map[string]string{"limit": "2"}}
	loaded := remediate.Rule{Name: "A", Expr: "loaded", Annotations: map[string]string{"limit": "3"}}
	var answers []remediate.Rule
	var away error
	k := &knownRules{
		shipped: func() []remediate.Rule { return []remediate.Rule{shipped, other} },
		ask:     func(context.Context) ([]remediate.Rule, error) { return answers, away },
		failed:  func(error) {},
	}
	limit := func(name string) string {
		return remediate.Alert{Labels: map[string]string{"alertname": name},
			Annotations: map[string]string{"limit": "0"}}.Believed(k.all(t.Context())).Annotations["limit"]
	}
	expect := func(what, a, b string) {
		t.Helper()
		if gotA, gotB := limit("A"), limit("B"); gotA != a || gotB != b {
			t.Errorf("%s: %s and %s, want %s and %s", what, gotA, gotB, a, b)
		}
	}
	away = errors.New("away")
	expect("nothing was read yet", "1", "2")
	away, answers = nil, []remediate.Rule{loaded}
	k.asked = k.asked.Add(-rulesEvery)
	expect("loaded", "3", "2")
	away, answers = errors.New("away"), nil
	k.asked = k.asked.Add(-rulesEvery)
	expect("away", "3", "2")
	loaded.Annotations = map[string]string{"limit": "4"}
	away, answers = nil, []remediate.Rule{loaded}
	k.asked = k.asked.Add(-rulesEvery)
	expect("changed", "4", "2")
}
