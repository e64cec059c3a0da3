// Package config reads upkeep.yaml. It is strict: what it does not understand is
// an error with file, line and what was expected, and all of a file's errors are
// reported at once. The reference page and the example come from the tags below.
package config

import (
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/receivers"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// A Config is what upkeep.yaml says, with the defaults filled in.
type Config struct {
	DataDir      string       `yaml:"data_dir" change:"restart" default:"/var/lib/upkeep" doc:"Folder of the journal, the inbox and, in embedded mode, the samples. A relative path starts at the configuration file."`
	Store        Store        `yaml:"store" change:"restart" doc:"Database of the journal and the inbox, if it is not the file in data_dir."`
	Log          Log          `yaml:"log" change:"restart" doc:"Log on standard error."`
	Web          Web          `yaml:"web" change:"restart" doc:"HTTP server: pages, API, webhook and /metrics."`
	Approvals    Approvals    `yaml:"approvals" change:"restart" doc:"Who may approve the plans of runs."`
	Targets      Targets      `yaml:"targets" doc:"Servers, services and files that upkeep monitors. At least one is required."`
	Collectors   Collectors   `yaml:"collectors" doc:"Intervals and limits of the collectors."`
	Embedded     Embedded     `yaml:"embedded" change:"restart" doc:"Prometheus and Alertmanager within the process. Disable it to use your own."`
	Prometheus   Prometheus   `yaml:"prometheus" change:"restart" doc:"Your own Prometheus, when embedded mode is off."`
	Alertmanager Alertmanager `yaml:"alertmanager" change:"restart" doc:"Your own Alertmanager, when embedded mode is off."`
	Grafana      Grafana      `yaml:"grafana" change:"restart" doc:"Authentication of deliveries from Grafana's alerting to /webhook/grafana."`
	Engine       Engine       `yaml:"engine" change:"restart" doc:"Limits and timeouts of runs and incidents."`
	Windows      []Window     `yaml:"windows" doc:"Maintenance windows of policies and schedules, by name."`
	Policies     []Policy     `yaml:"policies" doc:"Which action runs for which alert. The first matching policy decides; an alert without a matching policy is shown and left alone. Without policies and schedules upkeep changes nothing. upkeep policy test shows which one matches."`
	Schedules    []Schedule   `yaml:"schedules" doc:"Actions that run at fixed times, without an alert. upkeep schedule lists the next occurrences."`
	Notify       Notify       `yaml:"notify" doc:"Notifications of alerts and of upkeep's own runs. A plain list is the list of places."`
	Report       Report       `yaml:"report" doc:"Reviews that are sent: docs/report.md."`

	alertmanager *receivers.File // that embedded or notify names; nil: none
}

// A Store is the database of the journal and the inbox.
type Store struct {
	URL             string   `yaml:"url" doc:"PostgreSQL database: postgres://upkeep@host:5432/upkeep?sslmode=verify-full. Without a password. Several replicas of upkeep share it, and take over each other's runs. Empty: a SQLite file in data_dir, for a single upkeep."`
	PasswordFile    string   `yaml:"password_file" check:"path" doc:"File with the password, read at each new connection."`
	PasswordEnv     string   `yaml:"password_env" doc:"Environment variable with the password, instead of a file."`
	PasswordCommand []string `yaml:"password_command" doc:"Program with its arguments that writes the password to its standard output, instead of a file: [/usr/bin/pass, show, upkeep/main]. It is run whenever a connection is made, as the user of upkeep, without a shell, with PATH, HOME=/nonexistent and LANG only, for 10 seconds at most. What it writes is never logged. Its arguments are shown as they are to those who have the role operate, on the page of settings, and to users of the machine in the list of processes: put no secret into them."`

	Retention time.Duration `yaml:"retention" default:"400d" min:"1s" doc:"How long the journal, runs, closed incidents, notifications and dead letters are kept. Runs that have not ended, open incidents and what belongs to them stay. The journal verifies from a signed checkpoint on. At least as long as the longest cooldown, breaker_for and approval_lifetime of a policy."`
}

// Log says what is logged.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug|info|warn|error" doc:"Minimum level."`
	Format string `yaml:"format" default:"logfmt" enum:"logfmt|json" doc:"Format of a line."`
}

