package redis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func TestServer(t *testing.T) {
	collectortest.Redis(t, redis.Server, "testdata/server.txtar")
}

func TestMemory(t *testing.T) {
	collectortest.Redis(t, redis.Memory, "testdata/memory.txtar")
}

func TestPersistence(t *testing.T) {
	collectortest.Redis(t, redis.Persistence, "testdata/persistence.txtar")
}

func TestPersistenceSaved(t *testing.T) {
	collectortest.Redis(t, redis.Persistence, "testdata/persistence_saved.txtar")
}

func TestKeyspace(t *testing.T) {
	collectortest.Redis(t, redis.Keyspace, "testdata/keyspace.txtar")
}

func TestClients(t *testing.T) {
	collectortest.Redis(t, redis.Clients, "testdata/clients.txtar")
}

func TestReplication(t *testing.T) {
	collectortest.Redis(t, redis.Replication, "testdata/replication.txtar")
}

func TestCommands(t *testing.T) {
	collectortest.Redis(t, redis.Commands, "testdata/commands.txtar")
}

func TestSlowlog(t *testing.T) {
	collectortest.Redis(t, redis.Slowlog, "testdata/slowlog.txtar")
}

func looked(t *testing.T, url string) *target.Redis {
	t.Helper()
	r, err := target.NewRedis(target.RedisConfig{Name: "s", URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// A primary and its replica report each other; without its primary the replica
// says so.
func TestReplicationOfTwo(t *testing.T) {
	primary := servertest.Redis(t)
	replica := servertest.Redis(t, "--replicaof", "127.0.0.1", strconv.Itoa(primary.Port))
	one, two := redis.Replication(looked(t, primary.URL)), redis.Replication(looked(t, replica.URL))
	await := func(c collectors.Collector, want string) string {
		t.Helper()
		var got string
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if got = collectortest.Answer(t, c); strings.Contains(got, want) {
				return got
			}
		}
		t.Fatalf("never %s, but:\n%s", want, got)
		return ""
	}
	await(two, `upkeep_redis_primary_link_up{server="s"} 1`)
	await(one, fmt.Sprintf(`upkeep_redis_replica_lag_bytes{server="s",replica="127.0.0.1:%d"} 0`, replica.Port))
	if got := collectortest.Answer(t, one); !strings.Contains(got, `upkeep_redis_is_replica{server="s"} 0`) ||
		!strings.Contains(got, `upkeep_redis_replicas{server="s"} 1`) {
		t.Errorf("the primary says:\n%s", got)
	}
	if err := primary.Stop(); err != nil {
		t.Fatal(err)
	}
	await(two, `upkeep_redis_primary_link_up{server="s"} 0`)
}

// Entries are counted once; those that were gone before they were read, and after
// a restart of the server, are not lost from the count.
func TestSlowlogCountsOnce(t *testing.T) {
	s := servertest.Redis(t, "--slowlog-log-slower-than", "0", "--slowlog-max-len", "10")
	r := looked(t, s.URL)
	c := redis.Slowlog(r)
	collectortest.Answer(t, c)
	for range 30 {
		if err := r.Client.Set(t.Context(), "key", "hunter2", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	total := func(text string) (n float64) {
		for _, m := range regexp.MustCompile(`slowlog_entries_total\{[^}]*\} (\S+)`).FindAllStringSubmatch(text, -1) {
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			n += v
		}
		return n
	}
	got := collectortest.Answer(t, c)
	newest, err := r.Client.SlowLogGet(t.Context(), 1).Result()
	if err != nil {
		t.Fatal(err)
	}
	// The answer was given before its own two questions and this one were logged.
	if n := total(got); n < float64(newest[0].ID)-3 || n > float64(newest[0].ID)+1 {
		t.Errorf("%v entries, and the newest has the number %d:\n%s", n, newest[0].ID, got)
	}
	if strings.Contains(got, "hunter2") || !strings.Contains(got, `command="set"`) ||
		!strings.Contains(got, `command="other"`) {
		t.Errorf("the commands are not as they should be:\n%s", got)
	}
}

// Every call is in a bucket, and none in two.
func TestCommandHistograms(t *testing.T) {
	r := looked(t, servertest.Redis(t).URL)
	for range 100 {
		if err := r.Client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Client.Do(t.Context(), "debug", "sleep", "0.01").Err(); err != nil &&
		!strings.Contains(err.Error(), "DEBUG") {
		t.Fatal(err)
	}
	c := redis.Commands(r)
	got := collectortest.Answer(t, c)
	for _, want := range []string{`upkeep_redis_command_calls_total{server="s",command="set"} 100`,
		`upkeep_redis_command_duration_seconds_count{server="s",command="set"} 100`,
		`upkeep_redis_command_duration_seconds_bucket{server="s",command="set",le="1.12"} 100`} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in:\n%s", want, got)
		}
	}
	few := c
	few.Limit = 1
	if got := collectortest.Answer(t, few); strings.Count(got, "command_calls_total{") != 2 ||
		!strings.Contains(got, `command="other"`) {
		t.Errorf("with room for one:\n%s", got)
	}
}

// What the reference page says is enough is enough.
func TestLeastRights(t *testing.T) {
	s := servertest.Redis(t)
	admin := looked(t, s.URL)
	if err := admin.Client.Do(t.Context(), "acl", "setuser", "upkeep", "on", ">pw", "resetkeys", "resetchannels",
		"-@all", "+ping", "+hello", "+info", "+slowlog|get", "+slowlog|len", "+latency|histogram", "+client|setname").
		Err(); err != nil {
		t.Fatal(err)
	}
	r, err := target.NewRedis(target.RedisConfig{Name: "s", URL: strings.Replace(s.URL, "redis://", "redis://upkeep@", 1),
		Password: func() (string, error) { return "pw", nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if err := r.Client.Get(t.Context(), "k").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Fatalf("the user is another one: %v", err)
	}
	for _, c := range every(r) {
		if got := collectortest.Answer(t, c); got == "" {
			t.Errorf("%s says nothing", c.Name)
		}
	}
}

// How long a snapshot took is known after the first.
func TestSnapshotDuration(t *testing.T) {
	r := looked(t, servertest.Redis(t).URL)
	if err := r.Client.BgSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	c := redis.Persistence(r)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got := collectortest.Answer(t, c)
		if strings.Contains(got, "upkeep_redis_snapshot_duration_seconds{") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("never reported:\n%s", got)
		}
	}
}

// A save that was stopped is no last success, though the server counts it, calls its start
// the last and has no error.
func TestStoppedSnapshotIsNoSuccess(t *testing.T) {
	r := looked(t, servertest.Redis(t).URL)
	for i := range 200 {
		if err := r.Client.Set(t.Context(), fmt.Sprint(i), "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Client.ConfigSet(t.Context(), "rdb-key-save-delay", "100000").Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Client.BgSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Client.FlushAll(t.Context()).Err(); err != nil { // ends the save
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		s, err := redis.ReadPersistence(t.Context(), r.Client)
		if err != nil || time.Now().After(end) {
			t.Fatal("no end of the save", err)
		}
		if s.InProgress {
			continue
		}
		if s.Succeeded || s.Saves != 1 || s.Took < 0 || !s.OK {
			t.Errorf("%+v", s)
		}
		break
	}
	if got := collectortest.Answer(t, redis.Persistence(r)); strings.Contains(got, "last_success") {
		t.Errorf("a save that was stopped is a success:\n%s", got)
	}
}

// Saves that failed are no last success: a server counts them as saves, and calls its
// start the last. One that succeeded stays the last when others fail after it.
func TestSnapshotLastSuccess(t *testing.T) {
	s := servertest.Redis(t)
	r := looked(t, s.URL)
	c := redis.Persistence(r)
	last := func() string {
		t.Helper()
		for line := range strings.Lines(collectortest.Answer(t, c)) {
			if rest, ok := strings.CutPrefix(line, "upkeep_redis_snapshot_last_success_timestamp_seconds{"); ok {
				return rest
			}
		}
		return ""
	}
	save := func(want string) {
		t.Helper()
		if err := r.Client.BgSave(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			now, err := redis.ReadPersistence(t.Context(), r.Client)
			if err != nil || time.Now().After(end) {
				t.Fatal("no end of the save", err)
			}
			if !now.InProgress {
				break
			}
		}
		if got := collectortest.Answer(t, c); !strings.Contains(got,
			`upkeep_redis_snapshot_ok{server="`+r.Name+`"} `+want) {
			t.Fatalf("the save is not what the test made it:\n%s", got)
		}
	}
	// A folder in the place of the file: the finished snapshot cannot take its place.
	inTheWay := filepath.Join(s.Dir, "dump.rdb")
	if err := os.MkdirAll(inTheWay, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		save("0")
		if got := last(); got != "" {
			t.Errorf("after saves that failed the last success is %s", got)
		}
	}
	if got := collectortest.Answer(t, c); strings.Contains(got, "upkeep_redis_snapshot_duration_seconds{") {
		t.Errorf("one that failed has a duration:\n%s", got)
	}
	if err := r.Client.Save(t.Context()).Err(); err == nil {
		t.Fatal("a save in the foreground has succeeded")
	}
	if got := last(); got != "" {
		t.Errorf("after a save in the foreground that failed the last success is %s", got)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	save("1")
	was := last()
	if was == "" {
		t.Fatal("after one that succeeded there is no last success")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(inTheWay, 0o755); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // in another second than the start
	save("0")
	if got := last(); got != was && got != "" { // within its first second the server cannot tell
		t.Errorf("the last success is %s, and was %s", got, was)
	}
}
