package look

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

// at is when everything was read.
var at = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant of the tests

// figures reads exposition text, as the collectors write it.
func figures(t *testing.T, text string) Figures {
	t.Helper()
	byMetric := make(map[string]string)
	var order []string
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		name := line[:strings.IndexAny(line, "{ ")]
		if byMetric[name] == "" {
			order = append(order, name)
		}
		byMetric[name] += line
	}
	var all []scrape.Reading
	for _, name := range order {
		all = append(all, scrape.Reading{Metric: name, Collector: "test/all", At: at, Text: []byte(byMetric[name])})
	}
	fs, err := ParseFigures(all)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// lines are findings in short.
func lines(all []Finding) (short []string) {
	for _, f := range all {
		line := fmt.Sprintf("%s %s: %s", f.Severity, f.Kind, f.Title)
		if f.Plan != nil {
			line += " → " + f.Plan.Command
		}
		if c := f.Candidate; c != nil {
			line += fmt.Sprintf(" (since %s, enough on %s)", c.Since.Format(time.DateOnly),
				c.Enough.Format(time.DateOnly))
		}
		short = append(short, line)
	}
	return short
}

// What each figure means, where the sick server of package app has nothing of it: at the limit, beyond it, and
// below.
func TestFindings(t *testing.T) {
	t.Parallel()
	month, day := at.Add(-31*24*time.Hour).Unix(), at.Add(-24*time.Hour).Unix()
	for name, c := range map[string]struct {
		kind, text string
		facts      func(*Facts)
		want       []string
	}{
		"wraparound": {kind: "postgres", text: `
upkeep_postgres_setting{server="main",name="autovacuum_freeze_max_age"} 200000000
upkeep_postgres_setting{server="main",name="autovacuum_multixact_freeze_max_age"} 400000000
upkeep_postgres_database_freeze_age_xids{server="main",database="well"} 299999999
upkeep_postgres_database_freeze_age_xids{server="main",database="late"} 300000000
upkeep_postgres_database_freeze_age_xids{server="main",database="near"} 1100000000
upkeep_postgres_database_multixact_age{server="main",database="late"} 700000000`, want: []string{
			`warning postgres/wraparound: the oldest transaction of database "late" is 300 million transactions old → upkeep plan postgres/freeze server=main database=late`,
			`critical postgres/wraparound: the oldest transaction of database "near" is 1100 million transactions old → upkeep plan postgres/freeze server=main database=near`,
			`warning postgres/wraparound: the oldest multixact of database "late" is 700 million multixacts old`}},
		"checksums and counts": {kind: "postgres", text: `
upkeep_postgres_database_checksum_failures_total{server="main",database="bad"} 2
upkeep_postgres_database_checksum_failures_total{server="main",database="good"} 0
upkeep_postgres_setting{server="main",name="track_counts"} 0
upkeep_postgres_setting{server="main",name="fsync"} 1`, want: []string{
			`warning postgres/setting_track_counts: track_counts is off`,
			`critical postgres/checksum_failures: 2 pages of database "bad" had a wrong checksum`}},
		"unused for a month, and not": {kind: "postgres", text: fmt.Sprintf(`
upkeep_postgres_index_unused_bytes{server="main",database="d",schema="s",table="t",index="old"} 200000000
upkeep_postgres_index_unused_bytes{server="main",database="d",schema="s",table="t",index="new"} 300000000
upkeep_postgres_index_unused_bytes{server="main",database="d",schema="s",table="t",index="small"} 100000
upkeep_postgres_index_unused_bytes{server="main",database="d",schema="s",table="t",index="pair"} 200000000
upkeep_postgres_index_unused_bytes{server="main",database="e",schema="s",table="t",index="old"} 200000000
upkeep_postgres_index_unused_since_timestamp_seconds{server="main",database="d",schema="s",table="t",index="old"} %[1]d
upkeep_postgres_index_unused_since_timestamp_seconds{server="main",database="d",schema="s",table="t",index="new"} %[2]d
upkeep_postgres_index_unused_since_timestamp_seconds{server="main",database="d",schema="s",table="t",index="small"} %[1]d
upkeep_postgres_index_unused_since_timestamp_seconds{server="main",database="d",schema="s",table="t",index="pair"} %[1]d
upkeep_postgres_index_unused_since_timestamp_seconds{server="main",database="e",schema="s",table="t",index="old"} %[1]d
upkeep_postgres_index_usage_standbys_unmonitored{server="main",database="d"} 0
upkeep_postgres_index_usage_standbys_unmonitored{server="main",database="e"} 1
upkeep_postgres_index_duplicate_bytes{server="main",database="d",schema="s",table="t",index="other",covered_by="pair",kind="redundant"} 2000000`, month, day), want: []string{
			`warning postgres/unused_index: no query has used index "s"."old" since 2026-10-30 12:00:00 UTC → upkeep plan postgres/drop_index server=main database=d schema=s table=t index=old --with because=unused`,
			`info postgres/unused_index: no query has used index "s"."new" since 2026-11-29 12:00:00 UTC (since 2026-11-29, enough on 2026-12-29)`,
			`info postgres/unused_index: no query has used index "s"."old" since 2026-10-30 12:00:00 UTC (since 2026-10-30, enough on 2026-11-29)`,
			`info postgres/redundant_index: the keys of index "s"."other" are the first of those of "s"."pair"`}},
		"what was measured is better than the estimate": {kind: "postgres", text: `
upkeep_postgres_table_bloat_ratio{server="main",database="d",schema="s",table="sound",method="estimate"} 0.9
upkeep_postgres_table_bloat_bytes{server="main",database="d",schema="s",table="sound",method="estimate"} 2000000000
upkeep_postgres_table_bloat_ratio{server="main",database="d",schema="s",table="sound",method="pgstattuple_approx"} 0.1
upkeep_postgres_table_bloat_bytes{server="main",database="d",schema="s",table="sound",method="pgstattuple_approx"} 200000000
upkeep_postgres_table_bloat_ratio{server="main",database="d",schema="s",table="it's; \"rm\"",method="estimate"} 0.6
upkeep_postgres_table_bloat_bytes{server="main",database="d",schema="s",table="it's; \"rm\"",method="estimate"} 2000000000
upkeep_postgres_table_bloat_bytes{server="main",database="other",schema="other",table="other",method="estimate"} 2000000000`, want: []string{
			`warning postgres/table_bloat: 60 % of table "s"."it's; ""rm""" is bloat → upkeep plan postgres/repack server=main database=d schema=s 'table=it'\''s; "rm"'`}},
		"replication": {kind: "postgres", text: `
upkeep_postgres_slot_active{server="main",slot="busy",type="logical"} 1
upkeep_postgres_slot_active{server="main",slot="it's lost",type="logical"} 0
upkeep_postgres_slot_active{server="main",slot="behind",type="logical"} 1
upkeep_postgres_slot_active{server="main",slot="left",type="physical"} 0
upkeep_postgres_slot_active{server="main",slot="empty",type="physical"} 0
upkeep_postgres_slot_lost{server="main",slot="it's lost",type="logical"} 1
upkeep_postgres_slot_kept_bytes{server="main",slot="busy",type="logical"} 1000
upkeep_postgres_slot_kept_bytes{server="main",slot="behind",type="logical"} 3000000000
upkeep_postgres_slot_kept_bytes{server="main",slot="left",type="physical"} 20000000000
upkeep_postgres_standby_lag_seconds{server="main",standby="a",address="10.0.0.2"} 301
upkeep_postgres_standby_lag_seconds{server="main",standby="b",address="10.0.0.3"} 29
upkeep_postgres_replay_lag_seconds{server="main"} 31
upkeep_postgres_receiver_streaming{server="main"} 0`, want: []string{
			`critical postgres/replication_slot: the WAL that slot "it's lost" needs was removed`,
			`info postgres/replication_slot: slot "behind" keeps 2.79 GiB of WAL`,
			`critical postgres/replication_slot: no consumer is connected to slot "left", and WAL is kept for it`,
			`warning postgres/standby_lag: standby "a" at 10.0.0.2 is 5m1s behind`,
			`info postgres/standby_lag: the standby is 31s behind`,
			`warning postgres/standby_disconnected: the standby receives nothing from its primary`}},
		"sessions": {kind: "postgres", text: `
upkeep_postgres_worst_session_seconds{server="main",database="d",of="idle",user="web",application="a"} 9
upkeep_postgres_worst_session_seconds{server="main",database="d",of="transaction",user="web",application="a"} 3601
upkeep_postgres_worst_session_seconds{server="main",database="d",of="horizon",user="",application="replication slot \"x\""} 20000`, want: []string{
			`warning postgres/old_transaction: the transaction of a session of "web" ("a") is open for 1h0m1s → upkeep plan postgres/terminate server=main database=d --with of=transaction`,
			`warning postgres/old_horizon: for the sake of replication slot "x" dead rows stay, for 5h33m20s`}},
		"statements": {kind: "postgres", text: `
upkeep_postgres_statement_calls_total{server="main",database="d",user="web",queryid="1"} 10
upkeep_postgres_statement_calls_total{server="main",database="d",user="watcher",queryid="2"} 10
upkeep_postgres_statement_calls_total{server="main",database="d",user="web",queryid="3"} 10
upkeep_postgres_statement_calls_total{server="main",database="d",user="web",queryid="4"} 100000
upkeep_postgres_statement_calls_total{server="main",database="d",user="web",queryid="5"} 100000
upkeep_postgres_statement_seconds_total{server="main",database="d",user="web",queryid="1"} 30
upkeep_postgres_statement_seconds_total{server="main",database="d",user="watcher",queryid="2"} 30
upkeep_postgres_statement_seconds_total{server="main",database="d",user="web",queryid="3"} 30
upkeep_postgres_statement_seconds_total{server="main",database="d",user="web",queryid="4"} 100
upkeep_postgres_statement_seconds_total{server="main",database="d",user="web",queryid="5"} 30
upkeep_postgres_statement_info{server="main",queryid="1",query="select a"} 1
upkeep_postgres_statement_info{server="main",queryid="2",query="select b"} 1
upkeep_postgres_statement_info{server="main",queryid="4",query="select c"} 1`,
			facts: func(f *Facts) { f.Postgres.Role, f.Postgres.Statements = "watcher", new(bool) }, want: []string{
				`info postgres/statements_missing: the extension pg_stat_statements is in no database`,
				`info postgres/slow_statement: a statement of "web" takes 45 % of the time of all statements`,
				`warning postgres/slow_statement: a statement of "web" takes 3s a time`}},
		"statements that take longer than before": {kind: "postgres", text: `
upkeep_postgres_statement_info{server="main",queryid="1",query="select a"} 1
upkeep_postgres_statement_info{server="main",queryid="2",query="select b"} 1
upkeep_postgres_statement_info{server="main",queryid="3",query="select c"} 1
upkeep_postgres_statement_info{server="main",queryid="4",query="select d"} 1
upkeep_postgres_statement_info{server="main",queryid="5",query="select e"} 1`,
			facts: func(f *Facts) {
				f.Postgres.Role = "watcher"
				f.Changed = []Changed{
					{"main", "d", "web", "1", 100, 200, 1000, 1000},       // twice as long, 100 s more
					{"main", "d", "web", "2", 10_000, 4000, 70_000, 2000}, // fourteen times, an hour more
					{"main", "d", "web", "3", 100, 199, 1000, 1000},       // a little less than twice
					{"main", "d", "web", "4", 100, 119, 1000, 595},        // twice, and less than a minute more
					{"main", "d", "watcher", "5", 100, 900, 1000, 1000},   // upkeep's own
					{"other", "d", "web", "5", 100, 900, 1000, 1000},
					{"main", "d", "web", "hidden", 100, 900, 1000, 1000},
				}
			}, want: []string{
				`warning postgres/slower_statement: a statement of "web" takes 400ms a time, and took 30ms in the week before`,
				`info postgres/slower_statement: a statement of "web" takes 2s a time, and took 1s in the week before`}},
		"triggers of constraints, and statistics": {kind: "postgres", text: `
upkeep_postgres_table_changed_rows{server="main",database="d",schema="s",table="t"} 100001
upkeep_postgres_table_live_rows{server="main",database="d",schema="s",table="t"} 200000
upkeep_postgres_table_changed_rows{server="main",database="d",schema="s",table="new"} 100001
upkeep_postgres_table_live_rows{server="main",database="d",schema="s",table="new"} 200000`,
			facts: func(f *Facts) {
				f.Postgres.Triggers = []Triggers{{"d", "s", "t", []string{"a", "b", "c", "d", "e", "f"}, true}}
				f.Postgres.Never = []Never{{"d", "s", "new", 1 << 30}}
				f.Postgres.Prepared = []Prepared{{"x", "d", "web", at, 1}, {"y", "d", "web", at, 301}}
			}, want: []string{
				`warning postgres/prepared_transaction: prepared transaction "y" of "web" in database "d" was left open`,
				`warning postgres/old_statistics: the planner's statistics of table "s"."t" are old → upkeep plan postgres/analyze server=main database=d schema=s table=t`,
				`warning postgres/never_analyzed: table "s"."new" was never vacuumed and never analyzed → upkeep plan postgres/analyze server=main database=d schema=s table=new`,
				`critical postgres/disabled_trigger: triggers of table "s"."t" are disabled: "a", "b", "c", "d", "e", 1 more`}},
		"a redis that is full": {kind: "redis", text: `
upkeep_redis_memory_used_ratio{server="main"} 0.99
upkeep_redis_memory_fragmentation_ratio{server="main"} 1.6
upkeep_redis_memory_fragmentation_bytes{server="main"} 200000000
upkeep_redis_memory_retained_bytes{server="main"} 300000000
upkeep_redis_snapshot_ok{server="main"} 0
upkeep_redis_aof_enabled{server="main"} 1
upkeep_redis_aof_ok{server="main"} 0
upkeep_redis_aof_rewrite_ok{server="main"} 0
upkeep_redis_slowlog_length{server="main"} 3
upkeep_redis_slowlog_seconds_total{server="main",command="keys"} 4
upkeep_redis_clients_used_ratio{server="main"} 0.91
upkeep_redis_primary_link_up{server="main"} 0`,
			facts: func(f *Facts) { f.Redis = &redis.Usage{Limit: 1, Policy: "noeviction"} }, want: []string{
				`critical redis/memory: 99 % of maxmemory is allocated`,
				`warning redis/fragmentation: the allocator holds 1.60 bytes for each that is used → upkeep plan redis/defrag server=main`,
				`warning redis/retained: the allocator retains 286 MiB that hold nothing → upkeep plan redis/purge_memory server=main`,
				`critical redis/snapshot_failed: the last snapshot failed → upkeep plan redis/bgsave server=main`,
				`critical redis/append_file_failing: the append-only file cannot be written`,
				`warning redis/append_file_rewrite_failed: the last rewrite of the append-only file failed → upkeep plan redis/bgrewriteaof server=main`,
				`info redis/slow_log: the slow log has 3 commands`,
				`warning redis/clients: 91 % of the clients that the server allows are connected`,
				`warning redis/replica_disconnected: the replica has lost its primary`}},
		"a redis that is well": {kind: "redis", text: `
upkeep_redis_memory_used_ratio{server="main"} 0.5
upkeep_redis_memory_fragmentation_ratio{server="main"} 6
upkeep_redis_memory_fragmentation_bytes{server="main"} 2000
upkeep_redis_snapshot_ok{server="main"} 1
upkeep_redis_snapshot_age_seconds{server="main"} 90000
upkeep_redis_snapshot_changes{server="main"} 0
upkeep_redis_aof_enabled{server="main"} 0
upkeep_redis_aof_rewrite_ok{server="main"} 0
upkeep_redis_slowlog_length{server="main"} 0`,
			facts: func(f *Facts) { f.Redis = &redis.Usage{Limit: 1, Policy: "allkeys-lru"} }},
		"a snapshot that is old": {kind: "redis", text: `
upkeep_redis_snapshot_age_seconds{server="main"} 90000
upkeep_redis_snapshot_changes{server="main"} 5`, want: []string{
			`warning redis/snapshot_old: the newest snapshot is 25h0m0s old → upkeep plan redis/bgsave server=main`}},
		"an engine": {kind: "docker", text: fmt.Sprintf(`
upkeep_docker_disk_reclaimable_bytes{server="main",type="images"} 30000000000
upkeep_docker_disk_reclaimable_bytes{server="main",type="volumes"} 2000000000
upkeep_docker_disk_reclaimable_bytes{server="main",type="build_cache"} 1000
upkeep_docker_log_rotated{server="main",container="web"} 0
upkeep_docker_log_rotated{server="main",container="big"} 0
upkeep_docker_log_rotated{server="main",container="well"} 1
upkeep_docker_log_size_bytes{server="main",container="web"} 1000
upkeep_docker_log_size_bytes{server="main",container="big"} 2000000000
upkeep_docker_container_unhealthy{server="main",container="web"} 1
upkeep_docker_container_unhealthy{server="main",container="well"} 0
upkeep_docker_container_oom_killed{server="main",container="web"} 1
upkeep_docker_container_state{server="main",container="loop",state="restarting"} 1
upkeep_docker_container_state{server="main",container="again",state="running"} 1
upkeep_docker_container_state{server="main",container="well",state="running"} 1
upkeep_docker_container_restarts_total{server="main",container="again"} 4
upkeep_docker_container_restarts_total{server="main",container="well"} 40
upkeep_docker_container_start_timestamp_seconds{server="main",container="again"} %d
upkeep_docker_container_start_timestamp_seconds{server="main",container="well"} %d`, at.Unix()-60, day), want: []string{
			`warning docker/reclaimable: 27.9 GiB of images are used by no container → upkeep plan docker/prune server=main type=images`,
			`info docker/reclaimable: 1.86 GiB of volumes are used by no container`,
			`info docker/log_without_limit: the log of container web has no limit`,
			`warning docker/log_large: the log of container big has 1.86 GiB → upkeep plan docker/prune_logs server=main container=big`,
			`warning docker/unhealthy: the health check of container web fails`,
			`warning docker/out_of_memory: container web was OOM-killed`,
			`warning docker/restarting: container loop is restarted again and again`,
			`warning docker/restarting: container again is restarted again and again`}},
		"a machine": {kind: "host", text: `
upkeep_host_filesystem_used_ratio{server="main",device="a",mountpoint="/",fstype="ext4"} 0.96
upkeep_host_filesystem_used_ratio{server="main",device="b",mountpoint="/cd",fstype="iso9660"} 1
upkeep_host_filesystem_used_ratio{server="main",device="c",mountpoint="/srv",fstype="ext4"} 0.8
upkeep_host_filesystem_readonly{server="main",device="a",mountpoint="/",fstype="ext4"} 0
upkeep_host_filesystem_readonly{server="main",device="b",mountpoint="/cd",fstype="iso9660"} 1
upkeep_host_filesystem_available_bytes{server="main",device="a",mountpoint="/",fstype="ext4"} 1000000
upkeep_host_filesystem_inodes_used_ratio{server="main",device="a",mountpoint="/",fstype="ext4"} 0.91
upkeep_host_updates_pending{server="main",kind="security"} 3
upkeep_host_updates_pending{server="main",kind="other"} 30
upkeep_host_reboot_required{server="main"} 1`, want: []string{
			`critical host/filesystem_full: file system / is used up to 96 %`,
			`warning host/inodes_used: 91 % of the inodes of file system / are used`,
			`warning host/security_updates: 3 security updates are pending`,
			`info host/reboot_required: the machine needs a reboot`}},
		"what is full soon": {kind: "host", text: `upkeep_host_reboot_required{server="main"} 0`,
			facts: func(f *Facts) {
				row := func(resource, server string, used, days float64) forecast.Row {
					return forecast.Row{Resource: resource, Subject: map[string]string{"server": server,
						"mountpoint": "/"}, Days: 20,
						Used: used, Limit: new(1.0), Likely: new(days * 86400)}
				}
				f.Forecast = []forecast.Row{row("filesystem", "main", 0.9, 13), row("memory", "main", 0.9, 1),
					row("filesystem", "main", 0.9, 15), row("filesystem", "main", 0.4, 1), row("filesystem", "other",
						0.9, 1),
					row("database", "main", 0.9, 1), {Resource: "inodes", Subject: map[string]string{"server": "main"}}}
			}, want: []string{
				`warning host/full_soon: filesystem of main / reaches its limit in 13 days at the growth of the last weeks`,
				`critical host/full_soon: memory of main / reaches its limit in 1 days at the growth of the last weeks`}},
		"a probe that does not answer": {kind: "probe", text: `upkeep_host_reboot_required{server="main"} 1`,
			facts: func(f *Facts) { f.Down = "connection refused" },
			want:  []string{`critical probe/down: it does not answer`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Facts{Server: "main", Kind: c.kind, At: at, Figures: figures(t, c.text)}
			if c.facts != nil {
				c.facts(&f)
			}
			found := f.find(finders(c.kind))
			if diff := cmp.Diff(c.want, lines(found)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, x := range found {
				if len(x.Evidence) == 0 || x.Cost == "" || x.Subject["server"] != "main" || x.Plan == nil &&
					x.ByHand == "" &&
					x.Candidate == nil {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// A server that refuses the login answers; on a standby nothing is changed by hand either.
func TestDownAndStandby(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"dial tcp 10.0.0.1:6379: connect: connection refused": "critical redis/down: it does not answer",
		"NOAUTH Authentication required.":                     "warning redis/login_refused: it answers, and refuses the login of upkeep",
		"WRONGPASS invalid username-password pair":            "warning redis/login_refused: it answers, and refuses the login of upkeep",
		"failed SASL auth: FATAL: password authentication failed for user \"u\" (SQLSTATE 28P01)": "warning redis/login_refused: it answers, " +
			"and refuses the login of upkeep",
	} {
		if diff := cmp.Diff([]string{want}, lines(Facts{Server: "main", Kind: "redis", At: at, Down: text}.find([]finder{down}))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	f := Facts{Server: "main", Kind: "postgres", At: at, Figures: figures(t, `
upkeep_postgres_sequence_used_ratio{server="main",database="d",schema="s",sequence="q",table="t",column="c"} 0.9
upkeep_postgres_setting{server="main",name="fsync"} 0`)}
	f.Postgres.Standby = true
	f.Postgres.Constraints = []Constraint{{"d", "s", "t", "k"}}
	f.Postgres.ForeignKeys = []ForeignKey{{"d", "s", "t", "k", "u", 1e6, "CREATE INDEX CONCURRENTLY ON t (u);"}}
	f.Postgres.Triggers = []Triggers{{"d", "s", "t", []string{"a"}, false}, {"d", "s", "t", []string{"a", "b"}, false}}
	f.Postgres.Scans = []Scans{{"d", "s", "t", 1 << 30, 1e6, 100, 1e8, 0, nil}}
	for _, x := range f.find(finders("postgres")) {
		own := x.Kind == "postgres/setting_fsync"
		if primary := strings.HasPrefix(x.ByHand, "Do it on the primary"); primary == own {
			t.Errorf("%s: %s", x.Kind, x.ByHand)
		}
	}
}

// Severity comes before harm, harm before size, and of each kind of each server the largest ten are listed.
func TestRank(t *testing.T) {
	t.Parallel()
	all := []Finding{{Kind: "small", Severity: "info", Harm: Space, Bytes: 1}, {Kind: "care", Severity: "warning",
		Harm: Care},
		{Kind: "data", Severity: "warning", Harm: Data}, {Kind: "worst", Severity: "critical", Harm: Care}}
	for i := range 12 {
		all = append(all, Finding{Kind: "many", Server: "main", Severity: "info", Harm: Space, Bytes: float64(100 + i)})
	}
	all = append(all, Finding{Kind: "many", Server: "second", Severity: "info", Harm: Space, Bytes: 2})
	rank(all)
	kept, left := cut(all)
	var kinds []string
	for _, f := range kept {
		kinds = append(kinds, f.Kind)
	}
	want := "worst data care many many many many many many many many many many many small"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if diff := cmp.Diff([]Left{{Server: "main", Kind: "many", Count: 2, Bytes: 201}}, left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A command has what can be typed alone, and a grant names the role as SQL does.
func TestWords(t *testing.T) {
	t.Parallel()
	p := plan("postgres/vacuum", map[string]string{"server": "main", "table": "a\nb"}, nil, "server", "table")
	if p.Command != "" || p.Subject["table"] != "a\nb" {
		t.Errorf("%+v", p)
	}
	all := granted([]Unknown{{Why: "the value of 3 sequences is hidden from this role: grant pg_read_all_data to it"},
		{Why: "connection refused"}, {Why: "permission denied: grant pg_monitor to the role"}}, Postgres{Role: `up"keep`})
	var sql []string
	for _, u := range all {
		sql = append(sql, u.SQL)
	}
	if diff := cmp.Diff([]string{`GRANT pg_read_all_data TO "up""keep";`, "", `GRANT pg_monitor TO "up""keep";`},
		sql); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A target whose collectors failed, or have not answered, is not fine.
func TestStates(t *testing.T) {
	t.Parallel()
	all := states([]scrape.Status{{Server: "main", Collector: "postgres/wal", At: at, Err: "permission denied"},
		{Server: "main", Collector: "postgres/vacuum"}, {Server: "main", Collector: "backup/age", At: at},
		{Server: "engine", Collector: "logs/lines", At: at, Down: "refused"},
		{Server: "here", Collector: "host/filesystem", At: at, Beyond: 3}})
	pg, here := all[place{"main", "postgres"}], all[place{"here", "host"}]
	if pg.unknown[0].Why != "permission denied" || len(pg.unknown) != len(Expected("postgres"))-1 ||
		len(pg.pending) != 1 || len(all[place{"main", "backup"}].unknown) != 0 ||
		all[place{"engine", "docker"}].down != "refused" {
		t.Errorf("%+v", pg)
	}
	if len(here.unknown) != 2 || !strings.Contains(here.unknown[0].Why, "3 objects, the smallest, are beyond the limit") ||
		here.unknown[1].What != "host/updates" || !strings.Contains(here.unknown[1].Why, "disabled") {
		t.Errorf("%+v", here.unknown)
	}
}

// asker answers a PromQL expression with samples.
type asker map[string][]prom.Sample

func (a asker) Query(_ context.Context, expr string, _ time.Time) ([]prom.Sample, error) {
	samples, known := a[expr]
	if !known {
		return nil, fmt.Errorf("%s was asked", expr)
	}
	return samples, nil
}

// A statement is compared where it was called often in both spans, and a failed query is no answer.
func TestReadChanged(t *testing.T) {
	t.Parallel()
	sample := func(queryid string, v float64) prom.Sample {
		return prom.Sample{Labels: map[string]string{"server": "main", "database": "d", "user": "web", "queryid": queryid},
			Value: v}
	}
	const calls = `increase(max by (server, database, user, queryid) (upkeep_postgres_statement_calls_total{queryid!="other"})`
	const seconds = `increase(max by (server, database, user, queryid) (upkeep_postgres_statement_seconds_total{queryid!="other"})`
	p := asker{
		calls + "[1d:1h])":             {sample("1", 20), sample("2", 19), sample("3", 20), sample("new", 20)},
		seconds + "[1d:1h])":           {sample("1", 60), sample("2", 60), sample("3", 60), sample("new", 60)},
		calls + "[7d:1h] offset 1d)":   {sample("1", 20), sample("2", 20), sample("3", 19), sample("gone", 500)},
		seconds + "[7d:1h] offset 1d)": {sample("1", 10), sample("2", 10), sample("3", 10), sample("gone", 500)},
	}
	got, err := readChanged(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Changed{{"main", "d", "web", "1", 20, 60, 20, 10}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	delete(p, seconds+"[7d:1h] offset 1d)")
	if got, err := readChanged(t.Context(), p); err == nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}
