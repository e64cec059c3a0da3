package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// limit is the age of a snapshot, in seconds, above which the server is degraded.
// The server tells whole seconds, so that a new one may be a second old at once.
const limit = 2.0

// TestMain also carries out the steps whose process is to be killed, and is the
// systemctl of the tests.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "systemctl" {
		os.Exit(systemctl(os.Args[1:]))
	}
	actiontest.Main(m, func(action, url string) (remediate.Action, error) {
		r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: url,
			Password: func() (string, error) { return secret, nil }, Restart: target.Restart{Unit: unitName}})
		if err != nil {
			return remediate.Action{}, err
		}
		for _, a := range actions(r) {
			if a.Name == action {
				return a, nil
			}
		}
		return remediate.Action{}, fmt.Errorf("no action %q", action)
	})
}

// actions are all of the package.
func actions(r *target.Redis) []remediate.Action {
	return []remediate.Action{redis.BGSave(r), redis.BGRewriteAOF(r), redis.PurgeMemory(r), redis.Defrag(r),
		redis.Restart(r)}
}

// secret is the password of the server.
const secret = "a secret word"

func server(t testing.TB, args ...string) *target.Redis {
	t.Helper()
	return connect(t, servertest.Redis(t, append([]string{"--requirepass", secret}, args...)...).URL)
}

// connect makes a target of a server that wants the password.
func connect(t testing.TB, url string) *target.Redis {
	t.Helper()
	return as(t, url, secret, target.Restart{Unit: unitName})
}

func as(t testing.TB, url, password string, restart target.Restart) *target.Redis {
	t.Helper()
	r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: url,
		Password: func() (string, error) { return password, nil }, Restart: restart})
	if err != nil {
		t.Fatal(err)
	}
	r.Client.Options().ReadTimeout = 30 * time.Second // on a machine that is busy
	t.Cleanup(r.Close)
	return r
}

// do runs a command and returns its answer as text.
func do(t testing.TB, r *target.Redis, args ...any) string {
	t.Helper()
	answer, err := r.Client.Do(t.Context(), args...).Result()
	if err != nil && !errors.Is(err, goredis.Nil) {
		t.Fatalf("%v: %v", args, err)
	}
	return fmt.Sprint(answer)
}

// populate makes keys.
func populate(t testing.TB, r *target.Redis, n int) {
	t.Helper()
	do(t, r, "eval", `for i=1,tonumber(ARGV[1]) do redis.call("set","key"..i,"value"..i) end`, 0, n)
}

// setting returns what the server is set to.
func setting(t testing.TB, r *target.Redis, name string) string {
	t.Helper()
	return r.Client.ConfigGet(t.Context(), name).Val()[name]
}

func measure(t testing.TB, a remediate.Action) float64 {
	t.Helper()
	v, err := a.Measure(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// rises waits until the measure is above its limit: the server counts now and then.
func rises(t testing.TB, a remediate.Action, limit float64) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); measure(t, a) <= limit; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the measure is %v and never rises above %v", measure(t, a), limit)
		}
	}
}

// healings counts how often a server that was degraded was found healthy.
type healings struct {
	action   remediate.Action
	limit    float64
	degraded bool
	n        int
}

func (h *healings) count(t *testing.T) int {
	t.Helper()
	if h.degraded && measure(t, h.action) <= h.limit {
		h.degraded = false
		h.n++
	}
	return h.n
}

// apply carries out a step, and leaves in it what it keeps, as the journal does.
func apply(t *testing.T, a remediate.Action, s *remediate.Step) error {
	t.Helper()
	return a.Apply(t.Context(), actiontest.Fence(s), *s)
}

// fence is one that is held.
func fence() remediate.Fence { return remediate.Fence{Token: 1, Held: held} }

// refuses expects a refusal for a reason, whose text has the expected parts.
func refuses(t *testing.T, err error, reason string, want ...string) {
	t.Helper()
	refusal, ok := remediate.Refused(err)
	if !ok || refusal.Reason != reason {
		t.Errorf("%v, want the refusal %q", err, reason)
		return
	}
	for _, w := range want {
		if !strings.Contains(refusal.Detail, w) {
			t.Errorf("the refusal %q does not say %q", refusal.Detail, w)
		}
	}
}

func info(t testing.TB, r *target.Redis, key string) string {
	t.Helper()
	text, err := r.Client.Info(t.Context(), "everything").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && k == key {
			return v
		}
	}
	t.Fatalf("no %s in:\n%s", key, text)
	return ""
}

func TestBGSave(t *testing.T) {
	t.Parallel()
	r := server(t)
	// microseconds a key: a save takes some time
	if err := r.Client.ConfigSet(t.Context(), "rdb-key-save-delay", "20").Err(); err != nil {
		t.Fatal(err)
	}
	actiontest.Run(t, actiontest.Case{
		Action: redis.BGSave(r), Subject: map[string]string{"server": "cache"}, Limit: limit, Secret: secret,
		Child: "redis://" + r.Client.Options().Addr,
		Degrade: func(t *testing.T) {
			pipe := r.Client.Pipeline()
			for i := range 2000 {
				pipe.Set(t.Context(), fmt.Sprint("key", i), i, 0)
			}
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			for action := redis.BGSave(r); ; time.Sleep(100 * time.Millisecond) {
				if age, err := action.Measure(t.Context(), remediate.Request{}); err != nil || age > limit {
					break
				}
			}
		},
		State: func(t *testing.T) string {
			return info(t, r, "rdb_saves") + info(t, r, "rdb_last_save_time") + info(t, r, "rdb_bgsave_in_progress")
		},
		Effects: func(t *testing.T) (n int) {
			if _, err := fmt.Sscan(info(t, r, "rdb_saves"), &n); err != nil {
				t.Fatal(err)
			}
			return n
		},
	})
}

// A save that fails is a failed step, and the error says where to look.
func TestBGSaveFails(t *testing.T) {
	r := server(t)
	if err := r.Client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	action := redis.BGSave(r)
	plan, err := action.Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	// A folder in the place of the file: rename of the finished snapshot is refused.
	name := r.Client.ConfigGet(t.Context(), "dir").Val()["dir"]
	mkdir(t, name+"/dump.rdb")
	err = action.Apply(t.Context(), remediate.Fence{Token: 1, Held: held}, plan.Steps[0])
	if err == nil || !strings.Contains(err.Error(), "the save failed") {
		t.Errorf("Apply: %v", err)
	}
	if got := info(t, r, "rdb_last_bgsave_status"); got != "err" {
		t.Errorf("the server says %q of its last save; the test did not make it fail", got)
	}
	plan, err = action.Plan(t.Context(), remediate.Request{})
	if err != nil || !strings.Contains(strings.Join(plan.Facts, " "), "the last attempt failed") {
		t.Errorf("the next plan does not mention it: %v %v", plan.Facts, err)
	}
}

func held(context.Context) error { return nil }

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}
