package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

func known() config.Known {
	return config.Known{
		Collectors: []string{"postgres/tablebloat", "postgres/vacuum", "redis/memory"},
		Actions: map[string]policy.Action{
			"postgres/vacuum": {Name: "postgres/vacuum", Subject: []string{"server", "table"},
				Params: []remediate.Param{{Name: "parallel", Type: remediate.Int}}},
			"postgres/reindex": {Name: "postgres/reindex", Subject: []string{"server", "index"}},
			"redis/bgsave":     {Name: "redis/bgsave", Subject: []string{"server"}},
			"redis/restart":    {Name: "redis/restart", Subject: []string{"server"}, Asks: true, Windowed: true},
			"redis/trim": {Name: "redis/trim", Subject: []string{"server"}, Params: []remediate.Param{
				{Name: "count", Type: remediate.Int}, {Name: "key", Type: remediate.Name},
			}},
		},
	}
}

const target = "targets: {host: [{name: here}]}\n"

func archived(more string) string {
	return "targets:\n  postgres:\n  - name: a\n    url: postgres://h\n    archives:\n    - {database: d, table: t, " +
		"column: at, " + more + "}\n"
}

// archiveTo is a configuration with an archive that has a destination.
func archiveTo(to string) string {
	return "targets:\n  postgres:\n  - name: a\n    url: postgres://h\n    archives: [{database: d, table: t, " +
		"column: c, to: {" + to + "}}]\n"
}

