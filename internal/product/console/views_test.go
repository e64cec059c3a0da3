package console_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/page"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

var (
	allViews = flag.Bool("views.all", false, "every page in every width and scheme") //nolint:gochecknoglobals // a flag
	shotsDir = flag.String("views.shots", "", "a folder for pictures of the pages")  //nolint:gochecknoglobals // a flag
)

// figures are a Prometheus that knows of a pending alert, and of a metric that falls.
type figures struct{ fault error }

func (f figures) Query(_ context.Context, expr string, _ time.Time) ([]prom.Sample, error) {
	if strings.HasPrefix(expr, "count(") {
		return []prom.Sample{{Value: 2}}, f.fault
	}
	return []prom.Sample{{Labels: map[string]string{"alertname": "PostgresIndexBloat", "server": "main", "table": hostile},
		Value: float64(time.Now().Add(-3 * time.Minute).Unix())}}, f.fault
}

func (f figures) Range(_ context.Context, _ string, from, to time.Time, step time.Duration) ([]prom.Series, error) {
	var s prom.Series
	for at := from; at.Before(to); at = at.Add(step) {
		s.Points = append(s.Points, prom.Point{At: at, Value: 0.75 - 0.4*float64(at.Sub(from))/float64(to.Sub(from))})
	}
	return []prom.Series{s}, f.fault
}

// looks are collectors of three targets: one that is well, one of which a part cannot be read, and one that
// does not answer.
func looks() (all []collectors.Collector) {
	up := &collectors.Metric{Name: "upkeep_test_up", Type: collectors.Gauge, Help: "Whether it answers.",
		Labels: []string{"server"}}
	for name, ask := range map[string]func(w *collectors.Writer) error{
		"main one": func(*collectors.Writer) error { return nil },
		"main two": func(*collectors.Writer) error { return nil },
		"cache one": func(*collectors.Writer) error {
			return errors.New("NOPERM this user has no permissions to run the 'slowlog' command: grant +slowlog")
		},
		"shop-api one": func(w *collectors.Writer) error {
			w.Set(up, 0, "shop-api")
			w.Down(errors.New("dial tcp 10.0.0.7:8080: connect: connection refused"))
			return nil
		},
	} {
		target, kind, _ := strings.Cut(name, " ")
		all = append(all, collectors.Collector{Name: "test/" + kind, Target: target, Metrics: []*collectors.Metric{up},
			Every: time.Minute, Timeout: time.Second,
			Collect: func(_ context.Context, w *collectors.Writer) error { return ask(w) }})
	}
	return all
}

// seen is a look that has one of everything.
func seen() look.Report {
	at := time.Now()
	figure := []look.Evidence{{What: "upkeep_test_ratio{table=" + hostile + "}", Value: "75 %", From: "test/bloat", At: at,
		Since: &at, Note: "an estimate"}}
	one := func(kind, severity string, harm look.Harm, title string) look.Finding {
		return look.Finding{Kind: kind, Severity: severity, Harm: harm, Server: "main", Title: title, Cost: "disk of 2 GiB",
			Subject:  map[string]string{"server": "main", "table": hostile, "schema": strings.Repeat("a_long_name_", 12)},
			Evidence: figure}
	}
	bloat := one("postgres/table_bloat", "warning", look.Space, "75 % of table "+hostile+" is bloat")
	bloat.Bytes = 2 << 30
	bloat.Plan = &look.Plan{Action: "bed/reindex", Subject: map[string]string{"server": "main", "table": hostile},
		Params: map[string]string{"because": "empty"}, Command: "upkeep plan bed/reindex server=main 'table=" + hostile + "'"}
	unused := one("postgres/unused_index", "info", look.Space, "no query has used index i since Monday")
	unused.Candidate = &look.Candidate{Since: at, Enough: at.Add(720 * time.Hour), Why: "a standby is not monitored"}
	off := one("postgres/setting_fsync", "critical", look.Data, "fsync is off")
	off.ByHand = "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();"
	return look.Report{At: at, Findings: []look.Finding{off, bloat, unused},
		Targets: []look.Seen{{Server: "main", Kind: "postgres", Findings: 3, Pending: []string{"postgres/wal"}}},
		Left:    []look.Left{{Server: "main", Kind: "postgres/table_bloat", Count: 7, Bytes: 3 << 30}},
		Unknown: []look.Unknown{{Server: "main", What: "postgres/sessions", Why: "what 3 sessions do is hidden from this role",
			SQL: `GRANT pg_read_all_stats TO "` + hostile + `";`}}}
}

