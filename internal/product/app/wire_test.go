package app

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// What a schedule says of its subject holds, its series say the rest, and what was
// found on one server is not done on another.
func TestAsked(t *testing.T) {
	limit := 0.2
	ask := asked(policy.Step{Action: "postgres/vacuum", Mode: remediate.Auto,
		Subject: map[string]string{"server": "main"}}, []string{"server", "table"}, "up", &limit)
	for name, c := range map[string]struct {
		labels map[string]string
		want   map[string]string // nil: none of the schedule's
		wrong  string
	}{
		"the rest": {map[string]string{"server": "main", "table": "logs", "job": "x"},
			map[string]string{"server": "main", "table": "logs"}, ""},
		"says no server": {map[string]string{"table": "$logs"},
			map[string]string{"server": "main", "table": "$logs"}, ""},
		"of another server": {map[string]string{"server": "other", "table": "logs"}, nil, ""},
		"without a label": {map[string]string{"server": "main"}, map[string]string{"server": "main"},
			"has the label table"},
		"with an empty one": {map[string]string{"table": ""}, map[string]string{"server": "main"},
			"has the label table"},
		"without any series": {nil, map[string]string{"server": "main"}, "has the label table"},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := ask(c.labels)
			if ok != (c.want != nil) {
				t.Fatalf("ok is %v", ok)
			}
			if !ok {
				return
			}
			if diff := cmp.Diff(c.want, r.Subject); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(r.Wrong, c.wrong) || (c.wrong == "") != (r.Wrong == "") {
				t.Errorf("wrong: %q", r.Wrong)
			}
			if r.Action != "postgres/vacuum" || r.Mode != remediate.Auto || *r.Limit != limit {
				t.Errorf("%+v", r)
			}
		})
	}
}
