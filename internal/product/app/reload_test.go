package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// A file is a configuration that changes, of a life on a PostgreSQL of its own.
type file struct {
	*life
	app  *app.App
	conn *pgx.Conn

	name  string // of the role that distinguishes upkeep's sessions from others'
	admin string // the URL of another role
	url   string
	more  atomic.Value // further targets
	entry atomic.Value // archive entries of the target
}

// fileLife starts an upkeep whose configuration changes.
func fileLife(t *testing.T) *file {
	t.Helper()
	url, database := servertest.Database(t)
	f := &file{life: &life{log: new(log)}, admin: url, name: "upkeep_" + strings.TrimPrefix(database, "test_")}
	servertest.Exec(t, url, "create role "+f.name+" superuser login")
	t.Cleanup(func() { servertest.Exec(t, url, "drop role "+f.name) })
	f.url = strings.Replace(url, "upkeep@", f.name+"@", 1)
	f.more.Store("")
	f.entry.Store("")
	dir := t.TempDir()
	load := func() (*config.Config, error) {
		return config.Parse("test", fmt.Appendf(nil, `data_dir: %q
web: {listen: "127.0.0.1:0"}
targets:
  postgres: [{name: main, url: %q%s}]
  host: [{name: here}]
%scollectors: {interval: 300ms, settings: {host/updates: {disabled: true}}}
embedded: {enabled: false}
engine: {per_target: 4}
policies: [{name: dead, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, mode: auto, cooldown: 0s, ramp: false, breaker: 0, effect: 0%%, budget: 0%%, fresh: 0s}]
`, filepath.Join(dir, "data"), f.url, f.entry.Load(), f.more.Load()), app.Known())
	}
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if f.app, err = app.New(t.Context(), c, app.Options{Version: "test",
		Logger: slog.New(slog.NewTextHandler(f.log, nil)), Load: load}); err != nil {
		t.Fatal(err)
	}
	f.life.url, f.life.admin = "http://"+f.app.Addr(), admin(t, f.app)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.app.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	if f.conn, err = pgx.Connect(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.conn.Close(context.Background()) }) // nothing is left to be written
	servertest.Eventually(t, "the collectors answer", func() bool {
		code, _ := f.send(t, "GET", "/-/ready", "", "")
		return code == 200 && f.answered(t, "main")
	})
	return f
}

// answered reports whether every collector of a target has answered.
func (f *file) answered(t *testing.T, server string) bool {
	t.Helper()
	var s console.Status
	_, text := f.send(t, "GET", console.Prefix+"/status", "", "")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range s.Collectors {
		if c.Server == server {
			if n++; c.At.IsZero() {
				return false
			}
		}
	}
	return n > 0
}

