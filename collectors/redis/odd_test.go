package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// every returns each collector of a server.
func every(r *target.Redis) []collectors.Collector {
	return []collectors.Collector{redis.Server(r), redis.Memory(r), redis.Persistence(r), redis.Keyspace(r),
		redis.Clients(r), redis.Replication(r), redis.Commands(r), redis.Slowlog(r)}
}

// asked asks every collector of a server once, and returns the series and which of them
// have failed.
func asked(t *testing.T, r *target.Redis) (series string, failed []string) {
	t.Helper()
	var text strings.Builder
	for _, c := range every(r) {
		w := collectors.NewWriter(c)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := c.Collect(ctx, w); err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", c.Name, err))
		}
		cancel()
		text.Write(w.Text())
	}
	return text.String(), failed
}

// An oddity is a way to run a server, and the series that must tell it.
type oddity struct {
	name     string
	args     []string                              // of the server
	before   func(t *testing.T, c *goredis.Client) // by its administrator
	user     string                                // "user:password" that upkeep has; "" is the default user
	rows     []row
	failing  []string // collectors that may fail
	password string   // of the default user
}

// A row is a series without upkeep_redis_ and the server, and its truth: a field of INFO that redis-cli
// reads, or a figure of the test's own.
type row struct {
	series, source, truth string
	within                float64
}

const (
	hand, absent = collectortest.Hand, collectortest.Absent
	cli          = "redis-cli"
)

// table returns the rows of an oddity.
func (o oddity) table() (all []collectortest.Oddity) {
	for _, r := range o.rows {
		all = append(all, collectortest.Oddity{Name: o.name, Series: r.series, Source: r.source, Truth: r.truth,
			Within: r.within})
	}
	return all
}

// whole is what each server says to who may ask.
func whole(more ...row) []row {
	return append([]row{
		{"up", hand, "1", 0},
		{`down{reason="refused"}`, hand, absent, 0},
		{"memory_used_bytes", cli, "used_memory", 0.5},
		{"memory_peak_bytes", cli, "used_memory_peak", 0.5},
		{"snapshot_changes", cli, "rdb_changes_since_last_save", 0},
		{"clients_max", cli, "maxclients", 0},
		{"evicted_keys_total", cli, "evicted_keys", 0},
		{"start_timestamp_seconds", hand, fmt.Sprint(time.Now().Unix()), 1e-6}, // half an hour
	}, more...)
}

// down is what a server says that cannot be asked.
func down(up, reason string) []row {
	return []row{{"up", hand, up, 0}, {fmt.Sprintf("down{reason=%q}", reason), hand, "1", 0},
		{"memory_used_bytes", hand, absent, 0}}
}

