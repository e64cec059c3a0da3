package report_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/report"
)

const day = 24 * time.Hour

// The history is of July and August 2026: 62 days. Of two days in August, and of the first half of
// a third one, there are no data.
func begin() time.Time { return time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC) }
func month() time.Time { return time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC) }
func end() time.Time   { return time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC) }

func missing(at time.Time) bool {
	return in(at, 8, 12, 0, 48) || in(at, 8, 20, 0, 12)
}

// in reports whether a sample is of a number of hours from an hour on. A sample at midnight ends the
// day before.
func in(at time.Time, m, d, hour, hours int) bool {
	from := time.Date(2026, time.Month(m), d, hour, 0, 0, 0, time.UTC)
	return at.After(from) && !at.After(from.Add(time.Duration(hours)*time.Hour))
}

// A history keeps what was written to the storage, for a second look at it.
type history struct {
	t    testing.TB
	db   *tsdb.DB
	step time.Duration
	from time.Time
	to   time.Time
	kept map[string][]prom.Point // by name and labels
}

func newHistory(t testing.TB, step time.Duration) *history {
	t.Helper()
	o := tsdb.DefaultOptions() // one block: series are written one after the other
	o.RetentionDuration, o.MinBlockDuration, o.MaxBlockDuration = 0, (400 * day).Milliseconds(),
		(400 * day).Milliseconds()
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &history{t: t, db: db, step: step, from: begin(), to: end(), kept: make(map[string][]prom.Point)}
}

// series writes a value at each step; NaN is no sample.
func (h *history) series(value func(at time.Time) float64, name string, pairs ...string) {
	h.t.Helper()
	l := labels.FromStrings(append([]string{"__name__", name}, pairs...)...)
	a := h.db.Appender(context.Background())
	var kept []prom.Point
	ref, n := storage.SeriesRef(0), 0
	for at := h.from; !at.After(h.to); at = at.Add(h.step) {
		v := value(at)
		if math.IsNaN(v) || missing(at) {
			continue
		}
		if h.step > time.Minute { // a benchmark has no second look
			kept = append(kept, prom.Point{At: at, Value: v})
		}
		var err error
		if ref, err = a.Append(ref, l, at.UnixMilli(), v); err != nil {
			h.t.Fatalf("%s at %s: %v", l, at, err)
		}
		if n++; n%20000 == 0 {
			if err := a.Commit(); err != nil {
				h.t.Fatal(err)
			}
			a = h.db.Appender(context.Background())
		}
	}
	h.kept[l.String()] = kept
	if err := a.Commit(); err != nil {
		h.t.Fatal(err)
	}
}

// steady returns the same value always.
func steady(v float64) func(time.Time) float64 { return func(time.Time) float64 { return v } }

// before and after are there in a part of the history.
func before(until time.Time, f func(time.Time) float64) func(time.Time) float64 {
	return func(at time.Time) float64 {
		if at.After(until) {
			return math.NaN()
		}
		return f(at)
	}
}

func after(from time.Time, f func(time.Time) float64) func(time.Time) float64 {
	return func(at time.Time) float64 {
		if !at.After(from) {
			return math.NaN()
		}
		return f(at)
	}
}

// counter counts so much in each step; it stays where there are no data, and begins anew
// when the process starts again.
func (h *history) counter(perStep func(at time.Time) float64, restart time.Time) func(time.Time) float64 {
	sum := 0.0
	return func(at time.Time) float64 {
		if at.Equal(restart) {
			sum = 0
		}
		if !missing(at) {
			sum += perStep(at)
		}
		return sum
	}
}

// points are the samples of a series within a time, the begin of which is not part of it.
func (h *history) points(from, to time.Time, name string, pairs ...string) (all []float64) {
	h.t.Helper()
	key := labels.FromStrings(append([]string{"__name__", name}, pairs...)...).String()
	points, ok := h.kept[key]
	if !ok {
		h.t.Fatalf("no series %s", key)
	}
	for _, p := range points {
		if p.At.After(from) && !p.At.After(to) {
			all = append(all, p.Value)
		}
	}
	return all
}

func mean(all []float64) float64 {
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	return sum / float64(len(all))
}

// An engine answers as Prometheus does.
type engine struct {
	*promql.Engine
	db *tsdb.DB
}

func newEngine(db *tsdb.DB) engine {
	return engine{promql.NewEngine(promql.EngineOpts{MaxSamples: 20_000_000, Timeout: time.Minute,
		LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		Parser:                   parser.NewParser(parser.Options{}),
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() }}), db}
}