// Web says where upkeep answers.
type Web struct {
	Listen      string `yaml:"listen" default:"127.0.0.1:9847" check:"listen" doc:"Listen address of the pages, the API, the webhook and /metrics."`
	ExternalURL string `yaml:"external_url" check:"http" doc:"External URL of upkeep, used in links. Default: http://<listen>."`
	ConfigFile  string `yaml:"config_file" check:"path" doc:"TLS, users and their passwords, headers and a rate limit, in the web configuration format that Prometheus' own exporters share."`

	Tokens    []Token           `yaml:"tokens" doc:"Bearer tokens with a role each, for Prometheus, Alertmanager, Grafana and other programs. upkeep also makes a token of its own with the role admin, in the file admin-token of data_dir, which its commands read on the same machine."`
	Users     map[string]string `yaml:"users" change:"reload" doc:"Roles of the users in config_file: deliver, view, operate, approve or admin. A user without a role may do nothing. Reloaded with the file: a session has the role that its user has now."`
	TokenFile string            `yaml:"token_file" check:"path" doc:"File with a token of the role admin: short for tokens with one entry called token."`
	TokenEnv  string            `yaml:"token_env" doc:"Environment variable with that token, instead of a file."`

	MetricsOpen bool     `yaml:"metrics_open" default:"false" doc:"Serve /metrics without a login. They have names of tables, indexes and users in them, and the text of statements without literals."`
	Hosts       []string `yaml:"hosts" doc:"Further host names under which upkeep is reached, besides IP addresses, localhost, the name of this machine and the host of external_url. A request under another name is refused: a web page elsewhere could have its own name lead here."`
}

// Targets are what is looked after.
type Targets struct {
	Postgres []Postgres `yaml:"postgres" doc:"PostgreSQL servers. All databases of a server are discovered."`
	Redis    []Redis    `yaml:"redis" doc:"Redis and Valkey servers."`
	Sentinel []Sentinel `yaml:"sentinel" doc:"Redis Sentinels: the primaries that they watch. The servers themselves belong into redis."`
	Host     []Host     `yaml:"host" doc:"The machine that upkeep runs on, for its file systems and packages."`
	Docker   []Docker   `yaml:"docker" doc:"Docker engines: their containers, their disk use, and their containers' logs."`
	Probe    []Probe    `yaml:"probe" doc:"Services whose health is checked over HTTP, TCP or TLS."`
	Backup   []Backup   `yaml:"backup" doc:"Backups whose age, size and verification are monitored."`
	Packages []Packages `yaml:"packages" doc:"Packages of services whose known vulnerabilities are counted."`
}

// Count returns how many targets there are.
func (t Targets) Count() int {
	return len(t.Postgres) + len(t.Redis) + len(t.Sentinel) + len(t.Host) + len(t.Docker) +
		len(t.Probe) + len(t.Backup) + len(t.Packages)
}