// openViews is a fixture with something to see on every page.
func openViews(t *testing.T, p report.Prometheus) *fixture {
	t.Helper()
	s := scrape.New(scrape.Config{Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	if err := s.Use(looks()); err != nil {
		t.Fatal(err)
	}
	window := night(t)
	c := openWith(t, false, func(k *console.Config) {
		k.Scraper = s
		k.Metrics = func() report.Prometheus { return p }
		k.Silences = func(context.Context) ([]inbox.Silence, error) { return silences(), p.(figures).fault }
		k.Look = func(context.Context) (look.Report, error) { return seen(), nil }
		k.Rights = func(context.Context) page.Rights { return unfit() }
		k.Loaded = loaded
		k.Names = func() console.Names {
			return console.Names{Targets: []string{"main", "cache", "shop-api"}, Policies: []string{"bloat", "table bloat"},
				Actions: []string{"bed/reindex"}, Windows: map[string]schedule.Window{"night": window},
				Kinds: map[string][]string{"main": {"postgres"}, "cache": {"redis"}, "shop-api": {"probe"}}}
		}
	})
	c.scraper = s
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	servertest.Eventually(t, "every collector is asked", func() bool {
		for _, one := range s.Status() {
			if one.At.IsZero() {
				return false
			}
		}
		return true
	})
	return c
}

// fire delivers alerts, each with labels in pairs after its name and severity.
func (c *fixture) fire(t *testing.T, all ...[]string) {
	t.Helper()
	var alerts []remediate.Alert
	for _, a := range all {
		one := remediate.Alert{Source: remediate.SourceAlertmanager, Firing: true, StartsAt: time.Now(),
			Labels:      map[string]string{"alertname": a[0], "severity": a[1]},
			Annotations: map[string]string{"summary": a[2], "limit": "0.3"}}
		for i := 3; i < len(a); i += 2 {
			one.Labels[a[i]] = a[i+1]
		}
		alerts = append(alerts, one)
	}
	if err := c.inbox.Accept(t.Context(), alerts); err != nil {
		t.Fatal(err)
	}
}

// fill makes runs in several states and alerts of each severity. It returns a run that asks and one
// that has acted.
func (c *fixture) fill(t *testing.T) (asks, acted int64) {
	t.Helper()
	c.fire(t, []string{"HostUpdatesPending", "info", "14 updates are pending on host", "server", "host"},
		[]string{"Unmatched", "warning", hostile, "server", "cache", "table", strings.Repeat("a_long_name_", 12)},
		[]string{"ServiceUnhealthy", "critical", "shop-api does not answer", "server", "shop-api"},
		[]string{"TableBloat", "warning", "75 % of the table are empty", "server", "main", "table", "orders"})
	acted, link := c.ask(t, "first", 0)
	c.await(t, acted, remediate.AwaitingApproval)
	if status, text := press(t, link, "approve", "name", "bob"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	c.await(t, acted, remediate.Resolved)
	c.change("reindex concurrently")
	c.sicken(0)
	asks, _ = c.ask(t, "second", 1)
	c.await(t, asks, remediate.AwaitingApproval)
	if err := c.journal.SetPause(t.Context(), remediate.Pause{Scope: "target/cache", Reason: "its disk is being changed",
		By: "user/ann"}); err != nil {
		t.Fatal(err)
	}
	return asks, acted
}

// restOf makes what the pages show that are about more than runs: policies, schedules and dead letters.
func (c *fixture) restOf(t *testing.T) {
	t.Helper()
	c.govern(t)
	if err := c.journal.DemoteBy(t.Context(), "table bloat", "user/ann", "the new storage is slow"); err != nil {
		t.Fatal(err)
	}
	if err := c.journal.SetPause(t.Context(), remediate.Pause{Scope: "policy/table bloat", Reason: "its disk is being changed",
		By: "user/ann", Until: time.Now().Add(90 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	c.scheduler.Use(schedules(t))
	at := time.Now()
	for n := range 2 {
		at = at.Add(time.Duration(n) * time.Minute)
		if _, err := c.scheduler.Tick(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	c.dead(t, 3)
}

// sicken makes the table bloated anew.
func (b *fakeTable) sicken(applied int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.applied = applied
}

// loggedIn is a browser with a session of a role, by a one-time link as "upkeep login" makes it.
func (c *fixture) loggedIn(t *testing.T, token string) *servertest.Browser {
	t.Helper()
	b := servertest.StartBrowser(t)
	status, text, _ := as(t, token, http.MethodPost, c.page.URL+console.Prefix+"/logins", strings.NewReader("{}"))
	if status != http.StatusOK {
		t.Fatal(status, text)
	}
	_, code, _ := strings.Cut(text, "?once=")
	code, _, _ = strings.Cut(code, `"`)
	b.Open(c.page.URL + portal.LoginPath + "?once=" + code)
	b.Click("main form button.good")
	return b
}

// Every page in light and dark at three widths: no message on the console, no request to another host, nothing
// beyond the window, and nothing that axe-core finds.
func TestViews(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	asks, acted := c.fill(t)
	c.restOf(t)
	c.older(t, 70) // reports are of whole days
	b := c.loggedIn(t, adminToken)
	pages := map[string]string{"now": "/", "look": "/look", "runs": "/runs?all=1", "none": "/runs?q=no+such+run",
		"asks": fmt.Sprint("/runs/", asks), "acted": fmt.Sprint("/runs/", acted), "missing": "/runs/4711",
		"policies": "/policies", "policy": policyPath("table bloat"), "policy2": policyPath(hostile),
		"dry": policyPath("table bloat") + "/dry-run", "calendar": "/calendar", "inbox": "/inbox",
		"letter": "/inbox/dead_letters/1", "journal": "/journal", "reports": "/reports", "settings": "/settings",
		"rights": "/settings/rights", "runbooks": "/runbooks", "login": "/login"}
	views := []struct {
		width  int
		scheme string
	}{{360, "dark"}, {768, "light"}, {1440, "light"}, {360, "light"}, {768, "dark"}, {1440, "dark"}}
	for n, v := range views {
		for name, path := range pages {
			if !*allViews && n > 2 && *shotsDir == "" || !*allViews && n > 0 && name != "now" && name != "look" &&
				name != "asks" && name != "runs" && name != "policy" && name != "calendar" {
				continue
			}
			b.Window(v.width, 900, v.scheme)
			b.Open(c.page.URL + path)
			at := fmt.Sprintf("%s at %d px, %s", name, v.width, v.scheme)
			for _, wrong := range b.Wrong(c.page.URL) {
				if name != "missing" || !strings.Contains(wrong, "404") {
					t.Errorf("%s: %s", at, wrong)
				}
			}
			if beyond := b.Value("[...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > " +
				"innerWidth + 1).map(e => e.tagName + '.' + e.className).slice(0, 5).join(' ')"); beyond != "" {
				t.Errorf("%s: beyond the window: %s", at, beyond)
			}
			if found := b.Axe(); found != "" {
				t.Errorf("%s: %s", at, found)
			}
			if *shotsDir != "" {
				file := filepath.Join(*shotsDir, fmt.Sprintf("%s-%d-%s.png", name, v.width, v.scheme))
				if err := os.WriteFile(file, b.Shot(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// unzipped reads a page as a browser asks for it, and how large it was on its way.
func (c *fixture) unzipped(t *testing.T, path string) (text string, size int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.page.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultClient.Do(r)
	status, raw, header := fetch(t, res, err)
	if status != http.StatusOK || header.Get("Content-Encoding") != "gzip" {
		t.Fatal(status, header)
	}
	z, err := gzip.NewReader(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return b.String(), len(raw)
}

// The first page says what is wrong, what is done about it and what to decide, the worst first.
func TestNow(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	asks, _ := c.fill(t)
	text, _ := c.unzipped(t, "/")
	last := 0
	for _, want := range []string{"1 critical alert, 1 target does not answer, 1 plan awaits approval",
		fmt.Sprintf(`action="/runs/%d/answer"`, asks), "ServiceUnhealthy", "no policy matches its labels", "TableBloat",
		"Unmatched", "HostUpdatesPending", "target/cache", "its disk is being changed", "NOPERM this user", "Pending", "PostgresIndexBloat", "and 1 more", "Targets", "shop-api",
		"dial tcp 10.0.0.7:8080: connect: connection refused", "UTC"} {
		i := strings.Index(text[last:], want)
		if i < 0 {
			t.Fatalf("no %q after %d in\n%s", want, last, text)
		}
		last += i
	}
	if strings.Contains(text, "<script>alert") {
		t.Error("a name is not escaped")
	}
	if n := strings.Count(text, "dial tcp"); n != 1 {
		t.Errorf("an error is there %d times", n)
	}
}

// The page of a run has its plan with its undo, what each guard said, the effect with a chart, what was seen and
// the journal; what it is named after is only shown.
func TestRunPage(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	asks, acted := c.fill(t)
	for id, all := range map[int64][]string{
		acted: {"resolved", "went from 75 % to 10 %", ">done<", "drop index new", "Cannot be undone.", "75 %", "10 %", "30 %",
			"<polyline", `class="mark"`, ">busy: </span>passed, ", "the index has 1.2 GB", "link (claims to be bob)",
			"step 2 done", fmt.Sprintf(`action="/runs/%d/retry"`, acted)},
		asks: {"awaiting_approval", "May it do this?", fmt.Sprintf(`action="/runs/%d/answer"`, asks), ">not begun<",
			"measured when all steps are done", "approval: ", ">busy: </span>passed, ", "no query has used &lt;b&gt;it"},
	} {
		text, _ := c.unzipped(t, fmt.Sprint("/runs/", id))
		for _, want := range all {
			if !strings.Contains(text, want) {
				t.Errorf("run %d: no %s in %s", id, want, text)
			}
		}
		if strings.Contains(text, "<script>alert") || strings.Contains(text, "style=") {
			t.Errorf("run %d: %s", id, text)
		}
	}
	if status, text, header := asAdmin(t, c.page.URL+"/runs/4711"); status != http.StatusNotFound ||
		!strings.Contains(text, "4711") || !strings.Contains(header.Get("Content-Security-Policy"), "script-src 'self'") {
		t.Errorf("no such run: %d %s %v", status, text, header)
	}
}

// Where Prometheus does not answer, the page says so and has the rest.
func TestNowWithoutPrometheus(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{errors.New("connection refused by 10.0.0.9")})
	_, acted := c.fill(t)
	if text, _ := c.unzipped(t, "/"); !strings.Contains(text, "which alerts are pending is not known: connection refused") ||
		!strings.Contains(text, "ServiceUnhealthy") {
		t.Error(text)
	}
	if text, _ := c.unzipped(t, fmt.Sprint("/runs/", acted)); !strings.Contains(text, "No chart: connection refused") {
		t.Error(text)
	}
}

// The look has each finding with its figures, and what mends it: an action by way of its plan, a statement, or time.
// What is not known is said. A name does nothing.
func TestLookPage(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	text, _ := c.unzipped(t, "/look")
	last := 0
	for _, want := range []string{"1 critical finding, 1 warning, 1 hint, 1 question without an answer, not everything has been read yet",
		"fsync is off", "ALTER SYSTEM SET fsync = on;", "% of table", "2 GiB", "an estimate", "upkeep plan bed/reindex server=main",
		`action="/look/plan"`, `name="with.because" value="empty"`, "Show the plan of bed/reindex", "candidate",
		"Evidence since", "enough on", "7 more of postgres/table_bloat", "Not known, because what 3 sessions do is hidden",
		"GRANT pg_read_all_stats", "postgres/wal"} {
		i := strings.Index(text[last:], want)
		if i < 0 {
			t.Fatalf("no %q after %d in\n%s", want, last, text)
		}
		last += i
	}
	if strings.Contains(text, "<script>alert") {
		t.Error("a name is not escaped")
	}
	if text, _ := c.unzipped(t, "/look?harm=data"); !strings.Contains(text, "fsync is off") || strings.Contains(text, "no query has used") {
		t.Errorf("only what endangers data: %s", text)
	}
	status, plan, _ := c.send(t, adminToken, "/look/plan", "action", "bed/reindex", "subject.server", "main", "subject.table",
		hostile)
	if status != http.StatusOK || !strings.Contains(plan, "the index has 1.2 GB") || !strings.Contains(plan, "Undo: ") ||
		strings.Contains(plan, "<script>alert") {
		t.Errorf("%d %s", status, plan)
	}
	if runs, err := c.journal.Recent(t.Context(), 0, 10); err != nil || len(runs) > 0 {
		t.Errorf("a plan that is shown is no run: %v %v", runs, err)
	}
}
