package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

const token = "the right word"

// A log can be read while it is written.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A life is an app that serves, on real servers and without the embedded part.
type life struct {
	url  string
	log  *log
	stop func()

	admin string // the token that upkeep has made
}

func live(t *testing.T) *life {
	t.Helper()
	dir := t.TempDir()
	url, _ := servertest.Database(t)
	servertest.Exec(t, url, "create table t (id int)", "insert into t select generate_series(1, 1000)",
		"delete from t where id > 500")
	cache := servertest.Redis(t)
	r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: cache.URL})
	if err == nil {
		err = r.Client.Set(t.Context(), "key", "value", 0).Err()
		r.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, `data_dir: %q
web: {listen: "127.0.0.1:0", token_file: %q}
targets:
  postgres: [{name: main, url: %q}]
  redis: [{name: cache, url: %q}]
  host: [{name: here}]
collectors: {interval: 200ms, settings: {host/updates: {disabled: true}}}
embedded: {enabled: false}
policies: [{name: watch, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum}]
`, filepath.Join(dir, "data"), filepath.Join(dir, "token"), url, cache.URL)
	load := func() (*config.Config, error) { return config.Parse("test", text, app.Known()) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	l := &life{log: new(log)}
	a, err := app.New(t.Context(), c, app.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(l.log, nil)),
		Load: load})
	if err != nil {
		t.Fatal(err)
	}
	l.url, l.admin = "http://"+a.Addr(), admin(t, a)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(l.stop)
	return l
}

