package check_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/check"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// connect logs in everywhere and returns what the servers say and what is wrong.
func connect(t *testing.T, text string) (seen, found []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "upkeep.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, source, err := config.Read(file, app.Known())
	if err != nil {
		t.Fatal(err)
	}
	set, err := app.Targets(c)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	all, findings, err := check.Connect(t.Context(), c, source, set)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		seen = append(seen, s.What+": "+s.Text)
	}
	for _, f := range findings {
		found = append(found, strings.ReplaceAll(f.String(), filepath.Dir(file)+"/", ""))
	}
	return seen, found
}

// wants checks that each text is a part of one line, and that the number of lines is right.
func wants(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || strings.Contains(g, w)
		}
		if !found {
			t.Errorf("no line has %q:\n%s", w, strings.Join(got, "\n"))
		}
	}
}

func TestConnect(t *testing.T) {
	address, _ := servertest.Database(t)
	weak := fmt.Sprintf("weak_%08x", rand.Uint32())
	servertest.Exec(t, address, "create role "+weak+" login", "create table theirs (id int)",
		"grant select on theirs to "+weak)
	t.Cleanup(func() { servertest.Exec(t, address, "drop owned by "+weak, "drop role "+weak) })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(weak)
	r := servertest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(r.URL, "redis://")})
	defer func() { _ = client.Close() }() // nothing is left to be written
	if err := client.Do(t.Context(), "acl", "setuser", "weak", "on", ">s3cret", "-@all", "+ping", "+info", "+hello",
		"+client|setname", "+multi", "+discard", "+acl|whoami").Err(); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	am := servertest.Alertmanager(t)
	prometheus := servertest.Prometheus(t, "global: {scrape_interval: 1h}\n", nil)
	seen, found := connect(t, fmt.Sprintf(`targets:
  postgres:
    - {name: main, url: %q}
  redis:
    - {name: cache, url: %q, password_file: %q}
    - {name: away, url: "redis://127.0.0.1:1"}
  docker:
    - {name: engine, host: "unix:///does/not/exist.sock"}
embedded: {enabled: false}
prometheus: {url: %q}
alertmanager:
  url: %q
  receiver: upkep
policies:
  - {name: a, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum}
  - {name: b, match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave}
`, u.String(), strings.Replace(r.URL, "redis://", "redis://weak@", 1), secret, prometheus.URL, am.URL))
	wants(t, seen, "postgres main: PostgreSQL 15.", "redis cache: Redis 7.", "prometheus: Prometheus 2.",
		"alertmanager: Alertmanager 0.")
	for _, want := range []string{
		`upkeep.yaml:3: warning: postgres main: collecting needs pg_monitor (`,
		`run: grant pg_monitor to "` + weak + `"`,
		`upkeep.yaml:3: warning: postgres main: postgres/vacuum needs the right :"owner" on `,
		`upkeep.yaml:5: warning: redis cache: redis/bgsave needs the right +bgsave; run: ACL SETUSER … +bgsave`,
		`upkeep.yaml:5: warning: redis cache: collecting needs the right +slowlog|get; run: ACL SETUSER … +slowlog|get`,
		`upkeep.yaml:6: redis away does not answer: `,
		`upkeep.yaml:8: docker engine does not answer: `,
		`upkeep.yaml:10: warning: prometheus has no series upkeep_build_info: it does not scrape upkeep yet; `,
		`upkeep.yaml:10: warning: Prometheus does not have `,
		`upkeep.yaml:13: alertmanager has no receiver "upkep"; choose one of none`,
	} {
		if !strings.Contains(strings.Join(found, "\n"), want) {
			t.Errorf("nothing is said of %q", want)
		}
	}
}

// Names in the lists of databases that match none of the server are reported, each in its line.
func TestConnectToDatabases(t *testing.T) {
	t.Parallel()
	address, name := servertest.Database(t)
	seen, found := connect(t, fmt.Sprintf(`targets:
  postgres:
    - name: main
      url: %q
      databases: [%q, 'app*',
        template0]
      exclude:
        - rdsadmin
    - name: none
      url: %q
      databases: [%q]
embedded: {enabled: false}
`, address, name, strings.Replace(address, "?", "?connect_timeout=30&", 1), name+"x"))
	for _, want := range []string{
		`upkeep.yaml:5: postgres main has no database "app*", which databases names; it has `,
		`upkeep.yaml:6: postgres main: upkeep's role may not connect to the database "template0", which databases names`,
		`upkeep.yaml:8: warning: postgres main has no database "rdsadmin", which exclude names; it has `,
		fmt.Sprintf(`upkeep.yaml:11: postgres none has no database %q, which databases names; did you mean %q?`, name+"x", name),
		`upkeep.yaml:9: postgres none: databases and exclude leave no database of the server, so none is read; it has `,
	} {
		if said := strings.Join(found, "\n"); strings.Count(said, want) != 1 {
			t.Errorf("want once %q:\n%s\n%s", want, said, seen)
		}
	}
	_, found = connect(t, fmt.Sprintf("targets:\n  postgres: [{name: main, url: %q, databases: [%q]}]\n", address, name))
	if said := strings.Join(found, "\n"); strings.Contains(said, "databases names") {
		t.Errorf("a database that is there:\n%s", said)
	}
}

