package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// policyPath is where the page of a policy is.
func policyPath(name string) string { return "/policies/" + url.PathEscape(name) }

// govern puts policies in force that observe, ask and act; one of them has a hostile name.
func (c *fixture) govern(t *testing.T) {
	t.Helper()
	match := func(text string) (p policy.Policy) {
		var err error
		if p.Match, err = policy.ParseMatchers(text); err != nil {
			t.Fatal(err)
		}
		return p
	}
	step := policy.Step{Action: "bed/reindex", Mode: remediate.Ask}
	bloat, acts, looks, late := match(`alertname="Bloat"`), match(`alertname=~"TableBloat|Gone"`),
		match(`alertname="Unmatched"`), match(`server="main"`)
	bloat.Name, bloat.Steps = "bloat", []policy.Step{step}
	step.Mode = remediate.Auto
	step.Subject = map[string]string{"table": "$table"}
	step.Terms = remediate.Terms{Effect: 0.5, Breaker: 2, BreakerFor: time.Hour,
		ApprovalLifetime: 2 * time.Hour}
	acts.Name, acts.Hold, acts.Steps = "table bloat", time.Hour, []policy.Step{step}
	step.Mode = remediate.Observe
	step.With = map[string]string{"because": hostile}
	looks.Name, looks.Steps = hostile, []policy.Step{step}
	late.Name, late.Steps = "late", []policy.Step{step}
	if err := c.engine.Use(c.engine.Actions(), []policy.Policy{bloat, acts, looks, late}); err != nil {
		t.Fatal(err)
	}
}

