package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

var (
	archived = flag.Int("archived", 400_000, "how many rows the benchmark of the archive moves, of half as many more") //nolint:gochecknoglobals // flags of the benchmark
	rounds   = flag.Int("rounds", 3, "how often it does so each way")                                                  //nolint:gochecknoglobals // the same
)

// A way is one of moving the rows, and what was measured of it.
type way struct {
	name   string
	move   func(b *testing.B, url, database string)
	rate   []float64 // rows in a second
	cpu    []float64 // seconds of the server
	wal    []float64 // bytes
	update []float64 // the longest that an update took, in seconds
	read   []float64
}

// BenchmarkArchive moves two thirds of a table's rows, as postgres/archive does and
// as INSERT … SELECT and DELETE in one transaction do: alone, for speed, and beside
// clients, for how long those are kept waiting.
func BenchmarkArchive(b *testing.B) {
	dir, err := servertest.Dir()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := sandbox.StartPostgres(b.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Settings: map[string]string{
			"autovacuum": "off", "shared_buffers": "512MB", "max_wal_size": "16GB", "checkpoint_timeout": "1h",
			"min_wal_size": "4GB",
		}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Stop() })
	template := strings.Replace(s.URL, "/postgres?", "/stock?", 1)
	servertest.Exec(b, s.URL, "create database stock")
	servertest.Exec(b, template,
		"create table logs (id bigint generated always as identity primary key, created_at timestamptz not null, "+
			"level text not null, service text not null, message text not null)",
		fmt.Sprintf("insert into logs (created_at, level, service, message) select now() - interval '540 days' + i * "+
			"(interval '540 days' / %d), 'info', 'service-' || i %% 20, repeat(md5(i::text), 4) from "+
			"generate_series(1, %d) i", *archived*3/2, *archived*3/2),
		"create index on logs (created_at)", "create table logs_archive (like logs including all)",
		"vacuum (analyze) logs")
	ways := []*way{{name: "INSERT and DELETE", move: naively}, {name: "upkeep", move: byAction}}
	for b.Loop() {
		for range *rounds {
			for _, w := range ways {
				w.alone(b, s)
			}
			for _, w := range ways {
				w.beside(b, s)
			}
		}
	}
	naive, ours := ways[0], ways[1]
	b.Logf("%d of %d rows, medians of %d:", *archived, *archived*3/2, len(naive.rate))
	for _, row := range []struct {
		what        string
		one, two    []float64
		unit, limit string
	}{
		{"rows in a second", naive.rate, ours.rate, "%.0f", ">= 0.8"},
		{"server CPU, s", naive.cpu, ours.cpu, "%.2f", "<= 1.25"},
		{"WAL, MiB", naive.wal, ours.wal, "%.0f", "<= 1.05"},
		{"longest update, s", naive.update, ours.update, "%.3f", "<= 0.067"},
		{"longest read, s", naive.read, ours.read, "%.3f", ""},
	} {
		one, two := median(row.one), median(row.two)
		b.Logf("%-18s naive "+row.unit+" upkeep "+row.unit+" ratio %.3f %s", row.what, one, two, two/one, row.limit)
	}
	b.ReportMetric(median(ours.rate), "rows/s")
	b.ReportMetric(median(ours.rate)/median(naive.rate), "rows/s-ratio")
	b.ReportMetric(median(ours.cpu)/median(naive.cpu), "cpu-ratio")
	b.ReportMetric(median(ours.wal)/median(naive.wal), "wal-ratio")
	b.ReportMetric(median(ours.update)/median(naive.update), "stall-ratio")
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// fresh makes a database like the template, and has everything before it written.
func fresh(b *testing.B, s *sandbox.Postgres) (url, database string) {
	b.Helper()
	database = fmt.Sprintf("bench_%08x", rand.Uint32())
	servertest.Exec(b, s.URL, "create database "+database+" template stock strategy file_copy", "checkpoint")
	return strings.Replace(s.URL, "/postgres?", "/"+database+"?", 1), database
}

