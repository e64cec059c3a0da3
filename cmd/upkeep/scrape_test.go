package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A product is a service with metrics of its own, which answers slowly and with errors.
// Each scrape finds more of both.
func product(t *testing.T) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "http_request_duration_seconds", Help: "h",
		Buckets: []float64{0.5, 1, 2.5}}, []string{"path"})
	served := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "c"},
		[]string{"status"})
	registry.MustRegister(took, served)
	var mu sync.Mutex
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, word, ok := r.BasicAuth(); !ok || user != "prom" || word != "s3cret" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for range 5 {
			took.WithLabelValues("/a").Observe(2)
			served.WithLabelValues("200").Inc()
		}
		served.WithLabelValues("503").Add(5)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// scrapingSite is an upkeep that scrapes a service, evaluates the shipped rules with short
// clocks and writes everything to another Prometheus.
type scrapingSite struct {
	*site
	cmd    *exec.Cmd
	remote *servertest.Monitor
}

func newScrapingSite(t *testing.T) *scrapingSite {
	t.Helper()
	s := &scrapingSite{site: &site{dir: t.TempDir(), address: freeAddress(t)}}
	s.remote = servertest.Prometheus(t, "global: {scrape_interval: 1h}\n", nil, "--web.enable-remote-write-receiver")
	shortRules(t, s.dir, "1000")
	shipped, err := os.ReadFile(filepath.Join(s.dir, "http.rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(shipped)
	for long, short := range map[string]string{"[5m]": "[10s]", "interval: 1m": "interval: 1s",
		"interval: 1h": "interval: 1s"} {
		text = strings.ReplaceAll(text, long, short)
	}
	write(t, filepath.Join(s.dir, "own.yaml"), strings.ReplaceAll(text, "job:", "own:"))
	write(t, filepath.Join(s.dir, "scrape-password"), "s3cret\n")
	write(t, filepath.Join(s.dir, "targets.yml"), fmt.Sprintf("- targets: [%q]\n  labels: {team: products}\n",
		product(t)))
	write(t, filepath.Join(s.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q}
targets: {host: [{name: here}]}
collectors: {settings: {host/updates: {disabled: true}}}
embedded:
  scrape_interval: 1s
  evaluation_interval: 1s
  group_wait: 10ms
  group_interval: 300ms
  resend_delay: 2s
  rule_files: [own.yaml]
  scrape_configs:
    - job_name: user-api
      basic_auth: {username: prom, password_file: scrape-password}
      file_sd_configs: [{files: [targets.yml]}]
      metric_relabel_configs:
        - {source_labels: [path], target_label: route}
    - job_name: prometheus
      static_configs: [{targets: [%q]}]
      metric_relabel_configs:
        - {source_labels: [__name__], regex: prometheus_build_info, action: keep}
  remote_write:
    - url: %s/api/v1/write
      queue_config: {batch_send_deadline: 500ms}
      write_relabel_configs:
        - {source_labels: [__name__], regex: 'go_.*|process_.*', action: drop}
`, s.address, strings.TrimPrefix(s.remote.URL, "http://"), s.remote.URL))
	s.start(t)
	return s
}

func (s *scrapingSite) start(t *testing.T) {
	t.Helper()
	s.cmd = spawn(t, s.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	s.awaitReady(t)
}

// kill ends upkeep as an accident would.
func (s *scrapingSite) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // by that signal
}

// query asks a Prometheus a question.
func query(t *testing.T, base, question string) (all []struct {
	Metric map[string]string
	Value  []any
	Values [][]any
},
) {
	t.Helper()
	res, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape(question))
	if err != nil {
		return nil // it may be about to start
	}
	defer func() { _ = res.Body.Close() }() // read only
	var said struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  []any
				Values [][]any
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		return nil
	}
	return said.Data.Result
}

// samples returns every sample that a Prometheus has of what was scraped and recorded, by
// series, time and value.
func samples(t *testing.T, base string) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	for _, s := range query(t, base, `{__name__=~"http_.*|up|upkeep_build_info|own:.*|prometheus_build_info|ALERTS"}[1h]`) {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(s.Metric)) {
			labels = append(labels, name+"="+s.Metric[name])
		}
		for _, v := range s.Values {
			all[strings.Join(labels, ",")+" "+fmt.Sprint(v...)] = true
		}
	}
	return all
}

// more waits until upkeep has so many samples at least, and returns them.
func (s *scrapingSite) more(t *testing.T, n int) map[string]bool {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if all := samples(t, "http://"+s.address); len(all) >= n {
			return all
		}
	}
	t.Fatalf("upkeep does not come to %d samples", n)
	return nil
}

// same waits until the other Prometheus has each sample that upkeep has now, and checks
// that it has no others.
func (s *scrapingSite) same(t *testing.T) {
	t.Helper()
	want := s.more(t, 50)
	var lacks []string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		got := samples(t, s.remote.URL)
		lacks = nil
		for sample := range want {
			if !got[sample] {
				lacks = append(lacks, sample)
			}
		}
		if len(lacks) == 0 {
			all := samples(t, "http://"+s.address)
			for sample := range got {
				if !all[sample] {
					t.Errorf("the other Prometheus has %s, which upkeep has not", sample)
				}
			}
			return
		}
	}
	slices.Sort(lacks)
	t.Fatalf("%d of %d samples have not arrived, like\n%s", len(lacks), len(want),
		strings.Join(lacks[:min(len(lacks), 10)], "\n"))
}

// fires waits until both alerts fire for the job, by the shipped names.
func (s *scrapingSite) fires(t *testing.T) {
	t.Helper()
	var found []string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		found = nil
		for _, a := range query(t, "http://"+s.address, `ALERTS{alertstate="firing", job="user-api"}`) {
			found = append(found, a.Metric["alertname"])
		}
		if slices.Contains(found, "ApiLatencyHigh") && slices.Contains(found, "ApiErrorRateHigh") {
			return
		}
	}
	t.Fatalf("the alerts do not fire: %v", found)
}

// A service that is scraped has its alerts, and another Prometheus has the same samples:
// also after upkeep was killed, while the other was there and while it was not.
func TestScrapedServiceAndRemoteWrite(t *testing.T) {
	s := newScrapingSite(t)
	s.fires(t)
	s.same(t)
	for _, a := range query(t, "http://"+s.address, `http_requests_total{job="user-api", status="503"}`) {
		if a.Metric["team"] != "products" {
			t.Errorf("the label of the target's file is not there: %v", a.Metric)
		}
	}
	for range 2 {
		s.kill(t)
		s.start(t)
		s.more(t, len(samples(t, "http://"+s.address))+20)
		s.same(t)
	}
	s.remote.Kill()
	s.more(t, len(samples(t, "http://"+s.address))+50)
	s.kill(t)
	s.start(t)
	s.remote.Start()
	s.fires(t)
	s.same(t)
}
