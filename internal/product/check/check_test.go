package check_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/check"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// annHash is the hash of a password.
const annHash = "$2a$10$7EqJtq98hPqEX7fNZaFWoOhiN0k2WlTpoEOVKTIn1F1pSW7mHIpwK"

// sound is a configuration in which nothing is wrong: what follows begins in line 11.
const sound = `targets:
  postgres:
    - {name: main, url: "postgres://u@h/db", exclude: [rdsadmin],
       archives: [{database: shop, table: logs, column: at, to: {table: logs_old}}, {database: shop, table: tokens, column: at, purge: true}]}
    - {name: prod, url: "postgres://u@p/db"}
  redis: [{name: cache, url: "redis://h"}]
  host: [{name: this}]
  probe: [{name: api, url: "http://h/health"}]
windows:
  - {name: night, time_intervals: [{times: [{start_time: "01:00", end_time: "05:00"}]}]}
`

// policy is one in line 12.
func policy(rest string) string { return sound + "policies:\n  - {name: p, " + rest + "}\n" }

// schedule is one in line 12.
func schedule(rest string) string {
	return sound + "schedules:\n  - {name: s, cron: '0 3 * * *', " + rest + "}\n"
}

// findings are those of a configuration that is written into a folder with other files.
func findings(t *testing.T, text string, files map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"OPEN": 0o644, "CLOSED": 0o640} {
		path := filepath.Join(dir, name)
		if strings.Contains(text, name) {
			err := os.WriteFile(path, []byte("a secret of some length"), mode)
			if name == "OPEN" { // below a closed folder it would not be
				err = errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(dir, "upkeep.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []string
	c, source, err := config.Read(file, app.Known())
	if err != nil {
		all = strings.Split(err.Error(), "\n")
	} else {
		found, err := check.Config(c, source)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			all = append(all, f.String())
		}
	}
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], dir+"/", "")
	}
	return all
}

// A case is a wrong configuration with each line that is said of it: the file, the line,
// what is wrong and what to do.
type wrong struct {
	name, text string
	want       []string
	files      map[string]string
}

func TestWrongConfigurations(t *testing.T) {
	var all []wrong
	for _, some := range [][]wrong{expressions(), alertsAndLabels(), reached(), stepsOfPolicies(), times(),
		filesThatLack(), rulesOfTheUser(), targetsAmongThemselves(), otherSyntax()} {
		all = append(all, some...)
	}
	if len(all) < 60 {
		t.Errorf("%d wrong configurations, want 60", len(all))
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			got := findings(t, c.text, c.files)
			if len(got) != len(c.want) {
				t.Fatalf("%d findings, want %d:\n%s", len(got), len(c.want), strings.Join(got, "\n"))
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("%s\nwant %s…", got[i], c.want[i])
				}
				if !regexp.MustCompile(`^[\w.]+:\d+: .*(; |\?$)`).MatchString(got[i]) {
					t.Errorf("no file, line and advice: %s", got[i])
				}
			}
		})
	}
}

