package embedded_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/util/compression"

	"github.com/ai-micro-service/upkeep/internal/product/embedded"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A remote is a server that samples are written to.
type remote struct {
	url string

	mu         sync.Mutex
	status     int // of its answers
	requests   map[int]int
	samples    map[string]map[int64]bool // by the name of the metric
	histograms map[string]int
	exemplars  int
}

func newRemote(t *testing.T) *remote {
	r := &remote{status: http.StatusNoContent, requests: make(map[int]int), samples: make(map[string]map[int64]bool),
		histograms: make(map[string]int)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		text, err := io.ReadAll(q.Body)
		if err != nil {
			return // the client has gone
		}
		w.WriteHeader(r.take(t, text))
	}))
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

func (r *remote) take(t *testing.T, text []byte) int {
	var written prompb.WriteRequest
	text, err := compression.Decode(compression.Snappy, text, nil)
	if err == nil {
		err = written.Unmarshal(text)
	}
	if err != nil {
		t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests[r.status]++
	if r.status/100 != 2 {
		return r.status
	}
	for _, series := range written.Timeseries {
		var name string
		for _, l := range series.Labels {
			if l.Name == "__name__" {
				name = l.Value
			}
		}
		if r.samples[name] == nil {
			r.samples[name] = make(map[int64]bool)
		}
		for _, s := range series.Samples {
			r.samples[name][s.Timestamp] = true
		}
		r.histograms[name] += len(series.Histograms)
		r.exemplars += len(series.Exemplars)
	}
	return r.status
}

func (r *remote) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *remote) asked(status int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[status]
}

// has returns how many samples of a metric have come, or native histograms where it has none.
func (r *remote) has(metric string) (samples map[int64]bool, histograms, exemplars int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.samples[metric]), r.histograms[metric], r.exemplars
}

// stored returns the times of the samples of used_ratio.
func (s *stage) stored(t *testing.T) (all []int64) {
	t.Helper()
	var said struct {
		Data struct {
			Result []struct{ Values [][]any }
		}
	}
	_, text := ask(t, s.Prometheus(), "GET", "/api/v1/query?query=used_ratio[1h]", "")
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, r := range said.Data.Result {
		for _, v := range r.Values {
			all = append(all, int64(v[0].(float64)*1000+0.5))
		}
	}
	return all
}

// What a killed process had not sent is kept until the other side takes it: a wrong
// password or path, which somebody sets right, loses nothing, and is no flood of requests.
func TestWhatWasLeftIsWaitedFor(t *testing.T) {
	r := newRemote(t)
	write := fmt.Sprintf("- {url: %q, queue_config: {batch_send_deadline: 200ms}}\n", r.url)
	s := begin(t, t.TempDir(), 0.1)
	if err := s.configure("", write); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "it is noted what has arrived", func() bool {
		got, _, _ := r.has("used_ratio")
		text, err := os.ReadFile(filepath.Join(s.dir, "remote_write.json"))
		return len(got) > 3 && err == nil && len(text) > 2
	})
	r.answer(http.StatusServiceUnavailable)
	before := len(s.stored(t))
	servertest.Eventually(t, "there is something left", func() bool { return len(s.stored(t)) > before+8 })
	left := filepath.Join(t.TempDir(), "left") // what a kill leaves
	if err := os.CopyFS(left, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	s.end()
	r.answer(http.StatusUnauthorized)
	again := begin(t, left, 0.1)
	if err := again.configure("", write); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "it is refused", func() bool { return r.asked(http.StatusUnauthorized) >= 4 })
	time.Sleep(2 * time.Second) // in which what gives up gives up
	r.answer(http.StatusNoContent)
	lacks := func() (all []int64) {
		got, _, _ := r.has("used_ratio")
		for _, at := range again.stored(t) {
			if !got[at] {
				all = append(all, at)
			}
		}
		return all
	}
	end := again.stored(t)
	for deadline := time.Now().Add(5 * time.Minute); len(lacks()) > 0 &&
		slices.Min(lacks()) <= slices.Max(end); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("of %d samples %d have never come: %v", len(end), len(lacks()), lacks())
		}
	}
	if n := r.asked(http.StatusUnauthorized); n > 60 {
		t.Errorf("%d requests were refused", n)
	}
}

