package redis_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/servertest"
	"github.com/ai-micro-service/upkeep/internal/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// limit is the age of a snapshot, in seconds, above which the patient is sick.
// The server tells whole seconds, so that a new one may be a second old at once.
const limit = 2.0

// TestMain also carries out the steps whose process is to be killed.
func TestMain(m *testing.M) {
	actiontest.Main(m, func(action, url string) (remediate.Action, error) {
		r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: url, Password: func() (string, error) { return secret, nil }})
		if err != nil {
			return remediate.Action{}, err
		}
		for _, a := range []remediate.Action{redis.BGSave(r)} {
			if a.Name == action {
				return a, nil
			}
		}
		return remediate.Action{}, fmt.Errorf("no action %q", action)
	})
}

// secret is the password of the server.
const secret = "a secret word"

func server(t *testing.T, args ...string) *target.Redis {
	t.Helper()
	s := servertest.Redis(t, append([]string{"--requirepass", secret}, args...)...)
	r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: s.URL, Password: func() (string, error) { return secret, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func info(t *testing.T, r *target.Redis, key string) string {
	t.Helper()
	text, err := r.Client.Info(t.Context(), "persistence").Result()
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
	r := server(t)
	if err := r.Client.ConfigSet(t.Context(), "rdb-key-save-delay", "20").Err(); err != nil { // microseconds a key: a save takes some time
		t.Fatal(err)
	}
	actiontest.Run(t, actiontest.Patient{
		Action: redis.BGSave(r), Subject: map[string]string{"server": "cache"}, Limit: limit, Secret: secret, Child: "redis://" + r.Client.Options().Addr,
		Sicken: func(t *testing.T) {
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
		t.Errorf("the next plan does not tell of it: %v %v", plan.Facts, err)
	}
}

func TestBGSaveWithoutTheRight(t *testing.T) {
	r := server(t)
	if err := r.Client.Do(t.Context(), "acl", "setuser", "weak", "on", ">pass", "+info", "+client|setname").Err(); err != nil {
		t.Fatal(err)
	}
	address := "redis://weak@" + r.Client.Options().Addr
	weak, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: address, Password: func() (string, error) { return "pass", nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(weak.Close)
	action := redis.BGSave(weak)
	plan, err := action.Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	err = action.Apply(t.Context(), remediate.Fence{Token: 1, Held: held}, plan.Steps[0])
	if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonPrivilege || !strings.Contains(refusal.Detail, "+bgsave") {
		t.Errorf("Apply: %v", err)
	}
}

func held(context.Context) error { return nil }

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
}
