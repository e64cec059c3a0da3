package redis_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
)

// changing are the commands by which an action changes a server.
func changing() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^cmdstat_(bgsave|bgrewriteaof|memory\|purge|config\|set|config|client\|pause|shutdown):`)
}

func addressOf(s *sandbox.Redis) string {
	_, address, _ := strings.Cut(strings.TrimPrefix(s.URL, "redis://"), "@")
	if address == "" {
		address = strings.TrimPrefix(s.URL, "redis://")
	}
	address, _, _ = strings.Cut(address, "/")
	return address
}

// What was planned for one process is not done by another that answers at its address:
// the run ends, and nothing is changed there.
func TestNothingIsDoneByAnotherProcess(t *testing.T) {
	for _, test := range []struct {
		action func(*target.Redis) remediate.Action
		start  func(testing.TB, ...string) *sandbox.Redis
	}{
		{redis.BGSave, servertest.Redis},
		{redis.BGRewriteAOF, servertest.Redis},
		{redis.PurgeMemory, servertest.RedisDefrag},
		{redis.Defrag, servertest.RedisDefrag},
	} {
		args := []string{"--appendonly", "yes"}
		planned, other := test.start(t, args...), test.start(t, args...)
		name := servertest.NewName(t, addressOf(planned))
		r := connect(t, strings.Replace(planned.URL, addressOf(planned), name.Address, 1))
		action := test.action(r)
		t.Run(action.Name, func(t *testing.T) {
			limit := 0.1
			plan, err := action.Plan(t.Context(), remediate.Request{Action: action.Name, Limit: &limit})
			if err != nil {
				t.Fatal(err)
			}
			away := connect(t, other.URL)
			if err := away.Client.ConfigResetStat(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			name.Point(addressOf(other))
			for end := time.Now().Add(2 * time.Minute); r.Client.Ping(t.Context()).Err() != nil; {
				if time.Now().After(end) { // connections of before are given up one by one
					t.Fatal("the other server does not answer")
				}
			}
			for _, s := range plan.Steps {
				ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
				err := action.Apply(ctx, fence(), s)
				cancel()
				if no, ok := remediate.Refused(err); !ok || no.Reason != remediate.ReasonChanged {
					t.Errorf("%s: %v, want a refusal: another process answers", s.Do, err)
				}
			}
			stats, err := away.Client.Info(t.Context(), "commandstats").Result()
			if err != nil {
				t.Fatal(err)
			}
			// The counts were reset by the one CONFIG that may be there.
			if did := changing().FindAllString(strings.ReplaceAll(stats, "cmdstat_config|resetstat:", ""),
				-1); len(did) > 0 {
				t.Errorf("the other server was ordered to do %v", did)
			}
			name.Point(addressOf(planned))
			for end := time.Now().Add(2 * time.Minute); r.Client.Ping(t.Context()).Err() != nil; {
				if time.Now().After(end) {
					t.Fatal("the server of the plan does not answer")
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
			defer cancel()
			if err := action.Apply(ctx, fence(), plan.Steps[0]); err != nil {
				t.Errorf("by the process of the plan: %v", fmt.Sprint(err))
			}
		})
	}
}

// A defragmentation whose server is another in the middle of it sets nothing back there.
func TestDefragSetsNothingBackElsewhere(t *testing.T) {
	planned, other := servertest.RedisDefrag(t), servertest.RedisDefrag(t)
	name := servertest.NewName(t, addressOf(planned))
	r := connect(t, strings.Replace(planned.URL, addressOf(planned), name.Address, 1))
	action := redis.Defrag(r)
	limit := 0.1
	plan, err := action.Plan(t.Context(), remediate.Request{Action: action.Name, Limit: &limit})
	if err != nil {
		t.Fatal(err)
	}
	away := connect(t, other.URL)
	if err := away.Client.ConfigSet(t.Context(), "active-defrag-cycle-max", "42").Err(); err != nil {
		t.Fatal(err)
	}
	looks := 0
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	err = action.Apply(ctx, remediate.Fence{Token: 1, Held: func(context.Context) error {
		if looks++; looks == 3 { // after it was set
			name.Point(addressOf(other))
		}
		return nil
	}}, plan.Steps[0])
	if err == nil {
		t.Error("the step was done, by a server that it was not planned for")
	}
	got, err := away.Client.ConfigGet(t.Context(), "active-defrag-cycle-max").Result()
	if err != nil || got["active-defrag-cycle-max"] != "42" {
		t.Errorf("the other server's setting is %v (%v)", got, err)
	}
}
