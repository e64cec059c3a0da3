package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
)

// Reference returns the reference page of upkeep.yaml, as Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

upkeep reads one YAML file strictly: an unknown key or an invalid value is an error
with file, line and the expected value. ` + "`upkeep check --config upkeep.yaml`" + ` reports
the same errors without starting. SIGHUP or ` + "`POST /-/reload`" + ` reloads the file; parts
that have not changed are left alone. If the file is invalid, the reload is refused and the
old configuration stays in force.

Durations are written as in Prometheus: 30s, 5m, 1h30m, 15d; shares as 20% or 0.2.
The file contains no password, token or webhook URL of a chat: it names a file or an
environment variable, which upkeep reads whenever it needs the secret. A complete
example is
[upkeep.example.yaml](../upkeep.example.yaml).
`)
	section(&b, "", "", reflect.TypeFor[Config]())
	return b.String()
}

// section writes the table of one struct and then those within it.
func section(b *strings.Builder, path, doc string, t reflect.Type) {
	title := path
	if path == "" {
		title = "The file"
	} else {
		title = "`" + title + "`"
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if doc != "" {
		fmt.Fprintf(b, "%s\n\n", doc)
	}
	b.WriteString("| key | type | default | description |\n| --- | --- | --- | --- |\n")
	for _, f := range fields(t) {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Tag.Get("yaml"), typeName(f), defaultOf(f),
			strings.ReplaceAll(f.Tag.Get("doc"), "|", `\|`))
	}
	for _, f := range fields(t) {
		inner, suffix := f.Type, ""
		switch {
		case f.Type == reflect.TypeFor[labels.Matchers]():
			continue
		case inner.Kind() == reflect.Slice:
			inner, suffix = inner.Elem(), "[]"
		case inner.Kind() == reflect.Map:
			inner, suffix = inner.Elem(), ".<"+f.Tag.Get("key")+">"
		}
		if inner.Kind() != reflect.Struct {
			continue
		}
		name := f.Tag.Get("yaml") + suffix
		if path != "" {
			name = path + "." + name
		}
		section(b, name, f.Tag.Get("doc"), inner)
	}
}

func typeName(f reflect.StructField) string {
	switch {
	case f.Type == reflect.TypeFor[time.Duration]():
		return "duration"
	case f.Type == reflect.TypeFor[labels.Matchers]():
		return "list of matchers"
	case f.Type == reflect.TypeFor[Raw]():
		return "list, as Prometheus has it"
	case f.Tag.Get("enum") != "" && f.Type.Kind() == reflect.Slice:
		return "list of " + strings.ReplaceAll(f.Tag.Get("enum"), "|", ", ")
	case f.Tag.Get("enum") != "":
		return strings.ReplaceAll(f.Tag.Get("enum"), "|", ", ")
	}
	switch f.Type.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Struct, reflect.Map:
		return "mapping"
	case reflect.Bool:
		return "true, false"
	case reflect.Int, reflect.Pointer:
		return "number"
	case reflect.Float64:
		return "share"
	default:
		return "text"
	}
}

func defaultOf(f reflect.StructField) string {
	switch text, ok := f.Tag.Lookup("default"); {
	case ok:
		return "`" + text + "`"
	case f.Tag.Get("required") != "":
		return "required"
	default:
		return ""
	}
}

// Example returns a complete configuration for a start: one server of each
// kind, every shipped action, and nothing that acts on a server without a person.
func Example() string { return exampleTargets() + examplePolicies() + exampleTimes() }

func exampleTargets() string {
	return `# upkeep.yaml: a start. Every key with its default is in docs/config.md.
# Try it: upkeep check --config upkeep.yaml

data_dir: ` + defaultText[Config]("DataDir") + `

web:
  listen: ` + defaultText[Web]("Listen") + `
  # Every request needs a login; the commands on this machine read admin-token in data_dir. For your
  # own Prometheus and Alertmanager, and for people (docs/access.md):
  # tokens:
  #   - {name: prometheus, role: view, file: /etc/upkeep/prometheus-token}
  #   - {name: alertmanager, role: deliver, file: /etc/upkeep/alertmanager-token}
  # config_file: /etc/upkeep/web.yml # TLS, and basic_auth_users
  # users: {ann: approve, bob: view}

