package redis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func watcher(t *testing.T, url string, password target.Password) *target.Sentinel {
	t.Helper()
	s, err := target.NewSentinel(target.RedisConfig{Name: "s", URL: url, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// A Sentinel tells who the primaries are, which of them are down, and for which no failover is possible.
func TestSentinel(t *testing.T) {
	t.Parallel()
	one, two := servertest.Redis(t), servertest.Redis(t)
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	home := filepath.Join(dir, "sentinel")
	if err := os.Mkdir(home, 0o777); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(home, "sentinel.conf") // which it writes
	text := fmt.Sprintf("sentinel monitor shop 127.0.0.1 %d 1\nsentinel monitor queue 127.0.0.1 %d 2\n"+
		"sentinel monitor \"a,status=odd\" 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds shop 200\nsentinel down-after-milliseconds queue 200\n"+
		"user few on >pw +info +ping +hello\n", one.Port, two.Port, two.Port)
	if err := os.WriteFile(config, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{home, config} { // its user may be another
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	s, err := sandbox.StartRedis(t.Context(), sandbox.RedisOptions{Dir: home, File: config, Args: []string{"--sentinel"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := redis.Sentinel(watcher(t, s.URL, nil))
	rows := func(shop string) []collectortest.Oddity {
		is := collectortest.Row
		return []collectortest.Oddity{
			is("a Sentinel", "up", hand, "1", 0),
			is("its clock", "tilt", hand, "0", 0),
			is("a primary", `primary_ok{primary="shop"}`, hand, shop, 0),
			is("another", `primary_ok{primary="queue"}`, hand, "1", 0),
			is("whose address", fmt.Sprintf(`primary_info{primary="queue",address="127.0.0.1:%d"}`, two.Port), hand, "1", 0),
			is("without replicas", `primary_replicas{primary="queue"}`, hand, "0", 0),
			is("and other Sentinels", `primary_sentinels{primary="queue"}`, hand, "1", 0),
			is("one Sentinel is enough", `primary_quorum_ok{primary="shop"}`, hand, "1", 0),
			is("a name with commas", `primary_quorum_ok{primary="a,status=odd"}`, hand, "1", 0),
			is("two are needed", `primary_quorum_ok{primary="queue"}`, hand, "0", 0),
		}
	}
	as := func(shop string) {
		t.Helper()
		servertest.Eventually(t, "the Sentinel says so", func() error {
			return collectortest.Odd("upkeep_sentinel_", collectortest.Answer(t, c), nil, rows(shop))
		})
	}
	as("1")
	collectortest.Promises(t, c)
	if err := one.Stop(); err != nil {
		t.Fatal(err)
	}
	as("0")

	// A user who may not ask about the quorum sees the rest. A Redis server is no Sentinel.
	few := collectortest.Answer(t, redis.Sentinel(watcher(t, strings.Replace(s.URL, "://", "://few@", 1),
		func() (string, error) { return "pw", nil })))
	if strings.Contains(few, "quorum_ok") || !strings.Contains(few, "primary_replicas") {
		t.Errorf("to a user with +info alone:\n%s", few)
	}
	none := redis.Sentinel(watcher(t, two.URL, nil))
	w := collectors.NewWriter(none) // whose upkeep_sentinel_up says nothing
	if err := none.Collect(t.Context(), w); err == nil || !strings.Contains(err.Error(), "is no Sentinel") {
		t.Errorf("a Redis server: %v", err)
	}
	if got := collectortest.Answer(t, redis.Sentinel(watcher(t, "redis://127.0.0.1:1", nil))); !strings.Contains(got,
		`upkeep_sentinel_up{server="s"} 0`) || !strings.Contains(got, `reason="connection_refused"`) {
		t.Errorf("nothing listens:\n%s", got)
	}
}