func TestWrong(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"port of a probe", "targets:\n  probe:\n  - name: p\n    url: http://h:99999/\n", "f:4: url has the port 99999; one from 1 to 65535 was expected"},
		{"port of a TCP probe", "targets:\n  probe:\n  - name: p\n    url: tcp://h:0\n", "f:4: url has the port 0; one from 1 to 65535 was expected"},
		{"port of PostgreSQL", "targets:\n  postgres:\n  - name: p\n    url: postgres://h:99999/d\n", "f:4: postgres p: the url has the port 99999; one from"},
		{"port of Redis", "targets:\n  redis:\n  - name: p\n    url: redis://h:65536\n", "f:4: redis p: the url has the port 65536; one from"},
		{"port of Docker", "targets:\n  docker:\n  - name: p\n    host: tcp://127.0.0.1:70000\n", "f:4: host of docker p has the port 70000; one from"},
		{"port of Prometheus", target + "embedded: {enabled: false}\nprometheus: {url: 'http://h:99999'}\n", "f:3: url has the port 99999; one from"},
		{"status", "targets:\n  probe:\n  - name: p\n    url: http://h/\n    status: 99\n", "f:5: status is 99; an HTTP status from 100 to 599 was expected, or 0 for 200 to 299"},
		{"status of four digits", "targets:\n  probe:\n  - name: p\n    url: http://h/\n    status: 1000\n", "f:5: status is 1000; an HTTP status"},
		{"header with a space", "targets:\n  probe:\n  - name: p\n    url: http://h/\n    headers: {X Y: a}\n", `f:5: headers: "X Y" is no name of a header; one like Content-Type`},
		{"header without a name", "targets:\n  probe:\n  - name: p\n    url: http://h/\n    headers: {'': a}\n", `f:5: headers: "" is no name of a header`},
		{"header twice", "targets:\n  probe:\n  - name: p\n    url: http://h/\n    headers: {X-A: a, x-a: b}\n", "f:5: headers: X-A and x-a are the same header; one entry was expected"},
		{"no databases", "targets:\n  postgres:\n  - name: a\n    url: postgres://h/d\n    databases: []\n",
			`f:5: databases of postgres a is empty, which is not "none"; name databases, or leave the key out`},
		{"an empty database", "targets:\n  postgres:\n  - name: a\n    url: postgres://h/d\n    databases: [b, '']\n",
			"f:5: an entry of databases is empty; the name of a database was expected"},
		{"an empty name to exclude", "targets:\n  postgres:\n  - name: a\n    url: postgres://h/d\n    exclude: ['']\n",
			"f:5: an entry of exclude is empty; the name of a database was expected"},
		{"no database left", "targets:\n  postgres:\n  - name: a\n    url: postgres://h/d\n    databases: [b]\n    exclude: [c, b]\n",
			"f:6: exclude of postgres a has every database that databases names, so none is left; take one out of exclude"},
		{"empty", "", "f:1: the configuration is empty"},
		{"only a comment", "# nothing\n", "f:1: the configuration is empty"},
		{"no target", "log: {level: debug}\n", "f:1: no target is configured"},
		{"no mapping", "- a\n", "f:1: the configuration is a list; keys and values were expected"},
		{"not YAML", "a: [\n", "f:1: did not find expected node content"},
		{"unknown key", target + "dta_dir: /x\n", `f:2: unknown key "dta_dir"; did you mean "data_dir"?`},
		{"unknown inner key", target + "web:\n  port: 1\n",
			`f:3: unknown key "port"; expected one of listen, external_url`},
		{"key twice", target + "log: {}\nlog: {}\n", `f:3: duplicate key "log"; it was first set in line 2`},
		{"two documents", target + "---\n" + target, "f:2: a second document begins here"},
		{"duration", target + "embedded:\n  retention: 5 minutes\n",
			`f:3: retention is "5 minutes"; a duration was expected, like 30s`},
		{"duration without unit", target + "embedded: {retention: 15}\n",
			`f:2: retention is "15"; a duration was expected`},
		{"duration too short", target + "embedded: {scrape_interval: 1ms}\n",
			"f:2: scrape_interval is 1ms; at least 100ms was expected"},
		{"bool", target + "embedded: {enabled: yep}\n", `f:2: enabled is "yep"; true or false was expected`},
		{"number", target + "engine: {concurrency: 0}\n",
			`f:2: concurrency is "0"; a whole number of at least 1 was expected`},
		{"enum", target + "log: {level: loud}\n", `f:2: level is "loud"; debug or info or warn or error was expected`},
		{"listen", target + "web: {listen: 9847}\n", `f:2: listen is "9847"; an address and a port was expected`},
		{"port", target + "web: {listen: ':99999'}\n", `f:2: listen is ":99999"`},
		{"external url", target + "web: {external_url: 'upkeep.example'}\n", "f:2: external_url is not an HTTP URL"},
		{"a token without a role", target + "web:\n  tokens: [{name: a, file: b}]\n", "f:3: an entry of tokens has no \"role\""},
		{"an unknown role", target + "web:\n  tokens: [{name: a, role: root, file: b}]\n", "f:3: role is \"root\"; deliver or view"},
		{"a token twice", target + "web:\n  tokens:\n    - {name: a, role: view, file: b}\n    - {name: a, role: view, " +
			"file: b}\n", `f:5: a second token is called "a"`},
		{"a token called admin", target + "web:\n  tokens: [{name: admin, role: view, file: b}]\n", "f:3: a second token is called \"admin\""},
		{"a token of nothing", target + "web:\n  tokens: [{name: a, role: view}]\n", "f:3: token a needs file or env"},
		{"a user with an unknown role", target + "web: {config_file: w, users: {ann: root}}\n", "f:2: web.users: ann: role \"root\": want one of deliver"},
		{"users without passwords", target + "web:\n  users: {ann: view}\n", "f:3: web.users names the roles of users, and there is no web.config_file"},
		{"a host with a port", target + "web: {hosts: ['a:1']}\n", "f:2: web.hosts has \"a:1\"; a host name without port"},
		{"open to others", target + "web:\n  listen: :9847\n", "f:3: web.listen is :9847, which other machines can reach"},
		{"two tokens", target + "web:\n  token_file: a\n  token_env: B\n",
			"f:4: web has both token_file and token_env"},
		{"list", target + "policies: {}\n", "f:2: policies is a mapping; a list was expected"},
		{"matcher", onePolicy(`match: ['alertname=~"("'], action: redis/bgsave`),
			`f:3: match "alertname=~\"(\"" does not parse`},
		{"empty matcher", onePolicy(`match: [''], action: redis/bgsave`), `f:3: match "" does not parse`},
		{"matchers as text", onePolicy(`match: 'a="b"', action: redis/bgsave`),
			`f:3: match is "a=\"b\""; a list of matchers was expected`},
		{"no matchers", onePolicy(`match: [], action: redis/bgsave`),
			`f:3: an entry of policies has no "match"; at least one matcher`},
		{"no action", onePolicy(`match: ['a="b"']`), `f:3: policy "p" has neither action nor steps; one was expected`},
		{"unknown action", onePolicy(`match: ['a="b"'], action: postgres/vacum`),
			`f:3: policy "p": unknown action "postgres/vacum"; did you mean "postgres/vacuum"?`},
		{"mode", onePolicy(`match: ['a="b"'], action: redis/bgsave, mode: dry-run`),
			`f:3: mode is "dry-run"; observe or ask or auto was expected`},
		{"policy without a page", target + "policies:\n- {name: .., match: ['a=b'], action: redis/bgsave}\n",
			`f:3: a policy cannot be called "..", because its page would have no address; choose another name`},
		{"policy without a page too", target + "policies:\n- {name: '.', match: ['a=b'], action: redis/bgsave}\n",
			`f:3: a policy cannot be called ".", because its page would have no address; choose another name`},
		{"policy twice", target + "policies:\n- &p {name: p, match: ['a=b'], action: redis/bgsave}\n- *p\n",
			`f:3: a second policy is called "p"`},
		{"collector", target + "collectors:\n  settings:\n    postgres/tableblot: {every: 1m}\n",
			`f:4: unknown collector "postgres/tableblot"; did you mean "postgres/tablebloat"?`},
		{"no name", "targets:\n  redis:\n  - url: redis://x\n",
			`f:3: an entry of redis has no "name"; a name, the server label`},
		{"target twice", "targets:\n  redis:\n  - {name: a, url: redis://x}\n  - {name: a, url: redis://y}\n",
			`f:4: a second redis is called "a"`},
		{"scheme", "targets: {postgres: [{name: a, url: 'mysql://x'}]}\n",
			"f:1: postgres a: invalid url: it must start with postgres:// or postgresql://"},
		{"replica of no server", "targets:\n  postgres:\n  - {name: a, url: 'postgres://h', replica_of: b}\n",
			`f:3: replica_of is "b"; the name of another postgres server was expected`},
		{"replica of itself", "targets: {postgres: [{name: a, url: 'postgres://h', replica_of: a}]}\n",
			`f:1: replica_of is "a"`},
		{"archive with two ends", archived("to: {table: old}, purge: true"),
			"f:6: the archive of t has both to and purge; one was expected"},
		{"archive into itself", archived("to: {schema: public, table: t}"),
			"f:6: the archive of t is the table itself; another table was expected"},
		{"archive into a schema", archived("to: {schema: old}"), "f:6: to of t has a schema and no table"},
		{"archive twice", archived("purge: true") + "    - {database: d, table: t, column: b}\n",
			"f:7: duplicate table public.t of database d; it was first listed in line 6"},
		{"archive without a column", "targets:\n  postgres:\n  - name: a\n    url: postgres://h\n    archives: " +
			"[{database: d, table: t}]\n", `f:5: an entry of archives has no "column"; a column was expected`},
		{"archive to two places", archiveTo("table: t2, folder: x"),
			"f:5: to of t has more than one of table, folder and bucket; one was expected"},
		{"archive to an endpoint", archiveTo("endpoint: 'http://h:9000'"),
			"f:5: to of t says how to reach a bucket, and names none"},
		{"archive to a bucket without a store", archiveTo("bucket: b"),
			"f:5: to of t has a bucket and no endpoint; something like https://s3"},
		{"archive to a bucket without a key", archiveTo("bucket: b, endpoint: 'http://h:9000'"),
			"f:5: to of t has a bucket and needs key_id_file or key_id_env"},
		{"archive to a bucket with two keys",
			archiveTo("bucket: b, endpoint: 'http://h:9000', key_id_file: a, key_id_env: A"),
			"f:5: to of t has a bucket and needs key_id_file or key_id_env"},
		{"archive to a bucket without a secret", archiveTo("bucket: b, endpoint: 'http://h:9000', key_id_env: A"),
			"f:5: to of t has a bucket and needs secret_file or secret_env"},
		{"archive to a path in a bucket", archiveTo("bucket: b/c, endpoint: 'http://h:9000'"),
			`f:5: bucket "b/c" is not a valid bucket name; put a prefix of the keys into prefix`},
		{"archive to no address", archiveTo("bucket: b, endpoint: 's3.example'"), "f:5: endpoint is not an HTTP URL"},
		{"archive to an address with a password", archiveTo("bucket: b, endpoint: 'https://u:hunter2@h'"),
			"f:5: endpoint has a user or password in it"},
		{"archive to a secret", archiveTo("bucket: b, endpoint: 'https://h', secret: hunter2"),
			`f:5: unknown key "secret"`},
		{"archive to a folder and purge", archiveTo("folder: x}, purge: {"), "f:5: purge is a mapping"},
		{"docker host", "targets: {docker: [{name: a, host: /var/run/docker.sock}]}\n",
			`f:1: host is "/var/run/docker.sock"; unix:///var/run/docker.sock or tcp://host:port was expected`},
		{"docker log archive", "targets: {docker: [{name: a, log_archive: x}]}\n",
			`f:1: log_archive is "x"; an absolute path was expected`},
		{"docker root", "targets: {docker: [{name: a, root: x}]}\n", `f:1: root is "x"; an absolute path was expected`},
		{"user in a probe", "targets: {probe: [{name: a, url: 'http://u:p@h/'}]}\n",
			"f:1: url has a user or password in it"},
		{"backup without a path", "targets: {backup: [{name: a}]}\n", "f:1: backup a has no path; files needs one"},
		{"stanza of files", "targets: {backup: [{name: a, path: /x, stanza: s}]}\n",
			"f:1: stanza is for pgbackrest, and backup a is files"},
		{"kind of report", "targets: {packages: [{name: a, kind: gem, path: /x}]}\n",
			`f:1: kind is "gem"; pip or npm or trivy or grype or osv was expected`},
		{"the database of another scanner", "targets: {packages: [{name: a, kind: grype, path: /x, database: /y}]}\n",
			"f:1: database is for trivy, and packages a is grype"},
		{"a status over TCP", "targets: {probe: [{name: a, url: 'tcp://h:1', status: 200}]}\n",
			"f:1: status is not for probe a: its address is tcp://h:1"},
		{"status of a long TCP address", "targets:\n  probe:\n  - name: a\n    url: tcp://database-of-the-shop.example:5432\n    status: 200\n",
			"f:5: status is not for probe a: its address is tcp://database-of-the-shop.example:5432; remove status, or use http"},
		{"headers over TLS", "targets: {probe: [{name: a, url: 'tls://h:1', headers: {a: b}}]}\n",
			"f:1: headers is not for probe a"},
		{"a header that is no expression", "targets: {probe: [{name: a, url: 'http://h', headers: {a: '('}}]}\n",
			"f:1: headers: a is no regular expression"},
		{"a password by a file and a program", "targets:\n  redis:\n  - {name: a, url: redis://h, password_file: f,\n" +
			"    password_command: [/bin/x]}\n",
			"f:4: redis a has password_command and password_file or password_env; one was expected"},
		{"a program without a path", target + "store: {url: 'postgres://h/d', password_command: [pass, show, S3cret]}\n",
			"f:2: the store: the first entry of password_command is no absolute path; the program and its arguments were expected"},
		{"a program as text", "targets: {postgres: [{name: a, url: 'postgres://h', password_command: /bin/x}]}\n",
			`f:1: password_command is "/bin/x"; a list was expected`},
		{"restart by both", redisRestart("{docker: d, container: c, systemd: r.service}"),
			"f:3: redis a is restarted by both docker and systemd; one was expected"},
		{"restart of no unit", redisRestart("{systemd: '-H evil redis.service'}"),
			`f:3: systemd is "-H evil redis.service"; the whole name of a service was expected, like redis-server.service`},
		{"restart of a unit that begins with a dash", redisRestart("{systemd: '--now.service'}"),
			`f:3: systemd is "--now.service"; the whole name of a service`},
		{"restart of half a unit", redisRestart("{systemd: redis-server}"),
			`f:3: systemd is "redis-server"; the whole name of a service`},
		{"restart by no engine", redisRestart("{docker: x, container: c}"), `f:3: docker is "x"; `},
		{"restart of no container", redisRestart("{docker: d}"),
			"f:3: restart of redis a has docker and no container; the name of the container was expected"},
		{"restart without docker", redisRestart("{container: c}"),
			"f:3: restart of redis a has container and no docker; the name of a docker target was expected"},
		{"log that is a file and a container", postgresLog("{path: /var/log/pg.log, docker: d, container: c}"),
			"f:3: log of postgres a is both a file and a container; one was expected"},
		{"log that is a file and half a container", postgresLog("{path: /var/log/pg.log, container: c}"),
			"f:3: log of postgres a is both a file and a container; one was expected"},
		{"log of no engine", postgresLog("{docker: e, container: c}"), `f:3: docker is "e"; did you mean "d"?`},
		{"log of no container", postgresLog("{docker: d}"), "f:3: log of postgres a has docker or container; the names of"},
		{"log without docker", postgresLog("{container: c}"), "f:3: log of postgres a has docker or container; the names of"},
		{"log as text", postgresLog("/var/log/pg.log"), `f:3: log is "/var/log/pg.log"; `},
		{"root", "targets: {host: [{name: a, root: x}]}\n", `f:1: root is "x"; an absolute path was expected`},
		{"log of a host", "targets: {host: [{name: a, logs: {files: [{service: s, path: a.log}]}}]}\n",
			`f:1: path is "a.log": an absolute path was expected`},
		{"logs of a host", "targets: {host: [{name: a, logs: {files: [{service: s, path: '/var/log/[a'}]}}]}\n",
			`f:1: path is "/var/log/[a": syntax error in pattern; /var/log/nginx/*.log is one`},
		{"log of another host", "targets: {host: [{name: a, logs: {files: [{service: other, path: /a}]}}]}\n",
			`f:1: service is "other", which is what is beyond the limit; another name was expected`},
		{"log and unit", "targets: {host: [{name: a, logs: {files: [{service: b.service, path: /a}], journal: {units: [b.service]}}}]}\n",
			`f:1: service is "b.service", which is a unit of the journal too: its lines would have the same labels; another name was expected`},
		{"unit", "targets: {host: [{name: a, logs: {journal: {units: [--root=/]}}}]}\n",
			`f:1: "--root=/" is no name of a service; one like nginx.service was expected`},
		{"unit twice", "targets: {host: [{name: a, logs: {journal: {units: [a.service, a.service]}}}]}\n",
			`f:1: a.service is listed twice; once was expected`},
		{"journal", "targets: {host: [{name: a, logs: {journal: {units: [a.service], directory: x}}}]}\n",
			`f:1: directory is "x"; an absolute path was expected`},
		{"logs of two", "targets: {docker: [{name: a}], host: [{name: a, logs: {journal: {units: [a.service]}}}]}\n",
			`f:1: host a has logs, and a docker target has the same name: their services may have the same labels; another name was expected for one of them`},
		{"both alertmanagers", target + "alertmanager:\n  url: http://am:9093\n",
			"f:3: alertmanager.url is for your own Alertmanager"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(test.text), known())
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("Parse: %v\nwant %s…", err, test.want)
			}
			if err != nil && len(strings.Split(err.Error(), "\nf:")) != 1 {
				t.Errorf("one mistake is reported more than once:\n%v", err)
			}
		})
	}
}

