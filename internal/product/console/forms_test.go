package console_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// send sends a form with a token, and follows no redirect.
func (c *fixture) send(t *testing.T, token, path string, fields ...string) (status int, text, to string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.page.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	status, text, header := fetch(t, res, err)
	return status, text, header.Get("Location")
}

// notes returns who wrote a note into the journal, and why.
func (c *fixture) noted(t *testing.T, note remediate.Note) string {
	t.Helper()
	all, err := c.journal.Find(t.Context(), journal.EntryFilter{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all.Entries {
		if e.Note == note {
			return e.By + ": " + e.Why
		}
	}
	return ""
}

// Each form needs its role and a reason, which is in the journal with who was authenticated; it leads
// nowhere else, and says what is wrong where it cannot be done.
func TestForms(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	asks, acted := c.fill(t)
	answer, plan := fmt.Sprintf("/runs/%d/answer", asks), c.state(t, asks).Plan.Question()
	for _, try := range []struct {
		token, path string
		fields      []string
		status      int
		text        string
	}{
		{"view", "/pause", []string{"scope", "all", "why", "w"}, 403, "role view"},
		{"operate", answer, []string{"answer", "approve", "plan", plan, "why", "w"}, 403, "needs approve"},
		{"deliver", fmt.Sprintf("/runs/%d/cancel", asks), []string{"why", "w"}, 403, "needs operate"},
		{"approve", answer, []string{"answer", "approve", "plan", plan, "why", " \n "}, 400, "Give a reason"},
		{"approve", answer, []string{"answer", "approve", "plan", "another", "why", "w"}, 409, "has changed"},
		{"approve", answer, []string{"answer", "approve", "why", "w"}, 400, "which plan"},
		{"approve", answer, []string{"why", "w"}, 400, "press one"},
		{"approve", "/runs/4711/answer", []string{"answer", "reject", "why", "w"}, 404, "4711"},
		{"approve", "/runs/x/answer", []string{"answer", "reject", "why", "w"}, 400, "want a number"},
		{"operate", fmt.Sprintf("/runs/%d/cancel", acted), []string{"why", "w"}, 409, "has ended"},
		{"approve", fmt.Sprintf("/runs/%d/retry", asks), []string{"why", "w"}, 409, "has not ended"},
		{"operate", "/pause", []string{"scope", "target/nope", "why", "w"}, 400, "targets: cache, main, shop-api"},
		{"operate", "/pause", []string{"scope", "all", "why", "w", "hours", "-1"}, 400, "want a number"},
		{"operate", "/resume", []string{"scope", "target/main", "why", "w"}, 404, "not paused"},
	} {
		status, text, _ := c.send(t, try.token, try.path, try.fields...)
		if status != try.status || !strings.Contains(text, try.text) {
			t.Errorf("%s %s %v: %d, want %d with %q: %s", try.token, try.path, try.fields, status, try.status, try.text, text)
		}
	}
	if r := c.state(t, asks); r.State != remediate.AwaitingApproval || r.Cancel != "" {
		t.Fatalf("something was answered: %+v", r)
	}
	for _, do := range []struct {
		token, path string
		fields      []string
		to          string
		note        remediate.Note
		noted       string
	}{
		{"operate", "/pause", []string{"scope", "target/main", "why", "a\tnew\ndisk", "hours", "2"}, "/#pauses",
			remediate.NotePaused, "token/of-operate: target/main: a new disk, until "},
		{"operate", "/resume", []string{"scope", "target/main", "why", "it is there"}, "/", remediate.NoteResumed,
			"token/of-operate: target/main: it is there"},
		{"approve", answer, []string{"answer", "approve", "plan", plan, "why", "at night", "next", "https://evil.example/"},
			"/", remediate.NoteApproved, ": at night"},
	} {
		status, text, to := c.send(t, do.token, do.path, do.fields...)
		if noted := c.noted(t, do.note); status != 303 || to != do.to || !strings.Contains(noted, do.noted) {
			t.Errorf("%s: %d to %q, noted %q: %s", do.path, status, to, noted, text)
		}
	}
	c.await(t, asks, remediate.Resolved)
	retry := fmt.Sprintf("/runs/%d/retry", acted)
	if status, text, _ := c.send(t, "operate", retry, "why", "it came back"); status != 403 ||
		!strings.Contains(text, "role approve") {
		t.Errorf("a run that needed approval: %d %s", status, text)
	}
	c.sicken(0)
	status, text, to := c.send(t, "approve", retry, "why", "it came back")
	_, _, again := c.send(t, "approve", retry, "why", "twice is once")
	if status != 303 || to != fmt.Sprintf("/runs/%d", asks+1) || again != to {
		t.Errorf("retry: %d to %q and %q: %s", status, to, again, text)
	}
	r := c.await(t, asks+1, remediate.Resolved)
	if r.Request.By != "token/of-approve" || r.Request.Incident != 0 || r.Request.Limit == nil {
		t.Errorf("%+v", r.Request)
	}
	c.sicken(0)
	third, _ := c.ask(t, "third", 2)
	r = c.await(t, third, remediate.AwaitingApproval)
	if status, _, to := c.send(t, "approve", fmt.Sprintf("/runs/%d/answer", third), "answer", "reject", "plan",
		r.Plan.Question(), "why", "not now", "next", fmt.Sprint("/runs/", third)); status != 303 ||
		to != fmt.Sprint("/runs/", third) {
		t.Errorf("reject: %d to %q", status, to)
	}
	c.await(t, third, remediate.Rejected)
	if text, _ := c.unzipped(t, fmt.Sprint("/runs/", third)); !strings.Contains(text, "token/of-approve: not now") {
		t.Error(text)
	}
	if text, _ := c.unzipped(t, fmt.Sprint("/runs/", asks+1)); !strings.Contains(text, "it came back") {
		t.Error(text)
	}
}

// A page that is open hears of what happens after it was made, and one that comes back of what has happened
// meanwhile. All streams end when upkeep does.
func TestEvents(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	text, _ := c.unzipped(t, "/")
	_, path, _ := strings.Cut(text, `data-events="`)
	path, _, _ = strings.Cut(path, `"`)
	listen := func(path, last string) (*bufio.Scanner, io.Closer) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.page.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer view")
		r.Header.Set("Last-Event-ID", last)
		res, err := http.DefaultClient.Do(r)
		if err != nil || res.Header.Get("X-Accel-Buffering") != "no" {
			t.Fatal(res, err)
		}
		return bufio.NewScanner(res.Body), res.Body
	}
	next := func(s *bufio.Scanner) (event, id string) {
		for s.Scan() {
			if e, ok := strings.CutPrefix(s.Text(), "event: "); ok {
				event = e
			}
			if i, ok := strings.CutPrefix(s.Text(), "id: "); ok {
				return event, i
			}
		}
		return "end", ""
	}
	c.fire(t, []string{"Early", "info", "before the stream is open"})
	first, end := listen(path, "")
	if event, _ := next(first); event != "change" {
		t.Errorf("what happened before the stream was open: %s", event)
	}
	c.fire(t, []string{"Late", "info", "while it is open"})
	event, id := next(first)
	if event != "change" {
		t.Errorf("%s %s", event, id)
	}
	_ = end.Close()
	back, end := listen(path, id)
	if event, _ := next(back); event != "hello" {
		t.Errorf("nothing has happened meanwhile: %s", event)
	}
	_ = end.Close()
	c.fire(t, []string{"Meanwhile", "info", "while it is closed"})
	back, end = listen(path, id)
	defer func() { _ = end.Close() }()
	if event, _ := next(back); event != "change" {
		t.Errorf("what happened meanwhile: %s", event)
	}
	if status, _, header := as(t, "view", http.MethodHead, c.page.URL+path, nil); status != http.StatusOK ||
		!strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("HEAD: %d %v", status, header)
	}
	c.console.Farewell()
	if event, _ := next(back); event != "end" {
		t.Errorf("after the end: %s", event)
	}
}