// Postgres is one PostgreSQL server.
type Postgres struct {
	Name            string    `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	URL             string    `yaml:"url" required:"a URL" doc:"Where it is: postgres://user@host:5432/postgres?sslmode=verify-full. Without a password."`
	PasswordFile    string    `yaml:"password_file" check:"path" doc:"File with the password, read at each new connection."`
	PasswordEnv     string    `yaml:"password_env" doc:"Environment variable with the password, instead of a file."`
	PasswordCommand []string  `yaml:"password_command" doc:"Program with its arguments that writes the password to its standard output, instead of a file: [/usr/bin/pass, show, upkeep/main]. It is run whenever a connection is made, as the user of upkeep, without a shell, with PATH, HOME=/nonexistent and LANG only, for 10 seconds at most. What it writes is never logged. Its arguments are shown as they are to those who have the role operate, on the page of settings, and to users of the machine in the list of processes: put no secret into them."`
	ReplicaOf       string    `yaml:"replica_of" doc:"Name of the primary (or upstream standby), if it is a target too: indexes that only queries on this standby use then count as used."`
	StandbysListed  bool      `yaml:"standbys_listed" default:"false" doc:"Set to true if every standby of this server that answers queries is a target with replica_of, including standbys fed from the WAL archive and cascaded ones. Until then, no index counts as unused if WAL is archived, or if a standby of the last 35 days is missing or not a target."`
	Databases       []string  `yaml:"databases" doc:"The only databases that upkeep reads and changes, without patterns. Default: all that its role may connect to. What the server reports of all databases at once, such as sizes, is still exported."`
	Exclude         []string  `yaml:"exclude" doc:"Databases that upkeep neither reads nor changes, for example those reserved by a provider, like rdsadmin or cloudsqladmin."`
	StatementText   bool      `yaml:"statement_text" default:"true" doc:"Export the text of expensive statements, without literals."`
	Archives        []Archive `yaml:"archives" doc:"Retention of tables: which rows are too old, and what happens to them."`

	Log PostgresLog `yaml:"log" doc:"Where its log is, for a server that does not write it itself (logging_collector is off). Look counts what it says, by class; texts of statements and values are never shown. Without this, the files are read that the server names: on this machine, or through the server if the role may execute pg_read_binary_file."`
}

// LeavesAlone reports whether upkeep neither reads nor changes a database of the server.
func (p Postgres) LeavesAlone(database string) bool {
	return slices.Contains(p.Exclude, database) || len(p.Databases) > 0 && !slices.Contains(p.Databases, database)
}

// A PostgresLog says where the log of a server is.
type PostgresLog struct {
	Path      string `yaml:"path" check:"path" doc:"Its file on this machine, like /var/log/postgresql/postgresql-17-main.log. A name that ends in .csv or .json is that of csvlog or jsonlog."`
	Docker    string `yaml:"docker" doc:"Name of the docker target in whose engine it runs, with the log driver json-file."`
	Container string `yaml:"container" doc:"Name of its container."`
}

// An Archive says which rows of a table are past their age.
type Archive struct {
	Database string        `yaml:"database" required:"a database" doc:"Database of the table."`
	Schema   string        `yaml:"schema" default:"public" doc:"Schema of the table."`
	Table    string        `yaml:"table" required:"a table" doc:"The table."`
	Column   string        `yaml:"column" required:"a column" doc:"Column with the start of a row's age: a timestamp or a date. Rows where it is null never age."`
	After    time.Duration `yaml:"after" min:"1m" default:"180d" doc:"Retention: rows older than this are archived or purged."`
	To       Destination   `yaml:"to" doc:"Destination of the action postgres/archive. Without it and without purge, such rows are only counted."`
	Purge    bool          `yaml:"purge" default:"false" doc:"Let the action postgres/purge delete such rows for good."`
}

// A Destination is where rows go that are past their age.
type Destination struct {
	Schema string `yaml:"schema" doc:"Schema of the destination table. Default: the schema of the source table."`
	Table  string `yaml:"table" doc:"Destination table in the same database, with the columns of the source table."`

	Folder      string `yaml:"folder" check:"path" doc:"Or an existing folder on this machine: the rows become compressed files, whose names end in their SHA-256."`
	Bucket      string `yaml:"bucket" doc:"Or a bucket of an S3-compatible store: the rows become objects in it."`
	Endpoint    string `yaml:"endpoint" check:"http" doc:"URL of the store: https://s3.eu-central-1.amazonaws.com or http://host:9000, without a path."`
	Region      string `yaml:"region" doc:"Region of the bucket. Default: the region of the AWS endpoint, else us-east-1, which stores without regions accept."`
	Prefix      string `yaml:"prefix" doc:"Prefix of the object keys, like archive/."`
	VirtualHost bool   `yaml:"virtual_host" default:"false" doc:"Virtual-hosted style: the bucket is the first part of the host name, not of the path. AWS requires it for newer buckets."`
	KeyIDFile   string `yaml:"key_id_file" check:"path" doc:"File with the id of the key, read at each request. The key needs s3:PutObject, s3:GetObject and s3:ListBucket, and no right to delete."`
	KeyIDEnv    string `yaml:"key_id_env" doc:"Environment variable with it, instead of a file."`
	SecretFile  string `yaml:"secret_file" check:"path" doc:"File with the secret of the key, read at each request."`
	SecretEnv   string `yaml:"secret_env" doc:"Environment variable with it, instead of a file."`
}

// A Redis is one Redis or Valkey server.
type Redis struct {
	Name            string   `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	URL             string   `yaml:"url" required:"a URL" doc:"Where it is: redis://host:6379, rediss://host:6379 with TLS, unix:///path. Without a password."`
	PasswordFile    string   `yaml:"password_file" check:"path" doc:"File with the password, read at each new connection."`
	PasswordEnv     string   `yaml:"password_env" doc:"Environment variable with the password, instead of a file."`
	PasswordCommand []string `yaml:"password_command" doc:"Program with its arguments that writes the password to its standard output, instead of a file: [/usr/bin/pass, show, upkeep/main]. It is run whenever a connection is made, as the user of upkeep, without a shell, with PATH, HOME=/nonexistent and LANG only, for 10 seconds at most. What it writes is never logged. Its arguments are shown as they are to those who have the role operate, on the page of settings, and to users of the machine in the list of processes: put no secret into them."`
	Restart         Restart  `yaml:"restart" doc:"How the action redis/restart restarts it: docker and container, or systemd. Empty: the action is refused."`
}