// Native histograms are scraped and written where the other side is said to take them, and
// exemplars too.
func TestNativeHistogramsAndExemplars(t *testing.T) {
	registry := prometheus.NewRegistry()
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "took_seconds", Help: "h", Buckets: []float64{1, 10},
		NativeHistogramBucketFactor: 1.1})
	registry.MustRegister(took)
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		took.(prometheus.ExemplarObserver).ObserveWithExemplar(2, prometheus.Labels{"trace_id": "t"})
		handler.ServeHTTP(w, q)
	}))
	t.Cleanup(api.Close)
	all, plain := newRemote(t), newRemote(t)
	s := begin(t, t.TempDir(), 0.1)
	err := s.configure(
		fmt.Sprintf("- {job_name: api, scrape_native_histograms: true, static_configs: [{targets: [%q]}]}\n",
			strings.TrimPrefix(api.URL, "http://")),
		fmt.Sprintf("- {url: %q, send_native_histograms: true, send_exemplars: true}\n- {url: %q}\n", all.url,
			plain.url))
	if err != nil {
		t.Fatal(err)
	}
	s.says(t, "query?query=histogram_count(took_seconds)", `"job":"api"`, true)
	servertest.Eventually(t, "native histograms and exemplars are written", func() bool {
		_, histograms, exemplars := all.has("took_seconds")
		return histograms > 1 && exemplars > 0
	})
	servertest.Eventually(t, "the other one has samples",
		func() bool { got, _, _ := plain.has("used_ratio"); return len(got) > 3 })
	if _, histograms, exemplars := plain.has("took_seconds"); histograms+exemplars > 0 {
		t.Errorf("%d histograms and %d exemplars came where they are switched off", histograms, exemplars)
	}
	// After a kill, too.
	left := filepath.Join(t.TempDir(), "left")
	plain.answer(http.StatusServiceUnavailable)
	if err := os.CopyFS(left, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	parts := s.parts
	s.end()
	again := begin(t, left, 0.1)
	if err := again.change(func(p *embedded.Parts) { *p = parts }); err != nil {
		t.Fatal(err)
	}
	plain.answer(http.StatusNoContent)
	n, _, _ := plain.has("used_ratio")
	servertest.Eventually(t, "it goes on", func() bool {
		got, _,
			_ := plain.has("used_ratio")
		return len(got) > len(n)+5
	})
	if _, histograms, _ := plain.has("took_seconds"); histograms > 0 {
		t.Errorf("%d histograms came where they are switched off, of what was left", histograms)
	}
}