func expressions() []wrong {
	const reindex = `action: postgres/reindex`
	return []wrong{
		{name: "query that does not parse", text: schedule(reindex + `, query: "rate("`),
			want: []string{`upkeep.yaml:12: schedule "s": the query does not parse: `}},
		{name: "query with an unknown function", text: schedule(reindex +
			`, query: "rat(upkeep_postgres_index_bloat_ratio[5m]) > 0"`),
			want: []string{`upkeep.yaml:12: schedule "s": the query does not parse: unknown function with name "rat"`}},
		{name: "range instead of a vector", text: schedule(reindex +
			`, query: "upkeep_postgres_index_bloat_ratio[5m]"`),
			want: []string{`upkeep.yaml:12: schedule "s": the query gives a range vector; an instant vector was expected`}},
		{name: "text instead of a vector", text: schedule(reindex + `, query: "'x'"`),
			want: []string{`upkeep.yaml:12: schedule "s": the query gives a string; an instant vector was expected`}},
		{
			name: "fault in the third line of a text", text: sound +
				"schedules:\n  - name: s\n    cron: '0 3 * * *'\n    action: postgres/reindex\n    query: |\n      " +
				"upkeep_postgres_index_bloat_ratio\n        > 0.3 and\n        upkeep_postgres_index_bloat_bytes{ > " +
				"1\n",
			want: []string{`upkeep.yaml:18: schedule "s": the query does not parse: `},
		},
		{name: "misspelt metric",
			text: schedule(`action: postgres/vacuum, query: upkeep_postgres_tabel_dead_ratio > 0.1`),
			want: []string{`upkeep.yaml:12: schedule "s": nothing declares the metric upkeep_postgres_tabel_dead_ratio; did you mean "upkeep_postgres_table_dead_ratio"?`}},
		{
			name: "misspelt metric in the third line of a text",
			text: sound + "schedules:\n  - name: s\n    cron: '0 3 * * *'\n    action: postgres/vacuum\n    query: " +
				"|\n      upkeep_postgres_table_dead_ratio > 0.1\n      and\n      upkeep_postgres_table_dead_row > " +
				"1\n",
			want: []string{`upkeep.yaml:18: schedule "s": nothing declares the metric upkeep_postgres_table_dead_row; did you mean "upkeep_postgres_table_dead_rows"?`},
		},
		{name: "unknown metric", text: schedule(`action: postgres/vacuum, query: upkeep_postgres_happiness > 0.1`),
			want: []string{`upkeep.yaml:12: schedule "s": nothing declares the metric upkeep_postgres_happiness; docs/metrics.md lists the metrics of upkeep`}},
		{name: "metric of another exporter", text: schedule(`action: redis/bgsave, query: redis_memory_used_bytes > 1`),
			want: []string{`upkeep.yaml:12: schedule "s": nothing declares the metric redis_memory_used_bytes, and only upkeep itself is scraped; name what exports it in embedded.scrape_configs`}},
		{name: "key twice", text: sound + "targets: &t {}\n",
			want: []string{`upkeep.yaml:11: duplicate key "targets"; `}},
		{name: "misspelt label in a query",
			text: schedule(`action: postgres/vacuum, query: 'upkeep_postgres_table_dead_ratio{databse="shop"} > 0.1'`),
			want: []string{`upkeep.yaml:12: schedule "s": upkeep_postgres_table_dead_ratio has no label "databse"; did you mean "database"?`}},
		{name: "unknown label in a query",
			text: schedule(`action: redis/bgsave, query: 'upkeep_redis_snapshot_age_seconds{owner="ann"} > 1'`),
			want: []string{`upkeep.yaml:12: schedule "s": upkeep_redis_snapshot_age_seconds has no label "owner"; its labels are instance, job, server`}},
		{name: "unknown server in a query",
			text: schedule(`action: postgres/vacuum, query: 'upkeep_postgres_table_dead_ratio{server="prodd"} > 0.1'`),
			want: []string{`upkeep.yaml:12: schedule "s": no postgres target is called "prodd"; did you mean "prod"?`}},
		{name: "one of two unknown servers in a query",
			text: schedule(`action: postgres/vacuum, query: 'upkeep_postgres_table_dead_ratio{server=~"main|elsewhere"} > 0.1'`), want: []string{`upkeep.yaml:12: schedule "s": no postgres target is called "elsewhere"; choose one of main, prod`}},
		{name: "pattern of no server",
			text: schedule(`action: postgres/vacuum, query: 'upkeep_postgres_table_dead_ratio{server=~"staging-.*"} > 0.1'`), want: []string{`upkeep.yaml:12: schedule "s": no postgres target's name matches "staging-.*"; choose one of main, prod`}},
		{name: "metric of a disabled collector",
			text: schedule(`action: postgres/vacuum, query: upkeep_postgres_table_dead_ratio > 0.1`) +
				"collectors: {settings: {postgres/vacuum: {disabled: true}}}\n",
			want: []string{`upkeep.yaml:12: schedule "s": upkeep_postgres_table_dead_ratio has no series: its collector postgres/vacuum is disabled; enable it in collectors.settings`}},
		{name: "label that is aggregated away",
			text: schedule(`action: postgres/reindex, query: 'sum by (server, database) (upkeep_postgres_index_bloat_bytes) > 1e9'`), want: []string{
				`upkeep.yaml:12: schedule "s": postgres/reindex needs the label "schema", which the series of the query do not have; name it in subject`,
				`upkeep.yaml:12: schedule "s": postgres/reindex needs the label "table"`,
				`upkeep.yaml:12: schedule "s": postgres/reindex needs the label "index"`,
			}},
		{name: "query whose series are not about the action", text: schedule(`action: redis/bgsave, query: up == 0`),
			want: []string{`upkeep.yaml:12: schedule "s": redis/bgsave needs the label "server", which the series of the query do not have; name it in subject`}},
		{name: "two mistakes in one line",
			text: schedule(`action: redis/bgsave, subject: {server: cache}, windows: [nite], query: "rate("`),
			want: []string{`upkeep.yaml:12: schedule "s": unknown window "nite"; `,
				`upkeep.yaml:12: schedule "s": the query does not parse: `}},
		{name: "query about another kind of target",
			text: schedule(`action: redis/bgsave, query: upkeep_postgres_up == 1`),
			want: []string{`upkeep.yaml:12: schedule "s": redis/bgsave acts on redis targets (cache), and the query reads upkeep_postgres_up, which is about others; name a server in subject`}},
		{name: "query and subject of two servers",
			text: schedule(`action: postgres/advise_indexes, subject: {server: main}, query: 'upkeep_postgres_up{server="prod"} == 1'`), want: []string{`upkeep.yaml:12: schedule "s": the query reads server "prod", and the subject names "main": no series is the schedule's; name the same in both`}},
	}
}