func oddities(t *testing.T) []oddity {
	t.Helper()
	bus, err := sandbox.FreePort() // of a cluster, which else is the port plus 10,000
	if err != nil {
		t.Fatal(err)
	}
	do := func(args ...any) func(*testing.T, *goredis.Client) {
		return func(t *testing.T, c *goredis.Client) {
			t.Helper()
			if err := c.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return []oddity{
		{name: "nothing odd", rows: whole(row{"slowlog_length", hand, "0", 0})},
		{name: "LATENCY has no name", args: []string{"--rename-command", "LATENCY", ""}, before: do("set", "k", "v"),
			rows: whole(row{`command_calls_total{command="set"}`, cli, "cmdstat_set.calls", 0},
				row{`command_seconds_total{command="set"}`, cli, "cmdstat_set.usec", 1},
				row{`command_duration_seconds_count{command="set"}`, hand, absent, 0})},
		{name: "CLIENT has no name", args: []string{"--rename-command", "CLIENT", ""}, rows: whole()},
		{name: "SLOWLOG has another name", args: []string{"--rename-command", "SLOWLOG", "slow"},
			rows: whole(row{"slowlog_length", hand, absent, 0})},
		{name: "CONFIG and MEMORY have no names", args: []string{"--rename-command", "CONFIG", "", "--rename-command",
			"MEMORY", ""}, rows: whole()},
		{name: "a user with INFO alone", before: do("acl", "setuser", "eyes", "on", ">pw", "+info", "+hello", "+ping"),
			user: "eyes:pw", rows: whole(), failing: []string{"redis/slowlog"}},
		{name: "a user with nothing", before: do("acl", "setuser", "none", "on", ">pw", "-@all"), user: "none:pw",
			rows: down("1", "permission"), failing: []string{"redis/"}},
		{name: "a wrong password", user: "default:wrong", password: "right", rows: down("0", "authentication"),
			failing: []string{"redis/"}},
		{name: "no password", password: "right", rows: down("0", "authentication"), failing: []string{"redis/"}},
		{name: "a password with signs of URLs", password: "a:b@c/d?e#f%20", user: "default:a:b@c/d?e#f%20",
			rows: whole()},
		{name: "a database beyond 65535", args: []string{"--databases", "100000"},
			before: func(t *testing.T, c *goredis.Client) {
				t.Helper()
				if _, err := c.Pipelined(t.Context(), func(p goredis.Pipeliner) error {
					p.Do(t.Context(), "select", 70000)
					p.Set(t.Context(), "k", "v", 0)
					p.Set(t.Context(), "e", "v", time.Hour)
					p.Do(t.Context(), "select", 0)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}, rows: whole(row{`keys{db="70000"}`, cli, "db70000.keys", 0},
				row{`expiring_keys{db="70000"}`, cli, "db70000.expires", 0}, row{`keys{db="0"}`, hand, absent, 0})},
		{name: "no limit of memory", args: []string{"--maxmemory", "0"},
			rows: whole(row{"memory_used_ratio", hand, absent, 0}, row{"memory_max_bytes", hand, absent, 0})},
		{name: "a limit of memory", args: []string{"--maxmemory", "100mb"},
			rows: whole(row{"memory_max_bytes", cli, "maxmemory", 0})},
		{name: "an append-only file", args: []string{"--appendonly", "yes"},
			rows: whole(row{"aof_enabled", cli, "aof_enabled", 0}, row{"aof_ok", hand, "1", 0},
				row{"aof_size_bytes", cli, "aof_current_size", 0})},
		{name: "a cluster's node", args: []string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus)},
			rows: whole()},
		{name: "no snapshots", args: []string{"--save", ""}, rows: whole(row{"snapshot_ok", hand, "1", 0},
			row{"snapshot_last_success_timestamp_seconds", hand, absent, 0}, row{"aof_ok", hand, absent, 0})},
		{name: "a replica whose primary is not there", args: []string{"--replicaof", "127.0.0.1", "1"},
			rows: whole(row{"is_replica", hand, "1", 0}, row{"primary_link_up", hand, "0", 0},
				row{"primary_silent_seconds", hand, absent, 0})},
		{name: "a slow log of everything", args: []string{"--slowlog-log-slower-than", "0"},
			before: do("set", "k", "v"), rows: whole(row{`slowlog_entries_total{command="set"}`, hand, "1", 0})},
		{name: "too many clients", args: []string{"--maxclients", "1"},
			before: func(t *testing.T, c *goredis.Client) {
				t.Helper()
				servertest.Eventually(t, "the client that has started the server has gone", func() bool {
					held := c.Conn()
					t.Cleanup(func() { _ = held.Close() }) // until the test ends
					return held.Ping(t.Context()).Err() == nil
				})
			},
			rows:    []row{{"up", hand, "0", 0}}, // the server's words may be lost with the connection
			failing: []string{"redis/"}},
		{name: "reads its data set", args: []string{"--enable-debug-command", "yes", "--rdbcompression", "no",
			"--loading-process-events-interval-bytes", "1024"}, before: loads,
			rows: []row{{"up", hand, "1", 0}, {`down{reason="loading"}`, cli, "loading", 0},
				{"clients_max", cli, "maxclients", 0}, {"memory_used_bytes", cli, "used_memory", 0.5},
				{`keys{db="0"}`, hand, absent, 0}, {`expiring_keys{db="0"}`, hand, absent, 0}}},
		{name: "has read it", args: []string{"--enable-debug-command", "yes"},
			before: func(t *testing.T, c *goredis.Client) {
				t.Helper()
				do("set", "k", "v")(t, c)
				do("debug", "reload")(t, c)
			},
			rows: whole(row{`keys{db="0"}`, cli, "db0.keys", 0}, row{`down{reason="loading"}`, hand, absent, 0})},
		{name: "busy with a script", args: []string{"--busy-reply-threshold", "50"},
			before: func(t *testing.T, c *goredis.Client) {
				t.Helper()
				held := c.Conn()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					// it is killed
					_ = held.Do(context.WithoutCancel(t.Context()), "eval", "while true do end", "0").Err()
				}()
				t.Cleanup(func() {
					_ = c.Do(context.Background(), "script", "kill").Err() // what is not running needs none
					<-ended
					_ = held.Close()
				})
				servertest.Eventually(t, "the server is busy", func() bool {
					err := c.Get(t.Context(), "k").Err()
					return err != nil && strings.HasPrefix(err.Error(), "BUSY")
				})
			},
			rows: down("1", "busy"), failing: []string{"redis/"}},
	}
}

// loads has a server read its data set until the end of the test.
func loads(t *testing.T, c *goredis.Client) {
	t.Helper()
	for i := range 400 {
		if err := c.Set(t.Context(), strconv.Itoa(i), strings.Repeat("v", 2048), time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.ConfigSet(t.Context(), "key-load-delay", "50000").Err(); err != nil {
		t.Fatal(err)
	}
	held := c.WithTimeout(time.Hour)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = held.Do(context.WithoutCancel(t.Context()), "debug", "reload").Err() // it ends when it may be quick
	}()
	t.Cleanup(func() {
		_ = c.ConfigSet(context.Background(), "key-load-delay", "0").Err() // what has read all needs none
		<-ended
	})
	servertest.Eventually(t, "the server loads", func() bool {
		err := c.Get(t.Context(), "k").Err()
		return err != nil && strings.HasPrefix(err.Error(), "LOADING")
	})
}

// However a server is run, what it reports is exported, and it is down only where it does not
// answer.
func TestOddServers(t *testing.T) {
	t.Parallel()
	for _, o := range oddities(t) {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			args := o.args
			if o.password != "" {
				args = append(args, "--requirepass", o.password)
			}
			s := servertest.Redis(t, args...)
			if o.before != nil {
				options, err := goredis.ParseURL(s.URL)
				if err != nil {
					t.Fatal(err)
				}
				options.DisableIdentity, options.MaxRetries = true, -1
				admin := goredis.NewClient(options)
				t.Cleanup(func() { _ = admin.Close() }) // nothing is left to be sent
				o.before(t, admin)
			}
			k := target.RedisConfig{Name: "s", URL: s.URL}
			if user, password, ok := strings.Cut(o.user, ":"); ok {
				k.URL = strings.Replace(s.URL, "://", "://"+user+"@", 1)
				k.Password = func() (string, error) { return password, nil }
			}
			client := []string{"-p", strconv.Itoa(s.Port)}
			if o.password != "" {
				client = append(client, "--no-auth-warning", "-a", o.password)
			}
			o.holds(t, k, collectortest.RedisCLI(t, client...))
		})
	}
}