// Each service is asked once, and the phase and the reason of a failure are said with what to do.
func TestConnectToServices(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1); r.URL.Path != "/health" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	seen, found := connect(t, fmt.Sprintf(`targets:
  probe:
    - {name: good, url: '%[1]s/health'}
    - name: ill
      url: '%[1]s/down?token=s3cret'
    - {name: gone, url: %[2]q}
    - {name: port, url: '%[3]s'}
`, s.URL, gone.URL, strings.Replace(gone.URL, "http:", "tcp:", 1)))
	wants(t, seen, "probe good: answers as expected")
	wants(t, found,
		"upkeep.yaml:5: probe ill fails in phase status (unexpected): the service answers with the HTTP status 503 Service "+
			"Unavailable; look at the service's log; what the probe expects is in status",
		"upkeep.yaml:6: probe gone fails in phase connect (refused): ",
		"upkeep.yaml:7: probe port fails in phase connect (refused): ")
	if asked.Load() != 2 || strings.Contains(strings.Join(found, "\n"), "s3cret") {
		t.Errorf("%d requests, want 2:\n%s", asked.Load(), strings.Join(found, "\n"))
	}
}

// A server that cannot be asked is reported with the reason: a login is rejected by an answer of the server only.
func TestConnectReasons(t *testing.T) {
	t.Parallel()
	shut := servertest.Redis(t, "--requirepass", "s3cret")
	locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer locked.Close()
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("guess"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, found := connect(t, fmt.Sprintf(`targets:
  sentinel:
    - {name: shut, url: %[1]q}
    - {name: wrong, url: %[1]q, password_file: %[2]q}
    - {name: gone, url: "redis://127.0.0.1:1"}
    - {name: nowhere, url: "redis://upkeep-check.invalid:26379"}
  redis:
    - {name: shut, url: %[1]q}
embedded: {enabled: false}
prometheus: {url: %[3]q}
alertmanager: {url: %[3]q}
`, shut.URL, wrong, locked.URL))
	wants(t, found,
		"upkeep.yaml:3: sentinel shut rejects the login: NOAUTH ",
		"upkeep.yaml:4: sentinel wrong rejects the login: WRONGPASS ",
		"upkeep.yaml:5: sentinel gone does not answer: ",
		"upkeep.yaml:6: sentinel nowhere ", // what the resolver here says of it
		"upkeep.yaml:8: redis shut rejects the login: NOAUTH ",
		"upkeep.yaml:10: prometheus rejects the login: ",
		"upkeep.yaml:11: alertmanager rejects the login: ",
	)
	if said := strings.Join(found, "\n"); strings.Contains(said, "nowhere rejects the login") {
		t.Error(said)
	}
}

// Two names of one server are found, however their addresses are written.
func TestConnectTwins(t *testing.T) {
	t.Parallel()
	address, _ := servertest.Database(t)
	other, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	other.RawQuery = "connect_timeout=30"
	other.Path = "/template1"
	_, found := connect(t, fmt.Sprintf(`targets:
  postgres:
    - {name: main, url: %q}
    - {name: again, url: %q}
    - {name: away, url: "postgres://u@127.0.0.1:1/postgres"}
embedded: {enabled: false}
`, address, other))
	const want = "upkeep.yaml:4: warning: postgres again is the same server as postgres main: "
	said := strings.Join(found, "\n")
	if !strings.Contains(said, want) || strings.Count(said, "is the same server as") != 1 {
		t.Errorf("want once %q:\n%s", want, said)
	}
}

// A server that was not asked, because its password cannot be read, has rejected nothing.
func TestConnectWithoutSecret(t *testing.T) {
	t.Parallel()
	cache := strings.Replace(servertest.Redis(t).URL, "redis://", "redis://u@", 1) // it is dialled first
	_, found := connect(t, fmt.Sprintf(`targets:
  postgres:
    - {name: program, url: "postgres://u@127.0.0.1:1/postgres", password_command: [/bin/false]}
    - {name: variable, url: "postgres://u@127.0.0.1:1/postgres", password_env: NO_SUCH_VARIABLE}
  redis:
    - {name: cache, url: %q, password_command: [/bin/false]}
store: {url: "postgres://u@127.0.0.1:1/postgres", password_command: [/bin/false]}
embedded: {enabled: false}
`, cache))
	said := strings.Join(found, "\n")
	for _, want := range []string{
		"upkeep.yaml:3: postgres program was not asked, because its secret cannot be read: password_command: /bin/false: ",
		"upkeep.yaml:4: postgres variable was not asked, because its secret cannot be read: secret: the environment " +
			"variable NO_SUCH_VARIABLE is not set",
		"upkeep.yaml:6: redis cache was not asked, because its secret cannot be read: password_command: /bin/false: ",
		"upkeep.yaml:7: store was not asked, because its secret cannot be read: password_command: /bin/false: ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing is said of %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, "rejects the login") {
		t.Error(said)
	}
}

// A superuser, and a Redis user with every right, miss no right.
func TestConnectLacksNothing(t *testing.T) {
	address, _ := servertest.Database(t)
	d := servertest.Docker(t)
	seen, found := connect(t, fmt.Sprintf(`targets:
  postgres: [{name: main, url: %q}]
  redis: [{name: cache, url: %q}]
  docker: [{name: engine, host: %q}]
policies:
  - {name: a, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum}
  - {name: b, match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave}
`, address, servertest.Redis(t).URL, d.Host))
	wants(t, seen, "superuser", "redis cache: Redis 7.", "docker engine: Docker ")
	for _, f := range found {
		if !strings.Contains(f, "pg_stat_statements") { // the server of the tests has it or not
			t.Error(f)
		}
	}
}

// A policy of mode auto only asks where no rule is known that has a limit: Prometheus is asked
// which it has.
func TestConnectToRules(t *testing.T) {
	prometheus := servertest.Prometheus(t, "global: {scrape_interval: 1h}\nrule_files: [own.rules.yaml]\n",
		map[string]string{"own.rules.yaml": `groups:
  - name: own
    rules:
      - {alert: Limited, expr: up > 3, labels: {team: db}, annotations: {limit: "3"}}
      - {alert: Unlimited, expr: up > 3, labels: {team: web}}
`})
	text := fmt.Sprintf("targets:\n  redis: [{name: cache, url: 'redis://127.0.0.1:1'}]\nembedded: {enabled: false}\n"+
		"prometheus: {url: %q}\npolicies:\n", prometheus.URL)
	for i, match := range []string{`alertname="Limited"`, `alertname="Unlimited"`, `alertname="Neither"`,
		`alertname=~"Nei.*"`, `alertname="RedisSnapshotOld"`, `alertname=~"(Un)?[Ll]imited"`} {
		text += fmt.Sprintf("  - {name: p%d, match: ['%s'], action: redis/bgsave, mode: auto}\n", i, match)
	}
	_, found := connect(t, text)
	var policies []string
	for _, f := range found {
		if strings.Contains(f, "policy") {
			policies = append(policies, f)
		}
	}
	wants(t, policies,
		`upkeep.yaml:7: warning: policy "p1": the rule Unlimited of prometheus has no limit annotation with a number, so that mode auto only asks`,
		`upkeep.yaml:8: warning: policy "p2": prometheus has no rule for the alert "Neither"; add it to its rule_files`,
		`upkeep.yaml:11: warning: policy "p5": the rule Unlimited of prometheus has no limit annotation`,
		`upkeep.yaml:9: warning: policy "p3": prometheus has no rule of the alerts that it matches, so that mode auto only asks`)
}

// What answers there need not be Prometheus or Alertmanager.
func TestConnectToOthers(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"status":"success","data":{}}`)
	}))
	t.Cleanup(other.Close)
	seen, found := connect(t, fmt.Sprintf("targets: {host: [{name: here}]}\nembedded: {enabled: false}\nprometheus: "+
		"{url: %q}\nalertmanager: {url: %q}\n", other.URL+"/prom/", other.URL))
	wants(t, seen)
	wants(t, found,
		"upkeep.yaml:3: prometheus gives no answer that upkeep can use: prometheus: GET "+other.URL+"/prom/api/v1/status/buildinfo: "+
			"the answer is not Prometheus' JSON: it has no version; ",
		"upkeep.yaml:4: alertmanager gives no answer that upkeep can use: alertmanager: the answer is not Alertmanager's JSON: it has "+
			"no version; ",
	)
}

// The store and the buckets of archives are logged in to as well.
func TestConnectToStores(t *testing.T) {
	address, database := servertest.Database(t)
	poor := "poor_" + database
	servertest.Exec(t, address, "create role "+poor+" login")
	t.Cleanup(func() { servertest.Exec(t, address, "drop owned by "+poor, "drop role "+poor) })
	text := func(store, key string) string {
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		s3 := servertest.S3(t)
		return fmt.Sprintf(`targets:
  postgres:
    - name: main
      url: %q
      archives:
        - {database: d, table: t, column: c, to: {bucket: %s, endpoint: %q, key_id_env: PATH, secret_file: %q}}
embedded: {enabled: false}
store: {url: %q}
`, address, s3.Bucket, s3.Endpoint, secret, store)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(poor)
	seen, found := connect(t, text(u.String(), "wr0ng-key"))
	wants(t, seen, "store: PostgreSQL 15.", "postgres main: PostgreSQL 15.")
	all := strings.Join(found, "\n")
	for _, want := range []string{
		`upkeep.yaml:8: the store: "` + poor + `" may not make the schema upkeep in database ` + database +
			`; run: create schema upkeep authorization "` + poor + `"`,
		"upkeep.yaml:6: bucket ", " does not let upkeep list its objects: ",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing is said of %q:\n%s", want, all)
		}
	}
	if strings.Contains(all, "wr0ng-key") {
		t.Errorf("a secret is shown: %s", all)
	}
}
