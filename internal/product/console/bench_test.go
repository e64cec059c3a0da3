package console_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/look"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// maxPage is how large a page may be on its way.
const maxPage = 60 << 10

// stock puts runs and open incidents into the store, as years of work leave them.
func stock(tb testing.TB, s *store.Store, runs, incidents int) {
	tb.Helper()
	states := []remediate.State{remediate.Resolved, remediate.StateRefused, remediate.Unresolved, remediate.Cancelled}
	began := time.Now().Add(-300 * time.Hour) // in each of the times of which a policy's runs are counted
	err := s.Write(tb.Context(), func(tx *store.Tx) error {
		for i := range runs {
			state, reason, begun := states[i%4], "", 1
			if state == remediate.StateRefused {
				reason, begun = remediate.ReasonNothing, 0
			}
			at := store.Millis(began.Add(time.Duration(i) * time.Second))
			request := fmt.Sprintf(`{"action":"bed/reindex","subject":{"server":"main","table":"table_%d"},"policy":"bloat",`+
				`"mode":"auto","by":"alert/PostgresIndexBloat","limit":0.3}`, i)
			if _, err := tx.Exec("insert into runs (key, request, action, subject, state, why, reason, plan, before, after, due, "+
				"created, changed, policy, target, begun) values (?, ?, 'bed/reindex', ?, ?, ?, ?, ?, 0.5, 0.1, 0, ?, ?, 'bloat', "+
				"?, ?)",
				fmt.Sprint("k", i), request, fmt.Sprintf(`server="main",table="table_%d"`, i), string(state),
				"upkeep_bed_bloat_ratio went from 50 % to 10 %, limit 30 %", reason,
				`{"steps":[{"do":"REINDEX INDEX CONCURRENTLY \"public\".\"an_index_of_a_table\""}],"facts":["it is bloated"]}`,
				at, at, fmt.Sprint("server-", i%3), begun); err != nil {
				return err
			}
			if _, err := tx.Exec("insert into entries (run, entry, hash) values (?, ?, '')", i, fmt.Sprintf(
				`{"run":%d,"at":"2026-11-30T03:00:00Z","to":"resolved","why":"table_%d went from 50 %% to 10 %%"}`, i, i)); err != nil {
				return err
			}
		}
		for i := range incidents {
			severity := i % 4
			alert := fmt.Sprintf(`{"source":"alertmanager","labels":{"alertname":"PostgresIndexBloat","severity":"%s",`+
				`"server":"server-%d","table":"table_%d"},"annotations":{"summary":"50 %% of the index are empty"},"firing":true}`,
				remediate.Severity(severity), i%20, i)
			if _, err := tx.Exec("insert into incidents (key, name, severity, server, alert, opened, seen, settled) values "+
				"(?, 'PostgresIndexBloat', ?, ?, ?, ?, 0, 'all')", fmt.Sprint("i", i), severity, fmt.Sprint("server-", i%20), alert,
				store.Millis(began)); err != nil {
				return err
			}
		}
		for severity := range 4 {
			for server := range 20 {
				if _, err := tx.Exec("insert into incident_counts (scope, name, opened) values ('rated', ?, ?)",
					fmt.Sprintf("%d/server-%d", severity, server), incidents/80); err != nil {
					return err
				}
			}
		}
		_, err := tx.Exec("update incident_counts set opened = ? where scope = 'all'", incidents)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// sizes are a store of a new upkeep, and one of years.
func sizes() []stocked { return []stocked{{"new", 100, 100}, {"old", 100_000, 10_000}} }

type stocked struct {
	name            string
	runs, incidents int
}

// views are what people look at most.
func views() map[string]string {
	return map[string]string{"now": "/", "runs": "/runs", "all": "/runs?all=1", "state": "/runs?state=unresolved",
		"target": "/runs?target=server-1&policy=bloat", "text": "/runs?q=table_17", "missing": "/runs?q=no+such+run",
		"action": "/runs?action=bed%2Freindex&since=2020-01-01", "run": "/runs/50", "settings": "/settings", "reports": "/reports",
		"policies": "/policies", "policy": "/policies/bloat", "tried": "/policies/bloat/dry-run", "calendar": "/calendar",
		"inbox": "/inbox", "look": "/look",
		"journal": "/journal", "entries": "/journal?run=50", "nowhere": "/journal?q=no+such+text&kind=person"}
}

// view reads a page and returns its size on its way.
func view(tb testing.TB, h http.Handler, path string) int64 {
	tb.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodGet, path, nil)
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Accept-Encoding", "gzip")
	h.ServeHTTP(w, r)
	size := int64(w.Body.Len())
	if z, err := gzip.NewReader(w.Body); err != nil || w.Code != http.StatusOK {
		tb.Fatal(path, w.Code, err)
	} else if _, err := io.Copy(io.Discard, z); err != nil {
		tb.Fatal(path, err)
	}
	return size
}

// twice is how much more a page of an upkeep of years may cost than that of a new one, beyond what two measurements of
// one page differ by.
const (
	twice  = 2
	differ = 500 * time.Microsecond
)

// The pages of an upkeep of years cost at most twice those of a new one.
func BenchmarkPages(b *testing.B) {
	costs := make(map[string]time.Duration)
	for _, size := range sizes() {
		c := openBench(b, size.runs, size.incidents)
		for name, path := range views() {
			b.Run(name+"/"+size.name, func(b *testing.B) {
				for range 20 {
					view(b, c, path)
				}
				spent := processor(b)
				for b.Loop() {
					for range 20 {
						b.ReportMetric(float64(view(b, c, path))/1024, "KiB")
					}
				}
				cost := (processor(b) - spent) / time.Duration(20*b.N)
				b.ReportMetric(cost.Seconds()*1000, "cpu-ms/page")
				if was, there := costs[name]; there && size.name == "old" && cost > twice*was+differ {
					b.Errorf("%s costs %v with %d runs, and %v with %d", path, cost, size.runs, was, sizes()[0].runs)
				}
				costs[name] = cost
			})
		}
	}
}

// No page is larger than it may be, however much there is.
func TestSizes(t *testing.T) {
	t.Parallel()
	c := openBench(t, 3000, 10_000)
	for name, path := range views() {
		if size := view(t, c, path); size > maxPage {
			t.Errorf("%s has %d bytes", name, size)
		}
	}
}

// streams is how many pages are open, and maxStreams how much memory they may take, the browsers in this
// process included.
const (
	streams    = 500
	maxStreams = 100 << 20
)

// BenchmarkStreams has that many pages open: all hear of a change, and what they take is bounded.
func BenchmarkStreams(b *testing.B) {
	h, j := openStore(b, 100, 100)
	s := httptest.NewServer(h)
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: streams}}
	for b.Loop() {
		before := inUse()
		var all []*bufio.Reader
		ctx, end := context.WithCancel(b.Context())
		for range streams {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+console.EventsPath, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+adminToken)
			res, err := client.Do(r)
			if err != nil || res.StatusCode != http.StatusOK {
				b.Fatal(res, err)
			}
			defer func() { _ = res.Body.Close() }() // it is cut off
			all = append(all, bufio.NewReader(res.Body))
			hears(b, all[len(all)-1], "hello")
		}
		grown := inUse() - before
		if err := j.SetPause(ctx, remediate.Pause{Scope: "all", Reason: fmt.Sprint(b.N), By: "bench"}); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for _, one := range all {
			hears(b, one, "change")
		}
		b.ReportMetric(time.Since(began).Seconds()*1000, "ms-to-all")
		b.ReportMetric(float64(grown)/(1<<20), "MiB")
		if grown > maxStreams {
			b.Errorf("%d streams take %d MiB", streams, grown>>20)
		}
		end()
	}
}