// pids are upkeep's sessions on the server that are kept.
func (f *file) pids(t *testing.T) (all []int32) {
	t.Helper()
	rows, err := f.conn.Query(t.Context(), "select pid from pg_stat_activity where usename = $1 and application_name "+
		"= 'upkeep' order by pid", f.name)
	if err == nil {
		all, err = pgx.CollectRows(rows, pgx.RowTo[int32])
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A reload of what has not changed leaves everything alone: connections, and what the
// collectors have answered. One of another target leaves those of the others alone.
func TestReloadLeavesAlone(t *testing.T) {
	f := fileLife(t)
	was := f.pids(t)
	if len(was) == 0 {
		t.Fatal("it has no session on the server")
	}
	kept := func(what string) {
		t.Helper()
		if !f.answered(t, "main") {
			t.Errorf("%s: what the collectors have answered is forgotten", what)
		}
		now := f.pids(t)
		for _, pid := range was {
			if !slices.Contains(now, pid) {
				t.Errorf("%s: the sessions %v are %v now", what, was, now)
			}
		}
	}
	reload := func(what, says string) {
		t.Helper()
		if code, text := f.send(t, "POST", "/-/reload", "", ""); code != 200 {
			t.Fatalf("%s: %d %s", what, code, text)
		}
		if lines := strings.Split(strings.TrimSpace(f.log.String()),
			"\n"); !slices.ContainsFunc(lines[max(0, len(lines)-5):],
			func(l string) bool { return strings.Contains(l, "configuration reloaded") && strings.Contains(l, says) }) {
			t.Errorf("%s: the log does not say %q:\n%s", what, says, strings.Join(lines[max(0, len(lines)-5):], "\n"))
		}
	}
	reload("the same", "changed=false")
	kept("the same")
	f.more.Store("  probe: [{name: shop, url: 'http://127.0.0.1:1/'}]\n")
	reload("another target", "changed=true")
	kept("another target")
	servertest.Eventually(t, "the new target is asked", func() bool { return f.answered(t, "shop") })
	f.more.Store("")
	reload("that target removed", "changed=true")
	kept("that target removed")
	servertest.Eventually(t, "no metric of it is left", func() bool {
		_, text := f.send(t, "GET", "/metrics", "", "")
		return !strings.Contains(text, `server="shop"`)
	})

	// What has changed is made anew, and the sessions of before end.
	f.entry.Store(", archives: [{database: d, table: t, column: at}]")
	reload("an archive entry", "changed=true")
	servertest.Eventually(t, "the sessions of before have ended", func() bool {
		now := f.pids(t)
		return f.answered(t, "main") && !slices.ContainsFunc(was,
			func(pid int32) bool { return slices.Contains(now, pid) })
	})
}

// However fast reloads come, of the same configuration or of another, no run is held up,
// tried again or done twice.
func TestReloadStorm(t *testing.T) {
	f := fileLife(t)
	const tables = 8
	for i := range tables {
		servertest.Exec(t, f.admin, fmt.Sprintf("create table t%d (id int)", i),
			fmt.Sprintf("insert into t%d select generate_series(1, 20000)", i),
			fmt.Sprintf("delete from t%d where id %% 2 = 0", i))
	}
	var storm sync.WaitGroup
	var reloads atomic.Int64
	over := make(chan struct{})
	for client := range 3 {
		storm.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				if client == 0 { // one of them changes the file each time
					f.more.Store([]string{"", "  probe: [{name: shop, url: 'http://127.0.0.1:1/'}]\n"}[n%2])
					f.entry.Store([]string{"", "", ", archives: [{database: d, table: t, column: at}]", ""}[n%4])
				}
				if status, text := f.send(t, "POST", "/-/reload", "", ""); status != 200 {
					t.Errorf("reload: %d %s", status, text)
				}
				reloads.Add(1)
			}
		})
	}
	database := f.conn.Config().Database
	for i := range tables {
		body := strings.Replace(alert(t, fmt.Sprint("t", i), "firing"), `"database":"d"`,
			fmt.Sprintf(`"database":%q`, database), 1)
		body = strings.Replace(body, `"schema":"s"`, `"schema":"public"`, 1)
		if code, text := f.send(t, "POST", webhook.Alertmanager().Path, "", body); code != 200 {
			t.Fatal(code, text)
		}
	}
	var runs []console.Line
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		_, text := f.send(t, "GET", console.Prefix+"/runs?limit=100", "", "")
		if err := json.Unmarshal([]byte(text), &runs); err != nil {
			t.Fatal(err)
		}
		if len(runs) == tables && !slices.ContainsFunc(runs, func(r console.Line) bool { return !r.State.Ended() }) ||
			time.Now().After(end) {
			break
		}
	}
	close(over)
	storm.Wait()
	for _, r := range runs {
		var s console.RunDetails
		_, text := f.send(t, "GET", fmt.Sprint(console.Prefix, "/runs/", r.ID), "", "")
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if r.State != remediate.Resolved {
			t.Errorf("run %d is %s: %s", r.ID, r.State, r.Why)
		}
		for _, e := range s.Entries {
			if strings.Contains(e.Why, "try ") {
				t.Errorf("run %d was tried again: %s", r.ID, e.Why)
			}
		}
	}
	var twice int
	if err := f.conn.QueryRow(t.Context(),
		"select count(*) filter (where vacuum_count <> 1) from pg_stat_user_tables where relname ~ '^t[0-9]+$'").
		Scan(&twice); err != nil || twice != 0 || len(runs) != tables {
		t.Errorf("%d runs; %d tables were not vacuumed once (%v)", len(runs), twice, err)
	}
	if n := len(f.pids(t)); n > 6 {
		t.Errorf("upkeep has %d sessions on the server, want 6 at most", n)
	}
	if text := f.log.String(); strings.Contains(text, "no longer a target") || strings.Contains(text, "closed") {
		t.Errorf("a connection was taken away from who used it:\n%s", text)
	}
	t.Logf("%d answered reloads", reloads.Load())
}

// A reload is whole: where one part of the new configuration cannot be made, none of it is
// in force, and it is not taken for the one in use at the next reload.
func TestReloadAllOrNone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "upkeep.yaml")
	configure := func(embedded, more string) {
		t.Helper()
		text := fmt.Sprintf("data_dir: data\nweb: {listen: '127.0.0.1:0'}\ntargets: {host: [{name: "+
			"here}%s]}\ncollectors: {settings: {host/updates: {disabled: true}}}\nembedded: {%s}\n", more, embedded)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() (*config.Config, error) { c, _, err := config.Read(path, app.Known()); return c, err }
	if err := os.WriteFile(filepath.Join(dir, "more.yaml"),
		[]byte("groups:\n- name: more\n  rules: [{alert: More, expr: up == 0, labels: {severity: info}}]\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	job := "scrape_configs: [{job_name: api, static_configs: [{targets: ['127.0.0.1:1']}]%s}]"
	configure(fmt.Sprintf(job, ""), "")
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), c, app.Options{Version: "test", Logger: slog.New(slog.DiscardHandler), Load: load})
	if err != nil {
		t.Fatal(err)
	}
	l := &life{url: "http://" + a.Addr(), log: new(log), admin: admin(t, a)}
	running(t, a)
	says := func(path, want string) bool {
		_, text := l.send(t, "GET", path, "", "")
		return strings.Contains(text, want)
	}
	servertest.Eventually(t, "it is ready", func() bool {
		code,
			_ := l.send(t, "GET", "/-/ready", "", "")
		return code == 200
	})
	configure("rule_files: [more.yaml], "+fmt.Sprintf(job, ", scheme: https, tls_config: {ca_file: none.pem}"),
		", {name: there, root: /usr}")
	for range 2 {
		if err := a.Reload(); err == nil || !strings.Contains(err.Error(), "none.pem") {
			t.Fatalf("a certificate that is missing: %v", err)
		}
		if says("/api/v1/rules", `"More"`) || says(console.Prefix+"/status", `"there"`) {
			t.Error("a part of the refused configuration is in force")
		}
	}
	configure("rule_files: [more.yaml], "+fmt.Sprintf(job, ""), ", {name: there, root: /usr}")
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if !says("/api/v1/rules", `"More"`) || !says(console.Prefix+"/status", `"there"`) {
		t.Error("the good configuration is not in force")
	}
}

// running runs an upkeep until the test ends.
func running(t *testing.T, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
