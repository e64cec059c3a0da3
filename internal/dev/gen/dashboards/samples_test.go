package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ai-micro-service/upkeep/alerts"
	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/product/catalog"
	"github.com/ai-micro-service/upkeep/remediate"
)

func engine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: 2 * time.Minute,
		LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{})})
}

// fill returns what a Prometheus has that scrapes two replicas of an upkeep with all kinds of targets, and a
// service: every metric that the catalog declares, and every series that the rules record.
func fill(t testing.TB, scrape time.Duration) *filled {
	t.Helper()
	f := &filled{scrape: scrape, series: make(map[string][]*made)}
	seen := make(map[string]bool)
	add := func(m *collectors.Metric, collector string) {
		if !seen[m.Name] {
			seen[m.Name] = true
			f.metric(m, collector)
		}
	}
	for _, m := range catalog.Own() {
		add(m, "")
	}
	for _, c := range catalog.EveryCollector() {
		for _, m := range c.Metrics {
			add(m, c.Name)
		}
	}
	f.scraped()
	f.recorded(t)
	return f
}

// metric adds every series of a metric: the product of the values of its labels.
func (f *filled) metric(m *collectors.Metric, collector string) {
	all := []map[string]string{{}}
	for _, l := range m.Labels {
		var more []map[string]string
		for _, values := range all {
			for _, v := range labelValues(m.Name, l, values) {
				next := maps.Clone(values)
				next[l] = v
				more = append(more, next)
			}
		}
		all = more
	}
	for i, values := range all {
		for _, instance := range []string{"one:9847", "two:9847"} {
			values := maps.Clone(values)
			values["job"], values["instance"] = "upkeep", instance
			if m.Type == collectors.Histogram {
				f.buckets(m.Name, values, float64(1+i%5))
				continue
			}
			values[labels.MetricName] = m.Name
			f.add(labels.FromMap(values), f.scrape, valueOf(m, values, float64(1+i)))
		}
	}
}

func (f *filled) buckets(name string, values map[string]string, n float64) {
	for i, le := range []string{"0.005", "0.05", "0.5", "5", "+Inf"} {
		values := maps.Clone(values)
		values[labels.MetricName], values["le"] = name+"_bucket", le
		f.add(labels.FromMap(values), f.scrape, counting(n*float64(1+i)))
	}
	for suffix, rate := range map[string]float64{"_count": 5 * n, "_sum": n} {
		values := maps.Clone(values)
		values[labels.MetricName] = name + suffix
		f.add(labels.FromMap(values), f.scrape, counting(rate))
	}
}

// labelValues are those of a label of a metric, where others have the values that are chosen.
func labelValues(metric, label string, chosen map[string]string) []string {
	switch label {
	case "server":
		switch {
		case is(metric, "upkeep_run_acted"):
			return []string{"main", "standby", "cache", "sessions", "engine", "engine-2", "db-1", "web-1"}
		case is(metric, "upkeep_postgres_"):
			return []string{"main", "standby"}
		case is(metric, "upkeep_redis_"):
			return []string{"cache", "sessions"}
		case is(metric, "upkeep_docker_", "upkeep_logs_"):
			return []string{"engine", "engine-2"}
		case is(metric, "upkeep_host_"):
			return []string{"db-1", "web-1"}
		case is(metric, "upkeep_probe_"):
			return []string{"auth-service", "user-api.example"}
		case is(metric, "upkeep_backup"):
			return []string{"main", "files"}
		case is(metric, "upkeep_packages_"):
			return []string{"auth-service lock"}
		}
		return []string{"main", "engine"}
	case "service":
		if c := chosen["container"]; c != "" {
			return []string{strings.TrimSuffix(c, "-1")}
		}
	case "index":
		return []string{chosen["table"] + "_pkey", chosen["table"] + "_created_at_idx"}
	case "queryid":
		return []string{"-7203685477580", "4412", "99"}
	case "query":
		if chosen["queryid"] == "99" { // a utility statement has no text
			return nil
		}
		return []string{"select * from logs where id = $1 /* " + chosen["queryid"] + " */"}
	case "state":
		switch {
		case is(metric, "upkeep_runs_active"):
			return []string{string(remediate.Waiting), string(remediate.AwaitingApproval)}
		case is(metric, "upkeep_postgres_locks"):
			return []string{"held", "waiting"}
		case is(metric, "upkeep_docker"):
			return []string{"running"}
		}
		return []string{"active", "idle"}
	case "phase":
		if is(metric, "upkeep_probe_") {
			return []string{"connect"}
		}
	case "to":
		var all []string
		for _, s := range remediate.States() {
			all = append(all, string(s))
		}
		return all
	case "type":
		if is(metric, "upkeep_postgres") {
			return []string{"physical"}
		}
		return []string{"images", "containers", "volumes", "build_cache"}
	case "kind":
		switch {
		case is(metric, "upkeep_postgres"):
			return []string{"identical", "redundant"}
		case is(metric, "upkeep_host"):
			return []string{"security", "other"}
		}
		return []string{"ask", "page"}
	}
	if values := plainValues()[label]; len(values) > 0 {
		return values
	}
	return []string{"some " + label}
}