targets:
  postgres:
    - name: main
      url: postgres://upkeep@127.0.0.1:5432/postgres
      # password_file: /etc/upkeep/postgres-password
      # Rows that come to an age: moved to a table of the same columns, to files or to
      # objects, or deleted for good. The three of a product with logs and tokens:
      # archives:
      #   - {database: admindb, table: logs, column: created_at, after: 180d, to: {table: logs_archive}}
      #   - {database: admindb, table: documents, column: deleted_at, after: 180d, purge: true}
      #   - {database: authdb, table: refresh_tokens, column: expires_at, after: 30d, purge: true}
  redis:
    - name: cache
      url: redis://127.0.0.1:6379
  # sentinel: [{name: sentinel-1, url: "redis://127.0.0.1:26379"}]
  host:
    - name: this
      # logs: {files: [{service: nginx, path: "/var/log/nginx/*.log"}], journal: {units: [ssh.service]}}
  docker: # without Docker, remove this and the policies that upkeep check then names
    - name: engine
      # log_archive: /var/backups/container-logs
  # probe: [{name: user-api, url: "http://127.0.0.1:8002/health", body: '"status": ?"UP"'}, {name: mail, url: "tcp://127.0.0.1:25"}]
  # backup: [{name: main, path: "/var/backups/main-*.dump", verified: /var/backups/main.verified}]
  # packages: [{name: user-api, kind: pip, path: /var/reports/user-api.json}]

# In embedded mode Prometheus and Alertmanager run in this process. To use your
# own, switch it off: upkeep export writes the rules for them.
embedded:
  enabled: ` + defaultText[Embedded]("Enabled") + `
  retention: ` + defaultText[Embedded]("Retention") + `
  retention_size: ` + defaultText[Embedded]("RetentionSize") + `
  # Routes, receivers of every kind, inhibition and templates, as Alertmanager has them:
  # alertmanager_file: /etc/upkeep/alertmanager.yml
  # The services' own metrics and node_exporter, in Prometheus' own syntax; their
  # latency and error rate have rules. And where samples are written to as well.
  # scrape_configs:
  #   - job_name: user-api
  #     static_configs: [{targets: ["127.0.0.1:8002"]}]
  #   - job_name: node
  #     file_sd_configs: [{files: [/etc/upkeep/nodes.yml]}]
  # remote_write: [{url: "https://prometheus.example/api/v1/write"}]

`
}

func examplePolicies() string {
	return `# observe: plan and journal, change nothing. ask: act when a person has approved of
# the plan. auto: act when all guards pass. When you trust the plans that "upkeep runs"
# shows, change the mode to ask or auto. "upkeep policy test alertname=PostgresDeadRows server=main"
# shows which policy matches and what it would do.
policies:
  # Vacuum; if a session holds back the xmin horizon, ask to terminate it; vacuum again.
  - name: dead rows
    match: ['alertname="PostgresDeadRows"']
    hold: 5m # shorter alerts are ignored
    cooldown: 5m # between the two vacuums
    steps: # the next one if the previous one did not help; people are notified after the last
      - {action: postgres/vacuum, mode: ask}
      # A limit of its own: this step only clears the way for the next.
      - {action: postgres/terminate, with: {of: horizon}, limit: 600, mode: ask}
      - {action: postgres/vacuum, mode: ask}
  - name: old statistics
    match: ['alertname="PostgresStatisticsOld"']
    action: postgres/analyze
    mode: ask
  - name: old transaction ids
    match: ['alertname="PostgresTransactionIdsRunOut"']
    cooldown: 5m
    steps:
      - {action: postgres/freeze, mode: ask}
      - {action: postgres/terminate, with: {of: horizon}, limit: 600, mode: ask}
      - {action: postgres/freeze, mode: ask}
  # What is dead goes first, then the rows move together; never VACUUM FULL by itself.
  - name: table bloat
    match: ['alertname="PostgresTableBloat"']
    cooldown: 1d
    steps:
      - {action: postgres/vacuum, limit: 0.05, mode: ask}
      - {action: postgres/repack, mode: ask, windows: [night]}
  - name: index bloat
    match: ['alertname="PostgresIndexBloat"']
    action: postgres/reindex
    mode: observe
    cooldown: 1d
    windows: [night]
  # These actions always need approval, whatever the mode.
  - name: unused index
    match: ['alertname="PostgresIndexUnused"']
    steps: [{action: postgres/drop_index, with: {because: unused}, mode: ask, windows: [night]}]
  - name: duplicate index
    match: ['alertname="PostgresIndexDuplicate"']
    steps: [{action: postgres/drop_index, with: {because: duplicate}, mode: ask, windows: [night]}]
  - name: invalid index
    match: ['alertname="PostgresIndexInvalid"']
    steps: [{action: postgres/drop_index, with: {because: invalid}, mode: ask}]
  - name: blocking sessions # the alert's label "of" is their kind
    match: ['alertname=~"PostgresIdleInTransaction|PostgresTransactionOld|PostgresSessionsBlocked"']
    steps: [{action: postgres/terminate, with: {of: $of}, mode: ask}]
  # Moved where the archive has a destination, else deleted where it says purge.
  - name: rows past their age
    match: ['alertname="PostgresRowsPastRetention"']
    cooldown: 1d
    # backup: 1d # before rows are deleted for good; it needs a target below backup called main
    windows: [night]
    steps:
      - {action: postgres/archive, mode: ask}
      - {action: postgres/purge, mode: ask}
  - name: disk filling # after the last step people are notified
    match: ['alertname=~"HostFilesystemFilling|HostFilesystemFullSoon"']
    steps: # each with a limit of its own: what it clears away makes room, and the file system's own measure decides
      - {action: docker/prune, subject: {server: engine, type: images}, limit: 1073741824, mode: ask}
      - {action: docker/prune, subject: {server: engine, type: build_cache}, limit: 1073741824, mode: ask}
      - {action: docker/prune_logs, subject: {server: engine, container: admin-api}, limit: 134217728, mode: ask}
      # With the archives above:
      # - {action: postgres/archive, limit: 10000, mode: ask,
      #    subject: {server: main, database: admindb, schema: public, table: logs}}
  - name: unused images and build cache
    match: ['alertname="DockerDiskReclaimable"']
    cooldown: 1d
    action: docker/prune
    mode: ask
  - name: old snapshot
    match: ['alertname="RedisSnapshotOld"']
    action: redis/bgsave
    mode: observe
  - name: failed snapshot # refused while the disk or the memory is short
    match: ['alertname="RedisSnapshotFailed"']
    action: redis/bgsave
    mode: ask
  - name: grown append-only file
    match: ['alertname="RedisAppendFileGrown"']
    action: redis/bgrewriteaof
    mode: ask
  - name: retained memory
    match: ['alertname="RedisMemoryRetained"']
    action: redis/purge_memory
    mode: ask
  # What the allocator holds, then what is scattered, and a restart last, which asks.
  - name: fragmentation
    match: ['alertname="RedisFragmented"']
    cooldown: 1d
    steps:
      - {action: redis/purge_memory, limit: 67108864, mode: ask}
      - {action: redis/defrag, mode: ask}
      - {action: redis/restart, mode: ask, windows: [night]}
  - name: large log # of a docker target; its log_archive keeps what is cut off
    match: ['alertname="ContainerLogLarge"']
    action: docker/prune_logs
    mode: ask