func (e engine) Query(ctx context.Context, expr string, at time.Time) (all []prom.Sample, err error) {
	q, err := e.NewInstantQuery(ctx, e.db, nil, expr, at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	defer q.Close()
	v, err := q.Exec(ctx).Vector()
	for _, s := range v {
		all = append(all, prom.Sample{Labels: s.Metric.Map(), Value: s.F})
	}
	return all, err
}

func (e engine) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (all []prom.Series,
	err error) {
	q, err := e.NewRangeQuery(ctx, e.db, nil, expr, from, to, step)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	defer q.Close()
	m, err := q.Exec(ctx).Matrix()
	for _, s := range m {
		one := prom.Series{Labels: s.Metric.Map()}
		for _, p := range s.Floats {
			one.Points = append(one.Points, prom.Point{At: time.UnixMilli(p.T).UTC(), Value: p.F})
		}
		all = append(all, one)
	}
	return all, err
}

var _ report.Prometheus = engine{}

// noise is a number from 0 to 1 that a moment has always.
func noise(at time.Time, seed int) float64 {
	x := uint64(at.Unix())*0x9E3779B97F4A7C15 + uint64(seed)*0xBF58476D1CE4E5B9
	x ^= x >> 31
	x *= 0x94D049BB133111EB
	x ^= x >> 29
	return float64(x%1000) / 1000
}

// buckets are the upper bounds of the latency histogram.
func buckets() []string { return []string{"0.05", "0.1", "0.25", "0.5", "1", "+Inf"} }

// fill writes the history of three services, one PostgreSQL, one Redis, one machine. statements is
// how many of them there are.
func (h *history) fill(statements int) {
	never := time.Time{}
	h.series(steady(1), "upkeep_build_info", "version", "test")
	for i, job := range []string{"auth-service", "user-api", "admin-api"} {
		h.series(func(at time.Time) float64 {
			if noise(at, i) < 0.01*float64(i) {
				return 0
			}
			return 1
		}, "upkeep_probe_healthy", "server", job)
		h.http(job, i)
	}
	for _, c := range []string{"unusedindex", "duplicateindex", "invalidindex", "indexbloat", "tablebloat",
		"statements"} {
		h.series(steady(1), "upkeep_collector_success", "collector", "postgres/"+c, "server", "main")
	}
	for i := range statements {
		id := []string{"server", "main", "database", "apidb", "user", "app", "queryid", strconv.Itoa(1000 + i)}
		restart := time.Date(2026, 8, 6, 3, 0, 0, 0, time.UTC)
		calls := func(at time.Time) float64 { return float64(1 + i%7) }
		h.series(h.counter(calls, restart), "upkeep_postgres_statement_calls_total", id...)
		h.series(h.counter(func(at time.Time) float64 {
			cost := 0.001 * float64(i+1)
			if at.After(month()) && i%5 == 0 {
				cost *= 3 // it has become slow
			}
			return calls(at) * cost
		}, restart), "upkeep_postgres_statement_seconds_total", id...)
		h.series(steady(1), "upkeep_postgres_statement_info", "server", "main", "queryid", strconv.Itoa(1000+i),
			"query",
			fmt.Sprintf("SELECT * FROM orders_%d WHERE id = $1", i))
	}
	h.series(h.counter(func(at time.Time) float64 { return 90 + noise(at, 5) }, never),
		"upkeep_redis_keyspace_hits_total",
		"server", "cache")
	h.series(h.counter(func(at time.Time) float64 { return 10 + noise(at, 6) }, never),
		"upkeep_redis_keyspace_misses_total", "server", "cache")
	h.capacity()
	h.indexes()
	h.care()
}

// http writes counters of requests, and what the rules record of them.
func (h *history) http(job string, i int) {
	count := func(at time.Time) float64 { return 100 + math.Floor(50*noise(at, 10+i)) }
	failed := func(at time.Time) float64 { return math.Floor(3 * noise(at, 20+i)) }
	perStep := func(f func(time.Time) float64) func(time.Time) float64 {
		return func(at time.Time) float64 { return f(at) / h.step.Seconds() }
	}
	h.series(h.counter(func(at time.Time) float64 { return count(at) - failed(at) }, time.Time{}),
		"http_requests_total",
		"job", job, "status", "200")
	h.series(h.counter(failed, time.Time{}), "http_requests_total", "job", job, "status", "500")
	h.series(perStep(count), "job:http_requests:rate5m", "job", job)
	h.series(perStep(failed), "job:http_requests_errors:rate5m", "job", job)
	for k, le := range buckets() {
		within := func(at time.Time) float64 {
			share := 1 - math.Pow(0.5, float64(k+1)) + 0.02*noise(at, 30+i)
			if le == "+Inf" {
				share = 1
			}
			return math.Floor(count(at) * share)
		}
		h.series(h.counter(within, time.Time{}), "http_request_duration_seconds_bucket", "job", job, "le", le)
		h.series(perStep(within), "job_le:http_request_duration_seconds_bucket:rate5m", "job", job, "le", le)
	}
}

// capacity writes what the rules record of a file system that fills up, and of a database.
func (h *history) capacity() {
	const gib = 1 << 30
	fs := []string{"resource", "filesystem", "server", "host", "mountpoint", "/", "device", "vda1", "fstype", "ext4"}
	db := []string{"resource", "database", "server", "main", "database", "apidb"}
	days := func(at time.Time) float64 { return at.Sub(begin()).Hours() / 24 }
	midnight := func(f func(time.Time) float64) func(time.Time) float64 {
		return func(at time.Time) float64 {
			if at.Hour() != 0 || at.Minute() != 0 {
				return math.NaN()
			}
			return f(at)
		}
	}
	for _, r := range []struct {
		labels []string
		used   func(time.Time) float64
		limit  float64
		growth float64
	}{
		{fs, func(at time.Time) float64 { return (20 + 0.5*days(at)) * gib }, 80 * gib, 0.5 * gib},
		{db, func(at time.Time) float64 { return (2 + 0.1*days(at)) * gib }, 0, 0.1 * gib},
	} {
		h.series(r.used, "upkeep:capacity_used:max1d", r.labels...)
		h.series(midnight(r.used), "upkeep:capacity_used:day", r.labels...)
		h.series(steady(r.growth), "upkeep:capacity_growth_per_day:median28d", r.labels...)
		h.series(steady(r.growth*1.5), "upkeep:capacity_growth_per_day:p90_28d", r.labels...)
		if r.limit > 0 {
			h.series(steady(r.limit), "upkeep:capacity_limit", r.labels...)
			h.series(func(at time.Time) float64 { return 86400 * (r.limit - r.used(at)) / r.growth },
				"upkeep:capacity_seconds_to_limit:likely", r.labels...)
			h.series(func(at time.Time) float64 { return 86400 * (r.limit - r.used(at)) / r.growth / 1.5 },
				"upkeep:capacity_seconds_to_limit:soon", r.labels...)
		}
	}
}

func index(table, name string, more ...string) []string {
	return append([]string{"server", "main", "database", "apidb", "schema", "public", "table", table, "index", name},
		more...)
}

// indexes writes advice: one was dropped by upkeep, one by a person, one is still there, one is new.
func (h *history) indexes() {
	const unused, duplicate = "upkeep_postgres_index_unused_bytes", "upkeep_postgres_index_duplicate_bytes"
	mid := month().Add(9 * day)
	h.series(before(mid, steady(64<<20)), unused, index("orders", "orders_old_idx")...)
	h.series(before(mid, steady(32<<20)), unused, index("orders", "orders_by_hand_idx")...)
	h.series(steady(16<<20), unused, index("orders", "orders_still_idx")...)
	h.series(after(mid, steady(8<<20)), duplicate, index("users", "users_twin_idx", "covered_by", "users_pkey", "kind",
		"identical")...)
	for i, table := range []string{"orders", "users"} {
		l := []string{"server", "main", "database", "apidb", "schema", "public", "table", table, "method", "estimate"}
		h.series(func(at time.Time) float64 { return float64((i+1)<<20) * (1 + at.Sub(begin()).Hours()/24) },
			"upkeep_postgres_table_bloat_bytes", l...)
		h.series(steady(0.25), "upkeep_postgres_table_bloat_ratio", l...)
	}
	h.series(steady(40<<20), "upkeep_postgres_index_bloat_bytes", index("orders", "orders_pkey", "method",
		"estimate")...)
	h.series(steady(0.5), "upkeep_postgres_index_bloat_ratio", index("orders", "orders_pkey", "method", "estimate")...)
}

// care writes what is known of backups and packages.
func (h *history) care() {
	for name, f := range map[string]func(time.Time) float64{
		"upkeep_backups":        steady(7),
		"upkeep_backup_last_ok": steady(1),
		"upkeep_backup_last_timestamp_seconds": func(at time.Time) float64 {
			return float64(at.Truncate(day).Unix())
		},
		"upkeep_backup_verified_timestamp_seconds": steady(float64(month().Unix())),
	} {
		h.series(f, name, "server", "main", "stanza", "main")
	}
	for i, kind := range []string{"security", "other"} {
		h.series(func(at time.Time) float64 { return math.Floor(at.Sub(begin()).Hours()/24/10) + float64(i) },
			"upkeep_host_updates_pending", "server", "host", "kind", kind)
	}
	for i, level := range []string{"critical", "high"} {
		h.series(func(at time.Time) float64 {
			if at.After(month().Add(20 * day)) {
				return float64(i)
			}
			return float64(2 + i)
		}, "upkeep_packages_vulnerabilities", "server", "user-api", "level", level)
	}
}
