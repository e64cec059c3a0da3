package embedded_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/embedded"
)

// A query that would take memory for millions of steps or samples is refused, and what a
// dashboard asks for is not.
func TestBudget(t *testing.T) {
	s := begin(t, t.TempDir(), 0.1)
	for query, want := range map[string]string{
		"vector(1)[5200h:1s]":                                   "budget of your role allows 100000",
		"max_over_time(vector(1)[5200h:1s])":                    "budget of your role allows 100000",
		"max_over_time(max_over_time(vector(1)[1h:1s])[7d:1m])": "budget of your role allows 100000",
		"max_over_time(vector(1)[27h:1s])":                      `"success"`,
		"max_over_time(used_ratio[30d:1m])":                     `"success"`,
		"max_over_time(used_ratio[1h:])":                        `"success"`,
		"rate(used_ratio[30d])":                                 `"success"`,
	} {
		_, text := ask(t, s.Budgeted(embedded.ViewBudget), "GET", "/api/v1/query?query="+url.QueryEscape(query), "")
		if !strings.Contains(text, want) {
			t.Errorf("%s: %.300s", query, text)
		}
	}
	const month = "&start=1700000000&end=1702592000&step="
	for query, want := range map[string]string{
		"used_ratio" + month + "300":                                        `"success"`,
		url.QueryEscape("sum(rate(used_ratio[5m]))") + month + "3600":       `"success"`,
		url.QueryEscape("max_over_time(vector(1)[1h:1s])") + month + "3600": "budget of your role allows",
	} {
		_, text := ask(t, s.Budgeted(embedded.ViewBudget), "GET", "/api/v1/query_range?query="+query, "")
		if !strings.Contains(text, want) {
			t.Errorf("%s: %.300s", query, text)
		}
	}
	if _, text := ask(t, s.Budgeted(embedded.OperateBudget), "GET",
		"/api/v1/query?query="+url.QueryEscape("vector(1)[100h:1s]"), ""); !strings.Contains(text, `"success"`) {
		t.Errorf("an operator's: %.300s", text)
	}
}
