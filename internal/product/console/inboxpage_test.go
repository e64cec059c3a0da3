package console_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// silences are one of a person, one of a run of ours, and one that begins later.
func silences() []inbox.Silence {
	now := time.Now()
	one := func(id, by, comment string, run int64, state prom.SilenceState) inbox.Silence {
		return inbox.Silence{Run: run, Silence: prom.Silence{ID: id, CreatedBy: by, Comment: comment, State: state,
			Matchers: []prom.Matcher{prom.Equal("alertname", hostile), {Name: "server", Value: "main|cache", IsRegex: true}},
			StartsAt: now.Add(time.Hour), EndsAt: now.Add(2 * time.Hour)}}
	}
	return []inbox.Silence{one("a", "upkeep", "upkeep run 1 works on this", 1, prom.SilenceActive),
		one("b", "upkeep", "not of upkeep: "+hostile, 0, prom.SilenceActive),
		one("c", "ann", "a migration\n"+strings.Repeat("long ", 100), 0, prom.SilencePending)}
}

// dead puts n deliveries that could not be read into the inbox.
func (c *fixture) dead(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if err := c.inbox.Keep(t.Context(), remediate.DeadLetter{Remote: "10.0.0.7:" + fmt.Sprint(i), Source: "grafana",
			Status: 400, Error: "no JSON\nin " + hostile + strings.Repeat(" and so on", 60), Size: 3 << 20,
			Body: fmt.Appendf(nil, "body %d %s \xff\x00\u202e", i, hostile)}); err != nil {
			t.Fatal(err)
		}
	}
}

// The inbox has the alerts that are left to people, the worst first, and none that upkeep works on; dead letters
// without their bodies; and silences, of which ours are marked. Names are only shown.
func TestInboxPage(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	c.fill(t)
	c.dead(t, 30)
	text, _ := c.unzipped(t, "/inbox")
	last := 0
	for _, want := range []string{"4 alerts fire", "ServiceUnhealthy", "left to people: no policy matches its labels",
		"TableBloat", "Unmatched", "HostUpdatesPending", "Dead letters", `href="/inbox/dead_letters/30"`, "10.0.0.7:29", "grafana",
		"400", "3 MiB", "no JSON in t", `href="/inbox/dead_letters/6"`, `href="/inbox?letters=6#letters"`, "Silences",
		"by upkeep", `href="/runs/1"`, "not of upkeep: ", "a migration long", "from "} {
		i := strings.Index(text[last:], want)
		if i < 0 {
			t.Fatalf("no %q after %d in\n%s", want, last, text)
		}
		last += i
	}
	for _, never := range []string{"<script>alert", "body 29", "style=", `href="/inbox/dead_letters/5"`} {
		if strings.Contains(text, never) {
			t.Errorf("%q is on the page", never)
		}
	}
	if n := strings.Count(text, ">by upkeep<"); n != 1 {
		t.Errorf("%d silences are marked as ours", n)
	}
	if text, _ := c.unzipped(t, "/inbox?letters=6"); !strings.Contains(text, `href="/inbox/dead_letters/5"`) ||
		strings.Contains(text, `href="/inbox/dead_letters/6"`) || strings.Contains(text, "Older dead letters") {
		t.Error(text)
	}
	for query, want := range map[string]string{"letters=x": "want what a link", "after=x": "want what a link"} {
		if status, text, _ := asAdmin(t, c.page.URL+"/inbox?"+query); status != http.StatusBadRequest ||
			!strings.Contains(text, want) {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
}

// A dead letter is shown whole to the role that the API asks for, and to no other; its body is text that does nothing.
func TestDeadLetterPage(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	c.dead(t, 1)
	for token, status := range map[string]int{"view": 403, "operate": 200, "approve": 200} {
		got, text, _ := as(t, token, http.MethodGet, c.page.URL+"/inbox/dead_letters/1", nil)
		if got != status || strings.Contains(text, "<script>alert") || strings.Contains(text, "\x00") ||
			strings.Contains(text, "\u202e") || strings.Contains(text, "body 0 t&#34;&gt;&lt;script&gt;") != (status == 200) {
			t.Errorf("%s: %d %s", token, got, text)
		}
	}
	if _, text, _ := as(t, "view", http.MethodGet, c.page.URL+"/inbox", nil); strings.Contains(text, "10.0.0.7") ||
		!strings.Contains(text, "needs the role operate") {
		t.Errorf("for who may only look: %s", text)
	}
	for path, want := range map[string]int{"/inbox/dead_letters/2": 404, "/inbox/dead_letters/x": 400} {
		if status, text, _ := asAdmin(t, c.page.URL+path); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// Where Alertmanager does not answer, the page says so and has the rest. An alert that a run works on is not left to
// people, and one of which the last run has failed is.
func TestInboxPageWithoutAlertmanager(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{errors.New("connection refused by 10.0.0.9")})
	if text, _ := c.unzipped(t, "/inbox"); !strings.Contains(text, "Which silences there are is not known: connection refused") ||
		!strings.Contains(text, "No alert fires.") || !strings.Contains(text, "Every delivery could be read.") {
		t.Error(text)
	}
	c.govern(t)
	c.fire(t, []string{"Bloat", "warning", "s", "server", "main", "table", "asks"})
	for range 70 {
		c.fire(t, []string{"Ruled", "info", "s", "server", "main", "table", fmt.Sprint(time.Now().UnixNano())})
	}
	c.engine.Wake()
	c.await(t, c.runOf(t, "asks"), remediate.AwaitingApproval)
	text, _ := c.unzipped(t, "/inbox")
	if strings.Contains(text, ">asks<") || !strings.Contains(text, "Look among further alerts") {
		t.Error(text)
	}
	if err := c.journal.Reject(t.Context(), c.runOf(t, "asks"), "", "user/ann", "not now"); err != nil {
		t.Fatal(err)
	}
	c.engine.Wake()
	c.await(t, c.runOf(t, "asks"), remediate.Rejected)
	if text, _ := c.unzipped(t, "/inbox"); !strings.Contains(text, "</span>asks<") || !strings.Contains(text, "rejected") {
		t.Error(text)
	}
}

// runOf waits for the run of a table.
func (c *fixture) runOf(t *testing.T, table string) (id int64) {
	t.Helper()
	servertest.Eventually(t, "there is a run of "+table, func() bool {
		all, err := c.journal.Recent(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if r.Request.Subject["table"] == table {
				id = r.ID
			}
		}
		return id != 0
	})
	return id
}