func alertsAndLabels() []wrong {
	return []wrong{
		{name: "misspelt alert", text: policy(`match: ['alertname="PostgresDeadRow"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p": no rule declares the alert "PostgresDeadRow"; did you mean "PostgresDeadRows"?`}},
		{name: "unknown alert", text: policy(`match: ['alertname="NodeDown"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p": no rule declares the alert "NodeDown"; docs/alerts.md lists those of upkeep, and embedded.rule_files adds your own`}},
		{name: "unknown alert that Grafana may deliver",
			text:  policy(`match: ['alertname="NodeDown"'], action: redis/bgsave`) + "grafana: {secret_file: secret}\n",
			files: map[string]string{"secret": "x"},
			want:  []string{`upkeep.yaml:12: warning: policy "p": no rule declares the alert "NodeDown"; `}},
		{name: "a rule that only prometheus may have",
			text: policy(`match: ['alertname="NodeDown"'], action: redis/bgsave, mode: auto`) +
				"embedded: {enabled: false}\nprometheus: {url: 'http://p:9090'}\n",
			want: []string{`upkeep.yaml:12: warning: policy "p": mode auto needs a limit that upkeep knows, and it knows no rule of these alerts; if the Prometheus at prometheus.url does not have the rule, with a limit annotation, upkeep only asks; upkeep check --connect looks there`,
				`upkeep.yaml:12: warning: policy "p": no rule declares the alert "NodeDown"; `}},
		{name: "a rule that no one has",
			text: policy(`match: ['alertname="NodeDown"'], action: redis/bgsave, mode: auto`) + "embedded: {enabled: false}\n",
			want: []string{`upkeep.yaml:12: policy "p": mode auto needs a limit that upkeep knows, and it knows no rule of these alerts; set limit in the policy, name the Prometheus that has the rule in prometheus.url, or set mode: ask`,
				`upkeep.yaml:12: warning: policy "p": no rule declares the alert "NodeDown"; `}},
		{name: "a rule of Grafana's",
			text: policy(`match: ['alertname="NodeDown"'], action: redis/bgsave, mode: auto`) +
				"grafana: {secret_file: secret}\n",
			files: map[string]string{"secret": "x"},
			want: []string{`upkeep.yaml:12: warning: policy "p": mode auto needs a limit that upkeep knows, and it knows no rule of these alerts; upkeep only asks; set limit in the policy, or mode: ask`,
				`upkeep.yaml:12: warning: policy "p": no rule declares the alert "NodeDown"; `}},
		{name: "misspelt alert in the outside mode",
			text: policy(`match: ['alertname="RedisSnapshotsOld"'], action: redis/bgsave`) +
				"embedded: {enabled: false}\n",
			want: []string{`upkeep.yaml:12: policy "p": no rule declares the alert "RedisSnapshotsOld"; did you mean "RedisSnapshotOld"?`}},
		{name: "one of two alerts is misspelt",
			text: policy(`match: ['alertname=~"PostgresDeadRows|PostgresTabelBloat"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p": no rule declares the alert "PostgresTabelBloat"; did you mean "PostgresTableBloat"?`}},
		{name: "pattern of no alert", text: policy(`match: ['alertname=~"Mysql.*"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p": no rule declares an alert whose name matches alertname=~"Mysql.*"; docs/alerts.md lists the alerts`}},
		{name: "misspelt alert that is left out",
			text: policy(`match: ['alertname=~"RedisSnapshot.*"', 'alertname!="RedisSnapshotFailde"'], action: redis/bgsave`), want: []string{`upkeep.yaml:12: warning: policy "p": no rule declares the alert "RedisSnapshotFailde", which is left out here; did you mean "RedisSnapshotFailed"?`}},
		{name: "severity that the alert has not",
			text: policy(`match: ['alertname="PostgresDeadRows"', 'severity="warn"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p" can never match severity="warn": PostgresDeadRows has severity "`}},
		{name: "server that is no target",
			text: policy(`match: ['alertname="PostgresDeadRows"', 'server="prodd"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p" can never match server="prodd": PostgresDeadRows is about the targets main, prod; did you mean "prod"?`}},
		{name: "server of another kind",
			text: policy(`match: ['alertname="RedisSnapshotOld"', 'server="main"'], action: redis/bgsave`),
			want: []string{`upkeep.yaml:12: policy "p" can never match server="main": RedisSnapshotOld is about the targets cache; `}},
		{name: "misspelt label in a matcher",
			text: policy(`match: ['alertname="PostgresDeadRows"', 'databse="shop"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p" can never match databse="shop": PostgresDeadRows has no label "databse"; did you mean "database"?`}},
		{name: "label that the alert has not",
			text: policy(`match: ['alertname="RedisSnapshotOld"', 'table="t"'], action: redis/bgsave`),
			want: []string{`upkeep.yaml:12: policy "p" can never match table="t": RedisSnapshotOld has no label "table"; its labels are alertname, `}},
		{name: "matcher in a line of its own", text: sound +
			"policies:\n  - name: p\n    match:\n      - alertname=\"PostgresDeadRows\"\n      - server=\"nope\"\n   " +
			" action: postgres/vacuum\n", want: []string{`upkeep.yaml:15: policy "p" can never match server="nope": `}},
		{name: "matchers that contradict each other",
			text: policy(`match: ['severity="critical"', 'alertname="RedisSnapshotOld"'], action: redis/bgsave`),
			want: []string{`upkeep.yaml:12: policy "p" can never match severity="critical": RedisSnapshotOld has severity "`}},
	}
}

func reached() []wrong {
	two := func(first, second string) string {
		return sound + "policies:\n  - {name: a, " + first + "}\n  - {name: b, " + second + "}\n"
	}
	const vacuum = `match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum`
	return []wrong{
		{name: "two names of an alert",
			text: policy(`match: ['alertname="PostgresDeadRows"', 'alertname="RedisDown"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p" can never match: no value of alertname satisfies all of its matchers for it; `}},
		{name: "two values of a label",
			text: policy(`match: ['alertname="PostgresDeadRows"', 'database=~"a|b"', 'database!~"a|b"'], action: postgres/vacuum`), want: []string{`upkeep.yaml:12: policy "p" can never match: no value of database satisfies all of its matchers for it; `}},
		{name: "two patterns of names",
			text: policy(`match: ['alertname=~"Postgres.+"', 'alertname=~"Redis.+"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: policy "p": no alert satisfies all of its matchers together; test it with upkeep policy test`}},
		{name: "the same policy twice", text: two(vacuum, vacuum),
			want: []string{`upkeep.yaml:13: policy "b" is never reached: policy "a" before it matches everything that it matches, and the first that matches decides; put it before that one`}},
		{name: "a narrower policy behind", text: two(vacuum,
			`match: ['alertname="PostgresDeadRows"', 'server="main"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:13: policy "b" is never reached: policy "a"`}},
		{name: "behind one for every alert",
			text: two(`match: ['alertname=~".*"'], steps: [{action: postgres/advise_indexes, subject: {server: main}, limit: 1}]`, vacuum), want: []string{`upkeep.yaml:13: policy "b" is never reached: policy "a"`}},
		{name: "behind one for every severity",
			text: two(`match: ['severity=~"info|warning|critical"'], steps: [{action: postgres/advise_indexes, subject: {server: main}, limit: 1}]`, vacuum), want: []string{`upkeep.yaml:13: policy "b" is never reached: policy "a"`}},
		{name: "behind one for every server",
			text: two(`match: ['alertname="PostgresDeadRows"', 'server=~"main|prod"'], action: postgres/vacuum`,
				vacuum), want: []string{`upkeep.yaml:13: policy "b" is never reached: policy "a"`}},
		{
			name: "behind two that share its alerts", text: sound +
				"policies:\n  - {name: a, match: ['alertname=\"RedisSnapshotOld\"'], action: redis/bgsave}\n  - " +
				"{name: b, match: ['alertname=\"RedisSnapshotFailed\"'], action: redis/bgsave}\n  - {name: c, match: " +
				"['alertname=~\"RedisSnapshotOld|RedisSnapshotFailed\"'], action: redis/bgsave}\n",
			want: []string{`upkeep.yaml:14: policy "c" is never reached: the policies before it match all of its alerts: policy "a" (RedisSnapshotOld), policy "b" (RedisSnapshotFailed); the first that matches decides; put it before them`},
		},
		{name: "behind the same in the outside mode",
			text: two(`match: ['team="db"', 'alertname="PostgresDeadRows"'], action: postgres/vacuum`,
				`match: ['alertname="PostgresDeadRows"', 'team="db"', 'server="main"'], action: postgres/vacuum`) +
				"embedded: {enabled: false}\n",
			want: []string{`upkeep.yaml:13: policy "b" is never reached: policy "a"`}},
	}
}

