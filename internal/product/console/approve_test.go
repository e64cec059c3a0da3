package console_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/notify"
	"github.com/ai-micro-service/upkeep/remediate/policy"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// hostile is a name that breaks out of whatever does not quote it.
const hostile = `t"><script>alert(1)</script>&{{ . }}`

// A fakeTable is a target with one bloated table, and what was done to it.
type fakeTable struct {
	mu      sync.Mutex
	plan    string
	applied int
}

func (b *fakeTable) Plan(_ context.Context, r remediate.Request) (remediate.Plan, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return remediate.Plan{
		Steps: []remediate.Step{{Do: b.plan + ` "` + r.Subject["table"] + `"`, Undo: "drop index new"},
			{Do: "analyze"}},
		Facts: []string{"the index has 1.2 GB, of which 900 MB are empty", "no query has used <b>it</b> since noon"},
	}, nil
}

func (b *fakeTable) Apply(ctx context.Context, f remediate.Fence, _ remediate.Step) error {
	if err := f.Check(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.applied++
	return nil
}

func (b *fakeTable) Measure(context.Context, remediate.Request) (float64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return []float64{0.75, 0.5, 0.1}[min(b.applied, 2)], nil
}

func (b *fakeTable) steps() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.applied
}

func (b *fakeTable) change(plan string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plan = plan
}

// A fixture is an engine that asks people in a chat, whose messages the test reads.
type fixture struct {
	*fakeTable
	store   *store.Store
	journal *journal.Journal
	inbox   *inbox.Inbox
	console *console.Console
	engine  *engine.Engine
	signer  *notify.Signer
	scraper *scrape.Scraper // of openViews
	page    *httptest.Server

	scheduler *schedule.Scheduler // makes runs when the test ticks it
	clock     atomic.Pointer[time.Time]
	log       bytes.Buffer // of the console

	mu   sync.Mutex
	chat []string
}

func open(t *testing.T) *fixture { return openWith(t, false) }

