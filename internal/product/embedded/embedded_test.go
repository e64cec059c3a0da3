package embedded_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

const rules = `groups:
  - name: g
    rules:
      - alert: Full
        expr: used_ratio > 0.8
        labels: {severity: warning}
        annotations: {limit: "0.8", value: "{{ $value }}"}
`

// A stage is an Embedded whose metric the test sets and whose deliveries it sees.
type stage struct {
	*embedded.Embedded
	used     atomic.Value // float64
	mu       sync.Mutex
	reported []string // "firing Full a" for each alert delivered
	dir      string
	end      func()

	parts embedded.Parts // in use
}

// change reloads with other parts.
func (s *stage) change(edit func(*embedded.Parts)) error {
	parts := s.parts
	edit(&parts)
	c, err := s.Prepare(parts)
	if err == nil {
		err = c.Use()
	}
	if err == nil {
		s.parts = parts
	}
	return err
}

func (s *stage) reroute(r embedded.Routing) error {
	return s.change(func(p *embedded.Parts) { p.Routing = r })
}

func (s *stage) configure(scrapeConfigs, remoteWrite string) error {
	return s.change(func(p *embedded.Parts) { p.ScrapeConfigs, p.RemoteWrite = scrapeConfigs, remoteWrite })
}

func begin(t *testing.T, dir string, used float64) *stage {
	t.Helper()
	s := &stage{dir: dir, parts: embedded.Parts{Rules: fstest.MapFS{"g.rules.yaml": {Data: []byte(rules)}}}}
	s.used.Store(used)
	c := embedded.Config{
		Dir: dir, ScrapeInterval: 200 * time.Millisecond, EvaluationInterval: 200 * time.Millisecond,
		Retention: time.Hour, DailyRetention: 400 * 24 * time.Hour,
		Parts:   s.parts,
		Metrics: http.HandlerFunc(s.metrics), Webhook: http.HandlerFunc(s.webhook),
		ExternalURL: &url.URL{Scheme: "http", Host: "upkeep.example"},
		GroupWait:   10 * time.Millisecond, GroupInterval: 200 * time.Millisecond, ResendDelay: 200 * time.Millisecond,
		Logger:     slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Registerer: prometheus.NewRegistry(),
	}
	e, err := embedded.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.Embedded = e
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	s.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(s.end)
	return s
}

type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) { l.t.Log(string(line)); return len(line), nil }

func (s *stage) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "# TYPE used_ratio gauge\nused_ratio{disk=\"a \\\"b\\\"\\n\\\\c\"} %v\n", s.used.Load())
}

func (s *stage) webhook(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Alerts []struct {
			Status              string
			Labels, Annotations map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range body.Alerts {
		s.reported = append(s.reported, fmt.Sprintf("%s %s %q limit=%s", a.Status, a.Labels["alertname"], a.Labels["disk"],
			a.Annotations["limit"]))
	}
}

func (s *stage) deliveries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.reported...)
}

// await waits until something was delivered whose beginning is want.
func (s *stage) await(t *testing.T, want string) {
	t.Helper()
	servertest.Eventually(t, "a delivery", func() error {
		all := s.deliveries()
		if !slices.ContainsFunc(all, func(d string) bool { return strings.HasPrefix(d, want) }) {
			return fmt.Errorf("%q was not delivered, only %q", want, all)
		}
		return nil
	})
}

func ask(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(text)
}

func TestFiresDeliversAndResolves(t *testing.T) {
	s := begin(t, t.TempDir(), 0.9)
	s.await(t, `firing Full "a \"b\"\n\\c" limit=0.8`)
	if code, text := ask(t, s.Prometheus(), "GET", "/api/v1/query?query=used_ratio", ""); code != 200 ||
		!strings.Contains(text, `"0.9"`) {
		t.Errorf("query: %d %s", code, text)
	}
	for _, path := range []string{"rules", "alerts", "targets", "alertmanagers", "status/runtimeinfo", "status/config",
		"labels", "status/tsdb"} {
		if code, text := ask(t, s.Prometheus(), "GET", "/api/v1/"+path, ""); code != 200 {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if code, text := ask(t, s.Alertmanager(), "GET", "/api/v2/alerts", ""); code != 200 ||
		!strings.Contains(text, `"alertname":"Full"`) {
		t.Errorf("alerts: %d %s", code, text)
	}
	if code, text := ask(t, s.Alertmanager(), "GET", "/api/v2/status", ""); code != 200 {
		t.Errorf("status: %d %s", code, text)
	}
	within := prom.Prometheus{URL: "http://embedded", Client: s.Client()}
	if fires, err := within.Firing(t.Context(), "used_ratio > 0.8",
		map[string]string{"disk": "a \"b\"\n\\c"}); err != nil || !fires {
		t.Errorf("asked within the process: fires %v, %v", fires, err)
	}
	s.used.Store(0.1)
	s.await(t, "resolved Full")
}

// After a kill there is on disk what was acknowledged: a copy of the folder,
// taken while all is running, is what a kill leaves.
func TestKilledKeepsSilencesAndWhatWasSent(t *testing.T) {
	s := begin(t, t.TempDir(), 0.9)
	s.await(t, "firing Full")
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	code, text := ask(t, s.Alertmanager(), "POST", "/api/v2/silences",
		`{"matchers":[{"name":"alertname","value":"Other","isRegex":false}],"startsAt":"2020-01-01T00:00:00Z","endsAt":"`+until+`","createdBy":"t","comment":"c"}`)
	if code != 200 {
		t.Fatalf("silence: %d %s", code, text)
	}
	left := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	again := begin(t, left, 0.9)
	time.Sleep(3 * time.Second) // ten evaluations
	if reported := again.deliveries(); len(reported) != 0 {
		t.Errorf("sent again after the kill: %q", reported)
	}
	if _, text := ask(t, again.Alertmanager(), "GET", "/api/v2/silences", ""); !strings.Contains(text, `"Other"`) {
		t.Errorf("the silence is gone: %s", text)
	}
	again.used.Store(0.2)
	again.await(t, "resolved Full")
}

func TestReloadKeepsOldRulesWhenNewOnesAreWrong(t *testing.T) {
	s := begin(t, t.TempDir(), 0.1)
	bad := fstest.MapFS{"g.rules.yaml": {Data: []byte("groups:\n  - name: g\n    rules:\n      - alert: A\n        " +
		"expr: x >\n")}}
	err := s.change(func(p *embedded.Parts) { p.Rules = bad })
	if err == nil || !strings.Contains(err.Error(), "g.rules.yaml: 5:") {
		t.Errorf("Reload: %v, want an error with file and line", err)
	}
	if err := s.change(func(p *embedded.Parts) {
		p.Rules, p.RuleFiles = fstest.MapFS{}, []string{filepath.Join(t.TempDir(), "*.yaml")}
	}); err == nil {
		t.Error("a pattern that matches no file is no error")
	}
	s.used.Store(0.9)
	s.await(t, "firing Full")
}