func stepsOfPolicies() []wrong {
	return []wrong{
		{name: "action of another kind",
			text: policy(`match: ['alertname="RedisSnapshotOld"'], action: postgres/reindex, windows: [night]`),
			want: []string{`upkeep.yaml:12: policy "p": postgres/reindex needs the label "database", which RedisSnapshotOld does not have; name it in subject, or match other alerts`}},
		{name: "action of another kind with the same labels",
			text: policy(`match: ['alertname="RedisSnapshotOld"'], action: postgres/advise_indexes`),
			want: []string{`upkeep.yaml:12: policy "p": RedisSnapshotOld is about cache, and postgres/advise_indexes acts on postgres targets (main, prod); name one in subject: {server: …}`, `upkeep.yaml:12: warning: policy "p": postgres/advise_indexes lowers `}},
		{name: "one of its alerts has no such label",
			text: policy(`match: ['alertname=~"PostgresDeadRows|PostgresDown"'], action: postgres/vacuum`),
			want: []string{`upkeep.yaml:12: warning: policy "p": postgres/vacuum needs the label "database", which PostgresDown does not have; `}},
		{name: "subject of no target",
			text: policy(`match: ['alertname="HostFilesystemFilling"'], steps: [{action: postgres/advise_indexes, subject: {server: mian}, limit: 1}]`), want: []string{`upkeep.yaml:12: policy "p": no postgres target is called "mian"; did you mean "main"?`}},
		{name: "subject takes a label that is not there",
			text: policy(`match: ['alertname="HostFilesystemFilling"'], steps: [{action: postgres/advise_indexes, subject: {server: $host}, limit: 1}]`), want: []string{`upkeep.yaml:12: policy "p": server of subject takes $host, and none of its alerts has that label; their labels are `}},
		{name: "parameter takes a label that is not there",
			text: policy(`match: ['alertname="PostgresIdleInTransaction"'], steps: [{action: postgres/terminate, with: {of: "${off}"}, mode: ask}]`), want: []string{`upkeep.yaml:12: policy "p": of of with takes $off, and none of its alerts has that label; did you mean "of"?`}},
		{name: "action without a target",
			text: policy(`match: ['alertname="HostFilesystemFilling"'], steps: [{action: docker/prune, subject: {server: engine, type: images}, limit: 1}]`), want: []string{`upkeep.yaml:12: warning: policy "p": no target takes docker/prune: there is no docker target; add one to targets.docker, or remove this`}},
		{name: "metric that the action does not lower",
			text: policy(`match: ['alertname="RedisMemoryNearLimit"'], action: redis/bgsave`),
			want: []string{`upkeep.yaml:12: warning: policy "p": redis/bgsave lowers upkeep_redis_snapshot_age_seconds, and RedisMemoryNearLimit compares another metric with its limit; give the step a limit of its own`}},
		{name: "second step", text: sound + "policies:\n  - name: p\n    match: ['alertname=\"PostgresDeadRows\"']\n " +
			"   steps:\n      - {action: postgres/vacuum}\n      - {action: redis/bgsave, limit: 1}\n",
			want: []string{`upkeep.yaml:16: policy "p": PostgresDeadRows is about main, prod, and redis/bgsave acts on redis targets (cache); name one in subject`}},
		{name: "answers that are never fresh",
			text: policy(`match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave, fresh: 5s`),
			want: []string{`upkeep.yaml:12: warning: policy "p": an answer is to be at most 5s old, and redis/`}},
		{name: "collector that is slower than the answer may be old",
			text: policy(`match: ['alertname="RedisSnapshotOld"'], action: redis/bgsave`) +
				"collectors: {interval: 1h}\n",
			want: []string{`upkeep.yaml:12: warning: policy "p": an answer is to be at most 30m old, and redis/`}},
		{name: "unknown backup",
			text: policy(`match: ['alertname="PostgresRowsPastRetention"'], action: postgres/purge, backup: 1d, mode: ask`), want: []string{`upkeep.yaml:12: policy "p" asks for a verified backup, and no target of targets.backup is named like a postgres target, so postgres/purge is refused; add one called "main" or "prod"`}},
		{name: "table without an archive",
			text: policy(`match: ['alertname="HostFilesystemFilling"'], steps: [{action: postgres/archive, subject: {server: main, database: shop, schema: public, table: orders}, limit: 1}]`), want: []string{`upkeep.yaml:12: policy "p": postgres main has no archive of table public.orders in database shop, so postgres/archive is refused; add it to targets.postgres.archives`}},
		{name: "unknown window",
			text: policy(`match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, windows: [nite]`),
			want: []string{`upkeep.yaml:12: policy "p": unknown window "nite"; `}},
	}
}

func times() []wrong {
	return []wrong{
		{name: "subject of a schedule", text: schedule(`action: redis/bgsave, subject: {server: nope}`),
			want: []string{`upkeep.yaml:12: schedule "s": no redis target is called "nope"; choose one of cache`}},
		{name: "server of a schedule is misspelt",
			text: schedule(`action: postgres/advise_indexes, subject: {server: prodd}`),
			want: []string{`upkeep.yaml:12: schedule "s": no postgres target is called "prodd"; did you mean "prod"?`}},
		{name: "schedule without a target",
			text: schedule(`action: docker/prune, subject: {server: engine, type: images}`),
			want: []string{`upkeep.yaml:12: warning: schedule "s": no target takes docker/prune: there is no docker target; add one to targets.docker, or remove this`}},
		{name: "excluded database",
			text: schedule(`action: postgres/vacuum, subject: {server: main, database: rdsadmin, schema: public, table: t}`), want: []string{`upkeep.yaml:12: schedule "s": database "rdsadmin" is excluded from postgres main (targets.postgres.exclude), and nothing is done in it; `}},
		{name: "purge of what is moved",
			text: schedule(`action: postgres/purge, subject: {server: main, database: shop, schema: public, table: logs}, mode: ask`), want: []string{`upkeep.yaml:12: schedule "s": the archive of logs does not say purge: true, so postgres/purge is refused; `}},
		{name: "archive of what is purged",
			text: schedule(`action: postgres/archive, subject: {server: main, database: shop, schema: public, table: tokens}`), want: []string{`upkeep.yaml:12: schedule "s": the archive of tokens has no destination (to), so postgres/archive is refused; `}},
		{name: "window that never opens",
			text: sound + "  - {name: never, time_intervals: [{days_of_month: ['31'], months: ['2']}]}\n",
			want: []string{`upkeep.yaml:11: window "never" does not open within the next two years; look at its days_of_month, months and years together`}},
		{name: "window of a year that is over", text: sound + "  - {name: past, time_intervals: [{years: ['2020']}]}\n",
			want: []string{`upkeep.yaml:11: window "past" does not open within the next two years; `}},
		{name: "unknown window of a schedule",
			text: schedule(`action: redis/bgsave, subject: {server: cache}, windows: [nigth]`),
			want: []string{`upkeep.yaml:12: schedule "s": unknown window "nigth"; did you mean "night"?`}},
	}
}