func plainValues() map[string][]string {
	return map[string][]string{
		"database": {"authdb", "admin.db"}, "schema": {"public", "audit"}, "table": {"logs", "refresh_tokens"},
		"user": {"app", "upkeep"}, "method": {"estimate", "pgstatindex"}, "part": {"heap", "indexes"},
		"container": {"auth-1", "user-1"}, "service": {"auth", "user"}, "policy": {"dead rows", "disk"},
		"action": {"postgres/vacuum", "docker/prune"}, "outcome": {"resolved", "unresolved", "refused"},
		"mode": {"user", "system", "idle", "iowait"}, "device": {"sda"}, "direction": {"read", "write"},
		"mountpoint": {"/", "/var"}, "resource": {"cpu", "memory", "io"}, "stalled": {"some", "full"},
		"over": {"1m", "5m", "15m"}, "level": {"critical", "high", "low"}, "code": {"200", "503"},
		"cause": {"timed", "requested"}, "phase": {"write", "sync"}, "of": {"idle", "transaction", "blocker"},
		"name": {"autovacuum", "fsync"}, "url": {"https://upkeep.example"}, "result": {"delivered", "failed"},
		"collector": {"postgres/vacuum", "docker/containers"}, "command": {"get", "set"}, "db": {"0", "1"},
		"run": {"7"}, "reason": {"window", "privilege"}, "alertname": {"PostgresDeadRows", "RedisDown"},
		"slot": {"standby_1"}, "unit": {"logrotate.service", "srv-my\\x20disk.mount"},
		"standby": {"standby"}, "stanza": {"main"}, "event": {"Lock:relation"},
	}
}

// valueOf is what a metric's values are like: n tells its series apart.
func valueOf(m *collectors.Metric, values map[string]string, n float64) func(int64) float64 {
	name := m.Name
	ends := func(suffixes ...string) bool {
		return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
	}
	switch {
	case is(name, "upkeep_policy_") && m.Type == collectors.Counter: // of the store: at least one in an hour
		return func(at int64) float64 { return float64(int64(sinceBegin(at)/1800*n)) + 1 }
	case m.Type == collectors.Counter && ends("_bytes_total"):
		return counting(1e6 * n)
	case m.Type == collectors.Counter:
		return counting(0.01 * n)
	case ends("_info", "_demoted", "_paused", "in_progress", "pending_restart", "_up", "reboot_required"):
		return constant(1)
	case name == "upkeep_collector_success", name == "upkeep_docker_log_rotated":
		return constant(0)
	case name == "upkeep_run_acted_timestamp_seconds":
		return again(20 * time.Minute)
	case ends("start_timestamp_seconds", "boot_timestamp_seconds"):
		return again(30 * time.Minute)
	case ends("expiry_timestamp_seconds"):
		return func(at int64) float64 { return float64(at/1000) + 86400*20*n }
	case ends("_timestamp_seconds"):
		return again(time.Duration(n+1) * 7 * time.Hour)
	case name == "upkeep_host_memory_size_bytes", name == "upkeep_redis_memory_max_bytes":
		return constant(8e10)
	case ends("_bytes"):
		return growing(1e9*n, 0.01)
	case ends("connections_used_ratio", "inodes_used_ratio"):
		return growing(0.6/n, 0.002)
	case ends("_ratio"):
		return waving(0.6/n, 0.3)
	case ends("_rows"):
		return growing(2e5*n, 0.005)
	case ends("xids", "multixact_age"):
		return growing(2e8*n, 0.001)
	case ends("healthy", "_ok", "_intact", "streaming", "_active", "_running", "link_up"):
		return func(at int64) float64 { // false for one in ten quarters of an hour
			return float64(min(1, uint64(at/900_000+int64(n))%10))
		}
	case name == "upkeep_host_cpus":
		return constant(4)
	case ends("_max"):
		return constant(100)
	}
	return waving(10*n, 0.3)
}

