package redis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// overwrite writes a few keys very often.
func overwrite(t *testing.T, r *target.Redis) {
	t.Helper()
	do(t, r, "eval", `for i=1,20000 do redis.call("set","key"..(i%300),string.rep("x",20)) end`, 0)
}

func TestBGRewriteAOF(t *testing.T) {
	t.Parallel()
	r := server(t, "--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
	do(t, r, "config", "set", "rdb-key-save-delay", "200") // microseconds a key: a rewrite takes some time
	actiontest.Run(t, actiontest.Case{
		Action: redis.BGRewriteAOF(r), Subject: map[string]string{"server": "cache"}, Limit: 2, Secret: secret,
		Child: "redis://" + r.Client.Options().Addr,
		Degrade: func(t *testing.T) {
			overwrite(t, r)
			rises(t, redis.BGRewriteAOF(r), 2)
		},
		State: func(t *testing.T) string {
			return info(t, r, "aof_rewrites") + " " + info(t, r, "aof_base_size") + info(t, r,
				"aof_rewrite_in_progress")
		},
		Effects: func(t *testing.T) (n int) {
			if _, err := fmt.Sscan(info(t, r, "aof_rewrites"), &n); err != nil {
				t.Fatal(err)
			}
			return n
		},
	})
}

func TestBGRewriteAOFWithoutAFile(t *testing.T) {
	action := redis.BGRewriteAOF(server(t))
	_, err := action.Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, "keeps no append-only file")
	_, err = action.Measure(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit)
	err = action.Apply(t.Context(), fence(), remediate.Step{Args: map[string]string{"rewrites": "0", "base": "0"}})
	refuses(t, err, remediate.ReasonUnfit)
}

// A rewrite that somebody else has begun is this one, and a save is waited for.
func TestBGRewriteAOFOfAnother(t *testing.T) {
	t.Parallel()
	r := server(t, "--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
	overwrite(t, r)
	do(t, r, "config", "set", "rdb-key-save-delay", "3000") // a second
	action := redis.BGRewriteAOF(r)
	do(t, r, "bgrewriteaof")
	plan, err := action.Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(plan.Facts, "; "), "is being written anew: that is waited for") {
		t.Errorf("the plan does not mention it: %q", plan.Facts)
	}
	if err := action.Apply(t.Context(), fence(), plan.Steps[0]); err != nil {
		t.Fatal(err)
	}
	if got := info(t, r, "aof_rewrites"); got != "1" {
		t.Errorf("it was written %s times, want once", got)
	}
	do(t, r, "bgsave")
	if plan, err = action.Plan(t.Context(), remediate.Request{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(plan.Facts, "; "), "a snapshot is being made already") {
		t.Errorf("the plan does not mention it: %q", plan.Facts)
	}
	if err := action.Apply(t.Context(), fence(), plan.Steps[0]); err != nil {
		t.Fatal(err)
	}
	if got := info(t, r, "aof_rewrites") + info(t, r, "rdb_saves"); got != "21" {
		t.Errorf("rewrites and saves are %s, want 21", got)
	}
}

// A rewrite that fails is a failed step, and the old file holds.
func TestBGRewriteAOFFails(t *testing.T) {
	s, r := processOf(t, "--appendonly", "yes", "--auto-aof-rewrite-percentage", "0")
	overwrite(t, r)
	action := redis.BGRewriteAOF(r)
	plan, err := action.Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	noForks(t, s.PID())
	err = action.Apply(t.Context(), fence(), plan.Steps[0])
	if err == nil || !strings.Contains(err.Error(), "could not fork") ||
		!strings.Contains(err.Error(), "vm.overcommit_memory=1") {
		t.Errorf("Apply: %v", err)
	}
	do(t, r, "set", "k", "v")
	time.Sleep(time.Millisecond)
	if got := info(t, r, "aof_last_bgrewrite_status"); got != "err" {
		t.Errorf("the server says %q of its last rewrite; the test did not make it fail", got)
	}
}
