package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// asked asks every collector of a server once, and returns the series and which of them
// have failed.
func asked(t *testing.T, r *target.Redis) (series string, failed []string) {
	t.Helper()
	var text strings.Builder
	for _, of := range []func(*target.Redis) collectors.Collector{redis.Server, redis.Memory, redis.Persistence,
		redis.Keyspace, redis.Clients, redis.Replication, redis.Commands, redis.Slowlog} {
		c := of(r)
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

// An oddity is a way to run a server, what must be exported of it and what must not.
type oddity struct {
	name     string
	args     []string                              // of the server
	before   func(t *testing.T, c *goredis.Client) // by its administrator
	user     string                                // "user:password" that upkeep has; "" is the default user
	has      []string                              // series without upkeep_redis_
	lacks    []string                              // beginnings of series
	failing  []string                              // collectors that may fail
	password string                                // of the default user
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
	whole := []string{`up{server="s"} 1`, `memory_used_bytes{server="s"}`, `snapshot_changes{server="s"}`,
		`clients{server="s"}`}
	return []oddity{
		{name: "nothing odd", has: append(whole, `slowlog_length{server="s"} 0`), lacks: []string{"down"}},
		{name: "LATENCY has no name", args: []string{"--rename-command", "LATENCY", ""}, has: append(whole,
			`command_calls_total{server="s",command="info"}`), lacks: []string{"command_duration"}},
		{name: "CLIENT has no name", args: []string{"--rename-command", "CLIENT", ""}, has: whole},
		{name: "SLOWLOG has another name", args: []string{"--rename-command", "SLOWLOG", "slow"}, has: whole,
			lacks: []string{"slowlog_length"}},
		{name: "CONFIG and MEMORY have no names", args: []string{"--rename-command", "CONFIG", "", "--rename-command",
			"MEMORY", ""}, has: whole},
		{name: "a user with INFO alone", before: do("acl", "setuser", "eyes", "on", ">pw", "+info", "+hello", "+ping"),
			user: "eyes:pw", has: whole, failing: []string{"redis/slowlog"}},
		{name: "a user with nothing", before: do("acl", "setuser", "none", "on", ">pw", "-@all"), user: "none:pw",
			has: []string{`up{server="s"} 1`, `down{server="s",reason="permission"} 1`}, failing: []string{"redis/"}},
		{name: "a wrong password", user: "default:wrong", password: "right",
			has:     []string{`up{server="s"} 0`, `down{server="s",reason="authentication"} 1`},
			failing: []string{"redis/"}},
		{name: "no password", password: "right",
			has:     []string{`up{server="s"} 0`, `down{server="s",reason="authentication"} 1`},
			failing: []string{"redis/"}},
		{name: "a password with signs of URLs", password: "a:b@c/d?e#f%20", user: "default:a:b@c/d?e#f%20", has: whole},
		{name: "a database beyond 65535", args: []string{"--databases", "100000"},
			before: func(t *testing.T, c *goredis.Client) {
				t.Helper()
				if _, err := c.Pipelined(t.Context(), func(p goredis.Pipeliner) error {
					p.Do(t.Context(), "select", 70000)
					p.Set(t.Context(), "k", "v", 0)
					p.Do(t.Context(), "select", 0)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}, has: append(whole, `keys{server="s",db="70000"} 1`)},
		{name: "no limit of memory", args: []string{"--maxmemory", "0"}, has: whole,
			lacks: []string{"memory_used_ratio"}},
		{name: "an append-only file", args: []string{"--appendonly", "yes"},
			has: append(whole, `aof_enabled{server="s"} 1`,
				`aof_ok{server="s"} 1`)},
		{name: "a cluster's node", args: []string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus)}, has: whole},
		{name: "no snapshots", args: []string{"--save", ""}, has: append(whole, `snapshot_ok{server="s"} 1`),
			lacks: []string{"snapshot_last_success"}},
		{name: "a replica whose primary is not there", args: []string{"--replicaof", "127.0.0.1", "1"}, has: whole},
		{name: "a slow log of everything", args: []string{"--slowlog-log-slower-than", "0"}, has: whole},
		{name: "too many clients", args: []string{"--maxclients", "1"},
			before: func(t *testing.T, c *goredis.Client) {
				t.Helper()
				held := c.Conn() // until the test ends
				t.Cleanup(func() { _ = held.Close() })
				if err := held.Ping(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			},
			has:     []string{`up{server="s"} 0`}, // the server's words may be lost with the connection
			failing: []string{"redis/"}},
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
			has:     []string{`up{server="s"} 1`, `down{server="s",reason="busy"} 1`},
			failing: []string{"redis/"}},
	}
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
			o.holds(t, k)
		})
	}
}

// holds compares what is exported with what must be.
func (o oddity) holds(t *testing.T, k target.RedisConfig) {
	t.Helper()
	r, err := target.NewRedis(k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	text, failed := asked(t, r)
	for _, want := range o.has {
		if !strings.Contains(text, "\nupkeep_redis_"+want) && !strings.HasPrefix(text, "upkeep_redis_"+want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
	for _, no := range o.lacks {
		if strings.Contains(text, "upkeep_redis_"+no) {
			t.Errorf("%s is exported:\n%s", no, text)
		}
	}
	for _, f := range failed {
		if !excused(f, o.failing) {
			t.Error(f)
		}
	}
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
		if _, err := io.WriteString(c, p.answer(words)); err != nil {
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
		text := fmt.Sprintf(playedInfo, p.version, 7, time.Now().Add(-10*time.Minute).Unix())
		if p.version < "6" { // which knows no microseconds
			text = strings.Replace(text, "server_time_usec:1700000000000000\r\n", "", 1)
		} else {
			text = strings.Replace(text, "1700000000000000", strconv.FormatInt(time.Now().UnixMicro(), 10), 1)
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
	case "time":
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

// Versions that Debian does not have, by what they answer.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	for _, p := range []played{
		{version: "5.0.14", latency: "-ERR Unknown subcommand or wrong number of arguments for 'HISTOGRAM'. Try " +
			"LATENCY HELP.\r\n"},
		{version: "6.2.14", hello: true, latency: "-ERR Unknown subcommand or wrong number of arguments for " +
			"'HISTOGRAM'. Try LATENCY HELP.\r\n"},
		{version: "7.4.2", hello: true, sections: true, latency: "%0\r\n"},
		{version: "8.2.1", hello: true, sections: true, latency: "%0\r\n"},
	} {
		t.Run(p.version, func(t *testing.T) {
			t.Parallel()
			oddity{has: []string{`up{server="s"} 1`, `info{server="s",version="` + p.version + `"} 1`,
				`memory_used_bytes{server="s"} 1048576`, `snapshot_changes{server="s"} 7`,
				`keys{server="s",db="0"} 12`, `command_calls_total{server="s",command="get"} 50`,
				`clients{server="s"} 3`}, lacks: []string{"down"}}.
				holds(t, target.RedisConfig{Name: "s", URL: p.play(t)})
		})
	}
}
