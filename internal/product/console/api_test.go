package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
)

// call asks the API and returns the status, where the next part of a list is, and the answer in out.
func (c *fixture) call(t *testing.T, method, path, body string, out any) (status int, next string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.page.URL+console.Prefix+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer right")
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	status, text, header := fetch(t, res, err)
	if strings.Contains(text, ":null") || strings.Contains(text, "0001-01-01") {
		t.Errorf("%s has a null or a time that is not known: %s", path, text)
	}
	if status < 300 {
		if err := json.Unmarshal([]byte(text), out); err != nil {
			t.Fatalf("%s: %v: %s", path, err, text)
		}
	}
	return status, header.Get("Link")
}

// The API lists runs by the filters of the page, in parts that lead to the next; targets, actions and policies with
// what people ask about them; and runs once more what has ended.
func TestAPI(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	asks, acted := c.fill(t)
	ids := func(query string) (all []int64, next string) {
		var lines []console.Line
		if status, link := c.call(t, "GET", "/runs?"+query, "", &lines); status != 200 {
			t.Errorf("%s: %d", query, status)
		} else {
			next = link
		}
		for _, l := range lines {
			if l.Lowers == "" || len(l.Plan.Steps) > 0 {
				t.Errorf("%s: run %d lowers %q and has %d steps", query, l.ID, l.Lowers, len(l.Plan.Steps))
			}
			all = append(all, l.ID)
		}
		return all, next
	}
	for query, want := range map[string][]int64{"": {asks, acted}, "state=resolved": {acted}, "state=active": {asks},
		"action=bed/reindex&policy=bloat": {asks, acted}, "target=other": nil, "until=2020-01-01": nil, "all=0": {asks, acted},
		"since=2020-01-01T00:00:00Z&before=0": {asks, acted}, fmt.Sprintf("before=%d", asks): {acted},
		"q=nothing+like+it": nil} {
		if got, _ := ids(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	got, next := ids("limit=1&action=bed/reindex")
	if want := fmt.Sprintf(`<%s/runs?action=bed%%2Freindex&before=%d&limit=1>; rel="next"`, console.Prefix, asks); next != want ||
		!slices.Equal(got, []int64{asks}) {
		t.Errorf("%v, then %q, want %q", got, next, want)
	}
	for _, query := range []string{"limit=0", "before=x", "state=done", "since=then", "until=then"} {
		if status, _ := c.call(t, "GET", "/runs?"+query, "", nil); status != 400 {
			t.Errorf("%s: %d", query, status)
		}
	}
	var targets []console.TargetLine
	c.call(t, "GET", "/targets", "", &targets)
	states := make(map[string]string)
	for _, l := range targets {
		states[l.Name] = strings.TrimSpace(l.State + " " + l.Severity)
	}
	for name, want := range map[string]string{"shop-api": "down critical", "cache": "failing warning", "main": "up warning"} {
		if states[name] != want {
			t.Errorf("%s is %q, want %q", name, states[name], want)
		}
	}
	var status console.Status
	c.call(t, "GET", "/status", "", &status)
	if status.Incidents[0].Name() != "ServiceUnhealthy" || status.Firing["critical"] != 1 || len(status.Targets) != 3 {
		t.Errorf("%+v", status)
	}
	var actions []console.ActionLine
	c.call(t, "GET", "/actions", "", &actions)
	if len(actions) != 1 || actions[0].Name != "bed/reindex" || !slices.Equal(actions[0].Targets, []string{"main"}) ||
		actions[0].Params[0].Name != "because" || len(actions[0].Lowers) != 2 || actions[0].Timeout != "1s" {
		t.Errorf("%+v", actions)
	}
	var policies []console.PolicyLine
	c.call(t, "GET", "/policies", "", &policies)
	if len(policies) != 1 || policies[0].Steps[0] != (console.PolicyStep{Action: "bed/reindex", Mode: remediate.Ask}) {
		t.Errorf("%+v", policies)
	}
	var made remediate.Run
	for path, want := range map[string]int{fmt.Sprintf("/runs/%d/retry", asks): 409, "/runs/99/retry": 404,
		"/runs/x/retry": 400, fmt.Sprintf("/runs/%d/retry", acted): 202} {
		if code, _ := c.call(t, "POST", path, `{"why":"once more"}`, &made); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, _ := c.call(t, "POST", fmt.Sprintf("/runs/%d/retry", acted), `{}`, &made); code != 400 || made.ID <= asks ||
		made.Request.Policy != "" {
		t.Errorf("without a reason: %d; the run is %+v", code, made)
	}
}