func otherSyntax() []wrong {
	scrape := func(rest string) string { return sound + "embedded:\n  scrape_configs:\n" + rest }
	const api = "    - job_name: api\n      static_configs: [{targets: ['h:8002']}]\n"
	return []wrong{
		{name: "unknown key of a scrape configuration",
			text: scrape("    - job_name: api\n      static_configs: [{targets: ['h:8002']}]\n      metrics_pth: " +
				"/metrics\n"),
			want: []string{`upkeep.yaml:15: scrape_configs: unknown key "metrics_pth"; Prometheus' own syntax was expected`}},
		{name: "scrape configuration without a name", text: scrape("    - static_configs: [{targets: ['h:8002']}]\n"),
			want: []string{`upkeep.yaml:13: scrape_configs: job_name is empty; Prometheus' own syntax was expected`}},
		{name: "job twice", text: scrape(api + api),
			want: []string{`upkeep.yaml:15: scrape_configs: a second entry is called "api", the first is entry 1; each needs a name of its own`}},
		{name: "job of upkeep itself", text: scrape("    - job_name: upkeep\n      static_configs: [{targets: " +
			"['h:8002']}]\n"),
			want: []string{`upkeep.yaml:13: scrape_configs: job_name "upkeep" is that of upkeep's own metrics, which are scraped by themselves; choose another name`}},
		{name: "discovery that is not linked in",
			text: scrape("    - job_name: api\n      kubernetes_sd_configs: [{role: pod}]\n"),
			want: []string{`upkeep.yaml:14: scrape_configs: unknown key "kubernetes_sd_configs"; upkeep finds targets by static_configs and by the sd_configs of dns, file, http`}},
		{name: "wrong relabelling in the flow style",
			text: scrape("    - {job_name: api, static_configs: [{targets: ['h:8002']}], relabel_configs: [{action: " +
				"keepp}]}\n"),
			want: []string{`upkeep.yaml:13: scrape_configs: unknown relabel action "keepp"; Prometheus' own syntax was expected`}},
		{name: "scrape timeout", text: scrape(api + "      scrape_interval: 1s\n      scrape_timeout: 5s\n"),
			want: []string{`upkeep.yaml:13: scrape_configs: scrape timeout greater than scrape interval for scrape config with job name "api"; `}},
		{name: "password in a scrape configuration", text: scrape(api +
			"      basic_auth: {username: u, password: hunter2}\n"),
			want: []string{`upkeep.yaml:15: warning: embedded.scrape_configs.basic_auth.password is in the configuration file; write it into a file of its own and name that in password_file`}},
		{name: "password file of a scrape configuration",
			text: scrape(api + "      basic_auth:\n        username: u\n        password_file: nope\n"),
			want: []string{`upkeep.yaml:17: embedded.scrape_configs.basic_auth.password_file: nope does not exist; create the file, or name another`}},
		{name: "file of targets", text: scrape("    - job_name: api\n      file_sd_configs:\n        - files: " +
			"['targets/*.yml']\n"),
			want: []string{`upkeep.yaml:15: warning: embedded.scrape_configs.file_sd_configs.files: no file matches targets/*.yml; its targets are scraped as soon as there is one`}},
		{name: "no list", text: sound + "embedded: {scrape_configs: {job_name: api}}\n",
			want: []string{`upkeep.yaml:11: scrape_configs is a mapping; a list was expected, as Prometheus has it`}},
		{name: "remote_write without a URL", text: sound + "embedded:\n  remote_write:\n    - name: other\n",
			want: []string{`upkeep.yaml:13: remote_write: url for remote_write is empty; Prometheus' own syntax was expected`}},
		{name: "remote_write by FTP", text: sound + "embedded:\n  remote_write:\n    - url: ftp://h/w\n",
			want: []string{`upkeep.yaml:13: remote_write: its url begins with "ftp:"; http:// or https:// was expected`}},
		{name: "the same remote_write twice", text: sound +
			"embedded:\n  remote_write:\n    - url: http://h/w\n    - {url: 'http://h/w'}\n",
			want: []string{`upkeep.yaml:14: remote_write: it writes to the same place as entry 1 and in the same way; remove one of them`}},
		{name: "job without targets", text: scrape(api + "    - job_name: web\n      static_configs: []\n"),
			want: []string{`upkeep.yaml:15: warning: embedded.scrape_configs: entry 2 scrapes nothing; name its targets in static_configs`}},
		{name: "unknown key of remote_write", text: sound +
			"embedded:\n  remote_write:\n    - url: http://h/api/v1/write\n      queue: {}\n",
			want: []string{`upkeep.yaml:14: remote_write: unknown key "queue"; `}},
		{name: "scrape configurations in the outside mode",
			text: sound + "embedded:\n  enabled: false\n  scrape_configs:\n" + api,
			want: []string{`upkeep.yaml:14: embedded.scrape_configs is for the Prometheus within upkeep, and embedded.enabled is false; write it into your own Prometheus' configuration`}},
		{name: "size without a unit", text: sound + "embedded: {retention_size: 10}\n",
			want: []string{`upkeep.yaml:11: retention_size is "10"; a number with a unit was expected, like 512MB or 20GB, or 0 for no limit`}},
	}
}