`
}

func exampleTimes() string {
	return `# Maintenance windows, in Alertmanager's time-interval syntax.
windows:
  - name: night
    time_intervals:
      - times: [{start_time: "01:00", end_time: "05:00"}]
        location: UTC # or Europe/Berlin

# Schedules run without an alert. The cron fields are minute, hour, day of the month,
# month, day of the week. With a query, one run starts for each series that it returns.
schedules:
  - name: daily snapshot
    cron: "0 3 * * *" # 03:00
    action: redis/bgsave
    subject: {server: cache}
    mode: observe
  - name: weekly vacuum
    cron: "0 2 * * SUN" # Sundays at 02:00
    query: upkeep_postgres_table_dead_ratio > 0.1 and upkeep_postgres_table_dead_rows > 1000
    action: postgres/vacuum
    mode: observe
  - name: monthly reindex
    cron: "0 1 * * SUN#1" # the first Sunday of a month at 01:00
    query: upkeep_postgres_index_bloat_ratio{method="estimate"} > 0.3
      and upkeep_postgres_index_bloat_bytes{method="estimate"} > 16777216
    action: postgres/reindex
    mode: observe
    windows: [night]
    missed: late # skip ignores occurrences that were missed while upkeep was down
  - name: monthly index advice
    cron: "0 1 * * SUN#1"
    action: postgres/advise_indexes
    subject: {server: main}
    mode: auto # it writes a list into data_dir and changes nothing else
  - name: monthly review of statements # the plan is the review; what follows begins a new month
    cron: "30 5 1 * *"
    action: postgres/reset_statements
    subject: {server: main}
    mode: observe
    missed: late
  - name: monthly archive
    cron: "0 1 * * SUN#1"
    query: upkeep_postgres_retention_rows > 0
    action: postgres/archive # of the tables that have a destination; the others are left
    mode: observe
    windows: [night]
  - name: monthly purge
    cron: "0 2 * * SUN#1"
    query: upkeep_postgres_retention_rows > 0
    action: postgres/purge
    mode: observe
    windows: [night]

# Who is notified: of every alert of severity warning or worse and its end, when a plan
# awaits approval, when a person is needed, and of what came of a run. "upkeep notify test
# operators" tests it. With embedded.alertmanager_file its receivers can be named here, of
# every kind that Alertmanager has, also by role: [{name: tech-lead}, {name: support}].
# notify:
#   - {name: operators, kind: slack, url_file: /etc/upkeep/slack-url}
`
}

func defaultText[T any](name string) string {
	f, ok := reflect.TypeFor[T]().FieldByName(name)
	if !ok {
		panic("config: no field " + name)
	}
	return f.Tag.Get("default")
}