// value returns a metric that upkeep serves of its remote storages, and false where it is absent.
func (s *stage) value(t *testing.T, name, remote string) (float64, bool) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.Embedded)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == remote {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

// How far behind a remote storage is grows while it does not answer, over a restart too, and
// is 0 when it has everything. What it rejects is counted.
func TestRemoteWriteDelay(t *testing.T) {
	const delay, rejected = "upkeep_remote_write_delay_seconds", "upkeep_remote_write_rejected_samples_total"
	r := newRemote(t)
	write := fmt.Sprintf("- {url: %q, queue_config: {batch_send_deadline: 200ms}}\n- {url: %q, name: second}\n", r.url,
		r.url+"/?token=hunter2")
	host := strings.TrimPrefix(r.url, "http://")
	s := begin(t, t.TempDir(), 0.1)
	if _, is := s.value(t, delay, host); is {
		t.Error("there is a delay without a remote storage")
	}
	if err := s.configure("", write); err != nil {
		t.Fatal(err)
	}
	is := func(s *stage, remote string, right func(float64) bool) func() bool {
		return func() bool { v, found := s.value(t, delay, remote); return found && right(v) }
	}
	none, long := func(v float64) bool { return v == 0 }, func(v float64) bool { return v > 2 }
	servertest.Eventually(t, "samples arrive", func() bool { got, _, _ := r.has("used_ratio"); return len(got) > 3 })
	servertest.Eventually(t, "it has everything", is(s, host, none))
	servertest.Eventually(t, "the second has everything", is(s, "second", none))
	r.answer(http.StatusServiceUnavailable)
	servertest.Eventually(t, "it is behind", is(s, host, long))
	left := filepath.Join(t.TempDir(), "left") // what a kill leaves
	if err := os.CopyFS(left, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	s.end()
	again := begin(t, left, 0.1)
	if err := again.configure("", write); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "it is behind after the start", is(again, host, long))
	r.answer(http.StatusNoContent)
	servertest.Eventually(t, "it has everything again", is(again, host, none))
	if n, _ := again.value(t, rejected, host); n != 0 {
		t.Errorf("%v samples were rejected", n)
	}
	r.answer(http.StatusBadRequest)
	servertest.Eventually(t, "samples are rejected", func() bool {
		n,
			_ := again.value(t, rejected, host)
		return n > 0
	})
}

// A reload may come while it starts, and while it ends: both wait for each other, and the
// end comes.
func TestReloadedWhileItStartsAndEnds(t *testing.T) {
	r := newRemote(t)
	for range 20 {
		s := begin(t, t.TempDir(), 0.1)
		var reloads sync.WaitGroup
		for i := range 3 {
			reloads.Go(func() {
				write := fmt.Sprintf("- {url: '%s/?n=%d'}\n", r.url, i)
				c, err := s.Prepare(embedded.Parts{Rules: s.parts.Rules, RemoteWrite: write})
				if err != nil {
					t.Error(err)
					return
				}
				if err := c.Use(); err != nil && !strings.Contains(err.Error(), "have ended") {
					t.Error(err)
				}
			})
		}
		ended := make(chan struct{})
		go func() { s.end(); reloads.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(5 * time.Minute):
			t.Fatal("it does not end")
		}
	}
}

// Two entries that are the same are found before the queues refuse the second.
func TestSameRemoteTwice(t *testing.T) {
	got := embedded.CheckPart("remote_write",
		"- {url: 'http://u:hunter2@h/w', remote_timeout: 5s}\n- {url: http://h/v}\n- {remote_timeout: 5s, url: "+
			"'http://u:hunter2@h/w'}\n", ".")
	if len(got) != 1 || got[0].Line != 3 || !strings.Contains(got[0].Text, "entry 1") ||
		strings.Contains(got[0].Text, "hunter2") {
		t.Errorf("%+v", got)
	}
}

// A certificate that cannot be read is found before anything is changed.
func TestChangeAllOrNone(t *testing.T) {
	s := begin(t, t.TempDir(), 0.1)
	job := "- {job_name: api, static_configs: [{targets: ['127.0.0.1:1']}]}\n"
	if err := s.configure(job, ""); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(t.TempDir(), "more.yaml")
	if err := os.WriteFile(rules, []byte("groups:\n- name: more\n  rules: [{alert: More, expr: up == 0}]\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	for what, edit := range map[string]func(*embedded.Parts){
		"scrape_configs": func(p *embedded.Parts) {
			p.ScrapeConfigs = strings.Replace(job, "api,",
				"api, scheme: https, tls_config: {ca_file: /does/not/exist},", 1)
		},
		"remote_write": func(p *embedded.Parts) {
			p.RemoteWrite = "- {url: 'https://h/w', tls_config: {ca_file: /does/not/exist}}\n"
		},
	} {
		err := s.change(func(p *embedded.Parts) {
			p.RuleFiles = []string{rules}
			edit(p)
		})
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "/does/not/exist") {
			t.Errorf("%s: %v", what, err)
		}
		if _, text := ask(t, s.Prometheus(), "GET", "/api/v1/rules", ""); strings.Contains(text, `"More"`) {
			t.Errorf("%s: the new rules are in force", what)
		}
	}
	if err := s.change(func(p *embedded.Parts) { p.RuleFiles = []string{rules} }); err != nil {
		t.Fatal(err)
	}
	s.says(t, "rules", `"More"`, true)
}
