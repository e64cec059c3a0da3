package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Names that need quoting: without it one drops a table, breaks a line of
// the exposition format, or expands a template.
const (
	hostileSchema = `My "Schema"`
	hostileTable  = "täble\"; DROP TABLE victim; --\\ '\n{{ .Labels }}"
	hostileIndex  = `index "$1" %s 'x' \n`
)

func quoted(names ...string) string { return pgx.Identifier(names).Sanitize() }

// shortRules writes the shipped rules with short clocks and small limits of size
// into a folder: the names, ratios and annotations are as shipped. snapshotAge is
// how old a snapshot of Redis may be, in seconds.
func shortRules(t *testing.T, dir, snapshotAge string) {
	t.Helper()
	wait := regexp.MustCompile(`(?m)^(\s*)for: \S+$`)
	names, err := fs.Glob(alerts.Files(), "*.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(alerts.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		text = wait.ReplaceAll(text, []byte("${1}for: 0s"))
		for shipped, short := range map[string]string{"86400": snapshotAge, "16777216": "500000", "> 10000": "> 1000"} {
			text = bytes.ReplaceAll(text, []byte(shipped), []byte(short))
		}
		write(t, filepath.Join(dir, name), string(text))
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freeAddress returns a free address.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := sandbox.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// spawn starts a program that dies with the test, its output in a file.
func spawn(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, filepath.Base(name)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	if name == "upkeep" {
		grant(t, dir)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v (the tests need Debian's packages; make test installs them)", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()                          // by that signal
		if t.Failed() {
			text, _ := os.ReadFile(log.Name()) // to be shown, where there is any
			t.Logf("%s says:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return cmd
}

// A site is an upkeep with the servers that it looks after.
type site struct {
	dir, address, token string
	postgres, database  string // URL of the database, and its name
	redis               *sandbox.Redis
}

// get reads what the upkeep says at a path of its API.
func (s *site) get(path string, into any) error {
	res, err := http.Get("http://" + s.address + console.Prefix + path)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// awaitReady waits until the upkeep is ready.
func (s *site) awaitReady(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + s.address + "/-/ready"); err == nil {
			_ = res.Body.Close() // not read
			if res.StatusCode == http.StatusOK {
				return
			}
		}
	}
	t.Fatal("upkeep is not ready")
}

// configure writes upkeep.yaml; mode is what differs between the two modes.
func (s *site) configure(t *testing.T, mode string) {
	t.Helper()
	write(t, filepath.Join(s.dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q, token_file: token}
targets:
  postgres: [{name: main, url: %q, password_file: token}]
  redis: [{name: cache, url: %q, password_file: token}]
collectors: {interval: 300ms, settings: {postgres/settings: {disabled: true}, host/updates: {disabled: true}}} # the server of the tests is set for speed
engine: {reconcile_interval: 1s, resolve_after: 10s, per_target: 8, flap: 1ms} # killed again and again, alerts come and go
policies:
  - {name: dead rows, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, mode: auto, cooldown: 0s, ramp: false, breaker: 0, effect: 0%%}
  - {name: index bloat, match: ['alertname="PostgresIndexBloat"'], action: postgres/reindex, mode: auto, cooldown: 0s, ramp: false, breaker: 0, effect: 0%%}
  - {name: old snapshot, match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave, mode: auto, cooldown: 0s, ramp: false, breaker: 0, effect: 0%%}
%s`, s.address, s.postgres, s.redis.URL, mode))
	write(t, filepath.Join(s.dir, "token"), s.token+"\n")
}

const embeddedMode = `embedded:
  scrape_interval: 300ms
  evaluation_interval: 300ms
  group_wait: 10ms
  group_interval: 300ms
  resend_delay: 2s
  rule_files: ['rules/*.rules.yaml']
`

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), address: freeAddress(t), token: "a word that opens"}
	s.redis = servertest.Redis(t, "--requirepass", s.token)
	s.postgres, s.database = servertest.Database(t)
	if err := os.Mkdir(filepath.Join(s.dir, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	shortRules(t, filepath.Join(s.dir, "rules"), "4")
	return s
}

// sicken makes a table of hostile names with dead rows and a bloated index, and
// a Redis with changes in no snapshot.
func (s *site) sicken(t *testing.T) {
	t.Helper()
	table := quoted(hostileSchema, hostileTable)
	servertest.Exec(t, s.postgres,
		"create table victim (id int)",
		"create schema "+quoted(hostileSchema),
		"create table "+table+" (id int, key text) with (autovacuum_enabled = off)",
		"create index "+quoted(hostileIndex)+" on "+table+" (key)",
		"insert into "+table+" select i, md5(i::text) from generate_series(1, 60000) i",
		"delete from "+table+" where id % 10 <> 0",
		"vacuum "+table, "analyze "+table, // the index is bloated now
		"insert into "+table+" select i, 'dead' from generate_series(1, 20000) i",
		"delete from "+table+" where key = 'dead'",
		"select pg_stat_force_next_flush()")
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.redis.URL, "redis://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the answer was read
	if _, err := fmt.Fprintf(conn, "AUTH %q\r\nSET key value\r\n", s.token); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("+OK\r\n+OK\r\n"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "+OK\r\n+OK\r\n" {
		t.Fatalf("redis: %q %v", answer, err)
	}
}

// awaitResolved waits until nothing fires and every one of the actions has a run
// that resolved, and returns the runs.
func (s *site) awaitResolved(t *testing.T, actions ...string) []console.Line {
	t.Helper()
	var lines []console.Line
	var status console.Status
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		lines, status = nil, console.Status{}
		if err := s.get("/runs?limit=1000", &lines); err != nil {
			continue
		}
		if err := s.get("/status", &status); err != nil {
			continue
		}
		resolved, moving := make(map[string]bool), 0
		for _, l := range lines {
			if l.State == remediate.Resolved {
				resolved[l.Request.Action] = true
			}
			if !l.State.Ended() {
				moving++
			}
		}
		if len(resolved) == len(actions) && moving == 0 && len(status.Incidents) == 0 {
			return lines
		}
	}
	for _, e := range status.Incidents {
		t.Logf("fires: %v", e.Alert.Labels)
	}
	for _, l := range lines {
		t.Logf("run %d %s %s: %s", l.ID, l.Request.Action, l.State, l.Why)
	}
	t.Fatal("not every alert was resolved")
	return nil
}

// repaired checks with the servers themselves.
func (s *site) repaired(t *testing.T, lines []console.Line) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.postgres)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }() // read only
	var dead, vacuums, victims int
	var indexBytes int64
	err = conn.QueryRow(t.Context(), `select s.n_dead_tup, s.vacuum_count, pg_relation_size(i.indexrelid), (select count(*) from pg_class where relname = 'victim')
		from pg_stat_user_tables s join pg_index i on i.indrelid = s.relid and i.indisvalid
		where s.schemaname = $1 and s.relname = $2`, hostileSchema, hostileTable).Scan(&dead, &vacuums, &indexBytes, &victims)
	if err != nil {
		t.Fatal(err)
	}
	if dead != 0 || vacuums != 2 || victims != 1 || indexBytes > 1_000_000 {
		t.Errorf("%d dead rows, %d vacuums (one was the test's), an index of %d bytes, %d victims", dead, vacuums,
			indexBytes, victims)
	}
	for _, l := range lines {
		if l.State != remediate.Resolved {
			continue
		}
		if l.Request.Action == "postgres/reindex" && (l.Request.Subject["index"] != hostileIndex ||
			l.Request.Subject["table"] != hostileTable || l.Request.Subject["schema"] != hostileSchema) {
			t.Errorf("the names were harmed: %q", l.Request.Subject)
		}
		if l.Before == nil || l.After == nil || *l.After > *l.Request.Limit || *l.Before <= *l.Request.Limit {
			t.Errorf("run %d: %v → %v, limit %v", l.ID, l.Before, l.After, *l.Request.Limit)
		}
	}
}

// secretive checks that the token, which is every server's password here, is in
// nothing that was written: no log, no journal, no sample.
func (s *site) secretive(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "token" || d.Name() == "alertmanager.yml" ||
			d.Name() == "prometheus.yml" {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(s.token)) {
			t.Errorf("the token is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

var loopActions = []string{"postgres/vacuum", "postgres/reindex", "redis/bgsave"} //nolint:gochecknoglobals // a constant list

func TestLoopEmbedded(t *testing.T) {
	s := newSite(t)
	s.sicken(t)
	s.configure(t, embeddedMode)
	cmd := spawn(t, s.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	s.awaitReady(t)
	lines := s.awaitResolved(t, loopActions...)
	s.repaired(t, lines)
	s.amtool(t, s.address)
	s.reload(t)
	s.hangUp(t, cmd)
	s.silenceSurvives(t, cmd)
	s.secretive(t)
}

// amtool checks that the stock tools find the stock APIs.
func (s *site) amtool(t *testing.T, address string) {
	t.Helper()
	client := filepath.Join(s.dir, "http.yaml")
	write(t, client, fmt.Sprintf("authorization: {credentials: %q}\n", adminToken))
	// Debian's promtool knows no http.config.file: the stock query is sent by the test itself.
	if all := query(t, "http://"+address, `upkeep_run_transitions_total{to="resolved",action="postgres/vacuum"}`); len(
		all) == 0 {
		t.Error("the stock query finds no run")
	}
	out, err := exec.CommandContext(t.Context(), "amtool", "--alertmanager.url=http://"+address,
		"--http.config.file="+client, "alert", "query").
		CombinedOutput()
	if err != nil {
		t.Errorf("amtool: %v %s", err, out)
	}
}

// reload checks that a wrong configuration is refused and the old one stays.
func (s *site) reload(t *testing.T) {
	t.Helper()
	post := func(token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.address+"/-/reload", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }() // read only
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	if code, text := post("guess"); code != http.StatusUnauthorized {
		t.Errorf("reload without the token: %d %s", code, text)
	}
	if code, text := post(s.token); code != http.StatusOK {
		t.Errorf("reload: %d %s", code, text)
	}
	file := filepath.Join(s.dir, "upkeep.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, strings.Replace(string(good), "postgres/vacuum", "postgres/vacum", 1))
	if code, text := post(s.token); code != http.StatusUnprocessableEntity ||
		!strings.Contains(text, "upkeep.yaml:9:") || !strings.Contains(text, "the old one stays") {
		t.Errorf("a wrong configuration: %d %s", code, text)
	}
	write(t, filepath.Join(s.dir, "rules", "own.rules.yaml"),
		"groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'x >'}\n")
	write(t, file, string(good))
	if code, text := post(s.token); code != http.StatusUnprocessableEntity ||
		!strings.Contains(text, "own.rules.yaml") {
		t.Errorf("a wrong rule: %d %s", code, text)
	}
	write(t, filepath.Join(s.dir, "rules", "own.rules.yaml"), "groups: []\n")
	write(t, file, strings.Replace(string(good), "data_dir: data", "data_dir: elsewhere", 1))
	if code, text := post(s.token); code != http.StatusUnprocessableEntity ||
		!strings.Contains(text, "data_dir has changed; that needs a restart") {
		t.Errorf("another data folder: %d %s", code, text)
	}
	var status console.Status
	if err := s.get("/status", &status); err != nil || len(status.Collectors) == 0 {
		t.Errorf("after it all: %+v %v", status, err)
	}
}

// hangUp checks that SIGHUP does what /-/reload does.
func (s *site) hangUp(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	file := filepath.Join(s.dir, "upkeep.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, want string }{
		{"nonsense", "upkeep_config_last_reload_success 0"},
		{strings.Replace(string(good), "data_dir: elsewhere", "data_dir: data", 1),
			"upkeep_config_last_reload_success 1"},
	} {
		write(t, file, step.text)
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		seen := ""
		for end := time.Now().Add(2 * time.Minute); !strings.Contains(seen,
			step.want); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after SIGHUP there is no %q", step.want)
			}
			res, err := http.Get("http://" + s.address + "/metrics")
			if err != nil {
				t.Fatalf("after SIGHUP: %v", err)
			}
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close() // read whole
			if err != nil {
				t.Fatal(err)
			}
			seen = string(text)
		}
	}
}

// silenceSurvives kills upkeep as soon as it has acknowledged a silence, and
// looks for it after the next start with Alertmanager's own tool.
func (s *site) silenceSurvives(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	client := filepath.Join(s.dir, "amtool-http.yaml")
	write(t, client, fmt.Sprintf("authorization: {credentials: %q}\n", s.token))
	defer func() { _ = os.Remove(client) }() // it has the token in it
	amtool := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "amtool",
			append([]string{"--alertmanager.url=http://" + s.address, "--http.config.file=" + client}, args...)...).
			CombinedOutput()
		return string(out), err
	}
	if out, err := amtool("silence", "add", "alertname=Nothing", "--comment=move", "--author=ann",
		"--duration=1h"); err != nil {
		t.Fatalf("amtool: %v %s", err, out)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	spawn(t, s.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	s.awaitReady(t)
	if out, err := amtool("silence", "query"); err != nil || !strings.Contains(out, `alertname="Nothing"`) {
		t.Errorf("after the kill: %v %s", err, out)
	}
}

func TestLoopOutside(t *testing.T) {
	s := newSite(t)
	s.sicken(t)
	am, prom, cluster := freeAddress(t), freeAddress(t), ""
	// The rules of the test have other limits than the shipped ones: they are read from Prometheus.
	s.configure(t, "embedded: {enabled: false}\nalertmanager: {url: 'http://"+am+"', receiver: upkeep}\n"+
		"prometheus: {url: 'http://"+prom+"'}\n")
	write(t, filepath.Join(s.dir, "alertmanager.yml"), fmt.Sprintf(`route: {receiver: upkeep, group_by: ['...'], group_wait: 10ms, group_interval: 300ms, repeat_interval: 1h}
receivers:
  - name: upkeep
    webhook_configs:
      - url: http://%s/webhook/alertmanager
        http_config: {authorization: {credentials: %q}}
`, s.address, s.token))
	write(t, filepath.Join(s.dir, "prometheus.yml"), fmt.Sprintf(`global: {scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}
rule_files: [rules/*.rules.yaml]
scrape_configs: [{job_name: upkeep, authorization: {credentials: %q}, static_configs: [{targets: [%q]}]}]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
`, s.token, s.address, am))
	spawn(t, s.dir, "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=am",
		"--web.listen-address="+am, "--cluster.listen-address="+cluster)
	spawn(t, s.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	s.awaitReady(t)
	// What fires before the first delivery is sent again after the resend delay,
	// which is a minute by default.
	spawn(t, s.dir, "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
		"--web.listen-address="+prom, "--rules.alert.resend-delay=1s")
	lines := s.awaitResolved(t, loopActions...)
	s.repaired(t, lines)
	s.secretive(t)
}
