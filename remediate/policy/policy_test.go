package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

func matcher(t *testing.T, kind labels.MatchType, name, value string) labels.Matchers {
	t.Helper()
	m, err := labels.NewMatcher(kind, name, value)
	if err != nil {
		t.Fatal(err)
	}
	return labels.Matchers{m}
}

func TestDecide(t *testing.T) {
	limit := 0.2
	alert := remediate.Alert{
		Labels:      map[string]string{"alertname": "PostgresDeadRows", "server": "main", "table": "logs", "severity": "warning"},
		Annotations: map[string]string{"limit": "0.2"},
	}
	unlimited := alert
	unlimited.Annotations = map[string]string{"limit": "much"}
	dead := policy.Policy{Name: "dead rows", Match: matcher(t, labels.MatchEqual, "alertname", "PostgresDeadRows"), Action: "postgres/vacuum", Mode: remediate.Auto, Cooldown: time.Minute}
	any := policy.Policy{Name: "any", Match: matcher(t, labels.MatchRegexp, "alertname", ".+"), Action: "redis/bgsave", Mode: remediate.Observe}
	empty := policy.Policy{Name: "empty", Action: "redis/bgsave", Mode: remediate.Auto}
	subjects := map[string][]string{"postgres/vacuum": {"server", "table", "schema"}, "redis/bgsave": {"server"}}
	want := remediate.Request{
		Key: "episode/7/dead rows", Action: "postgres/vacuum", Subject: map[string]string{"server": "main", "table": "logs"},
		Limit: &limit, Policy: "dead rows", Mode: remediate.Auto, Episode: 7, By: "alert/PostgresDeadRows", Cooldown: time.Minute,
	}
	observed := remediate.Request{
		Key: "episode/7/any", Action: "redis/bgsave", Subject: map[string]string{"server": "main"},
		Limit: &limit, Policy: "any", Mode: remediate.Observe, Episode: 7, By: "alert/PostgresDeadRows",
	}
	without := want
	without.Limit = nil

	for _, tc := range []struct {
		name     string
		policies []policy.Policy
		episode  remediate.Episode
		want     *remediate.Request
		why      string
	}{
		{"the first that matches decides", []policy.Policy{dead, any}, remediate.Episode{ID: 7, Alert: alert}, &want, `policy "dead rows" asks for postgres/vacuum`},
		{"order matters", []policy.Policy{any, dead}, remediate.Episode{ID: 7, Alert: alert}, &observed, `policy "any" asks for redis/bgsave`},
		{"a limit that is no number is none", []policy.Policy{dead}, remediate.Episode{ID: 7, Alert: unlimited}, &without, `policy "dead rows" asks for postgres/vacuum`},
		{"no matcher matches nothing", []policy.Policy{empty}, remediate.Episode{ID: 7, Alert: alert}, nil, "no policy matches its labels"},
		{"none", nil, remediate.Episode{ID: 7, Alert: alert}, nil, "no policy matches its labels"},
		{"over", []policy.Policy{dead}, remediate.Episode{ID: 7, Alert: alert, Closed: time.Now()}, nil, "the episode is over"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := policy.Book{Policies: tc.policies, Subjects: subjects}.Decide(tc.episode)
			if diff := cmp.Diff(tc.want, got.Request); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if got.Why != tc.why {
				t.Errorf("why %q, want %q", got.Why, tc.why)
			}
		})
	}
}