func filesThatLack() []wrong {
	return []wrong{
		{name: "password file", text: "targets:\n  postgres:\n    - name: main\n      url: postgres://u@h/db\n      " +
			"password_file: /does/not/exist\n",
			want: []string{`upkeep.yaml:5: targets.postgres.password_file: /does/not/exist does not exist; create the file, or name another`}},
		{name: "empty password file", text: "targets:\n  redis:\n    - name: main\n      url: rediss://h\n      " +
			"password_file: empty\n", files: map[string]string{"empty": ""},
			want: []string{`upkeep.yaml:5: targets.redis.password_file: empty is empty; write into it what it is for`}},
		{name: "password that others can read", text: "targets:\n  redis:\n    - name: main\n      url: redis://h\n      " +
			"password_file: OPEN\n",
			want: []string{`upkeep.yaml:4: warning: redis main: its password goes to h unencrypted; use rediss://`,
				`upkeep.yaml:5: targets.redis.password_file: the file `}},
		{name: "program that is not there", text: "targets:\n  redis:\n    - name: main\n      url: rediss://h\n      " +
			"password_command: [/does/not/exist, S3cret]\n",
			want: []string{`upkeep.yaml:5: targets.redis.password_command: /does/not/exist does not exist; install the program, or name another`}},
		{name: "file that is no program", text: "targets:\n  redis:\n    - name: main\n      url: rediss://h\n      " +
			"password_command: [/etc/passwd]\n",
			want: []string{`upkeep.yaml:5: targets.redis.password_command: /etc/passwd is no program; name one that upkeep's user may run`}},
		{name: "token that others can read", text: sound + "web:\n  tokens:\n    - {name: a, role: view, file: OPEN}\n",
			want: []string{`upkeep.yaml:13: web.tokens.file: the file `}},
		{name: "without TLS", text: sound + "web:\n  listen: :9847\n  token_file: CLOSED\n  external_url: http://h:9847\n",
			want: []string{`upkeep.yaml:12: warning: web.listen is :9847 without TLS`,
				`upkeep.yaml:14: warning: web.external_url is http://`}},
		{name: "for others, and no one can log in", text: sound + "web:\n  listen: :9847\n",
			want: []string{`upkeep.yaml:12: web.listen is :9847, which other machines can reach`}},
		{name: "login that others can read", text: "targets:\n  postgres:\n    - {name: a, url: " +
			"'postgres://u@db/x?sslmode=disable', password_file: CLOSED}\n",
			want: []string{`upkeep.yaml:3: warning: postgres a: sslmode=disable sends the login`}},
		{name: "users and roles", text: sound + "web:\n  config_file: web.yml\n  users: {eve: view}\n",
			files: map[string]string{"web.yml": "basic_auth_users: {ann: " + annHash + "}\n"},
			want: []string{`upkeep.yaml:12: warning: user "ann" of web.yml has no role`,
				`upkeep.yaml:13: web.users: eve is not in basic_auth_users of web.yml`}},
		{name: "folder instead of a file", text: sound + "web: {token_file: .}\n",
			want: []string{`upkeep.yaml:11: web.token_file: `}},
		{name: "address of a chat", text: sound + "notify:\n  - {name: ops, kind: webhook, url_file: /nope}\n",
			want: []string{`upkeep.yaml:12: notify.places.url_file: /nope does not exist; create the file, or name another`}},
		{name: "Alertmanager's file", text: sound + "embedded:\n  alertmanager_file: gone.yml\n",
			want: []string{`upkeep.yaml:12: embedded.alertmanager_file: open gone.yml: no such file or directory; name a file that upkeep's user can read`}},
		{name: "files that Alertmanager's file names", text: sound + "embedded: {alertmanager_file: am.yml}\n",
			files: map[string]string{"am.yml": "templates: [gone.tmpl]\nroute: {receiver: r}\nreceivers:\n  - name: " +
				"r\n    webhook_configs: [{url_file: gone}]\n"},
			want: []string{`am.yml:1: warning: templates: no file matches gone.tmpl; `,
				`am.yml:5: warning: url_file names gone, which is not there; create it`}},
		{name: "environment variable", text: sound + "notify:\n  - {name: ops, kind: webhook, url_env: " +
			"UPKEEP_TEST_NO_SUCH_VARIABLE}\n",
			want: []string{`upkeep.yaml:12: warning: notify.places.url_env names the environment variable UPKEEP_TEST_NO_SUCH_VARIABLE, which is not set here; set it for upkeep's process`}},
		{name: "web configuration", text: sound + "web: {config_file: web.yml}\n",
			want: []string{`upkeep.yaml:11: web.config_file: web.yml does not exist; create the file, or name another`}},
		{name: "wrong web configuration", text: sound + "web: {config_file: web.yml}\n",
			files: map[string]string{"web.yml": "tls_server_config: {cert_file: nope.crt, key_file: nope.key}\n"},
			want:  []string{`upkeep.yaml:11: web.config_file is wrong: `}},
		{name: "certificates", text: "targets:\n  probe:\n    - {name: api, url: 'https://h/', ca_file: ca.pem}\n",
			want: []string{`upkeep.yaml:3: targets.probe.ca_file: ca.pem does not exist; create the file, or name another`}},
		{name: "rule files", text: sound + "embedded:\n  rule_files:\n    - rules/*.yaml\n",
			want: []string{`upkeep.yaml:13: embedded.rule_files: no file matches rules/*.yaml; a rule that is not there cannot fire`}},
		{name: "folder of an archive", text: "targets:\n  postgres:\n    - name: main\n      url: " +
			"postgres://u@h/db\n      archives:\n        - {database: d, table: t, column: at, to: {folder: old}}\n",
			want: []string{`upkeep.yaml:6: the folder of the archive of t: old does not exist; create the folder, or name another`}},
		{name: "log of a server that is not there", text: "targets:\n  postgres:\n    - name: main\n      url: " +
			"postgres://u@h/db\n      log: {path: gone.log}\n",
			want: []string{`upkeep.yaml:5: the log of postgres main: gone.log does not exist; name the file that the server writes`}},
		{name: "log of a server that is a folder", text: "targets:\n  postgres:\n    - name: main\n      url: " +
			"postgres://u@h/db\n      log: {path: .}\n",
			want: []string{`upkeep.yaml:5: the log of postgres main: `}},
		{name: "log files", text: "targets:\n  host:\n    - name: this\n      logs:\n        files:\n" +
			"          - {service: a, path: /does/not/exist/*.log}\n          - {service: b, path: /dev/null}\n",
			want: []string{`upkeep.yaml:6: warning: no log of a is at /does/not/exist/*.log; correct the path, or wait: a log is read when it appears`,
				`upkeep.yaml:7: logs of b: "/dev/null" is a link, a pipe or a device: name the file itself; correct the path, or grant the right`}},
		{name: "archive of logs", text: "targets:\n  docker:\n    - {name: engine, log_archive: /does/not/exist}\n",
			want: []string{`upkeep.yaml:3: log_archive of docker engine: /does/not/exist does not exist; create the folder, or name another`}},
		{name: "backup without a file", text: "targets:\n  backup:\n    - {name: main, path: '*.dump'}\n",
			want: []string{`upkeep.yaml:3: warning: no backup is at *.dump of backup main; look at the pattern, or make the first backup`}},
		{name: "report of packages", text: "targets:\n  packages:\n    - {name: api, kind: pip, path: report.json}\n",
			want: []string{`upkeep.yaml:3: warning: packages api: there is nothing at report.json; name the report or the service's folder`}},
		{name: "database of Trivy", text: "targets:\n  packages:\n    - {name: api, kind: trivy, path: report.json,\n       database: gone.json}\n" +
			"    - {name: web, kind: trivy, path: report.json,\n       database: other.json}\n",
			files: map[string]string{"report.json": "{}", "other.json": "{}"},
			want: []string{`upkeep.yaml:4: warning: packages api: the age of its database is not known: gone.json does not exist; name the metadata.json`,
				`upkeep.yaml:6: warning: packages web: the age of its database is not known: other.json: it has no UpdatedAt, so it is not the metadata.json of Trivy; name`}},
		{name: "folder as the time of a restore", text: "targets:\n  backup:\n    - {name: main, path: '*.yaml',\n       verified: .}\n",
			want: []string{`upkeep.yaml:4: warning: verified of backup main: `}},
		{name: "data_dir is a file", text: sound + "data_dir: file\n", files: map[string]string{"file": "x"},
			want: []string{`upkeep.yaml:11: data_dir is file, which is a file; name a folder`}},
	}
}