func openWith(t *testing.T, otherPerson bool, change ...func(*console.Config)) *fixture {
	t.Helper()
	c := &fixture{fakeTable: &fakeTable{plan: "reindex"}}
	var err error
	if c.store, err = store.Open(t.Context(), store.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if c.signer, err = notify.NewSigner(t.Context(), c.store); err != nil {
		t.Fatal(err)
	}
	c.journal = journal.New(journal.Config{Store: c.store, Lease: 5 * time.Second})
	i := inbox.New(inbox.Config{Store: c.store, Wake: func() {}})
	var outbox *notify.Outbox
	c.engine = engine.New(engine.Config{
		Journal: c.journal, Inbox: i,
		Guards: func() []remediate.Guard { return guard.All(guard.Config{}) }, Notified: func() { outbox.Wake() },
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	err = c.engine.Use([]remediate.Action{{
		Name: "bed/reindex", Target: "main", Lowers: "upkeep_bed_bloat_ratio", Subject: []string{"server", "table"},
		Exclusive: []string{"server", "table"}, Timeout: time.Second, Executor: c.fakeTable,
		Params:   []remediate.Param{{Name: "because", Type: remediate.Text}},
		LowersBy: map[string]string{"because=empty": "upkeep_bed_empty_bytes"},
	}}, []policy.Policy{{Name: "bloat", Steps: []policy.Step{{Action: "bed/reindex", Mode: remediate.Ask}}}})
	if err != nil {
		t.Fatal(err)
	}
	c.scheduler = schedule.NewScheduler(schedule.Config{Store: c.store, Journal: c.journal, Now: c.now,
		Logger: slog.New(slog.DiscardHandler)}, nil)
	config := console.Config{
		Scheduler: c.scheduler, Inbox: i, Journal: c.journal, Engine: c.engine, OtherPerson: otherPerson,
		Signer: c.signer, Portal: portal.Portal{Version: "1.2.3", Logger: slog.New(slog.NewTextHandler(&c.log, nil))},
	}
	for _, f := range change {
		f(&config)
	}
	k, r := mounted(config)
	c.inbox, c.console, c.page = i, k, httptest.NewServer(r)
	t.Cleanup(c.page.Close)
	slack := httptest.NewServer(http.HandlerFunc(c.post))
	t.Cleanup(slack.Close)
	outbox = notify.New(notify.Config{
		Store: c.store, Link: console.NotificationLinks(c.page.URL+"/", c.signer),
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Notifiers: []notify.Named{{Name: "chat", Notifier: notify.Slack{URL: func() (string, error) {
			return slack.URL,
				nil
		}}}},
	})
	ctx, stop := context.WithCancel(context.Background())
	var ends sync.WaitGroup
	ends.Go(func() { _ = c.engine.Run(ctx) }) // what went wrong is seen in the runs
	ends.Go(func() { _ = outbox.Run(ctx) })   // and in the chat
	t.Cleanup(func() {
		stop()
		ends.Wait()
		if err := c.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// now is the time of the schedules.
func (c *fixture) now() time.Time {
	if at := c.clock.Load(); at != nil {
		return *at
	}
	return time.Now()
}

func (c *fixture) post(_ http.ResponseWriter, r *http.Request) {
	var m struct {
		Blocks []struct{ Text struct{ Text string } }
	}
	if json.NewDecoder(r.Body).Decode(&m) == nil {
		c.mu.Lock()
		for _, b := range m.Blocks {
			c.chat = append(c.chat, b.Text.Text)
		}
		c.mu.Unlock()
	}
}

// ask makes a run that asks, and returns it with the link of the nth message.
func (c *fixture) ask(t *testing.T, key string, message int) (run int64, link string) {
	t.Helper()
	return c.askBy(t, key, message, "alert/Bloat")
}

func (c *fixture) askBy(t *testing.T, key string, message int, by string) (run int64, link string) {
	t.Helper()
	limit := 0.3
	made, err := c.engine.Request(t.Context(), remediate.Request{
		Key: key, Action: "bed/reindex", Subject: map[string]string{"server": "main", "table": hostile}, Limit: &limit,
		Policy: "bloat", Mode: remediate.Ask, By: by,
	})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID, c.link(t, message)
}

// link waits for the nth message and returns its link to approve.
func (c *fixture) link(t *testing.T, message int) string {
	t.Helper()
	found := regexp.MustCompile(`<(http[^|>]*/approve[^|>]*)\|Approve or reject>`)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		all := strings.Join(c.chat, "\n")
		c.mu.Unlock()
		if links := found.FindAllStringSubmatch(all, -1); len(links) > message {
			return strings.ReplaceAll(links[message][1], "&amp;", "&")
		}
	}
	t.Fatalf("no message %d: %q", message, c.chat)
	return ""
}

func (c *fixture) state(t *testing.T, run int64) remediate.Run {
	t.Helper()
	r, err := c.journal.Get(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c *fixture) await(t *testing.T, run int64, state remediate.State) remediate.Run {
	t.Helper()
	r := c.state(t, run)
	for end := time.Now().Add(2 * time.Minute); r.State != state; r = c.state(t, run) {
		if time.Now().After(end) {
			t.Fatalf("run %d is %s (%s), want %s", run, r.State, r.Why, state)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return r
}

func fetch(t *testing.T, res *http.Response, err error) (int, string, http.Header) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

func get(t *testing.T, link string) (int, string, http.Header) {
	t.Helper()
	token := adminToken
	if strings.Contains(link, "/approve") {
		token = "" // the link is what is shown
	}
	return as(t, token, http.MethodGet, link, nil)
}

// press sends the form as a browser does.
func press(t *testing.T, link, answer string, fields ...string) (int, string) {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"token": {u.Query().Get("token")}, "answer": {answer}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	u.RawQuery = ""
	res, err := http.PostForm(u.String(), form)
	status, text, _ := fetch(t, res, err)
	return status, text
}

func wants(t *testing.T, status int, text string, want int, parts ...string) {
	t.Helper()
	if status != want {
		t.Errorf("status %d, want %d", status, want)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("the page has no %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, "<script") || strings.Contains(text, "<b>it") {
		t.Errorf("a name is part of the page:\n%s", text)
	}
}

// The page, the API and the list tell the metric of this request, where it depends on a
// parameter.
func TestMetricOfTheRequest(t *testing.T) {
	c := open(t)
	limit := 0.3
	for i, test := range []struct {
		params      map[string]string
		metric, not string
	}{{map[string]string{"because": "empty"}, "upkeep_bed_empty_bytes", "upkeep_bed_bloat_ratio"},
		{nil, "upkeep_bed_bloat_ratio", "upkeep_bed_empty_bytes"}} {
		run, err := c.engine.Request(t.Context(), remediate.Request{
			Key: fmt.Sprint(i), Action: "bed/reindex", Subject: map[string]string{"server": "main",
				"table": fmt.Sprint(i)}, Params: test.params, Limit: &limit, Policy: "bloat", Mode: remediate.Ask,
			By: "alert/Bloat",
		})
		if err != nil {
			t.Fatal(err)
		}
		_, page, _ := get(t, c.link(t, i))
		_, story, _ := get(t, fmt.Sprintf("%s%s/runs/%d", c.page.URL, console.Prefix, run.ID))
		_, list, _ := get(t, c.page.URL+console.Prefix+"/runs?limit=1")
		for where, text := range map[string]string{"the page": page, "the API": story, "the list": list} {
			if !strings.Contains(text, test.metric) || strings.Contains(text, test.not) {
				t.Errorf("%s of run %d does not tell %s:\n%s", where, run.ID, test.metric, text)
			}
		}
	}
}

func TestApproveByLink(t *testing.T) {
	c := open(t)
	run, link := c.ask(t, "a", 0)
	for range 5 { // as chat programs do
		status, text, header := get(t, link)
		wants(t, status, text, 200, "May upkeep do this?", "bed/reindex", "reindex &#34;t&#34;&gt;&lt;script&gt;",
			"drop index new", "900 MB", "75", "30", "Approve</button>", "Reject</button>", `method="post"`)
		for name, part := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer",
			"Cache-Control": "no-store", "X-Frame-Options": "DENY",
		} {
			if !strings.Contains(header.Get(name), part) {
				t.Errorf("%s: %q", name, header.Get(name))
			}
		}
	}
	if _, text, _ := get(t, link); !strings.HasPrefix(text[strings.Index(text, "<button"):],
		`<button type="submit" disabled hidden>`) {
		t.Errorf("Enter in a field would answer:\n%s", text)
	}
	time.Sleep(200 * time.Millisecond)
	if r := c.state(t, run); r.State != remediate.AwaitingApproval || c.steps() != 0 {
		t.Fatalf("to look was to answer: %s, %d steps", r.State, c.steps())
	}
	status, text := press(t, link, "maybe")
	wants(t, status, text, 400, "No answer")
	status, text = press(t, link, "approve", "name", "  ann\n<b>it</b>\x00 "+strings.Repeat("x", 100))
	wants(t, status, text, 200, "Approved", "The approval is valid until")
	if strings.Contains(text, "<button") {
		t.Error("the page asks again")
	}
	r := c.await(t, run, remediate.Resolved)
	if r.Done != 2 || c.steps() != 2 {
		t.Errorf("%d steps done, %d applied", r.Done, c.steps())
	}
	entries, err := c.journal.Entries(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	by := ""
	for _, e := range entries {
		if e.Note == remediate.NoteApproved {
			by = e.By
		}
	}
	if !strings.HasPrefix(by, "link (claims to be ann <b>it</b> xxx") || len(by) != len("link (claims to be )")+60 {
		t.Errorf("approved by %q", by)
	}
	status, text, _ = get(t, link)
	wants(t, status, text, 410, "This run does not await approval", "resolved")
	status, text = press(t, link, "approve")
	wants(t, status, text, 410, "This run does not await approval")
	if token := link[strings.Index(link, "=")+1:]; strings.Contains(c.log.String(), token) ||
		!strings.Contains(c.log.String(), "a person answered by a link") {
		t.Errorf("log: %s", c.log.String())
	}
}

func TestRefuseByLink(t *testing.T) {
	c := open(t)
	run, link := c.ask(t, "a", 0)
	status, text := press(t, link, "reject", "why", "not at noon")
	wants(t, status, text, 200, "Rejected", "Nothing was changed")
	if r := c.await(t, run, remediate.Rejected); !strings.Contains(r.Why, "not at noon") || c.steps() != 0 {
		t.Errorf("rejected: %q, %d steps", r.Why, c.steps())
	}
	status, text = press(t, link, "approve")
	wants(t, status, text, 410, "This run does not await approval")
	if c.steps() != 0 {
		t.Error("a rejected plan was carried out")
	}
}

// A link is for one plan. When the target has changed before the run acts, people
// are asked again, and the old link says so.
func TestLinkOfAnotherPlan(t *testing.T) {
	c := open(t)
	run, first := c.ask(t, "a", 0)
	c.change("reindex concurrently")
	status, text := press(t, first, "approve")
	wants(t, status, text, 200, "Approved")
	second := c.link(t, 1)
	c.await(t, run, remediate.AwaitingApproval)
	if c.steps() != 0 || second == first {
		t.Fatalf("the changed plan was carried out, or has the same link")
	}
	status, text, _ = get(t, first)
	wants(t, status, text, 409, "The plan has changed", "concurrently")
	if strings.Contains(text, "<button") {
		t.Error("the old link has buttons")
	}
	status, text = press(t, first, "approve")
	wants(t, status, text, 409, "The plan has changed")
	time.Sleep(200 * time.Millisecond)
	if c.steps() != 0 {
		t.Fatal("the old link approved of the new plan")
	}
	status, text = press(t, second, "approve")
	wants(t, status, text, 200, "Approved")
	c.await(t, run, remediate.Resolved)
}

func TestBadLinks(t *testing.T) {
	c := open(t)
	run, link := c.ask(t, "a", 0)
	plan := c.state(t, run).Plan.Question()
	token := func(text string) string { return c.page.URL + "/approve?token=" + url.QueryEscape(text) }
	later := time.Now().Add(time.Hour)
	for _, test := range []struct {
		name, link, want string
		status           int
	}{
		{"no token", c.page.URL + "/approve", "This link is invalid", 403},
		{"cut off", link[:len(link)-3], "This link is invalid", 403},
		{"hostile", token(hostile), "This link is invalid", 403},
		{"for any plan", token(c.signer.Sign(run, "", later)), "This link is invalid", 403},
		{"expired", token(c.signer.Sign(run, plan, time.Now())), "This link has expired", 410},
		{"another run", token(c.signer.Sign(99, plan, later)), "There is no such run", 404},
		{"another plan", token(c.signer.Sign(run, "0123456789abcdef", later)), "The plan has changed", 409},
	} {
		status, text, _ := get(t, test.link)
		wants(t, status, text, test.status, test.want)
		status, text = press(t, test.link, "approve")
		wants(t, status, text, test.status, test.want)
	}
	res, err := http.Post(c.page.URL+"/approve", "application/x-www-form-urlencoded",
		strings.NewReader("token="+strings.Repeat("x", 1<<20)))
	status, text, _ := fetch(t, res, err)
	wants(t, status, text, 413, "larger than 8192 bytes")
	u := link[strings.Index(link, "?"):]
	// the token in the address is no answer
	res, err = http.PostForm(c.page.URL+"/approve"+u, url.Values{"answer": {"approve"}})
	status, text, _ = fetch(t, res, err)
	wants(t, status, text, 403, "This link is invalid")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err = http.DefaultClient.Do(r)
	if status, _, _ = fetch(t, res, err); status != 200 {
		t.Errorf("HEAD: %d", status)
	}
	if got := c.state(t, run); got.State != remediate.AwaitingApproval || c.steps() != 0 {
		t.Errorf("run %d is %s after all that, %d steps", run, got.State, c.steps())
	}
}

func TestNotificationLinks(t *testing.T) {
	c := open(t)
	at := time.Now().Truncate(time.Second).UTC()
	links := console.NotificationLinks("https://upkeep.example/", c.signer)
	if got := links(remediate.Notification{Run: 7}, false); got != "https://upkeep.example/runs/7" {
		t.Errorf("the run's link: %s", got)
	}
	for until, want := range map[time.Time]time.Time{at.Add(time.Hour): at.Add(time.Hour), {}: at.Add(24 * time.Hour)} {
		link := links(remediate.Notification{Run: 7, Plan: "p", At: at, Until: until}, true)
		run, plan, end, err := c.signer.Verify(strings.TrimPrefix(link, "https://upkeep.example/approve?token="), at)
		if err != nil || run != 7 || plan != "p" || !end.Equal(want) {
			t.Errorf("%s: %s", link, fmt.Sprint(run, plan, end, err))
		}
	}
}
