package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

const (
	// faster is how many times as often as by default each collector is asked: what a user pays in
	// ten minutes is measured in twenty seconds.
	faster = 30

	// measured is how long each is measured.
	measured = 20 * time.Second

	// scraped is how often a user's Prometheus scrapes.
	scraped = 15 * time.Second
)

// An hourly cost is the CPU time of an exporter and of the server that it asks, in an hour.
type hourly struct{ exporter, server time.Duration }

// BenchmarkHour measures what upkeep and the peers cost a user in an hour who scrapes each 15 s: with all collectors
// of upkeep at their own intervals, and all that the peer collects by default. What each takes when nothing is asked
// is measured by itself, since that does not come more often.
func BenchmarkHour(b *testing.B) {
	b.Run("redis", func(b *testing.B) {
		s := servertest.Redis(b)
		r, err := target.NewRedis(target.RedisConfig{Name: "main", URL: s.URL})
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		all := catalog.Collectors(target.Set{Redis: []*target.Redis{r}})
		for range b.N {
			ours := hourOfUpkeep(b, fmt.Sprintf("redis: [{name: main, url: %q}]", s.URL), all, s.PID())
			theirs := hourOfPeer(b, s.PID(), "http://127.0.0.1:19121/metrics", nil, "prometheus-redis-exporter",
				"-web.listen-address=127.0.0.1:19121", "-redis.addr="+s.URL)
			reportHour(b, ours, theirs)
		}
	})
	for _, tc := range []struct{ databases, tables int }{{1, 100}, {50, 50}} {
		b.Run(fmt.Sprintf("databases=%d,tables=%d", tc.databases, tc.tables), func(b *testing.B) {
			s := populated(b, tc.databases, tc.tables, 0)
			p, err := target.NewPostgres(target.PostgresConfig{Name: "main", URL: s.URL})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			queries := filepath.Join(b.TempDir(), "queries.yaml")
			if err := os.WriteFile(queries, []byte(peerQueries()), 0o600); err != nil {
				b.Fatal(err)
			}
			source := fmt.Sprintf("host=127.0.0.1 port=%d user=upkeep dbname=postgres sslmode=disable", s.Port)
			all := catalog.Collectors(target.Set{Postgres: []*target.Postgres{p}})
			for range b.N {
				theirs := hourOfPeer(b, postmaster(b, s), "http://127.0.0.1:19187/metrics",
					[]string{"DATA_SOURCE_NAME=" + source}, "prometheus-postgres-exporter",
					"--web.listen-address=127.0.0.1:19187", "--extend.query-path="+queries, "--auto-discover-databases")
				stop := busy(b, s, tc.databases) // and is measured with the rest
				ours := hourOfUpkeep(b, fmt.Sprintf("postgres: [{name: main, url: %q}]", s.URL), all, postmaster(b, s))
				stop()
				reportHour(b, ours, theirs)
			}
		})
	}
}

func reportHour(b *testing.B, ours, theirs hourly) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // says nothing here
	for unit, v := range map[string][2]time.Duration{"s-CPU/h": {ours.exporter, theirs.exporter},
		"s-server-CPU/h": {ours.server, theirs.server}} {
		b.ReportMetric(v[0].Seconds(), unit)
		b.ReportMetric(v[1].Seconds(), unit+"-peer")
		b.ReportMetric(v[0].Seconds()/max(v[1].Seconds(), 0.001), "ratio-"+unit)
	}
}

// window measures both processes while do goes on.
func window(b *testing.B, exporter, server int, do func()) hourly {
	b.Helper()
	cpu, served := spent(b, exporter), spent(b, server)
	do()
	return hourly{spent(b, exporter) - cpu, spent(b, server) - served}
}

func hourOfUpkeep(b *testing.B, targets string, all []collectors.Collector, server int) hourly {
	b.Helper()
	const names = "    %s: {every: %dms}\n"
	var quick, rare strings.Builder
	for _, c := range all {
		fmt.Fprintf(&quick, names, c.Name, (c.Every / faster).Milliseconds())
		fmt.Fprintf(&rare, names, c.Name, (24 * time.Hour).Milliseconds())
	}
	run := func(settings string, do func(e *exporter)) hourly {
		dir := b.TempDir()
		config := filepath.Join(dir, "upkeep.yaml")
		text := "data_dir: data\nweb: {listen: '127.0.0.1:19848', metrics_open: true}\nembedded: {enabled: false}\n" +
			"targets: {" + targets + "}\ncollectors:\n  settings:\n" + settings
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		e := exporting(b, "http://127.0.0.1:19848/metrics", nil, built(b, "upkeep"), "serve", "--config", config)
		defer e.stop()
		time.Sleep(settled()) // and every collector has been asked once
		return window(b, e.cmd.Process.Pid, server, func() { do(e) })
	}
	alone := unasked(b, server)
	rest := run(rare.String(), func(*exporter) { time.Sleep(sized(measured, 0)) })
	work := run(quick.String(), (*exporter).scrapeOften)
	const parts = time.Hour / measured // of an hour
	return hourly{parts/faster*(work.exporter-rest.exporter) + parts*rest.exporter,
		parts/faster*(work.server-rest.server) + parts*(rest.server-alone)}
}

// scrapeOften scrapes as often as Prometheus does, so much faster.
func (e *exporter) scrapeOften() {
	for range sized(int(measured/(scraped/faster)), 1) {
		time.Sleep(sized(scraped/faster, 0))
		e.scrape()
	}
}

// unasked measures what the server does by itself, and for who else is there.
func unasked(b *testing.B, server int) time.Duration {
	b.Helper()
	began := spent(b, server)
	time.Sleep(sized(measured, 0))
	return spent(b, server) - began
}

func hourOfPeer(b *testing.B, server int, url string, env []string, args ...string) hourly {
	b.Helper()
	e := exporting(b, url, env, args...)
	defer e.stop()
	e.scrape() // its first connections
	alone := unasked(b, server)
	h := window(b, e.cmd.Process.Pid, server, func() { e.scrapeOften() })
	const parts = time.Hour / measured / faster
	return hourly{parts * h.exporter, parts * (h.server - alone)}
}
