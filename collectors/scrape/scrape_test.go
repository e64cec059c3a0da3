package scrape_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// counter is a collector of one gauge that counts its questions, and fails while broken.
func counter(name, target string, broken *atomic.Bool) collectors.Collector {
	m := &collectors.Metric{Name: "upkeep_test_questions", Type: collectors.Gauge, Help: "Questions so far.",
		Labels: []string{"server"}}
	var n float64
	return collectors.Collector{
		Name: name, Target: target, Metrics: []*collectors.Metric{m}, Every: 20 * time.Millisecond,
		Timeout: 50 * time.Millisecond,
		Collect: func(_ context.Context, w *collectors.Writer) error {
			if broken != nil && broken.Load() {
				return errors.New("connection refused")
			}
			n++
			w.Set(m, n, target)
			return nil
		},
	}
}

func hanging() collectors.Collector {
	c := counter("test/hanging", "slow", nil)
	c.Collect = func(ctx context.Context, _ *collectors.Writer) error {
		<-ctx.Done()
		return ctx.Err()
	}
	return c
}

func start(t *testing.T, all ...collectors.Collector) *scrape.Scraper {
	t.Helper()
	s := scrape.New(scrape.Config{Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	if err := s.Use(all); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func get(s *scrape.Scraper) string {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// asked is how often the collector of the server "one" was asked.
func asked(s *scrape.Scraper) (n int) {
	_, value, _ := strings.Cut(get(s), `upkeep_test_questions{server="one"} `)
	_, _ = fmt.Sscan(value, &n) // 0 where there is no value
	return n
}

func TestOneFamilyOfManyTargets(t *testing.T) {
	s := start(t, counter("test/a", "one", nil), counter("test/a", "two", nil))
	servertest.Eventually(t, "every collector answers", s.Answered)
	text := get(s)
	if n := strings.Count(text, "# TYPE upkeep_test_questions gauge\n"); n != 1 {
		t.Errorf("%d TYPE lines in:\n%s", n, text)
	}
	for _, want := range []string{`upkeep_test_questions{server="one"} `, `upkeep_test_questions{server="two"} `,
		`upkeep_collector_success{collector="test/a",server="one"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
}

func TestFailedCollectorReportsNoValue(t *testing.T) {
	var broken atomic.Bool
	s := start(t, counter("test/a", "one", &broken))
	servertest.Eventually(t, "a value", func() bool { return strings.Contains(get(s), "upkeep_test_questions{") })
	broken.Store(true)
	servertest.Eventually(t, "no value", func() bool { return !strings.Contains(get(s), "upkeep_test_questions") })
	if text := get(s); !strings.Contains(text, `upkeep_collector_success{collector="test/a",server="one"} 0`) {
		t.Errorf("success is not 0 in:\n%s", text)
	}
	if got := s.Status()[0].Err; got != "connection refused" {
		t.Errorf("status says %q", got)
	}
	broken.Store(false)
	servertest.Eventually(t, "a value again", func() bool { return strings.Contains(get(s), "upkeep_test_questions{") })
}

// An error of a part of a target is one for what is in that part, and for nothing else.
func TestAnswerOfParts(t *testing.T) {
	c := counter("test/a", "one", nil)
	part := func(name string) error {
		return &collectors.PartError{Label: "database", Value: name, Err: errors.New("no entry")}
	}
	var fault atomic.Value
	c.Collect = func(context.Context, *collectors.Writer) error { return fault.Load().(func() error)() }
	subject := func(database string) map[string]string {
		return map[string]string{"server": "one", "database": database, "table": "t"}
	}
	set := func(err error) { fault.Store(func() error { return err }) }
	set(nil)
	s := start(t, c)
	servertest.Eventually(t, "an answer", s.Answered)
	for _, test := range []struct {
		name        string
		err         error
		shop, other bool // whether they answer
	}{
		{"one part", part("other"), true, false},
		{"two parts", errors.Join(part("other"), part("third")), true, false},
		{"within each other", errors.Join(errors.Join(part("other")), part("other")), true, false},
		{"a part and more", errors.Join(part("other"), errors.New("no route")), false, false},
		{"all of it", errors.New("no route"), false, false},
	} {
		set(test.err)
		before := time.Now()
		servertest.Eventually(t, test.name, func() bool {
			return s.Status()[0].Err == test.err.Error() &&
				s.Status()[0].At.After(before)
		})
		for database, answers := range map[string]bool{"shop": test.shop, "other": test.other, "": false} {
			of := subject(database)
			if database == "" {
				delete(of, "database")
			}
			last, err := s.Answer("upkeep_test_questions", of)
			if (err == nil) != answers || answers && !last.After(before) {
				t.Errorf("%s: database %q answered at %s, %v", test.name, database, last, err)
			}
		}
	}
}

func TestPanickingCollectorHarmsNobody(t *testing.T) {
	c := counter("test/a", "odd", nil)
	c.Collect = func(context.Context, *collectors.Writer) error { panic("an unexpected answer") }
	s := start(t, c, counter("test/a", "one", nil))
	servertest.Eventually(t, "every collector answers", s.Answered)
	text := get(s)
	for _, want := range []string{`upkeep_collector_success{collector="test/a",server="odd"} 0`,
		`upkeep_collector_success{collector="test/a",server="one"} 1`, `upkeep_test_questions{server="one"}`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
}

func TestHangingCollectorDelaysNobody(t *testing.T) {
	s := start(t, hanging(), counter("test/a", "one", nil))
	servertest.Eventually(t, "the other is asked ten times", func() bool { return asked(s) >= 10 })
	servertest.Eventually(t, "the hanging one has failed",
		func() bool { return strings.Contains(s.Status()[0].Err, "no answer within") })
}

// An hourly collector runs at once on request, and no other does.
func TestRefresh(t *testing.T) {
	slow, other := counter("test/a", "one", nil), counter("test/a", "two", nil)
	slow.Every, other.Every = time.Hour, time.Hour
	s := start(t, slow, other)
	servertest.Eventually(t, "every collector answers", s.Answered)
	s.Refresh("upkeep_test_questions", "one")
	s.Refresh("upkeep_test_other", "two")
	servertest.Eventually(t, "a second answer", func() bool { return asked(s) >= 2 })
	if text := get(s); !strings.Contains(text, `upkeep_test_questions{server="two"} 1`+"\n") {
		t.Errorf("another was asked:\n%s", text)
	}
}

func TestUseReplaces(t *testing.T) {
	s := start(t, counter("test/a", "one", nil))
	servertest.Eventually(t, "a value", func() bool { return strings.Contains(get(s), `server="one"`) })
	if err := s.Use([]collectors.Collector{counter("test/a", "two", nil)}); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the new one", func() bool { return strings.Contains(get(s), `server="two"`) })
	if strings.Contains(get(s), `server="one"`) {
		t.Error("the old one is still served")
	}
}

func TestUseRefusesTwins(t *testing.T) {
	s := scrape.New(scrape.Config{Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	if err := s.Use([]collectors.Collector{counter("test/a", "one", nil), counter("test/a", "one", nil)}); err == nil {
		t.Error("two collectors of one name and target were taken")
	}
}

func TestGzip(t *testing.T) {
	s := start(t, counter("test/a", "one", nil))
	servertest.Eventually(t, "a value", s.Answered)
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip, deflate")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil || !bytes.Contains(text, []byte("upkeep_test_questions")) {
		t.Errorf("%v in:\n%s", err, text)
	}
}

// A client that takes gzip and one that does not read the same, and any reader of
// gzip can: it is one stream, with the checksum of the whole.
func TestGzipIsOneStream(t *testing.T) {
	s := start(t, counter("test/a", "one", nil), counter("test/b", "two", nil), still())
	servertest.Eventually(t, "a value", s.Answered)
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(z)
	if err != nil || !bytes.HasSuffix(text, []byte("\n")) || !bytes.Contains(text, []byte("upkeep_collector_samples")) {
		t.Fatalf("%v in:\n%s", err, text)
	}
	if w.Body.Len() != 0 {
		t.Errorf("%d bytes after the stream", w.Body.Len())
	}
}

// still is a collector that says the same each time, of a thousand subjects.
func still() collectors.Collector {
	m := &collectors.Metric{Name: "upkeep_test_rows", Type: collectors.Gauge, Help: "Rows.",
		Labels: []string{"server", "table"}}
	h := &collectors.Metric{Name: "upkeep_test_seconds", Type: collectors.Histogram, Help: "Seconds.",
		Labels: []string{"server"}}
	return collectors.Collector{
		Name: "test/still", Target: "one", Metrics: []*collectors.Metric{m, h}, Every: 20 * time.Millisecond,
		Timeout: time.Second, Limit: 900,
		Collect: func(_ context.Context, w *collectors.Writer) error {
			for i := range w.Limit() {
				w.Set(m, float64(i), "one", strconv.Itoa(i))
			}
			w.Cut(100)
			w.SetHistogram(h, []float64{0.1, 1}, []uint64{3, 2, 1}, 4.5, "one")
			return nil
		},
	}
}

// What is beyond the limit is a number and a line in the log, once.
func TestBeyondTheLimit(t *testing.T) {
	var log bytes.Buffer
	s := scrape.New(scrape.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registry: prometheus.NewRegistry()})
	if err := s.Use([]collectors.Collector{still()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	text := get(s)
	for _, want := range []string{`upkeep_collector_beyond_limit{collector="test/still",server="one"} 100`,
		`upkeep_test_seconds_bucket{server="one",le="+Inf"} 6`, `upkeep_test_seconds_sum{server="one"} 4.5`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if n := strings.Count(log.String(), "beyond=100"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

// What a collector notes of the configuration is in its status, and in the log once.
func TestNote(t *testing.T) {
	c := counter("test/a", "one", nil)
	ask := c.Collect
	c.Collect = func(ctx context.Context, w *collectors.Writer) error {
		w.Note(errors.New("exclude names nothing"))
		return ask(ctx, w)
	}
	var log bytes.Buffer
	s := scrape.New(scrape.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registry: prometheus.NewRegistry()})
	if err := s.Use([]collectors.Collector{c}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	servertest.Eventually(t, "three answers", func() bool { return asked(s) >= 3 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if is := s.Status()[0]; is.Note != "exclude names nothing" || is.Err != "" {
		t.Errorf("%+v", is)
	}
	if n := strings.Count(log.String(), "exclude names nothing"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

// While answers change, a reader gets complete ones.
func TestManyClients(t *testing.T) {
	s := start(t, counter("test/a", "one", nil), counter("test/b", "two", nil), still())
	servertest.Eventually(t, "a value", s.Answered)
	server := httptest.NewServer(s)
	defer server.Close()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 20 {
				res, err := server.Client().Get(server.URL) // takes gzip, and undoes it
				if err != nil {
					t.Error(err)
					return
				}
				text, err := io.ReadAll(res.Body)
				_ = res.Body.Close() // read to its end
				if n := bytes.Count(text, []byte("upkeep_test_rows{")); err != nil || n != 900 {
					t.Errorf("%d of 900 rows, %v", n, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// promtool is the field's own reader of the format and of its naming rules.
func TestPromtoolAccepts(t *testing.T) {
	s := start(t, counter("test/a", "one", nil))
	servertest.Eventually(t, "a value", s.Answered)
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(get(s))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool (Debian package prometheus): %v\n%s", err, out)
	}
}

func BenchmarkServe(b *testing.B) {
	m := &collectors.Metric{Name: "upkeep_test_rows", Type: collectors.Gauge, Help: "Rows.",
		Labels: []string{"server", "table"}}
	c := collectors.Collector{
		Name: "test/rows", Target: "one", Metrics: []*collectors.Metric{m}, Every: time.Hour, Timeout: time.Minute,
		Collect: func(_ context.Context, w *collectors.Writer) error {
			for range 100_000 {
				w.Set(m, 42, "one", "a_table_of_some_name")
			}
			return nil
		},
	}
	s := scrape.New(scrape.Config{Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	if err := s.Use([]collectors.Collector{c}); err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Run(b.Context()) }()
	for !s.Answered() {
		time.Sleep(time.Millisecond)
	}
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// What a collector wrote last can be read by target and metric, without a question to the target; what hangs is
// left out as in a scrape.
func TestRead(t *testing.T) {
	s := start(t, counter("test/a", "one", nil), counter("test/b", "two", nil), hanging())
	all := func(string) bool { return true }
	servertest.Eventually(t, "both have answered", func() error {
		for _, target := range []string{"one", "two"} {
			got, err := s.Read(target, all)
			if err != nil {
				return err
			}
			want := `upkeep_test_questions{server="` + target + `"} `
			if len(got) != 1 || !strings.HasPrefix(string(got[0].Text), want) || got[0].At.IsZero() ||
				got[0].Metric != "upkeep_test_questions" {
				return fmt.Errorf("%s: %+v", target, got)
			}
		}
		return nil
	})
	if got, err := s.Read("slow", all); err != nil || len(got) > 0 {
		t.Errorf("of one that hangs: %v %v", got, err)
	}
	if got, err := s.Read("one", func(m string) bool { return m == "another" }); err != nil || len(got) > 0 {
		t.Errorf("of another metric: %v %v", got, err)
	}
}
