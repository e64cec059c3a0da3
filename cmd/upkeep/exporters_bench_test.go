package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// An exporter is a process that is scraped.
type exporter struct {
	b      *testing.B
	cmd    *exec.Cmd
	url    string
	wait   func() error // for its end
	log    *bytes.Buffer
	client *http.Client
}

func exporting(b *testing.B, url string, env []string, args ...string) *exporter {
	b.Helper()
	e := &exporter{b: b, url: url, log: new(bytes.Buffer),
		client: &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	e.cmd = exec.CommandContext(context.Background(), args[0], args[1:]...)
	e.cmd.Env = append(os.Environ(), env...)
	e.cmd.Stderr, e.cmd.Dir = e.log, b.TempDir()
	var err error
	if e.wait, err = sandbox.Start(e.cmd); err != nil {
		b.Fatalf("%v: tools/install-deps.sh test installs it", err)
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if res, err := e.client.Get(url); err == nil {
			_ = res.Body.Close() // not read
			return e
		}
		if time.Now().After(end) {
			b.Fatalf("%s does not answer:\n%s", args[0], e.log)
		}
	}
}

func (e *exporter) stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // it runs
	_ = e.wait()                              // by that signal
}

// scrape scrapes as Prometheus does, and returns the number of series.
func (e *exporter) scrape() (series int, took time.Duration) {
	e.b.Helper()
	began := time.Now()
	res, err := e.client.Get(e.url) // takes gzip, and undoes it
	if err != nil {
		e.b.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // read to its end
	took = time.Since(began)
	if err != nil || res.StatusCode != http.StatusOK {
		e.b.Fatalf("%s: %v\n%.500s", res.Status, err, text)
	}
	return bytes.Count(text, []byte("\n")) - bytes.Count(text, []byte("\n# ")), took
}

// scrapes scrapes n times, many clients at once, and returns how long they took, sorted.
func (e *exporter) scrapes(n, clients int) []time.Duration {
	e.b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var workers sync.WaitGroup
	for range clients {
		workers.Go(func() {
			for range n / clients {
				_, took := e.scrape()
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(all)
	return all
}

// spent returns the CPU time of a process, of its children that live, and of those that it has waited for. The first
// two are exact; the last one is counted in ticks of 10 ms.
func spent(b *testing.B, pid int) time.Duration {
	b.Helper()
	total := onCPU(pid)
	if total == 0 {
		b.Fatalf("process %d has ended", pid)
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		head, rest, _ := strings.Cut(string(text), ") ")
		id, _, _ := strings.Cut(head, " ")
		n, err := strconv.Atoi(id)
		if err != nil {
			b.Fatal(err)
		}
		f := strings.Fields(rest)
		switch {
		case n == pid:
			for _, ticks := range f[13:15] { // of children that it has waited for
				n, err := strconv.Atoi(ticks)
				if err != nil {
					b.Fatal(err)
				}
				total += time.Duration(n) * 10 * time.Millisecond
			}
		case f[1] == strconv.Itoa(pid):
			total += onCPU(n)
		}
	}
	return total
}

// onCPU returns the CPU time of all threads of a process, those that have ended too, and zero when the process has
// ended. The kernel has a clock for each process; its number is in clock_getcpuclockid(3).
func onCPU(pid int) time.Duration {
	const scheduled = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil { //nolint:gosec // pids have 22 bits
		return 0
	}
	return time.Duration(t.Nano())
}

// peak returns the most memory that a process had.
func peak(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n / 1024
}

// A cost is what one collection of everything costs.
type cost struct {
	exporter, server, p50, p99 time.Duration
	memory                     float64 // MB, at the most
	series, connections        int
}

// peerQueries are the families of tables that the peer's newer versions have by
// themselves.
func peerQueries() string {
	var all strings.Builder
	for _, view := range []struct{ name, times, columns string }{
		{"pg_stat_user_tables", "last_vacuum last_autovacuum last_analyze last_autoanalyze",
			"seq_scan seq_tup_read idx_scan idx_tup_fetch n_tup_ins n_tup_upd n_tup_del n_tup_hot_upd n_live_tup " +
				"n_dead_tup n_mod_since_analyze vacuum_count autovacuum_count analyze_count autoanalyze_count"},
		{"pg_statio_user_tables", "", "heap_blks_read heap_blks_hit idx_blks_read idx_blks_hit toast_blks_read " +
			"toast_blks_hit tidx_blks_read tidx_blks_hit"},
	} {
		columns := strings.Fields(view.columns)
		fmt.Fprintf(&all, "%s:\n  query: \"SELECT current_database() datname, schemaname, relname, %s", view.name,
			strings.Join(columns, ", "))
		for t := range strings.FieldsSeq(view.times) {
			fmt.Fprintf(&all, ", coalesce(%s, '1970-01-01Z') AS %s", t, t)
			columns = append(columns, t)
		}
		if view.times != "" {
			all.WriteString(", pg_indexes_size(relid) index_size_bytes, pg_table_size(relid) table_size_bytes")
			columns = append(columns, "index_size_bytes", "table_size_bytes")
		}
		fmt.Fprintf(&all, " FROM %s\"\n  metrics:\n", view.name)
		for _, c := range append([]string{"datname", "schemaname", "relname"}, columns...) {
			usage := "GAUGE"
			if strings.HasSuffix(c, "name") {
				usage = "LABEL"
			}
			fmt.Fprintf(&all, "    - %s:\n        usage: %s\n        description: %s\n", c, usage, c)
		}
	}
	return all.String()
}

// sameFamilies leaves on what the peer has too; sizes are on a slow clock.
const sameFamilies = `
    postgres/duplicateindex: {disabled: true}
    postgres/indexbloat: {disabled: true}
    postgres/invalidindex: {disabled: true}
    postgres/sequences: {disabled: true}
    postgres/tablebloat: {disabled: true}
    postgres/unusedindex: {disabled: true}
    postgres/retention: {disabled: true}
    postgres/progress: {disabled: true}
    postgres/tablesize: {every: 10m}
    postgres/databasesize: {every: 10m}
`

// BenchmarkPostgresExporter collects the same families by upkeep and by Debian's
// prometheus-postgres-exporter, from the same servers. While upkeep collects, every
// database is written to, whose cost to the server counts as upkeep's; but where it is idle.
func BenchmarkPostgresExporter(b *testing.B) {
	for _, tc := range []struct {
		name                          string
		databases, tables, statements int
		idle                          bool
	}{
		{"tables=100", 1, 100, 0, false},
		{"tables=2000", 1, 2000, 0, false},
		{"tables=10000", 1, 10000, 0, false},
		{"databases=50", 50, 50, 0, false},
		{"databases=50,idle", 50, 50, 0, true},
		{"statements=5000", 1, 100, 5000, false},
	} {
		b.Run(tc.name, func(b *testing.B) {
			s := populated(b, tc.databases, tc.tables, tc.statements)
			var ours, theirs cost
			for range b.N {
				theirs = peer(b, s, tc.databases, tc.tables)
				stop := func() {}
				if !tc.idle {
					stop = busy(b, s, tc.databases)
				}
				ours = upkeepOn(b, s)
				stop()
			}
			b.ReportMetric(0, "ns/op") // says nothing here
			for _, m := range []struct {
				unit   string
				us, it float64
			}{
				{"ms-CPU", ours.exporter.Seconds() * 1000, theirs.exporter.Seconds() * 1000},
				{"ms-server-CPU", ours.server.Seconds() * 1000, theirs.server.Seconds() * 1000},
				{"ms-p50", ours.p50.Seconds() * 1000, theirs.p50.Seconds() * 1000},
				{"ms-p99", ours.p99.Seconds() * 1000, theirs.p99.Seconds() * 1000},
				{"MB-peak", ours.memory, theirs.memory},
			} {
				b.ReportMetric(m.us, m.unit)
				b.ReportMetric(m.it, m.unit+"-peer")
				b.ReportMetric(m.us/m.it, "ratio-"+m.unit)
			}
			b.ReportMetric(float64(ours.series), "series")
			b.ReportMetric(float64(theirs.series), "series-peer")
			b.ReportMetric(float64(ours.connections), "connections")
		})
	}
}

func populated(b *testing.B, databases, tables, statements int) *sandbox.Postgres {
	b.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		b.Fatal(err)
	}
	s, err := servertest.StartPostgres(b.Context(), sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"),
		Settings: map[string]string{
			"shared_preload_libraries": "pg_stat_statements", "fsync": "off", "synchronous_commit": "off",
			"autovacuum": "off", "max_locks_per_transaction": "1024", "max_wal_size": "8GB", "max_connections": "200",
		}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Stop(); err != nil {
			b.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	fill := fmt.Sprintf("do $$ begin for i in 1..%d loop execute format('create table table_%%s (id int primary key, "+
		"a text); create index on table_%%s (a)', i, i); end loop; end $$", tables)
	if databases == 1 {
		servertest.Exec(b, s.URL, fill, "insert into table_1 values (1, 'a')", "analyze")
	}
	for i := range databases {
		if databases == 1 {
			break
		}
		name := fmt.Sprintf("database_%d", i)
		servertest.Exec(b, s.URL, "create database "+name)
		servertest.Exec(b, strings.Replace(s.URL, "/postgres?", "/"+name+"?", 1), fill, "analyze")
	}
	servertest.Exec(b, s.URL, "create extension pg_stat_statements")
	var texts []string
	for i := range statements {
		texts = append(texts, fmt.Sprintf("select 1 as column_%d", i))
	}
	servertest.Exec(b, s.URL, texts...)
	return s
}

// busy changes a row in every database once a second, so that none can be passed over.
func busy(b *testing.B, s *sandbox.Postgres, databases int) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var all []*pgx.Conn
	for i := range databases {
		name := "postgres"
		if databases > 1 {
			name = fmt.Sprintf("database_%d", i)
		}
		c, err := pgx.Connect(ctx, strings.Replace(s.URL, "/postgres?", "/"+name+"?", 1))
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, c)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			for _, c := range all {
				// ends with the server at the latest
				_, _ = c.Exec(ctx, "insert into table_1 values ($1, 'x') on conflict (id) do update set a = 'y'", n)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		for _, c := range all {
			_ = c.Close(context.Background()) // nothing is waited for
		}
	}()
	return func() { cancel(); <-ended }
}

// postmaster returns the process of a server.
func postmaster(b *testing.B, s *sandbox.Postgres) int {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "data", "postmaster.pid"))
	if err != nil {
		b.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		b.Fatal(err)
	}
	return pid
}

// collections is how many are measured.
func collections() int { return sized(5, 1) }

// peer collects by Debian's exporter: each scrape is a collection.
func peer(b *testing.B, s *sandbox.Postgres, databases, tables int) (c cost) {
	b.Helper()
	queries := filepath.Join(b.TempDir(), "queries.yaml")
	if err := os.WriteFile(queries, []byte(peerQueries()), 0o600); err != nil {
		b.Fatal(err)
	}
	// Its own discovery of databases takes no address that is a URL.
	source := fmt.Sprintf("host=127.0.0.1 port=%d user=upkeep dbname=postgres sslmode=disable", s.Port)
	e := exporting(b, "http://127.0.0.1:19187/metrics", []string{"DATA_SOURCE_NAME=" + source},
		"prometheus-postgres-exporter", "--web.listen-address=127.0.0.1:19187", "--extend.query-path="+queries,
		"--auto-discover-databases")
	defer e.stop()
	if c.series, _ = e.scrape(); c.series < 25*databases*tables {
		b.Fatalf("the peer has %d series:\n%s", c.series, e.log)
	}
	server := postmaster(b, s)
	cpu, served := spent(b, e.cmd.Process.Pid), spent(b, server)
	took := e.scrapes(collections(), 1)
	n := time.Duration(collections())
	c.exporter, c.server = (spent(b, e.cmd.Process.Pid)-cpu)/n, (spent(b, server)-served)/n
	c.p50, c.p99 = took[len(took)/2], took[len(took)-1]
	c.memory = peak(b, e.cmd.Process.Pid)
	return c
}

// upkeepOn collects by upkeep, on its own clocks; scrapes are measured beside.
func upkeepOn(b *testing.B, s *sandbox.Postgres) (c cost) {
	b.Helper()
	const every = 4 * time.Second
	config := filepath.Join(b.TempDir(), "upkeep.yaml")
	text := fmt.Sprintf("data_dir: data\nlog: {level: debug}\nweb: {listen: '127.0.0.1:19848', metrics_open: true}\nembedded: {enabled: "+
		"false}\ntargets: {postgres: [{name: main, url: %q}]}\ncollectors:\n  interval: %s\n  settings:%s", s.URL,
		every, sameFamilies)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	e := exporting(b, "http://127.0.0.1:19848/metrics", nil, built(b, "upkeep"), "serve", "--config", config)
	defer e.stop()
	done := func() int {
		return strings.Count(e.log.String(), `msg="collector asked" component=scrape collector=postgres/vacuum`)
	}
	await := func(n int) {
		for end := time.Now().Add(2 * time.Minute); done() < n; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				b.Fatalf("upkeep does not collect:\n%s", e.log)
			}
		}
	}
	await(2)
	server := postmaster(b, s)
	cpu, served := spent(b, e.cmd.Process.Pid), spent(b, server)
	await(2 + collections())
	n := time.Duration(collections())
	c.exporter, c.server = (spent(b, e.cmd.Process.Pid)-cpu)/n, (spent(b, server)-served)/n
	c.series, _ = e.scrape()
	took := e.scrapes(sized(200, 1), 1)
	c.p50, c.p99 = took[len(took)/2], took[len(took)*99/100]
	c.memory = peak(b, e.cmd.Process.Pid)
	out, err := exec.CommandContext(b.Context(), "psql", s.URL, "-Atc",
		"select count(*) from pg_stat_activity where application_name = 'upkeep'").Output()
	if err != nil {
		b.Fatal(err)
	}
	if c.connections, err = strconv.Atoi(strings.TrimSpace(string(out))); err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkRedisExporter scrapes upkeep and Debian's prometheus-redis-exporter,
// beside the same server of a million keys, by one client and by fifty at once.
func BenchmarkRedisExporter(b *testing.B) {
	s := servertest.Redis(b)
	if out, err := exec.CommandContext(b.Context(), "redis-cli", "-p", strconv.Itoa(s.Port), "eval",
		fmt.Sprintf("for i = 1, %d do redis.call('set', 'key:' .. i, i) end", sized(1000000, 100)), "0").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	config := filepath.Join(b.TempDir(), "upkeep.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "data_dir: data\nweb: {listen: '127.0.0.1:19848', metrics_open: true}\nembedded: "+
		"{enabled: false}\ntargets: {redis: [{name: main, url: %q}]}\n", s.URL), 0o600); err != nil {
		b.Fatal(err)
	}
	ours := exporting(b, "http://127.0.0.1:19848/metrics", nil, built(b, "upkeep"), "serve", "--config", config)
	defer ours.stop()
	theirs := exporting(b, "http://127.0.0.1:19121/metrics", nil, "prometheus-redis-exporter",
		"-web.listen-address=127.0.0.1:19121", "-redis.addr="+s.URL)
	defer theirs.stop()
	for _, clients := range []int{1, 50} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var cpu, p50, p99 [2]float64
			for range b.N {
				for i, e := range []*exporter{ours, theirs} {
					n := sized(500, clients) // scrapes
					before := spent(b, e.cmd.Process.Pid)
					took := e.scrapes(n, clients)
					cpu[i] = (spent(b, e.cmd.Process.Pid) - before).Seconds() * 1000 / float64(n)
					p50[i], p99[i] = took[n/2].Seconds()*1000, took[n*99/100].Seconds()*1000
				}
			}
			b.ReportMetric(0, "ns/op") // says nothing here
			for unit, v := range map[string][2]float64{"ms-CPU": cpu, "ms-p50": p50, "ms-p99": p99} {
				b.ReportMetric(v[0], unit)
				b.ReportMetric(v[1], unit+"-peer")
				b.ReportMetric(v[0]/v[1], "ratio-"+unit)
			}
		})
	}
}
