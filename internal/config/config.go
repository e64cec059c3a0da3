// Package config reads upkeep.yaml. It is strict: what it does not understand is
// an error with file, line and what was expected, and all of a file's errors are
// told at once. The reference page and the example come from the tags below.
package config

import (
	"time"

	"github.com/ai-micro-service/upkeep/internal/receivers"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// A Config is what upkeep.yaml says, with the defaults filled in.
type Config struct {
	DataDir      string       `yaml:"data_dir" default:"/var/lib/upkeep" doc:"Folder of the journal, the inbox and, in embedded mode, the samples. A relative path starts at the configuration file."`
	Store        Store        `yaml:"store" doc:"Where the journal and the inbox are kept, when that is not the file in data_dir."`
	Log          Log          `yaml:"log" doc:"Log on standard error."`
	Web          Web          `yaml:"web" doc:"HTTP server: pages, API, webhook and /metrics."`
	Targets      Targets      `yaml:"targets" doc:"Servers, services and files that upkeep monitors. At least one is required."`
	Collectors   Collectors   `yaml:"collectors" doc:"Intervals and limits of the collectors."`
	Embedded     Embedded     `yaml:"embedded" doc:"Prometheus and Alertmanager within the process. Switch it off to use your own."`
	Prometheus   Prometheus   `yaml:"prometheus" doc:"Your own Prometheus, when embedded mode is off."`
	Alertmanager Alertmanager `yaml:"alertmanager" doc:"Your own Alertmanager, when embedded mode is off."`
	Grafana      Grafana      `yaml:"grafana" doc:"How deliveries from Grafana's alerting to /webhook/grafana are known to be its own."`
	Engine       Engine       `yaml:"engine" doc:"Limits and timeouts of runs and incidents."`
	Windows      []Window     `yaml:"windows" doc:"Times in which policies and schedules may act, by name."`
	Policies     []Policy     `yaml:"policies" doc:"What is done about which alert. The first that matches decides; an alert that none matches is shown and left alone. Without policies and schedules nothing is ever changed. upkeep policy test says which one matches."`
	Schedules    []Schedule   `yaml:"schedules" doc:"What is done at its time, whether an alert fires or not. upkeep schedule shows when."`
	Notify       Notify       `yaml:"notify" doc:"Who is notified, of alerts and of what upkeep does. A list alone is the list of places."`

	alertmanager *receivers.File // that embedded or notify names; nil: none
}

// A Store is the database of the journal and the inbox.
type Store struct {
	URL          string `yaml:"url" doc:"PostgreSQL database: postgres://upkeep@host:5432/upkeep?sslmode=verify-full. Without a password. Several replicas of upkeep share it, and one carries on what another has left. Empty: a SQLite file in data_dir, for one upkeep alone."`
	PasswordFile string `yaml:"password_file" check:"path" doc:"File with the password, read at each new connection."`
	PasswordEnv  string `yaml:"password_env" doc:"Environment variable with the password, instead of a file."`
}

// Log says what is logged.
type Log struct {
	Level  string `yaml:"level" default:"info" enum:"debug|info|warn|error" doc:"Least level that is written."`
	Format string `yaml:"format" default:"logfmt" enum:"logfmt|json" doc:"Form of a line."`
}

// Web says where upkeep answers.
type Web struct {
	Listen      string `yaml:"listen" default:"127.0.0.1:9847" check:"listen" doc:"Address of the page, the API, the webhook and /metrics."`
	ExternalURL string `yaml:"external_url" check:"http" doc:"How people reach upkeep; links are made of it. http://<listen> where empty."`
	ConfigFile  string `yaml:"config_file" check:"path" doc:"TLS, users, headers and a rate limit, in the web configuration format that Prometheus' own exporters share. Where it has users, the bearer token is accepted in the place of one."`
	TokenFile   string `yaml:"token_file" check:"path" doc:"File with the bearer token that the webhook, and everything that changes something, asks for. Without a token these are answered to callers on the same machine only."`
	TokenEnv    string `yaml:"token_env" doc:"Environment variable with that token, instead of a file."`
}

// Targets are what is looked after.
type Targets struct {
	Postgres []Postgres `yaml:"postgres" doc:"PostgreSQL servers. All databases of a server are found."`
	Redis    []Redis    `yaml:"redis" doc:"Redis and Valkey servers."`
	Host     []Host     `yaml:"host" doc:"The machine that upkeep runs on, for its file systems and packages."`
	Docker   []Docker   `yaml:"docker" doc:"Docker engines: their containers, their disk use, and their containers' logs."`
	Probe    []Probe    `yaml:"probe" doc:"Services whose health is asked over HTTP."`
	Backup   []Backup   `yaml:"backup" doc:"Backups whose age, size and verification are watched."`
	Packages []Packages `yaml:"packages" doc:"Packages of services whose known vulnerabilities are counted."`
}

// Count returns how many targets there are.
func (t Targets) Count() int {
	return len(t.Postgres) + len(t.Redis) + len(t.Host) + len(t.Docker) + len(t.Probe) + len(t.Backup) + len(t.Packages)
}

// Postgres is one PostgreSQL server.
type Postgres struct {
	Name           string    `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	URL            string    `yaml:"url" required:"a URL" doc:"Where it is: postgres://user@host:5432/postgres?sslmode=verify-full. Without a password."`
	PasswordFile   string    `yaml:"password_file" check:"path" doc:"File with the password, read at each new connection."`
	PasswordEnv    string    `yaml:"password_env" doc:"Environment variable with the password, instead of a file."`
	ReplicaOf      string    `yaml:"replica_of" doc:"Name of the server whose standby this one is, when that is a target too: what only the standby's queries use is in use."`
	StandbysListed bool      `yaml:"standbys_listed" default:"false" doc:"Every standby of this server that answers queries, one that is fed from the WAL archive or follows another standby too, is a target that names in replica_of the server that it follows. Until this is true, no index counts as unused where WAL is archived, or where a standby that was seen in the last 35 days is away or no target."`
	Exclude        []string  `yaml:"exclude" doc:"Databases that are left alone: they are neither read nor worked on. For those that a provider keeps for itself, like rdsadmin or cloudsqladmin."`
	StatementText  bool      `yaml:"statement_text" default:"true" doc:"Export the text of expensive statements, without literals."`
	Archives       []Archive `yaml:"archives" doc:"Tables whose rows come to an age."`
}

// An Archive says which rows of a table are past their age.
type Archive struct {
	Database string        `yaml:"database" required:"a database" doc:"Database of the table."`
	Schema   string        `yaml:"schema" default:"public" doc:"Schema of the table."`
	Table    string        `yaml:"table" required:"a table" doc:"The table."`
	Column   string        `yaml:"column" required:"a column" doc:"Column with the moment from which a row ages: a timestamp or a date. A row where it is null does not."`
	After    time.Duration `yaml:"after" min:"1m" default:"180d" doc:"Age that is too old."`
	To       Destination   `yaml:"to" doc:"Where the action postgres/archive moves such rows to. Without it, and without purge, they are counted only."`
	Purge    bool          `yaml:"purge" default:"false" doc:"Let the action postgres/purge delete such rows for good."`
}

// A Destination is where rows go that are past their age.
type Destination struct {
	Schema string `yaml:"schema" doc:"Schema of the destination's table; that of the rows' table where empty."`
	Table  string `yaml:"table" doc:"A table of the same database that has the columns of the rows' table."`

	Folder      string `yaml:"folder" check:"path" doc:"Or a folder of this machine, which must be there: the rows become compressed files, whose names end in their SHA-256."`
	Bucket      string `yaml:"bucket" doc:"Or a bucket of an S3-compatible store: the rows become objects in it."`
	Endpoint    string `yaml:"endpoint" check:"http" doc:"Where the store is: https://s3.eu-central-1.amazonaws.com or http://host:9000, without a path."`
	Region      string `yaml:"region" doc:"Region of the bucket; where empty that of the endpoint of AWS, or us-east-1, which stores without regions take."`
	Prefix      string `yaml:"prefix" doc:"What the keys of the objects begin with, like archive/."`
	VirtualHost bool   `yaml:"virtual_host" default:"false" doc:"The bucket is the first part of the host's name and not of the path: AWS wants it so of newer buckets."`
	KeyIDFile   string `yaml:"key_id_file" check:"path" doc:"File with the id of the key, read at each request. The key needs s3:PutObject, s3:GetObject and s3:ListBucket, and nothing to delete."`
	KeyIDEnv    string `yaml:"key_id_env" doc:"Environment variable with it, instead of a file."`
	SecretFile  string `yaml:"secret_file" check:"path" doc:"File with the secret of the key, read at each request."`
	SecretEnv   string `yaml:"secret_env" doc:"Environment variable with it, instead of a file."`
}

// A Redis is one Redis or Valkey server.
type Redis struct {
	Name         string  `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	URL          string  `yaml:"url" required:"a URL" doc:"Where it is: redis://host:6379, rediss://host:6379 with TLS, unix:///path. Without a password."`
	PasswordFile string  `yaml:"password_file" check:"path" doc:"File with the password, read at each new connection."`
	PasswordEnv  string  `yaml:"password_env" doc:"Environment variable with the password, instead of a file."`
	Restart      Restart `yaml:"restart" doc:"How the action redis/restart restarts it: docker and container, or systemd. Empty: the action is refused."`
}

// A Restart says who restarts a server.
type Restart struct {
	Docker    string `yaml:"docker" doc:"Name of the docker target in whose engine it runs. The engine, or the proxy before it, must let POST /containers/NAME/restart through."`
	Container string `yaml:"container" doc:"Name of its container there."`
	Systemd   string `yaml:"systemd" doc:"Its unit on this machine, like redis-server.service, instead of a container."`
}

// A Host is a machine whose file systems and packages are read.
type Host struct {
	Name string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	Root string `yaml:"root" default:"/" doc:"Where its root file system is mounted: / unless upkeep runs in a container."`
}

// A Docker is one Docker engine.
type Docker struct {
	Name string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	Host string `yaml:"host" default:"unix:///var/run/docker.sock" doc:"Where the engine listens: a socket, or tcp://host:port for a proxy that lets only GET through."`
	Root string `yaml:"root" default:"/" doc:"Where the engine's root file system is mounted, for its log files: / unless upkeep runs in a container."`
	Logs Logs   `yaml:"logs" doc:"How the services' log lines are read."`

	LogArchive string `yaml:"log_archive" doc:"Folder that keeps, compressed, the lines that docker/prune_logs cuts off. It must be there. Empty: they are gone for good."`
}

// Logs are the names in the services' log lines.
type Logs struct {
	Level    string        `yaml:"level" default:"level" doc:"Field with the level: error, fatal, critical and the like are errors, and so are numbers from 50 on."`
	Message  string        `yaml:"message" default:"message" doc:"Field with the message."`
	Path     string        `yaml:"path" default:"path" doc:"Field with the path of a request."`
	Duration string        `yaml:"duration" default:"duration_ms" doc:"Field with how long a request took, in milliseconds."`
	Slow     time.Duration `yaml:"slow" default:"1s" min:"1ms" doc:"A request that takes longer is slow."`
}

// A Probe is one service that is asked over HTTP.
type Probe struct {
	Name   string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	URL    string `yaml:"url" check:"http" required:"a URL" doc:"What is asked for, with GET."`
	Status int    `yaml:"status" doc:"Status that is healthy; 0 is any from 200 to 299."`
	CAFile string `yaml:"ca_file" check:"path" doc:"Certificates that are trusted beside the system's."`
}

// A Backup is a series of backups of one thing.
type Backup struct {
	Name     string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	Kind     string `yaml:"kind" default:"files" enum:"files|rdb|pgbackrest" doc:"files: each file that path matches is a backup. rdb: path is Redis' dump file. pgbackrest: pgBackRest is asked."`
	Path     string `yaml:"path" check:"path" doc:"Pattern of the files, the dump file, or pgBackRest's configuration file where it is not in its usual place."`
	Stanza   string `yaml:"stanza" doc:"Stanza of pgBackRest; every one where empty."`
	Verified string `yaml:"verified" check:"path" doc:"File whose time says when the newest backup was last restored and found good: let the test of your restore touch it."`
}

// Packages are the packages that a service is made of.
type Packages struct {
	Name string `yaml:"name" required:"a name, the server label of its metrics" doc:"The server label of its metrics."`
	Kind string `yaml:"kind" required:"pip, npm or trivy" enum:"pip|npm|trivy" doc:"Who made the report: pip-audit, npm audit or trivy, as JSON."`
	Path string `yaml:"path" check:"path" required:"a path" doc:"The report; or the service's folder, for which pip-audit or npm audit is run where it is installed."`
}

// Collectors are the settings of collectors.
type Collectors struct {
	Interval time.Duration        `yaml:"interval" doc:"Interval of every collector, instead of its own; 0s leaves each its own."`
	Settings map[string]Collector `yaml:"settings" key:"collector" doc:"Settings of single collectors, by name."`
}

// A Collector is the settings of one collector; a zero leaves its own.
type Collector struct {
	Every    time.Duration `yaml:"every" doc:"How often it asks; 0s leaves its own interval."`
	Timeout  time.Duration `yaml:"timeout" doc:"How long an answer may take; 0s leaves its own."`
	Limit    int           `yaml:"limit" doc:"How many tables, statements or other subjects are exported one by one; 0 keeps the collector's own limit."`
	Disabled bool          `yaml:"disabled" default:"false" doc:"Do not ask at all."`
}

// Embedded is the Prometheus and the Alertmanager within the process.
type Embedded struct {
	Enabled            bool          `yaml:"enabled" default:"true" doc:"Run them. With false, your own Prometheus scrapes /metrics and evaluates the rules (upkeep export writes them), and your own Alertmanager delivers to /webhook/alertmanager."`
	ScrapeInterval     time.Duration `yaml:"scrape_interval" default:"15s" min:"100ms" doc:"How often samples are stored."`
	EvaluationInterval time.Duration `yaml:"evaluation_interval" default:"15s" min:"100ms" doc:"How often rules are evaluated."`
	Retention          time.Duration `yaml:"retention" default:"90d" min:"1h" doc:"How long samples are kept."`
	RetentionSize      string        `yaml:"retention_size" default:"10GB" check:"size" doc:"How much room samples may take, like 512MB or 20GB; beyond it the oldest go first. What was written in the last hours is not counted. 0: as much as retention needs."`
	ScrapeConfigs      Raw           `yaml:"scrape_configs" doc:"What is scraped beside upkeep: your services' own metrics, node_exporter. A list of scrape configurations in Prometheus' own syntax, with static_configs, file_sd_configs, http_sd_configs and dns_sd_configs. The metrics http_request_duration_seconds and http_requests_total of a job have rules and alerts: docs/alerts.md. Reloaded with the file."`
	RemoteWrite        Raw           `yaml:"remote_write" doc:"Where samples are written to as well: a list in Prometheus' own syntax. What could not be sent before upkeep ended or was killed is sent when it starts again. Reloaded with the file."`
	RuleFiles          []string      `yaml:"rule_files" check:"path" doc:"Rule files of your own, as glob patterns, beside the shipped ones."`
	GroupWait          time.Duration `yaml:"group_wait" default:"5s" min:"1ms" doc:"How long a new alert waits before it is delivered."`
	GroupInterval      time.Duration `yaml:"group_interval" default:"30s" min:"1ms" doc:"Least time between two deliveries about the same alert."`
	ResendDelay        time.Duration `yaml:"resend_delay" default:"30s" min:"1ms" doc:"How often a firing alert is confirmed."`
	AlertmanagerFile   string        `yaml:"alertmanager_file" check:"path" doc:"An ordinary configuration file of Alertmanager: routes, receivers of every kind, inhibition, time intervals and templates; amtool check-config says whether it is right. Paths in it start at its folder. Before its top route upkeep puts one of its own, so that it gets every alert too. Its tracing and event_recorder are not used. Empty: every alert of severity warning or worse goes to the places of notify. It is read again by a reload; a wrong one is refused and the old one stays."`

	dir string // of the configuration file, where relative paths of the parts in Prometheus' syntax begin
}

// Prometheus is the one outside.
type Prometheus struct {
	URL string `yaml:"url" check:"http" doc:"Where it is asked whether an alert's expression still holds after a run, and what a schedule's query finds. Empty: it is not asked; the measure on the target alone decides."`
}

// Alertmanager is the one outside.
type Alertmanager struct {
	URL      string   `yaml:"url" check:"http" doc:"Where it is asked, now and then, which alerts are still there, and before anything is done whether it silences, inhibits or mutes the alert. An end whose delivery was lost is found so; what was never delivered is left alone. Silences are made there too. Empty: it is not asked."`
	URLs     []string `yaml:"urls" check:"http" doc:"The members of a cluster, instead of url: an alert counts when any of them has it."`
	Receiver string   `yaml:"receiver" doc:"Name of the receiver that delivers to upkeep: only its alerts and routes count. Empty: every alert counts, and of routes those to the receiver that delivered it."`
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
	SecretFile      string `yaml:"secret_file" check:"path" doc:"File with the secret of the contact point's HMAC signature. With it, a delivery to /webhook/grafana without a right signature is refused."`
	SecretEnv       string `yaml:"secret_env" doc:"Environment variable with that secret, instead of a file."`
	TimestampHeader string `yaml:"timestamp_header" doc:"Header with the time that is signed too, as the contact point names it. With it, an old delivery is not taken again."`
}

// Engine says how runs are made.
type Engine struct {
	Concurrency       int           `yaml:"concurrency" default:"8" min:"1" doc:"How many runs may act at once in all; on one subject it is always one."`
	PerTarget         int           `yaml:"per_target" default:"2" min:"1" doc:"How many runs may act at once on one target."`
	Lease             time.Duration `yaml:"lease" default:"5s" min:"1s" doc:"How long the right to act holds without being renewed. After so long, another replica takes over from one that has died."`
	ReconcileInterval time.Duration `yaml:"reconcile_interval" default:"1m" min:"100ms" doc:"How often Alertmanager is asked which alerts are still there."`
	ResolveAfter      time.Duration `yaml:"resolve_after" default:"5m" min:"1s" doc:"How long an alert must be missing there before its episode is closed."`
	ExpireAfter       time.Duration `yaml:"expire_after" default:"12h" doc:"How long an alert may go without being delivered again before its episode is closed, where its source cannot be asked which alerts are still there: Grafana, and an Alertmanager without url. It must be longer than the source's repeat interval, which is 4h by default in both. 0s: never."`
	Flap              time.Duration `yaml:"flap" default:"10m" doc:"An alert that fires again within this time is flapping: it is held down before upkeep decides, twice as long each time. 0s: never. If an alert flaps for 10 minutes without outlasting its hold-down, people are notified once."`
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
