package remediate_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/remediate"
)

func TestRuleExpr(t *testing.T) {
	for _, test := range []struct{ name, url, want string }{
		{"as Prometheus writes it", "http://p:9090/graph?g0.expr=a%7Bb%3D%22c%22%7D+%2F+2+%3E+0.5&g0.tab=1",
			`a{b="c"} / 2 > 0.5`},
		{"none", "http://p:9090/graph", ""},
		{"empty", "", ""},
		{"no URL", "http://[::1", ""},
		{"broken escape", "http://p/graph?g0.expr=%zz", ""},
		{"longest", "/graph?g0.expr=" + url.QueryEscape(strings.Repeat("é", 8<<10)), strings.Repeat("é", 8<<10)},
		{"too long", "/graph?g0.expr=" + strings.Repeat("a", 16<<10+1), ""},
	} {
		if got := remediate.RuleExpr(test.url); got != test.want {
			t.Errorf("%s: %.80q, want %.80q", test.name, got, test.want)
		}
	}
}