func rulesOfTheUser() []wrong {
	own := func(rules string) wrong {
		return wrong{text: sound + "embedded: {rule_files: [own.yaml]}\n",
			files: map[string]string{"own.yaml": "groups:\n  - name: g\n    rules:\n" + rules}}
	}
	with := func(w wrong, name string, want ...string) wrong {
		w.name, w.want = name, want
		return w
	}
	return []wrong{
		with(own("      - alert: A\n        expr: x >\n        labels: {severity: info}\n"), "rule that does not parse",
			`own.yaml:5: group "g", rule 1, "A": could not parse expression: `),
		with(own("      - alert: A\n        expr: upkeep_redis_upp == 0\n        labels: {severity: info}\n"),
			"rule with a misspelt metric",
			`own.yaml:5: alert "A": nothing declares the metric upkeep_redis_upp; did you mean "upkeep_redis_up"?`),
		with(own("      - record: a:b\n        expr: |\n          sum(\n            "+
			"upkeep_redis_up{sever=\"cache\"})\n"), "recording rule with a misspelt label in its second line",
			`own.yaml:7: recording rule "a:b": upkeep_redis_up has no label "sever"; did you mean "server"?`),
		with(own("      - alert: A\n        expr: upkeep_redis_up == 0\n"), "alert without a severity",
			`own.yaml:4: warning: alert "A" has no label severity; add severity: info, warning or critical`),
		with(own("      - alert: RedisDown\n        expr: upkeep_redis_up == 0\n        labels: {severity: info}\n"),
			"name of a shipped alert",
			`own.yaml:4: warning: alert "RedisDown": upkeep ships a rule of this name, and a policy for one matches both; choose another name`),
		with(own("      - alert: A\n        expr: upkeep_redis_up == 0\n        labels: {severity: info}\n        "+
			"annotations:\n          action: redis/bgsav\n          limit: a lot\n"), "annotations",
			`own.yaml:8: alert "A": the annotation action names "redis/bgsav", which does not exist; did you mean "redis/bgsave"?`, `own.yaml:9: alert "A": the annotation limit is "a lot"; write the number that the expression compares with`),
		with(own("      - alert: A\n        expr: upkeep_redis_up == 0\n        labels: {severity: info}\n        "+
			"annotations: {limit: NaN}\n"), "a limit that nothing can be compared with",
			`own.yaml:7: alert "A": the annotation limit is "NaN"; write the number that the expression compares with`),
		with(own("      - alert: A\n        exp: upkeep_redis_up == 0\n"), "misspelt key of a rule",
			`own.yaml:5: field exp not found in type rulefmt.Rule; Prometheus would not take the file`),
		with(own("      - alert: A\n        expr: upkeep_logs_request_duration_seconds > 1\n        labels: "+
			"{severity: info}\n"), "histogram by its bare name in a rule",
			`own.yaml:5: alert "A": upkeep_logs_request_duration_seconds is a histogram, and no series has its bare name; write upkeep_logs_request_duration_seconds_bucket`),
		{name: "rule files in the outside mode", text: sound + "embedded: {enabled: false, rule_files: [own.yaml]}\n",
			want: []string{`upkeep.yaml:11: warning: embedded.rule_files has no effect while embedded.enabled is false; give the files to your own Prometheus`}},
	}
}