func (l *life) send(t *testing.T, method, path, bearer, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch bearer {
	case "":
		r.Header.Set("Authorization", "Bearer "+l.admin)
	case stranger:
	default:
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read only
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// stranger is what a request shows that shows nothing.
const stranger = "nothing"

// admin returns the token that an upkeep has made.
func admin(t *testing.T, a *app.App) string {
	t.Helper()
	text, err := a.AdminToken()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// client returns a client that shows the token.
func (l *life) client() *http.Client { return &http.Client{Transport: shows(l.admin)} }

// shows is a token that is shown with each request.
type shows string

// RoundTrip implements http.RoundTripper.
func (s shows) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(s))
	return http.DefaultTransport.RoundTrip(r)
}

// alert is a delivery about a table.
func alert(t *testing.T, table, status string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"version": "4", "alerts": []any{map[string]any{
		"status": status, "startsAt": time.Unix(1, 0).UTC(),
		"labels": map[string]string{"alertname": "PostgresDeadRows", "server": "main", "database": "d",
			"schema": "s", "table": table},
		"annotations": map[string]string{"limit": "0.2", "summary": table},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Everything that is served is declared, with the same type, text and labels, and
// what upkeep declares of itself is served.
func TestServedIsDeclared(t *testing.T) {
	l := live(t)
	if code, text := l.send(t, "POST", webhook.Alertmanager().Path, token, alert(t, "t", "firing")); code != 200 {
		t.Fatal(code, text)
	}
	if code, text := l.send(t, "POST", console.Prefix+"/pauses", token,
		`{"scope": "target/cache", "reason": "r", "by": "ann"}`); code != 200 {
		t.Fatal(code, text)
	}
	declared := catalog.Own()
	for _, c := range catalog.EveryCollector() {
		declared = append(declared, c.Metrics...)
	}
	// Those of the targets that live has, but the one that runs apt-get.
	var ofLive []string
	for _, c := range catalog.EveryCollector() {
		if domain, _, _ := strings.Cut(c.Name, "/"); slices.Contains([]string{"postgres", "redis", "host"}, domain) &&
			c.Name != "host/updates" {
			ofLive = append(ofLive, c.Name)
		}
	}
	var text string
	servertest.Eventually(t, "every collector has answered", func() bool {
		_, text = l.send(t, "GET", "/metrics", "", "")
		return strings.Count(text, "upkeep_collector_last_success_timestamp_seconds{") == len(ofLive) &&
			strings.Contains(text, `to="refused"} 1`)
	})
	check := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	served := make(map[string]bool)
	for name, f := range families {
		if !strings.HasPrefix(name, "upkeep_") {
			continue
		}
		served[name] = true
		i := slices.IndexFunc(declared, func(m *collectors.Metric) bool { return m.Name == name })
		if i < 0 {
			t.Errorf("%s is served and not declared", name)
			continue
		}
		m := declared[i]
		if got := strings.ToLower(f.GetType().String()); got != string(m.Type) || f.GetHelp() != m.Help {
			t.Errorf("%s is served as %s %q, declared as %s %q", name, got, f.GetHelp(), m.Type, m.Help)
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		want := slices.Sorted(slices.Values(m.Labels))
		if !slices.Equal(slices.Sorted(slices.Values(labels)), want) {
			t.Errorf("%s has the labels %v, declared %v", name, labels, want)
		}
	}
	// That a collector writes what it declares is tested where it is. What needs a
	// run that acts, a notification, a flood, a schedule with a query or a remote storage, is
	// absent here.
	absent := []string{"upkeep_remote_write_delay_seconds", "upkeep_remote_write_rejected_samples_total",
		"upkeep_schedule_query_failing", "upkeep_schedule_query_failures_total", "upkeep_runs_active",
		"upkeep_policy_acted_total", "upkeep_policy_came_back_total", "upkeep_policy_resolve_seconds_total",
		"upkeep_policy_demoted", "upkeep_notifications_total", "upkeep_inbox_alerts_refused_total",
		"upkeep_run_acted_timestamp_seconds"}
	for _, m := range catalog.Own() {
		if !served[m.Name] && !slices.Contains(absent, m.Name) {
			t.Errorf("%s is declared and not served", m.Name)
		}
	}
}

// The webhook over the wire: each refusal with its status and a line in the log,
// and nothing in the inbox.
func TestWebhookRefuses(t *testing.T) {
	l := live(t)
	for _, test := range []struct {
		name, method, bearer, body string
		status                     int
	}{
		{"not JSON", "POST", token, "hello", 400},
		{"wrong version", "POST", token, strings.Replace(alert(t, "t", "firing"), `"4"`, `"5"`, 1), 400},
		{"17 MB", "POST", token, strings.Repeat("x", 17<<20), 413},
		{"no token", "POST", stranger, alert(t, "t", "firing"), 401},
		{"wrong token", "POST", "guess", alert(t, "t", "firing"), 401},
	} {
		lines := strings.Count(l.log.String(), "delivery refused")
		if code, text := l.send(t, test.method, webhook.Alertmanager().Path, test.bearer,
			test.body); code != test.status {
			t.Errorf("%s: %d %s, want %d", test.name, code, text, test.status)
		}
		if got := strings.Count(l.log.String(), "delivery refused"); got != lines+1 {
			t.Errorf("%s: %d lines in the log, want 1", test.name, got-lines)
		}
	}
	var s console.Status
	_, text := l.send(t, "GET", console.Prefix+"/status", "", "")
	if err := json.Unmarshal([]byte(text), &s); err != nil || len(s.Incidents) != 0 {
		t.Errorf("incidents: %+v %v", s.Incidents, err)
	}
}

// Everything but health asks for a login, and no other site's page can make a browser do it.
func TestGate(t *testing.T) {
	l := live(t)
	for path, method := range map[string]string{
		"/-/reload": "POST", console.Prefix + "/runs": "POST", console.Prefix + "/plans": "POST",
		console.Prefix + "/pauses": "POST", console.Prefix + "/pauses?scope=all": "DELETE",
		"/": "GET", "/metrics": "GET", console.Prefix + "/status": "GET", console.Prefix + "/journal/replay": "GET",
	} {
		if code, text := l.send(t, method, path, stranger, "{}"); code != 401 {
			t.Errorf("%s %s without a token: %d %s", method, path, code, text)
		}
		if code, text := l.send(t, method, path, token, "{}", "Origin", "https://evil.example", "Sec-Fetch-Site",
			"cross-site"); code != 403 {
			t.Errorf("%s %s from another site's page: %d %s", method, path, code, text)
		}
	}
	for _, path := range []string{"/-/healthy", "/-/ready", portal.LoginPath} {
		if code, text := l.send(t, "GET", path, stranger, ""); code != 200 {
			t.Errorf("GET %s: %d %s", path, code, text)
		}
	}
	for _, path := range []string{"/", "/metrics", console.Prefix + "/status", console.Prefix + "/runs",
		console.Prefix + "/pauses"} {
		if code, text := l.send(t, "GET", path, token, ""); code != 200 {
			t.Errorf("GET %s: %d %s", path, code, text)
		}
	}
	for path, want := range map[string]int{"/nothing": 404, console.Prefix + "/runs/99": 404,
		console.Prefix + "/runs/x": 400, console.Prefix + "/runs?limit=0": 400} {
		if code, text := l.send(t, "GET", path, "", ""); code != want {
			t.Errorf("GET %s: %d %s, want %d", path, code, text, want)
		}
	}
	if code, text := l.send(t, "POST", "/metrics", token, ""); code != 405 {
		t.Errorf("POST /metrics: %d %s", code, text)
	}
	if strings.Contains(l.log.String(), token) {
		t.Error("the token is in the log")
	}
}

// The page shows what fires and what was done, and a hostile name stays text.
func TestPage(t *testing.T) {
	l := live(t)
	hostile := `<script>alert(1)</script>"'&` + "\n"
	if code, text := l.send(t, "POST", webhook.Alertmanager().Path, token, alert(t, hostile, "firing")); code != 200 {
		t.Fatal(code, text)
	}
	if code, text := l.send(t, "POST", console.Prefix+"/pauses", token,
		`{"scope": "all", "reason": "<b>move</b>", "by": "ann"}`); code != 200 {
		t.Fatal(code, text)
	}
	var page string
	servertest.Eventually(t, "the run is on the page", func() bool {
		_, page = l.send(t, "GET", "/", "", "")
		return strings.Contains(page, "refused") && strings.Contains(page, " collectors, read ")
	})
	for _, want := range []string{"PostgresDeadRows", "postgres/vacuum", "Paused", "&lt;b&gt;move",
		"&lt;script&gt;", ">cache<"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s on the page:\n%s", want, page)
		}
	}
	if n := strings.Count(page, "<script"); n != 1 || !strings.Contains(page, `<script src="/static/upkeep.js?`) {
		t.Errorf("%d scripts on the page, want ours alone:\n%s", n, page)
	}
	for _, never := range []string{"<script>", "<b>move"} {
		if strings.Contains(page, never) {
			t.Errorf("%s is on the page as markup", never)
		}
	}
}

// What a person asks for goes the same way as what an alert asks for.
func TestAskedFor(t *testing.T) {
	l := live(t)
	ask := func(path, body string) (int, map[string]any) {
		t.Helper()
		code, text := l.send(t, "POST", console.Prefix+path, token, body)
		var answer map[string]any
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return code, answer
	}
	for _, test := range []struct {
		name, path, body string
		status           int
		says             string
	}{
		{"no JSON", "/plans", "x", 400, "body"},
		{"unknown field", "/plans", `{"acton": "redis/bgsave"}`, 400, "acton"},
		{"unknown action", "/plans", `{"action": "redis/flushall", "subject": {"server": "cache"}}`, 422,
			"unknown action"},
		{"no key", "/runs", `{"action": "redis/bgsave", "subject": {"server": "cache"}}`, 400, "missing key"},
		{"pause without a reason", "/pauses", `{"scope": "all", "by": "ann"}`, 400, "reason"},
		{"pause that is over", "/pauses",
			`{"scope": "all", "by": "ann", "reason": "r", "until": "2001-01-01T00:00:00Z"}`, 400, "over already"},
	} {
		if code, answer := ask(test.path, test.body); code != test.status ||
			!strings.Contains(fmt.Sprint(answer["error"]), test.says) {
			t.Errorf("%s: %d %v, want %d with %q", test.name, code, answer, test.status, test.says)
		}
	}
	code, plan := ask("/plans", `{"action": "redis/bgsave", "subject": {"server": "cache"}}`)
	if code != 200 || plan["hash"] == "" || fmt.Sprint(plan["limit"]) != "86400" {
		t.Errorf("plan: %d %v", code, plan)
	}
	const body = `{"action": "redis/bgsave", "subject": {"server": "cache"}, "by": "ann", "key": "1"}`
	code, run := ask("/runs", body)
	if code != 202 {
		t.Fatal(code, run)
	}
	if _, again := ask("/runs", body); again["id"] != run["id"] {
		t.Errorf("the same ask is two runs: %v and %v", run["id"], again["id"])
	}
	servertest.Eventually(t, "the run has resolved", func() bool {
		_, text := l.send(t, "GET", fmt.Sprint(console.Prefix, "/runs/", run["id"]), "", "")
		return strings.Contains(text, `"state":"resolved"`)
	})
}

// A changed journal is reported at the next start.
func TestChangedJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := journal.New(journal.Config{Store: s}).Create(t.Context(),
		remediate.Request{Key: "k", Action: "a/b"}, "why"); err != nil {
		t.Fatal(err)
	}
	err = s.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("update entries set entry = replace(entry, 'why', 'because')")
		return err
	})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("test", fmt.Appendf(nil, "data_dir: %q\nweb: {listen: '127.0.0.1:0'}\ntargets: {host: "+
		"[{name: here}]}\nembedded: {enabled: false}\n", dir), app.Known())
	if err != nil {
		t.Fatal(err)
	}
	said := new(log)
	a, err := app.New(t.Context(), c, app.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	servertest.Eventually(t, "it is said", func() bool {
		return strings.Contains(said.String(),
			"the journal was changed")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Stopping is quick, also while collectors ask.
func TestStops(t *testing.T) {
	l := live(t)
	l.send(t, "GET", "/-/ready", "", "")
	began := time.Now()
	l.stop()
	t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	if _, err := http.Get(l.url + "/-/healthy"); err == nil {
		t.Error("it still answers")
	}
}

func TestReload(t *testing.T) {
	l := live(t)
	if code, text := l.send(t, "POST", "/-/reload", token, ""); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	servertest.Eventually(t, "the new collectors answer", func() bool {
		_, text := l.send(t, "GET", "/metrics", "", "")
		return strings.Contains(text, `upkeep_redis_up{server="cache"} 1`) &&
			strings.Contains(text, "upkeep_config_last_reload_success 1")
	})
}

// A wrong start says what is wrong and leaves nothing open.
func TestWrongStart(t *testing.T) {
	dir := t.TempDir()
	start := func(text string) error {
		c, err := config.Parse("test", []byte("targets: {host: [{name: here}]}\nembedded: {enabled: false}\n"+text),
			app.Known())
		if err != nil {
			t.Fatal(err)
		}
		_, err = app.New(t.Context(), c, app.Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
		return err
	}
	data := fmt.Sprintf("data_dir: %q\n", filepath.Join(dir, "data"))
	for name, text := range map[string]string{
		"an address of others": data + `web: {listen: "192.0.2.1:9", token_env: A_TOKEN}`,
		"no web configuration": data + fmt.Sprintf(`web: {listen: "127.0.0.1:0", config_file: %q}`,
			filepath.Join(dir, "none.yaml")),
		"no data folder": `data_dir: /proc/upkeep`,
	} {
		if err := start(text); err == nil {
			t.Errorf("%s: it started", name)
		}
	}
	if err := start(data + `web: {listen: "127.0.0.1:0"}`); err != nil {
		t.Errorf("after that, all is closed: %v", err)
	}
}