// Every policy has its row, with its state and what came of its runs; its page has its terms, guards and runs. A name
// is only shown.
func TestPolicies(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	asks, acted := c.fill(t)
	c.govern(t)
	if err := c.journal.DemoteBy(t.Context(), "table bloat", "user/ann", "it "+hostile); err != nil {
		t.Fatal(err)
	}
	if err := c.journal.SetPause(t.Context(), remediate.Pause{Scope: "action/bed/reindex", Reason: "move", By: "bob",
		Until: time.Now().Add(2 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	in := func(path string, all ...string) {
		t.Helper()
		text, _ := c.unzipped(t, path)
		last := 0
		for _, want := range all {
			i := strings.Index(text[last:], want)
			if i < 0 {
				t.Fatalf("%s: no %q after %d in\n%s", path, want, last, text)
			}
			last += i
		}
		if strings.Contains(text, "<script>alert") || strings.Contains(text, "style=") {
			t.Errorf("%s: a name is not escaped", path)
		}
	}
	in("/policies", `href="/policies/bloat"`, "ask", "Bloat", "bed/reindex", "paused", "1 resolved", "1 resolved",
		fmt.Sprintf(`href="/runs/%d"`, acted), `href="/policies/table%20bloat"`, "auto", "TableBloat|Gone", "demoted",
		"user/ann: it ", "none acted", `href="/policies/t%22`, "observe", "Unmatched")
	in("/policies/bloat", "Policy bloat", "paused", "action/bed/reindex", "move", "by bob", "Dry run", "Pause…", "Chain",
		"bed/reindex", "mode ask", "Effect", "resolved</th>", `class="num">1</td>`, "Last run that acted",
		fmt.Sprintf(`href="/runs/%d"`, acted), "guards are asked", "approval", "Last runs", fmt.Sprintf(`href="/runs/%d"`, asks),
		`href="/runs?all=1&amp;policy=bloat"`)
	in(policyPath("table bloat"), "demoted", "its runs need approval", "Waits first", "1h", `action="/policies/table%20bloat/promote"`,
		"Pause…", "mode auto", "breaker 2; breaker_for 1h; effect 50%; approval_lifetime 2h", "It has made no run yet.")
	in(policyPath(hostile), "t&#34;&gt;&lt;script&gt;", "mode observe")
	for _, path := range []string{"/policies/none", "/policies/none/dry-run"} {
		if status, text, _ := asAdmin(t, c.page.URL+path); status != http.StatusNotFound || !strings.Contains(text, "none") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if status, text, _ := as(t, "view", http.MethodGet, c.page.URL+"/policies/bloat", nil); status != 200 ||
		strings.Contains(text, "<form") || !strings.Contains(text, "role operate") {
		t.Errorf("for who may only look: %d %s", status, text)
	}
}

// A breaker that has stopped a policy is shown as its guard says it, with the button that closes it.
func TestBreakerIsShown(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	c.govern(t)
	for n := range 2 {
		made, err := c.engine.Request(t.Context(), remediate.Request{Key: fmt.Sprint("useless ", n), Action: "bed/reindex",
			Subject: map[string]string{"server": "main", "table": fmt.Sprint(n)}, Limit: new(0.01), Policy: "table bloat",
			Mode: remediate.Auto, By: "alert/TableBloat"})
		if err != nil {
			t.Fatal(err)
		}
		c.sicken(0)
		c.await(t, made.ID, remediate.Unresolved)
	}
	text, _ := c.unzipped(t, "/policies/table%20bloat")
	for _, want := range []string{"stopped by its breaker", "the last 2 runs of policy", "Close the breaker",
		`action="/policies/table%20bloat/close"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if status, text, to := c.send(t, "approve", "/policies/table%20bloat/close", "why", "the disk has room"); status != 303 ||
		to != "/policies/table%20bloat" {
		t.Errorf("%d to %q: %s", status, to, text)
	}
	if text, _ := c.unzipped(t, "/policies/table%20bloat"); strings.Contains(text, "stopped by its breaker") ||
		!strings.Contains(text, "2 unresolved") && !strings.Contains(text, "unresolved</th><td class=\"num\">2</td>") {
		t.Error(text)
	}
}

// The forms and the API change the state of a policy with the role that each needs and a reason, which is in the
// journal with who was authenticated. They lead back to the page of the policy, and nowhere else.
func TestPolicyForms(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	c.govern(t)
	own := policyPath("table bloat")
	for _, try := range []struct {
		token, path string
		fields      []string
		status      int
		text        string
	}{
		{"view", own + "/demote", []string{"why", "w"}, 403, "needs approve"},
		{"operate", own + "/promote", []string{"why", "w"}, 403, "needs approve"},
		{"operate", own + "/close", []string{"why", "w"}, 403, "needs approve"},
		{"approve", own + "/demote", []string{"why", " "}, 400, "Give a reason"},
		{"approve", "/policies/none/demote", []string{"why", "w"}, 404, "there is no policy"},
		{"approve", "/policies/bloat/demote", []string{"why", "w"}, 409, "has no action in mode auto"},
	} {
		status, text, _ := c.send(t, try.token, try.path, try.fields...)
		if status != try.status || !strings.Contains(text, try.text) {
			t.Errorf("%s %s: %d, want %d with %q: %s", try.token, try.path, status, try.status, try.text, text)
		}
	}
	if all, err := c.journal.PolicyStates(t.Context()); err != nil || len(all) > 0 {
		t.Fatalf("something was done: %+v %v", all, err)
	}
	for _, do := range []struct {
		path, to string
		fields   []string
		note     remediate.Note
		noted    string
	}{
		{own + "/demote", own, []string{"why", "the\nstorage"}, remediate.NoteDemoted,
			`token/of-approve: policy "table bloat" is demoted: token/of-approve: the storage`},
		{own + "/promote", own, []string{"why", "it is fast"}, remediate.NotePromoted,
			`token/of-approve: policy "table bloat" is promoted: it is fast`},
		{own + "/close", own, []string{"why", "it has room"}, remediate.NoteClosed,
			`token/of-approve: the breaker of policy "table bloat" is closed: it has room`},
		{"/pause", own, []string{"scope", "policy/bloat", "why", "w", "next", own}, remediate.NotePaused,
			"token/of-approve: policy/bloat: w"},
		{"/resume", "/", []string{"scope", "policy/bloat", "why", "x", "next", "//evil.example/"}, remediate.NoteResumed,
			"token/of-approve: policy/bloat: x"},
	} {
		status, text, to := c.send(t, "approve", do.path, do.fields...)
		if noted := c.noted(t, do.note); status != 303 || to != do.to || noted != do.noted {
			t.Errorf("%s: %d to %q, noted %q: %s", do.path, status, to, noted, text)
		}
	}
	say := func(path, token string) (int, string) {
		status, text, _ := as(t, token, http.MethodPost, c.page.URL+console.Prefix+path, strings.NewReader(`{"why":"by the API"}`))
		return status, text
	}
	for _, try := range []struct {
		token, path string
		status      int
	}{{"operate", own, 403}, {"approve", own, 200}, {"approve", own, 409}, {"approve", "/policies/bloat", 409},
		{"approve", "/policies/none", 404}} {
		if status, text := say(try.path+"/demote", try.token); status != try.status {
			t.Errorf("%s demotes %s by the API: %d %s", try.token, try.path, status, text)
		}
	}
}

// A dry run says for each alert of a day what the policy would decide, and why; who may operate sees the plan by a
// button.
func TestDryRun(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	for _, closed := range [][2]string{{"Gone", "gone"}, {"Unmatched", "other"}} {
		alert := remediate.Alert{Source: remediate.SourceAlertmanager, StartsAt: time.Now(), Labels: map[string]string{
			"alertname": closed[0], "severity": "warning", "server": "main", "table": closed[1]}}
		for _, alert.Firing = range []bool{true, false} {
			if err := c.inbox.Accept(t.Context(), []remediate.Alert{alert}); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.fire(t, []string{"TableBloat", "warning", hostile, "server", "main", "table", hostile})
	c.govern(t)
	text, _ := c.unzipped(t, "/policies/table%20bloat/dry-run")
	for _, want := range []string{"3 alerts: it matches 2 of them", "TableBloat", "waits", "policy &#34;table bloat&#34; holds for 1h",
		"Gone", "closed ", "it closed before"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	text, _ = c.unzipped(t, policyPath(hostile)+"/dry-run")
	for _, want := range []string{"matches 1 of them", "observes", "asks for bed/reindex", `action="/look/plan"`,
		`name="subject.table" value="other"`, "Show the plan of bed/reindex"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if strings.Contains(text, "<script>alert") {
		t.Error("a name is not escaped")
	}
	if text, _ := c.unzipped(t, "/policies/late/dry-run"); !strings.Contains(text, "comes first and decides") {
		t.Error(text)
	}
	if text, _ := c.unzipped(t, "/policies/bloat/dry-run"); !strings.Contains(text, "It matches none") {
		t.Error(text)
	}
	if status, text, _ := as(t, "view", http.MethodGet, c.page.URL+policyPath(hostile)+"/dry-run", nil); status != 200 ||
		strings.Contains(text, "<form") {
		t.Errorf("for who may only look: %d %s", status, text)
	}
}