func (w *way) alone(b *testing.B, s *sandbox.Postgres) {
	b.Helper()
	url, database := fresh(b, s)
	wal, cpu, began := written(b, url), serverCPU(b, s), time.Now()
	w.move(b, url, database)
	w.rate = append(w.rate, float64(*archived)/time.Since(began).Seconds())
	w.cpu = append(w.cpu, serverCPU(b, s)-cpu)
	w.wal = append(w.wal, (written(b, url)-wal)/(1<<20))
	finish(b, s, url, database)
}

// beside moves the rows while clients update and read single rows, old ones too.
func (w *way) beside(b *testing.B, s *sandbox.Postgres) {
	b.Helper()
	url, database := fresh(b, s)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var update, read atomic.Int64
	for i := range 4 {
		sql, longest := "update logs set level = 'seen' where id = $1", &update
		if i%2 == 1 {
			sql, longest = "select level from logs where id = $1", &read
		}
		clients.Go(func() { client(b, url, sql, longest, stop) })
	}
	time.Sleep(200 * time.Millisecond) // they have connected
	update.Store(0)
	read.Store(0)
	w.move(b, url, database)
	close(stop)
	clients.Wait()
	w.update, w.read = append(w.update, time.Duration(update.Load()).Seconds()),
		append(w.read, time.Duration(read.Load()).Seconds())
	finish(b, s, url, database)
}

func client(b *testing.B, url, sql string, longest *atomic.Int64, stop <-chan struct{}) {
	ctx := context.WithoutCancel(b.Context())
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = c.Close(ctx) }() // it has done its part
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
		began := time.Now()
		if _, err := c.Exec(ctx, sql, 1+rand.IntN(*archived*3/2)); err != nil {
			b.Error(err)
			return
		}
		longest.Store(max(longest.Load(), int64(time.Since(began)))) // two at it may lose one value of many
	}
}

func finish(b *testing.B, s *sandbox.Postgres, url, database string) {
	b.Helper()
	c, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	var source, archive int
	err = c.QueryRow(b.Context(), "select (select count(*) from logs), (select count(*) from logs_archive)").
		Scan(&source, &archive)
	if err != nil || source+archive != *archived*3/2 || archive < *archived-*archived/100 {
		b.Errorf("%d and %d rows: %v", source, archive, err)
	}
	_ = c.Close(b.Context()) // it has read
	servertest.Exec(b, s.URL, "drop database "+database+" with (force)")
}

func naively(b *testing.B, url, _ string) {
	b.Helper()
	servertest.Exec(b, url, `do $$ declare cut timestamptz := now() - interval '180 days'; begin
		insert into logs_archive overriding system value select * from logs where created_at < cut;
		delete from logs where created_at < cut; end $$`)
}

func byAction(b *testing.B, url, database string) {
	b.Helper()
	entry := target.Archive{Database: database, Schema: "public", Table: "logs", Column: "created_at",
		After: 180 * 24 * time.Hour, To: target.Destination{Schema: "public", Table: "logs_archive"}}
	p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: url, Archives: []target.Archive{entry}})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	a := postgres.Archive(p)
	plan, err := a.Plan(b.Context(), remediate.Request{Subject: map[string]string{"server": "main",
		"database": database, "schema": "public", "table": "logs"}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	if err := a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, plan.Steps[0]); err != nil {
		b.Fatal(err)
	}
}

func written(b *testing.B, url string) float64 {
	b.Helper()
	c, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close(b.Context()) }() // it has read
	var n float64
	if err := c.QueryRow(b.Context(), "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8").
		Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// serverCPU returns the CPU time of a server in seconds: of its processes that run
// and of those that have ended.
func serverCPU(b *testing.B, s *sandbox.Postgres) float64 {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "data", "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(text), "\n")
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	ticks := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		head, rest, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(rest)
		mine := strings.HasPrefix(head, pid+" ")
		if !mine && f[1] != pid {
			continue
		}
		fields := f[11:13]
		if mine {
			fields = f[11:15] // with those that have ended
		}
		for _, v := range fields {
			n, _ := strconv.Atoi(v) // the kernel writes numbers
			ticks += n
		}
	}
	return float64(ticks) / 100 // USER_HZ is 100 on Linux
}