// holds compares what is exported with what must be.
func (o oddity) holds(t *testing.T, k target.RedisConfig, client collectortest.Source) *target.Redis {
	t.Helper()
	r, err := target.NewRedis(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	text, failed := asked(t, r)
	sources := map[string]collectortest.Source{cli: client}
	if err := collectortest.Odd("upkeep_redis_", text, sources, o.table()); err != nil {
		t.Error(err)
	}
	for _, f := range failed {
		if !excused(f, o.failing) {
			t.Error(f)
		}
	}
	return r
}

func excused(fault string, begins []string) bool {
	for _, b := range begins {
		if strings.HasPrefix(fault, b) {
			return true
		}
	}
	return false
}

// A server of another version is played: it answers what such a version answers.
type played struct {
	version  string
	sections bool // INFO takes several sections
	hello    bool
	latency  string // what LATENCY HISTOGRAM is answered with
	timeless bool   // TIME may not be asked
	more     string // lines of INFO

	refused *atomic.Int64 // questions that were answered with an error
}

const playedInfo = "# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\nprocess_id:1\r\nrun_id:%040d\r\n" +
	"tcp_port:6379\r\nuptime_in_seconds:1000\r\nserver_time_usec:1700000000000000\r\n# " +
	"Clients\r\nconnected_clients:3\r\n" +
	"blocked_clients:1\r\n# Memory\r\nused_memory:1048576\r\nused_memory_rss:4194304\r\nused_memory_peak:2097152\r\n" +
	"maxmemory:8388608\r\nmaxmemory_policy:allkeys-lru\r\nmem_fragmentation_ratio:4.00\r\nmem_allocator:jemalloc-5.1.0\r\n" +
	"# Persistence\r\nloading:0\r\nrdb_changes_since_last_save:7\r\nrdb_bgsave_in_progress:0\r\n" +
	"rdb_last_save_time:%d\r\nrdb_last_bgsave_status:ok\r\nrdb_last_bgsave_time_sec:1\r\naof_enabled:0\r\n" +
	"aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\naof_last_bgrewrite_status:ok\r\naof_last_write_status:ok\r\n" +
	"# Stats\r\ntotal_connections_received:10\r\ntotal_commands_processed:100\r\nkeyspace_hits:40\r\nkeyspace_misses:10\r\n" +
	"expired_keys:5\r\nevicted_keys:2\r\nrejected_connections:0\r\nlatest_fork_usec:300\r\n# " +
	"Replication\r\nrole:master\r\n" +
	"connected_slaves:0\r\nmaster_repl_offset:0\r\n# " +
	"Commandstats\r\ncmdstat_get:calls=50,usec=500,usec_per_call=10.00\r\n" +
	"# Cluster\r\ncluster_enabled:0\r\n# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\n"

// play serves until the test ends.
func (p played) play(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nothing is left to be written
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return "redis://" + l.Addr().String()
}

func (p played) serve(c net.Conn) {
	defer func() { _ = c.Close() }() // the client has gone
	for r := bufio.NewReader(c); ; {
		words, err := command(r)
		if err != nil {
			return
		}
		answer := p.answer(words)
		if strings.HasPrefix(answer, "-") && words[0] != "hello" { // a new connection says it
			p.refused.Add(1)
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// command reads one command as clients send it.
func command(r *bufio.Reader) ([]string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	words := make([]string, n)
	for i := range words {
		if line, err = r.ReadString('\n'); err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(strings.TrimSpace(line[1:]))
		if err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		words[i] = strings.ToLower(string(text[:size]))
	}
	return words, err
}

func (p played) answer(words []string) string {
	switch words[0] {
	case "hello":
		if !p.hello {
			return "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"
		}
		return "%1\r\n+version\r\n+" + p.version + "\r\n"
	case "client":
		return "+OK\r\n"
	case "info":
		if len(words) > 2 && !p.sections {
			return "-ERR syntax error\r\n"
		}
		text := p.more + fmt.Sprintf(playedInfo, p.version, 7, time.Now().Add(-10*time.Minute).Unix())
		if p.version < "6" { // which knows no microseconds
			text = strings.Replace(text, "server_time_usec:1700000000000000\r\n", "", 1)
		} else {
			text = strings.Replace(text, "1700000000000000", strconv.FormatInt(time.Now().UnixMicro(), 10), 1)
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
	case "time":
		if p.timeless {
			return "-ERR unknown command `TIME`, with args beginning with: \r\n"
		}
		now := time.Now()
		seconds, micros := strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond()/1000)
		return fmt.Sprintf("*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(seconds), seconds, len(micros), micros)
	case "latency":
		return p.latency
	case "slowlog":
		if words[1] == "len" {
			return ":0\r\n"
		}
		return "*0\r\n"
	}
	return "-ERR unknown command `" + words[0] + "`, with args beginning with: \r\n"
}

// Versions that Debian does not have, by what they answer. What one of them refuses it is not asked each time: it
// counts that as an error of its clients.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	const unknown = "-ERR Unknown subcommand or wrong number of arguments for 'HISTOGRAM'. Try LATENCY HELP.\r\n"
	for _, p := range []played{
		{version: "5.0.14", latency: unknown},
		{version: "5.0.9", latency: unknown, timeless: true},
		{version: "6.2.14", hello: true, latency: unknown},
		{version: "7.2.4", hello: true, sections: true, latency: "%0\r\n", more: "server_name:valkey\r\n" +
			"valkey_version:8.1.3\r\nvalkey_release_stage:ga\r\n"},
		{version: "7.4.2", hello: true, sections: true, latency: "%0\r\n"},
		{version: "8.2.1", hello: true, sections: true, latency: "-NOPERM User upkeep has no permissions to run the " +
			"'latency|histogram' command\r\n"},
	} {
		t.Run(p.version, func(t *testing.T) {
			t.Parallel()
			p.refused = new(atomic.Int64)
			name := p.version
			if strings.Contains(p.more, "valkey") {
				name = "valkey 8.1.3"
			}
			o := oddity{name: "version " + name, rows: []row{{"up", hand, "1", 0},
				{fmt.Sprintf("info{version=%q}", name), hand, "1", 0}, {`down{reason="refused"}`, hand, absent, 0},
				{"memory_used_bytes", hand, "1048576", 0}, {"memory_used_ratio", hand, "0.125", 0},
				{"memory_fragmentation_ratio", hand, absent, 0}, {`keys{db="0"}`, hand, "12", 0},
				{`expiring_keys{db="0"}`, hand, "3", 0}, {"keyspace_misses_total", hand, "10", 0},
				{`command_calls_total{command="get"}`, hand, "50", 0}, {"clients", hand, "3", 0},
				{"clients_used_ratio", hand, absent, 0}, {"slowlog_length", hand, "0", 0},
				{"snapshot_changes", hand, "7", 0}, {"snapshot_age_seconds", hand, "600", 0.2}}}
			if p.timeless { // the age of a snapshot is not known
				o.rows, o.failing = o.rows[:len(o.rows)-2], []string{"redis/persistence"}
				o.rows = append(o.rows, row{"start_timestamp_seconds", hand, absent, 0})
			}
			r := o.holds(t, target.RedisConfig{Name: "s", URL: p.play(t)}, nil)
			before := p.refused.Load()
			all := every(r)
			for range 2 {
				for _, c := range all {
					w := collectors.NewWriter(c)
					if err := c.Collect(t.Context(), w); err != nil && !excused(c.Name, o.failing) {
						t.Errorf("%s: %v", c.Name, err)
					}
				}
				if more := p.refused.Load() - before; more > 1 && !p.timeless { // of the new collectors, LATENCY once
					t.Errorf("%d more questions are refused", more)
				}
			}
		})
	}
}