// A Sentinel is one Redis Sentinel.
type Sentinel struct {
	Name            string   `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	URL             string   `yaml:"url" required:"a URL" doc:"Where it is: redis://host:26379, rediss://host:26379 with TLS. Without a password."`
	PasswordFile    string   `yaml:"password_file" check:"path" doc:"File with the password, read at each new connection."`
	PasswordEnv     string   `yaml:"password_env" doc:"Environment variable with the password, instead of a file."`
	PasswordCommand []string `yaml:"password_command" doc:"Program with its arguments that writes the password to its standard output, instead of a file: [/usr/bin/pass, show, upkeep/main]. It is run whenever a connection is made, as the user of upkeep, without a shell, with PATH, HOME=/nonexistent and LANG only, for 10 seconds at most. What it writes is never logged. Its arguments are shown as they are to those who have the role operate, on the page of settings, and to users of the machine in the list of processes: put no secret into them."`
}

// A Restart says who restarts a server.
type Restart struct {
	Docker    string `yaml:"docker" doc:"Name of the docker target in whose engine it runs. The engine, or the proxy in front of it, must allow POST /containers/NAME/restart."`
	Container string `yaml:"container" doc:"Name of its container."`
	Systemd   string `yaml:"systemd" doc:"Its systemd unit on this machine, like redis-server.service, instead of a container."`
}

// A Host is a machine whose file systems and packages are read.
type Host struct {
	Name string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	Root string `yaml:"root" default:"/" doc:"Where its root file system is mounted: / unless upkeep runs in a container."`

	Logs HostLogs `yaml:"logs" doc:"Logs of services that are in no container. Their metrics are those of containers' logs, with the server label of the host."`
}

// HostLogs are the logs of a machine that are no containers'.
type HostLogs struct {
	Files   []LogFile `yaml:"files" doc:"Log files, which are followed across rotation. The first entry that names a file counts."`
	Journal Journal   `yaml:"journal" doc:"The journal of systemd. It needs journalctl, and the group systemd-journal."`
	Fields  Logs      `yaml:"fields" doc:"Field names of the services' log lines."`
}

// A LogFile is the log files of one service.
type LogFile struct {
	Service string `yaml:"service" required:"a name, the service label of its metrics" doc:"The service label of its metrics. Several entries may have the same one."`
	Path    string `yaml:"path" required:"a path" doc:"Absolute path of the log, or a pattern: /var/log/nginx/*.log. Without the files that were rotated away, which are found by their names (.1, .2.gz, -20261130). No link leads there."`
}

// A Journal is the units whose entries are read.
type Journal struct {
	Units     []string `yaml:"units" doc:"Names of services, written out: nginx.service. The service label is that name."`
	Directory string   `yaml:"directory" doc:"Folder with the files of the journal. Default: the machine's own, which is root/var/log/journal where root is not /."`
}

// A Docker is one Docker engine.
type Docker struct {
	Name string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	Host string `yaml:"host" default:"unix:///var/run/docker.sock" doc:"Address of the engine: a socket, or tcp://host:port, with TLS (ca_file, cert_file, key_file). Without TLS only a proxy on this machine that allows only GET, as tcp://127.0.0.1:2375."`

	CAFile   string `yaml:"ca_file" check:"path" doc:"CA certificates that the engine's certificate is verified with, in place of the system's."`
	CertFile string `yaml:"cert_file" check:"path" doc:"Client certificate for the engine."`
	KeyFile  string `yaml:"key_file" check:"path" doc:"Key of the client certificate."`

	Root string `yaml:"root" default:"/" doc:"Where the engine's root file system is mounted, for its log files: / unless upkeep runs in a container."`
	Logs Logs   `yaml:"logs" doc:"Field names of the services' log lines."`

	LogArchive string `yaml:"log_archive" doc:"Existing folder in which docker/prune_logs keeps the removed lines, compressed. Empty: they are lost."`
}

// Logs are the names in the services' log lines.
type Logs struct {
	Level        string        `yaml:"level" default:"level" doc:"Field with the level: a word, or a number as syslog, pino, bunyan, Python (levelno) or OpenTelemetry (severityNumber) count. The names that common loggers use, such as lvl and severity, are looked for too."`
	Message      string        `yaml:"message" default:"message" doc:"Field with the message; msg and other common names are looked for too. In each of these names, dots separate nested fields: http.request.path."`
	Path         string        `yaml:"path" default:"path" doc:"Field with the path of a request."`
	Duration     string        `yaml:"duration" default:"duration_ms" doc:"Field with the duration of a request."`
	DurationUnit string        `yaml:"duration_unit" default:"auto" enum:"auto|s|ms|us|ns" doc:"Unit of durations that are numbers. auto: the end of the field's name says it (_ms, _us, _ns, _seconds), or they are milliseconds. A duration such as 1.2s or 350ms has its own unit."`
	Slow         time.Duration `yaml:"slow" default:"1s" min:"1ms" doc:"A request that takes longer is slow."`
}

// A Probe is one service that is asked over HTTP.
type Probe struct {
	Name   string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	URL    string `yaml:"url" check:"probe" required:"a URL" doc:"URL of the health check; the method is GET. tcp://host:port and tls://host:port connect, and send nothing."`
	Status int    `yaml:"status" check:"status" doc:"Expected HTTP status; 0 accepts 200 to 299. Not with tcp:// and tls://."`
	CAFile string `yaml:"ca_file" check:"path" doc:"CA certificates that are trusted in addition to the system's. Not with tcp://."`

	Redirects   string            `yaml:"redirects" default:"follow" enum:"follow|none" doc:"none: a redirect is the answer. follow: five are followed at most; one with the expected status is the answer. none is not allowed with tcp:// and tls://."`
	Body        string            `yaml:"body" check:"regexp" doc:"Regular expression that the body must match: of its first megabyte, or of the greeting of a TCP or TLS service."`
	BodyWithout string            `yaml:"body_without" check:"regexp" doc:"Regular expression that the body must not match. Not with tcp:// and tls://."`
	Headers     map[string]string `yaml:"headers" doc:"Regular expressions that headers of the answer must match, by their names, as {Content-Type: ^application/json}. Not with tcp:// and tls://."`
}

// A Backup is a series of backups of one thing.
type Backup struct {
	Name     string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	Kind     string `yaml:"kind" default:"files" enum:"files|rdb|pgbackrest" doc:"files: each file that path matches is a backup. rdb: path is Redis' dump file. pgbackrest: pgBackRest's own list."`
	Path     string `yaml:"path" check:"path" doc:"Pattern of the files, the dump file, or pgBackRest's configuration file if it is not in its default location."`
	Stanza   string `yaml:"stanza" doc:"Stanza of pgBackRest. Default: all."`
	Verified string `yaml:"verified" check:"path" doc:"File whose modification time says when a backup was last restored successfully: let your restore test touch it."`
}

// Packages are the packages that a service is made of.
type Packages struct {
	Name string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	Kind string `yaml:"kind" required:"pip, npm, trivy, grype or osv" enum:"pip|npm|trivy|grype|osv" doc:"Format of the report: JSON of pip-audit, npm audit, Trivy, Grype or OSV-Scanner (with --all-packages)."`
	Path string `yaml:"path" check:"path" required:"a path" doc:"The report; or the service's folder, whose requirements.txt or package-lock.json is audited by pip-audit or npm audit if that is installed."`

	Registry string `yaml:"registry" check:"http" doc:"Registry that npm audit asks instead of the public one, without a user or password in it. The folder's .npmrc is not read."`
	Database string `yaml:"database" check:"path" doc:"metadata.json of Trivy's database (db/metadata.json in its cache), whose age is then exported. Grype's report has it already."`
}

// Collectors are the settings of collectors.
type Collectors struct {
	Interval time.Duration        `yaml:"interval" doc:"Interval of every collector; 0s keeps each collector's own interval."`
	Settings map[string]Collector `yaml:"settings" key:"collector" doc:"Settings of single collectors, by name."`
}

// A Collector is the settings of one collector; a zero leaves its own.
type Collector struct {
	Every    time.Duration `yaml:"every" doc:"Interval; 0s keeps the collector's own."`
	Timeout  time.Duration `yaml:"timeout" doc:"Timeout of a collection; 0s keeps the collector's own."`
	Limit    int           `yaml:"limit" doc:"How many tables, statements or other subjects are exported one by one; 0 keeps the collector's own limit."`
	Disabled bool          `yaml:"disabled" default:"false" doc:"Switch the collector off."`

	DisabledFor []string `yaml:"disabled_for" doc:"Names of targets for which the collector is switched off, for example a server that refuses what it asks."`
}

// Embedded is the Prometheus and the Alertmanager within the process.
type Embedded struct {
	Enabled            bool          `yaml:"enabled" default:"true" doc:"Run them. With false, your own Prometheus scrapes /metrics and evaluates the rules (upkeep export writes them), and your own Alertmanager delivers to /webhook/alertmanager."`
	ScrapeInterval     time.Duration `yaml:"scrape_interval" default:"15s" min:"100ms" doc:"Scrape interval."`
	EvaluationInterval time.Duration `yaml:"evaluation_interval" default:"15s" min:"100ms" doc:"Evaluation interval of the rules."`
	Retention          time.Duration `yaml:"retention" default:"90d" min:"1h" doc:"Retention of samples."`
	DailyRetention     time.Duration `yaml:"daily_retention" default:"400d" min:"1d" doc:"Retention of daily values: growth, limits and forecasts of capacity, and the latency and error rate of services over 30 days. A few megabytes."`
	RetentionSize      string        `yaml:"retention_size" default:"10GB" check:"size" doc:"Maximum disk space of the samples, like 512MB or 20GB; the oldest are deleted first. The last hours do not count. 0: no limit."`
	ScrapeConfigs      Raw           `yaml:"scrape_configs" change:"reload" doc:"Further targets that are scraped: your services, node_exporter. A list of scrape configurations in Prometheus' own syntax, with static_configs, file_sd_configs, http_sd_configs and dns_sd_configs. The metrics http_request_duration_seconds and http_requests_total of a job have rules and alerts: docs/alerts.md. Reloaded with the file."`
	RemoteWrite        Raw           `yaml:"remote_write" change:"reload" doc:"Servers to which samples are also sent: a list in Prometheus' own syntax. Samples that were not sent before upkeep stopped are sent after its next start. Reloaded with the file."`
	RuleFiles          []string      `yaml:"rule_files" change:"reload" check:"path" doc:"Your own rule files, as glob patterns, in addition to the shipped ones."`
	GroupWait          time.Duration `yaml:"group_wait" default:"5s" min:"1ms" doc:"How long a new alert waits before it is delivered."`
	GroupInterval      time.Duration `yaml:"group_interval" default:"30s" min:"1ms" doc:"Minimum interval between two deliveries of the same alert."`
	ResendDelay        time.Duration `yaml:"resend_delay" default:"30s" min:"1ms" doc:"How often a firing alert is confirmed."`
	AlertmanagerFile   string        `yaml:"alertmanager_file" change:"reload" check:"path" doc:"An ordinary configuration file of Alertmanager: routes, receivers of every kind, inhibition, time intervals and templates; amtool check-config checks it. Relative paths in it start at its folder. upkeep adds its own route before the top route, so that it also receives every alert. Its tracing and event_recorder are not used. Empty: every alert of severity warning or worse goes to the places of notify. A reload reads it again; if it is invalid, the old one stays in force."`

	dir string // of the configuration file, where relative paths of the parts in Prometheus' syntax begin
}

// Prometheus is the one outside.
type Prometheus struct {
	URL          string `yaml:"url" check:"http" doc:"URL for evaluating alert expressions after a run, and the queries of schedules. Empty: not queried; only the metric on the target decides."`
	User         string `yaml:"user" doc:"User of its basic_auth_users, where it asks for a login."`
	PasswordFile string `yaml:"password_file" check:"path" doc:"File with that user's password."`
	PasswordEnv  string `yaml:"password_env" doc:"Environment variable with that password, instead of a file."`
}

// Alertmanager is the one outside.
type Alertmanager struct {
	URL          string   `yaml:"url" check:"http" doc:"URL for listing active alerts regularly (which finds resolved alerts whose delivery was lost), and for checking before each action whether the alert is silenced, inhibited or muted. Alerts that were never delivered are ignored. Silences are created there too. Empty: not queried."`
	URLs         []string `yaml:"urls" check:"http" doc:"The members of a cluster, instead of url: an alert is active if any member has it."`
	User         string   `yaml:"user" doc:"User of its basic_auth_users, where it asks for a login."`
	PasswordFile string   `yaml:"password_file" check:"path" doc:"File with that user's password."`
	PasswordEnv  string   `yaml:"password_env" doc:"Environment variable with that password, instead of a file."`
	Receiver     string   `yaml:"receiver" doc:"Name of the receiver that delivers to upkeep: only its alerts and routes count. Empty: all alerts count, and the routes to the receiver that delivered the alert."`
}

// All returns where Alertmanager is asked: none, one, or the members of a cluster.
func (a Alertmanager) All() []string {
	if a.URL != "" {
		return []string{a.URL}
	}
	return a.URLs
}

// Grafana is how its deliveries are signed.
type Grafana struct {
	SecretFile      string `yaml:"secret_file" check:"path" doc:"File with the secret of the contact point's HMAC signature. If set, deliveries to /webhook/grafana without a valid signature are refused."`
	SecretEnv       string `yaml:"secret_env" doc:"Environment variable with that secret, instead of a file."`
	TimestampHeader string `yaml:"timestamp_header" doc:"Header with the signed timestamp, as configured in the contact point. If set, replayed deliveries are refused."`
}

// Engine says how runs are made.
type Engine struct {
	Concurrency       int           `yaml:"concurrency" default:"8" min:"1" doc:"Maximum number of concurrent runs; on one subject it is always one."`
	PerTarget         int           `yaml:"per_target" default:"2" min:"1" doc:"Maximum number of concurrent runs on one target."`
	Lease             time.Duration `yaml:"lease" default:"5s" min:"1s" doc:"Lease duration. When a replica does not renew its lease for this long, another takes over its runs."`
	ReconcileInterval time.Duration `yaml:"reconcile_interval" default:"1m" min:"100ms" doc:"How often Alertmanager's list of active alerts is read."`
	ResolveAfter      time.Duration `yaml:"resolve_after" default:"5m" min:"1s" doc:"How long an alert must be missing from that list before its incident is closed."`
	ExpireAfter       time.Duration `yaml:"expire_after" default:"12h" doc:"How long an alert may go without being delivered again before its incident is closed, if its source has no list to query: Grafana, and an Alertmanager without url. Time in which upkeep did not run does not count, and a restart does not reset the time. It must be longer than the source's repeat interval, which is 4h by default in both. 0s: never."`
	Flap              time.Duration `yaml:"flap" default:"10m" doc:"An alert that fires again within this time is flapping: it is held down before upkeep decides, twice as long each time. 0s: never. If an alert flaps for 10 minutes without outlasting its hold-down, people are notified once."`

	MaxIncidents         int `yaml:"max_incidents" default:"10000" min:"1" doc:"Maximum number of open incidents. Alerts beyond it are answered 503 and taken in when their senders repeat them and others have closed; people are notified once."`
	MaxIncidentsPerAlert int `yaml:"max_incidents_per_alert" default:"2000" min:"1" doc:"Maximum number of open incidents of one alert name, in the same way."`
}

// Known are the names that a configuration may use.
type Known struct {
	Collectors []string
	Actions    map[string]policy.Action

	// Foreign returns what another program would not take of a part in its syntax: the
	// name of the part, its YAML and the folder where its relative paths begin. Nil: it is
	// not asked.
	Foreign func(part, text, dir string) []Fault
}

// Raw is a part of the configuration in another program's syntax, as YAML.
type Raw string

// A Fault is what another program does not take of a part.
type Fault struct {
	Line int // of the part's YAML, from 1
	Text string
}

// Dir returns the folder of the configuration file.
func (e Embedded) Dir() string { return e.dir }