func redisRestart(by string) string {
	return "targets:\n  docker: [{name: d}]\n  redis: [{name: a, url: 'redis://h', restart: " + by + "}]\n"
}

func postgresLog(is string) string {
	return "targets:\n  docker: [{name: d}]\n  postgres: [{name: a, url: 'postgres://h', log: " + is + "}]\n"
}

func onePolicy(rest string) string { return target + "policies:\n- {name: p, " + rest + "}\n" }

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := config.Parse("f", []byte("log: {level: x}\nwebb: {}\nengine: {concurrency: two}\n"), known())
	if err == nil || strings.Count(err.Error(), "\nf:") != 2 {
		t.Errorf("Parse: %v, want three lines", err)
	}
}

func TestPasswordInURLIsRefusedAndNotShown(t *testing.T) {
	for _, url := range []string{
		"postgres://u:hunter2@h/db", "postgres://h/db?password=hunter2", "postgres://u:hunter2@h:bad port/db",
		"postgres//u:hunter2@h",
	} {
		_, err := config.Parse("f", fmt.Appendf(nil, "targets: {postgres: [{name: a, url: %q}]}", url), known())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, host := range []string{"tcp://u:hunter2@h:2375", "tcp://u:hunter2@h:port", "http://u:hunter2@h", "u:hunter2@h",
		"unix://u:hunter2@/x", "tcp://u:hunter2/@h:1"} {
		_, err := config.Parse("f", fmt.Appendf(nil, "targets: {docker: [{name: a, host: %q}]}", host), known())
		if err == nil || strings.Contains(err.Error(), "hunter2") ||
			!strings.Contains(err.Error(), "f:1: the host of docker a has a user or password in it") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestDefaultsAndPaths(t *testing.T) {
	c, err := config.Parse("/etc/upkeep/upkeep.yaml", []byte(`data_dir: data
web: {token_file: token}
targets:
  postgres: [{name: main, url: postgres://u@h/db, password_file: secret}]
embedded: {rule_files: ['rules/*.yaml']}
collectors: {settings: {postgres/tablebloat: {every: 10m}}}
policies: [{name: p, match: ['a="b"', 'c=~"d|e"'], action: redis/bgsave}]
`), known())
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.DataDir, c.Web.TokenFile, c.Targets.Postgres[0].PasswordFile, c.Embedded.RuleFiles[0],
		c.Embedded.Enabled, c.Embedded.Retention, c.Collectors.Settings["postgres/tablebloat"].Every,
		c.Policies[0].Mode, c.Policies[0].Match.String(), c.Web.Listen, c.Log.Level}
	want := []any{"/etc/upkeep/data", "/etc/upkeep/token", "/etc/upkeep/secret", "/etc/upkeep/rules/*.yaml", true,
		90 * 24 * time.Hour, 10 * time.Minute, "observe", `{a="b",c=~"d|e"}`, "127.0.0.1:9847", "info"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSecretsAreReadWhenNeeded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	target := config.Redis{PasswordFile: file}
	if _, err := target.Password()(); err == nil {
		t.Error("a missing file is no error")
	}
	for _, secret := range []string{"one", "two"} {
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := target.Password()(); err != nil || got != secret {
			t.Errorf("Password: %q %v", got, err)
		}
	}
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Password()(); err == nil {
		t.Error("an empty secret is no error")
	}
	t.Setenv("UPKEEP_TEST_SECRET", "three")
	tokens := config.Web{TokenEnv: "UPKEEP_TEST_SECRET"}.Access()
	if len(tokens) != 1 || tokens[0].Role != access.Admin {
		t.Fatalf("%+v", tokens)
	}
	if got, err := tokens[0].Read(); err != nil || got != "three" {
		t.Errorf("token: %q %v", got, err)
	}
	if len(config.Web{}.Access()) != 0 {
		t.Error("there is a token where none is configured")
	}
}

func TestRestartless(t *testing.T) {
	parse := func(text string) *config.Config {
		c, err := config.Parse("f", []byte(target+text), known())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := parse("")
	if err := parse("policies: [{name: p, match: [a=b], action: redis/bgsave}]\nembedded: {rule_files: [/x]}").
		Restartless(old); err != nil {
		t.Errorf("Restartless: %v", err)
	}
	err := parse("web: {listen: '127.0.0.1:1'}\ndata_dir: /elsewhere\nembedded: {retention: 1d}").Restartless(old)
	if err == nil || strings.Count(err.Error(), "needs a restart") != 3 {
		t.Errorf("Restartless: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(config.Example()))
	f.Add([]byte("policies: &a [*a]"))
	f.Add([]byte("targets: {postgres: [{name: a, url: 'postgres://u:p@h'}]}"))
	place := regexp.MustCompile(`^f:\d+: `)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse("f", text, known())
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse: %v, %v", c, err)
		}
		if err != nil && !place.MatchString(err.Error()) {
			t.Errorf("no file and line: %v", err)
		}
	})
}