func targetsAmongThemselves() []wrong {
	return []wrong{
		{name: "replicas in a circle", text: "targets:\n  postgres:\n    - {name: a, url: 'postgres://a', " +
			"replica_of: b}\n    - {name: b, url: 'postgres://b', replica_of: a}\n",
			want: []string{`upkeep.yaml:3: postgres a follows itself through replica_of; name the primary there, and nothing at the primary`, `upkeep.yaml:4: postgres b follows itself`}},
		{name: "one server twice", text: "targets:\n  redis:\n    - {name: a, url: 'redis://h:6379'}\n    - {name: " +
			"b, url: 'redis://h:6379/'}\n",
			want: []string{`upkeep.yaml:4: warning: redis "b" has the address of "a"; two names for one server count and act twice`}},
		{name: "archive in a database that is not listed",
			text: "targets:\n  postgres:\n    - name: a\n      url: postgres://a\n      databases: [shop]\n      " +
				"archives: [{database: other, table: t, column: at}]\n",
			want: []string{`upkeep.yaml:6: the archive of t is in database "other", which the databases of postgres a are without, so its rows are neither counted nor moved; name it in databases`}},
		{name: "databases as patterns",
			text: "targets:\n  postgres:\n    - name: a\n      url: postgres://a\n      databases: ['app*']\n      exclude: ['%_old']\n",
			want: []string{`upkeep.yaml:5: warning: databases of postgres a has "app*": names are compared as they are, without patterns; write each name`,
				`upkeep.yaml:6: warning: exclude of postgres a has "%_old": names`}},
		{name: "collector that is disabled for no target", text: sound +
			"collectors: {settings: {postgres/vacuum: {disabled_for: [main, mian]}}}\n",
			want: []string{`upkeep.yaml:11: collector postgres/vacuum is disabled for "mian", and there is no postgres target of that name; did you mean "main"?`}},
		{name: "collector that is disabled for a target of another kind", text: sound +
			"collectors: {settings: {postgres/vacuum: {disabled_for: [elsewhere]}}}\n",
			want: []string{`upkeep.yaml:11: collector postgres/vacuum is disabled for "elsewhere", and there is no postgres target of that name; choose one of main, prod`}},
		{name: "collector that is disabled where there is no target", text: "targets: {host: [{name: this}]}\n" +
			"collectors:\n  settings:\n    redis/memory:\n      disabled_for: [cache]\n",
			want: []string{`upkeep.yaml:5: warning: collector redis/memory has settings and asks nothing`,
				`upkeep.yaml:5: collector redis/memory is disabled for "cache", and there is no redis target of that name; no target is in targets.redis: remove this, or add one`}},
		{name: "archive in an excluded database",
			text: "targets:\n  postgres:\n    - name: a\n      url: postgres://a\n      exclude: [shop]\n      " +
				"archives: [{database: shop, table: t, column: at}]\n",
			want: []string{`upkeep.yaml:6: the archive of t is in database "shop", which postgres a excludes, so its rows are neither counted nor moved; take it out of exclude`}},
		{name: "settings of a collector that asks no server",
			text: sound + "collectors:\n  settings:\n    docker/containers: {every: 1m}\n",
			want: []string{`upkeep.yaml:13: warning: collector docker/containers has settings and asks nothing: there is no docker target; add one to targets.docker, or remove this`}},
		{name: "timeout longer than the interval", text: sound +
			"collectors:\n  settings:\n    redis/memory: {every: 10s, timeout: 1m}\n",
			want: []string{`upkeep.yaml:13: warning: collector redis/memory may take 1m0s for an answer and asks every 10s; make timeout shorter, or every longer`}},
	}
}

// What is shipped, and what the pages show, is good.
func TestShippedConfigurationsAreGood(t *testing.T) {
	for _, file := range []string{"../../../upkeep.example.yaml", "../../../tools/compose/upkeep.yaml"} {
		c, source, err := config.Read(file, app.Known())
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		found, err := check.Config(c, source)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			// The stack's own network is on one machine.
			if f.Warning && strings.Contains(file, "compose") && (strings.Contains(f.Text, "without TLS") ||
				strings.Contains(f.Text, "unencrypted")) {
				continue
			}
			if strings.Contains(f.Text, " belongs to user ") { // who checked it out
				continue
			}
			if strings.Contains(file, "compose") && strings.Contains(f.Text, "/host does not exist") { // but in its container
				continue
			}
			t.Error(f)
		}
	}
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("README.md shows no configuration")
	}
	for i, block := range blocks {
		for _, line := range findings(t, block[1], nil) {
			if !strings.Contains(line, " does not exist; create the file") { // its secrets are not here
				t.Errorf("block %d of README.md: %s", i+1, line)
			}
		}
	}
}

// A sound configuration in many forms is silent.
func TestSoundConfigurations(t *testing.T) {
	for i, text := range []string{
		sound,
		policy(`match: ['alertname="PostgresDeadRows"', 'server="main"', 'database=~"shop.*"'], action: postgres/vacuum`),
		policy(`match: ['alertname=~"Postgres(DeadRows|TableBloat)"'], steps: [{action: postgres/vacuum, limit: 0.1}]`),
		policy(`match: ['alertname="PostgresIdleInTransaction"'], steps: [{action: postgres/terminate, with: {of: $of}, mode: ask}]`),
		policy(`match: ['alertname="PostgresDeadRows"', 'team="db"'], action: postgres/vacuum`) +
			"embedded: {enabled: false}\n",
		policy(`match: ['team="db"'], steps: [{action: redis/bgsave, subject: {server: cache}, limit: 1}]`) +
			"embedded: {enabled: false}\n",
		sound + "policies:\n  - {name: a, match: ['alertname=\"PostgresDeadRows\"', 'server=\"main\"'], action: " +
			"postgres/vacuum}\n  - {name: b, match: ['alertname=\"PostgresDeadRows\"'], action: postgres/vacuum, " +
			"mode: ask}\n",
		schedule(`action: postgres/vacuum, query: 'topk(3, upkeep_postgres_table_dead_ratio{server="main"} > 0.1) and on (server, database, schema, table) upkeep_postgres_table_dead_rows > 1000'`),
		schedule(`action: postgres/vacuum, subject: {server: main}, query: 'max by (database, schema, table) (upkeep_postgres_table_dead_ratio) > 0.1'`),
		schedule(`action: postgres/vacuum, query: 'label_replace(sum by (server, database, relation) (pg_stat_dead), "table", "$1", "relation", "(.*)")', subject: {schema: public}`) + "embedded: {enabled: false}\nprometheus: {url: 'http://p:9090'}\n",
		schedule(`action: redis/bgsave, query: 'up{job="upkeep"} == 1 unless on (server) ALERTS{alertname="RedisDown"}', subject: {server: cache}`),
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			for _, line := range findings(t, text, nil) {
				t.Error(line)
			}
		})
	}
}

func ExampleFinding() {
	fmt.Println(check.Finding{File: "upkeep.yaml", Line: 7, Warning: true, Text: "what is wrong; what to do"})
	// Output: upkeep.yaml:7: warning: what is wrong; what to do
}