// scraped adds what a service exports of its requests.
func (f *filled) scraped() {
	for i, job := range []string{"auth-service", "user-api"} {
		values := map[string]string{"job": job, "instance": job + ":8001"}
		f.buckets("http_request_duration_seconds", values, float64(1+i))
		for _, status := range []string{"200", "500"} {
			values := maps.Clone(values)
			values[labels.MetricName], values["status"] = "http_requests_total", status
			f.add(labels.FromMap(values), f.scrape, counting(float64(1+i)))
		}
	}
}

// recorded adds what the rules record: series with the labels that each gives at the end of the data. Some read
// others, also of groups that come later.
func (f *filled) recorded(t testing.TB) {
	t.Helper()
	rules, err := alerts.Recording(alerts.Files())
	if err != nil {
		t.Fatal(err)
	}
	for e := engine(); len(rules) > 0; {
		var later []alerts.Recorded
		for _, r := range rules {
			v, err := one(context.Background(), e, f, r.Expr, filledEnd().Truncate(time.Hour))
			if err == nil && len(v) == 0 { // what reads the daily values has an answer at midnight
				v, err = one(context.Background(), e, f, r.Expr, filledEnd().Truncate(24*time.Hour))
			}
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			if len(v) == 0 {
				later = append(later, r)
			}
			for _, s := range v {
				f.record(t, r, s)
			}
		}
		if len(later) == len(rules) {
			t.Fatalf("the rule of %s records nothing on what is filled:\n%s", later[0].Name, later[0].Expr)
		}
		rules = later
	}
}

// record adds a series of a rule.
func (f *filled) record(t testing.TB, r alerts.Recorded, s promql.Sample) {
	t.Helper()
	every := f.scrape
	if r.Interval != "" {
		d, err := model.ParseDuration(r.Interval)
		if err != nil {
			t.Fatal(err)
		}
		every = max(every, time.Duration(d))
	}
	if strings.HasSuffix(r.Name, "_day") || strings.HasSuffix(r.Name, ":day") { // of a rule with a sample a day
		every = 24 * time.Hour
	}
	b := labels.NewBuilder(s.Metric)
	b.Set(labels.MetricName, r.Name)
	for name, value := range r.Labels {
		b.Set(name, value)
	}
	value := waving(s.F, 0.01)
	if strings.Contains(r.Name, "_used") {
		value = growing(s.F, 0.01)
	}
	if strings.HasSuffix(r.Name, "_total") {
		value = counting(s.F / sinceBegin(filledEnd().UnixMilli()))
	}
	f.add(b.Labels(), every, value)
}

func TestFilledHasEveryMetricAndRule(t *testing.T) {
	f := fill(t, time.Minute)
	rules, err := alerts.Recording(alerts.Files())
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]bool)
	for _, r := range rules {
		want[r.Name] = true
	}
	for _, m := range catalog.Own() {
		want[m.Name] = m.Type != collectors.Histogram
	}
	var n int
	for name := range want {
		if want[name] && len(f.series[name]) == 0 {
			t.Errorf("no series of %s", name)
		}
	}
	for _, s := range f.series {
		n += len(s)
	}
	t.Logf("%d series", n)
}