// hears reads a stream up to an event.
func hears(b *testing.B, r *bufio.Reader, event string) {
	b.Helper()
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if text == "event: "+event+"\n" {
			return
		}
	}
}

// inUse is the memory of the process: its heap and its stacks.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func openBench(tb testing.TB, runs, incidents int) http.Handler {
	tb.Helper()
	h, _ := openStore(tb, runs, incidents)
	return h
}

func openStore(tb testing.TB, runs, incidents int) (http.Handler, *journal.Journal) {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	stock(tb, s, runs, incidents)
	j := journal.New(journal.Config{Store: s})
	i := inbox.New(inbox.Config{Store: s, Wake: func() {}})
	e := engine.New(engine.Config{Journal: j, Inbox: i, Guards: func() []remediate.Guard { return nil },
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	err = e.Use([]remediate.Action{{Name: "bed/reindex", Target: "main", Lowers: "upkeep_bed_bloat_ratio",
		Subject: []string{"server", "table"}, Timeout: time.Second}},
		[]policy.Policy{{Name: "bloat", Steps: []policy.Step{{Action: "bed/reindex", Mode: remediate.Ask}}}})
	if err != nil {
		tb.Fatal(err)
	}
	return mount(console.Config{Inbox: i, Journal: j, Engine: e,
		Scheduler: schedule.NewScheduler(schedule.Config{Store: s, Journal: j, Now: time.Now,
			Logger: slog.New(slog.DiscardHandler)}, nil),
		Look:   func(context.Context) (look.Report, error) { return seen(), nil },
		Portal: portal.Portal{Logger: slog.New(slog.DiscardHandler)}}), j
}

// processor is how long the process has used processors.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