// What an address filters by is what the form shows, in the address of the next part too.
func TestRunsFilter(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	asks, acted := c.fill(t)
	text, _ := c.unzipped(t, "/runs?state=resolved&action=bed%2Freindex&q=%3CSCRIPT%3E&all=1")
	for _, want := range []string{`<option value="resolved" selected>`, `<option value="bed/reindex" selected>`,
		`value="&lt;SCRIPT&gt;"`, ` checked`, fmt.Sprintf(`<a href="/runs/%d">`, acted)} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Contains(text, fmt.Sprintf(`<a href="/runs/%d">`, asks)) {
		t.Error("a run in another state is listed")
	}
	for query, want := range map[string]string{"state=nope": "unknown", "since=yesterday": "want a time",
		"before=x": "want the number"} {
		status, text, _ := asAdmin(t, c.page.URL+"/runs?"+query)
		if status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	servertest.Eventually(t, "the list has the run", func() bool {
		text, _ := c.unzipped(t, "/runs?state=active&target=main&since=2020-01-01T00:00")
		return strings.Contains(text, fmt.Sprintf(`<a href="/runs/%d">`, asks))
	})
}

// A form that is sent after the end of the session does nothing, and leads by a login back to its page.
func TestFormAfterTheSession(t *testing.T) {
	t.Parallel()
	c := open(t)
	for path, back := range map[string]string{"/runs/7/answer": "/runs/7", "/pause": "/",
		"/policies/a%2Fb%22/promote": "/policies/a%2Fb%22"} {
		res, err := http.PostForm(c.page.URL+path, url.Values{"why": {"it is well"}})
		status, text, header := fetch(t, res, err)
		if status != http.StatusUnauthorized || !strings.HasPrefix(header.Get("Content-Type"), "text/html") ||
			!strings.Contains(text, "Nothing was done") || !strings.Contains(text, `name="next" value="`+back+`"`) {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}
