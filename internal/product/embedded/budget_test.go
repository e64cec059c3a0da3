package embedded_test

import (
	"fmt"
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

// What is too large to be read is refused before it takes memory, wherever it is written: deep
// expressions, and regular expressions of many instructions.
func TestBudgetOfTexts(t *testing.T) {
	s := begin(t, t.TempDir(), 0.1)
	regexps := make([]string, 20)
	for i := range regexps {
		regexps[i] = fmt.Sprintf("a%d=~%q", i, strings.Repeat("x{1000}", 100))
	}
	const refused, good = "budget of your role allows", `"success"`
	long := "up{a=\"" + strings.Repeat("x", 20_000) + "\"}"
	if _, text := ask(t, s.Budgeted(embedded.ViewBudget), "GET", "/api/v1/query?query="+url.QueryEscape(long),
		""); !strings.Contains(text, refused) {
		t.Fatalf("a long text: %.300s", text) // without a bound the others take hours
	}
	for name, query := range map[string][2]string{
		"signs":              {strings.Repeat("-", 10_000) + "1", refused},
		"mixed signs":        {strings.Repeat("-+", 5_000) + "1", refused},
		"parentheses":        {strings.Repeat("(", 500) + "1" + strings.Repeat(")", 500), refused},
		"a chain":            {strings.Repeat("1+", 6_000) + "1", refused},
		"a long text":        {long, refused},
		"regular expression": {"up{" + strings.Join(regexps, ",") + "}", refused},
		"of a function":      {`label_replace(up, "a", "b", "c", "` + strings.Repeat("x{1000}", 100) + `")`, refused},
		"within another":     {`up{a=~"((` + strings.Repeat("abcdefghij", 20) + `){30}){30}"}`, refused},
		"an ordinary one": {`sum by (a) (rate(up{a=~"x|y.*|[a-z]{1,20}"}[5m])) / ignoring(b) group_left() ` +
			`(max(-up) + 1) * 2`, good},
	} {
		for _, path := range []string{"/api/v1/query", "/api/v1/format_query", "/api/v1/query_range", "/api/v1/parse_query"} {
			said := func(path string) string {
				_, text := ask(t, s.Budgeted(embedded.ViewBudget), "GET", path, "")
				return text
			}
			form := url.Values{"query": {query[0]}, "start": {"1"}, "end": {"2"}, "step": {"1"}}.Encode()
			if text := said(path + "?" + form); !strings.Contains(text, query[1]) {
				t.Errorf("%s, %s: %.300s", path, name, text)
			}
		}
	}
	doubled := "up"
	for range 8 {
		doubled = `label_replace(` + doubled + `, "job", "$1$1$1$1", "job", "(.*)")`
	}
	for query, want := range map[string]string{
		doubled: refused,
		`label_join(up, "z", "` + strings.Repeat("S", 7000) + `"` + strings.Repeat(`, "job"`, 600) + `)`: refused,
		`label_replace(up, "a", "` + strings.Repeat("S", 14_000) + `", "", "")`:                          refused,
		`label_replace(up, "` + strings.Repeat("S", 14_000) + `", "$1", "job", "(.*)")`:                  refused,
		`label_replace(label_replace(up, "a", "` + strings.Repeat("S", 200) + `", "", ""), "b", "` +
			strings.Repeat("$1", 12) + `", "a", "(.*)")`: refused,
		`count_values("` + strings.Repeat("S", 14_000) + `", up)`:                                       refused,
		strings.Repeat(`label_replace(up, "a", "`+strings.Repeat("S", 200)+`", "", "") or `, 12) + "up": refused,
		`count_values("a", up)`: good,
		`label_join(label_replace(up, "a", "$1-$2", "job", "(.)(.*)"), "z", "-", "a", "job", "instance")`: good,
	} {
		_, text := ask(t, s.Budgeted(embedded.ViewBudget), "GET", "/api/v1/query?"+url.Values{"query": {query}}.Encode(), "")
		if !strings.Contains(text, want) {
			t.Errorf("%.60s: %.300s", query, text)
		}
	}
	for body, want := range map[string]int{
		`[{"labels": {"alertname": "A"}, "annotations": {"summary": "s"}}]`:                                  200,
		`[{"labels": {"alertname": "A", "x": "` + strings.Repeat("y", 5000) + `"}}]`:                         400,
		`[{"labels": {"alertname": "A"}, "annotations": {"summary": "` + strings.Repeat("y", 40000) + `"}}]`: 400,
		"[" + strings.Repeat(`{"labels": {"alertname": "A"}},`, 10_000) + `{"labels": {"alertname": "A"}}]`:  400,
		`[{"labels": {"alertname": "A"}, "generatorURL": "http://` + strings.Repeat("y", 5000) + `"}]`:       400,
	} {
		if status, text := ask(t, embedded.Frugal(s.Alertmanager()), "POST", "/api/v2/alerts", body); status != want {
			t.Errorf("%.60s: %d %s, want %d", body, status, text, want)
		}
	}
	for _, path := range []string{"series", "labels", "label/a/values"} {
		_, text := ask(t, s.Budgeted(embedded.ViewBudget), "GET", "/api/v1/"+path+"?"+url.Values{"match[]": {
			`up{a=~"` + strings.Repeat("x{1000}", 60) + `"}`}}.Encode(), "")
		if !strings.Contains(text, refused) {
			t.Errorf("%s: %.300s", path, text)
		}
	}
	if status, text := ask(t, s.Budgeted(embedded.ViewBudget), "POST", "/api/v1/read", "x"); status != 403 {
		t.Errorf("remote read: %d %s", status, text)
	}
	for _, path := range []string{"delete_series?match[]=up", "clean_tombstones", "snapshot"} {
		for _, b := range []embedded.Budget{embedded.ViewBudget, embedded.OperateBudget} {
			if status, text := ask(t, s.Budgeted(b), "POST", "/api/v1/admin/tsdb/"+path, ""); status != 403 ||
				!strings.Contains(text, "the admin API is off") {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
	}
	for filter, want := range map[string]int{`a=~"x.*"`: 200, `a=~"` + strings.Repeat("x{1000}", 100) + `"`: 400} {
		status, text := ask(t, embedded.Frugal(s.Alertmanager()), "GET", "/api/v2/alerts?"+
			url.Values{"filter": {filter}}.Encode(), "")
		if status != want {
			t.Errorf("filter %.20s: %d %s", filter, status, text)
		}
	}
}
