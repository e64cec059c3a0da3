package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Server reports whether the server answers.
func Server(t *target.Redis) collectors.Collector {
	c := server{
		target: t,
		up: &collectors.Metric{Name: "upkeep_redis_up", Type: collectors.Gauge,
			Help: "1 when the server answers, though it may refuse the question; 0 when it does not, or refuses " +
				"the user.", Labels: []string{"server"}},
		down: gauge("down", "1, with the reason why the server refuses commands or does not answer; absent while it "+
			"takes them.",
			"reason").WithoutPanel("the reason of upkeep_redis_up, for the text of its alert"),
		info: &collectors.Metric{Name: "upkeep_redis_info", Type: collectors.Gauge,
			Help: "1, with the version of the server as a label.", Labels: []string{"server", "version"}},
		start: &collectors.Metric{Name: "upkeep_redis_start_timestamp_seconds", Type: collectors.Gauge,
			Help: "When the server was started.", Labels: []string{"server"}},
	}
	return collectors.Collector{
		Name:   "redis/server",
		Target: t.Name,
		Doc: `Server reports whether the server answers, its version and its start time.

Reads INFO server and persistence. Rights: +info. Cost: one INFO. A server
that does not answer is the answer 0 of upkeep_redis_up, not a failed collection. One that
is busy with a script, reads its data set or refuses INFO answers. The reason is a label of
upkeep_redis_down: authentication, connection_refused, connections (there are as many as it
takes), name_resolution, timeout, tls or other; while it answers and refuses, the reason is
busy, loading, permission or refused, and upkeep_redis_up is 1.`,
		Metrics: []*collectors.Metric{c.up, c.down, c.info, c.start},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type server struct {
	target                *target.Redis
	up, down, info, start *collectors.Metric
}

func (c server) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target, "server", "persistence")
	if err != nil {
		return unanswered(ctx, w, c.target.Name, c.up, c.down, err)
	}
	w.Set(c.up, 1, c.target.Name)
	if i.loading() {
		w.Set(c.down, 1, c.target.Name, loading)
		w.Down(errors.New("the server reads its data set, and refuses other commands until it has"))
	}
	w.Set(c.info, 1, c.target.Name, i.version())
	now, known := i.clock()
	if uptime, ok := i.number("uptime_in_seconds"); ok && known {
		w.Set(c.start, float64(now.Unix())-uptime, c.target.Name)
	}
	return nil
}

// unanswered reports a server that did not answer, which is an answer about it. Where we
// were stopped, nothing is known of it.
func unanswered(ctx context.Context, w *collectors.Writer, name string, up, down *collectors.Metric, err error) error {
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled { //nolint:errorlint // stopped by us
		return ctx.Err()
	}
	answers, why := reason(err)
	w.Set(up, one(answers), name)
	w.Set(down, 1, name, why)
	w.Down(err)
	return nil
}

// loading is the reason of a server that reads its data set.
const loading = "loading"

// reason says why a server cannot be asked, and whether it answers all the same.
func reason(err error) (up bool, why string) {
	said, ok := errors.AsType[redis.Error](err)
	if !ok {
		return false, target.Reason(err)
	}
	text := said.Error()
	for _, of := range []struct {
		begins string
		up     bool
		why    string
	}{{"NOAUTH", false, target.ReasonAuthentication}, {"WRONGPASS", false, target.ReasonAuthentication},
		{"ERR invalid password", false, target.ReasonAuthentication},
		{"ERR AUTH", false, target.ReasonAuthentication},
		{"ERR max number of clients", false, target.ReasonConnections},
		{"BUSY", true, "busy"}, {"LOADING", true, loading}, {"NOPERM", true, "permission"}} {
		if strings.HasPrefix(text, of.begins) {
			return of.up, of.why
		}
	}
	return true, "refused"
}

// A State is what a server is and does, as far as who would restart it must know.
type State struct {
	RunID      string // another at each start
	Version    string // that of Redis whose commands it understands
	Valkey     bool
	PID        int // in its own name space of processes
	Port       int // 0 where it listens on a socket only
	Started    time.Time
	ConfigFile string // "" where it was started without

	Replica  bool
	LinkUp   bool // a replica follows its primary
	Syncing  bool // a replica takes over the whole data set
	Replicas int  // that are connected
	Cluster  bool // it is a part of a Redis Cluster

	Loading       bool
	Keys, Expires int64 // of all databases; Expires are those that go away by themselves
	Databases     map[int]Keys

	// keys that the snapshot held that was read at the start, those included that had come to their
	// end; -1 before Redis 7.0, which does not tell
	Loaded int64
	Gone   int64 // keys that came to their end or were evicted since the start
}

// Keys are how many there are in a database, and how many of them have an end.
type Keys struct{ All, Expires int64 }

// ReadState asks a server what it is and does.
func ReadState(ctx context.Context, c *redis.Client) (s State, err error) {
	i, err := readInfo(ctx, c, "server", "replication", "persistence", "stats", "keyspace", "cluster")
	if err != nil {
		return s, err
	}
	now, clock := i.clock()
	uptime, known := i.number("uptime_in_seconds")
	if s.RunID = i["run_id"]; s.RunID == "" || !clock || !known {
		return s, errors.New("info: it says nothing of the server; is +info granted, and is this a Redis?")
	}
	s.Version, s.ConfigFile, s.Started = i["redis_version"], i["config_file"],
		now.Add(-time.Duration(uptime)*time.Second)
	s.Valkey = i["valkey_version"] != ""
	for field, into := range map[string]*int{"process_id": &s.PID, "tcp_port": &s.Port,
		"connected_slaves": &s.Replicas} {
		v, _ := i.number(field)
		*into = int(v)
	}
	s.Replica, s.LinkUp, s.Syncing = i["role"] == "slave", i["master_link_status"] == "up",
		i["master_sync_in_progress"] == "1"
	s.Cluster, s.Loading = i["cluster_enabled"] == "1" || i["redis_mode"] == "cluster", i.loading()
	loaded, known := i.number("rdb_last_load_keys_loaded")
	ended, _ := i.number("rdb_last_load_keys_expired")
	if s.Loaded = int64(loaded + ended); !known {
		s.Loaded = -1
	}
	expired, _ := i.number("expired_keys")
	evicted, _ := i.number("evicted_keys")
	s.Gone, s.Databases = int64(expired+evicted), make(map[int]Keys)
	for name, value := range i {
		number, isDB := strings.CutPrefix(name, "db")
		if n, err := strconv.Atoi(number); isDB && err == nil && strings.HasPrefix(value, "keys=") {
			p := info(pairs(value))
			keys, _ := p.number("keys")
			expires, _ := p.number("expires")
			s.Databases[n] = Keys{int64(keys), int64(expires)}
			s.Keys, s.Expires = s.Keys+int64(keys), s.Expires+int64(expires)
		}
	}
	return s, nil
}

// ReadCalls asks a server how often each command was carried out since the start, or
// since CONFIG RESETSTAT. Calls that failed do not count. From 7.0 on a subcommand
// has a name of its own, like "config|set".
func ReadCalls(ctx context.Context, c Asker) (map[string]int64, error) {
	i, err := readInfo(ctx, c, "commandstats")
	if err != nil {
		return nil, err
	}
	all := make(map[string]int64)
	for name, value := range i {
		if command, ok := strings.CutPrefix(name, "cmdstat_"); ok {
			p := info(pairs(value))
			calls, _ := p.number("calls")
			failed, _ := p.number("failed_calls")
			all[command] = int64(calls - failed)
		}
	}
	return all, nil
}
