package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// BenchmarkAlertToAction posts alerts of one incident each over HTTP on the loopback
// and measures from the answer, which says that they are on disk, until the action
// starts: one at a time, and at a hundred incidents a second.
func BenchmarkAlertToAction(b *testing.B) {
	b.Run("idle", func(b *testing.B) {
		l := newLane(b)
		var took []time.Duration
		for b.Loop() {
			for range 200 {
				took = append(took, l.post())
			}
		}
		report(b, took)
	})
	b.Run("100 a second", func(b *testing.B) {
		l := newLane(b)
		var took []time.Duration
		for b.Loop() {
			took = append(took, l.steady(100, 10*time.Second)...)
		}
		report(b, took)
	})
}

func report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	ms := func(q float64) float64 {
		return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
	b.ReportMetric(ms(1), "max-ms")
}

// A lane is the way of an alert from the webhook to the target.
type lane struct {
	b   *testing.B
	url string
	n   int

	mu    sync.Mutex
	began map[string]chan time.Time // by table: when its action has started
}

// newLane starts everything that is on the way, on a file that is synchronized at
// each commit.
func newLane(b *testing.B) *lane {
	b.Helper()
	s, err := store.Open(b.Context(), store.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	l := &lane{b: b, began: make(map[string]chan time.Time)}
	h := &harness{store: s, journal: journal.New(journal.Config{Store: s, Lease: lease}), mode: remediate.Auto, slots: 8,
		guards: guard.Config{Limits: guard.Limits{All: 8}}}
	h.inbox = inbox.New(inbox.Config{Store: s, Wake: func() { h.waker.Load().Wake() }})
	h.actions = func() []remediate.Action {
		return []remediate.Action{{
			Name: "machine/repair", Target: "main", Lowers: "upkeep_machine_damage", Subject: []string{"server", "table"},
			Exclusive: []string{"server", "table"}, Timeout: time.Minute, Executor: l,
		}}
	}
	e := h.engine(h.journal)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Run(ctx) }() // it ends with the benchmark
	server := httptest.NewServer(webhook.New(webhook.Config{Inbox: h.inbox, Logger: slog.New(slog.DiscardHandler),
		Registerer: prometheus.NewRegistry()}))
	b.Cleanup(func() {
		server.Close()
		cancel()
		<-ended
		_ = s.Close() // nothing of it is kept
	})
	l.url = server.URL
	return l
}

// next announces a table and returns the channel of the start of its action.
func (l *lane) next() (table string, began chan time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	table, began = fmt.Sprint("t", l.n), make(chan time.Time, 1)
	l.began[table] = began
	return table, began
}

// post delivers one alert and returns how long after the answer its action has started.
func (l *lane) post() time.Duration {
	table, began := l.next()
	body := fmt.Sprintf(`{"version": "4", "alerts": [{"status": "firing", "startsAt": "2026-01-02T03:04:05Z",
		"labels": {"alertname": "Damaged", "server": "main", "table": %q}, "annotations": {"limit": "0"}}]}`, table)
	res, err := http.Post(l.url, "application/json", strings.NewReader(body))
	if err != nil {
		l.b.Error(err)
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body) // the status says it all
	_ = res.Body.Close()
	answered := time.Now()
	if res.StatusCode != http.StatusOK {
		l.b.Errorf("%s: %s", table, res.Status)
		return 0
	}
	select {
	case at := <-began:
		return max(0, at.Sub(answered)) // it may have started before the answer was read
	case <-time.After(time.Minute):
		l.b.Errorf("nothing was done about %s", table)
		return time.Minute
	}
}

// steady posts at a rate, whether or not the ones before have been seen to.
func (l *lane) steady(rate int, long time.Duration) (took []time.Duration) {
	var all sync.WaitGroup
	var mu sync.Mutex
	every := time.NewTicker(time.Second / time.Duration(rate))
	defer every.Stop()
	for range int(long.Seconds() * float64(rate)) {
		<-every.C
		all.Go(func() {
			d := l.post()
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d)
		})
	}
	all.Wait()
	return took
}

// Plan implements remediate.Executor.
func (l *lane) Plan(_ context.Context, r remediate.Request) (remediate.Plan, error) {
	return remediate.Plan{Steps: []remediate.Step{{Do: "repair", Args: r.Subject}}}, nil
}

// Apply implements remediate.Executor.
func (l *lane) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if began := l.began[s.Args["table"]]; began != nil {
		began <- time.Now()
		delete(l.began, s.Args["table"])
	}
	return f.Check(ctx)
}

// Measure implements remediate.Executor: what was begun is repaired.
func (l *lane) Measure(_ context.Context, r remediate.Request) (float64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began[r.Subject["table"]] != nil {
		return 10, nil
	}
	return 0, nil
}
