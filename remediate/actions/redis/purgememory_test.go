package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// The allocator keeps large values that were deleted, where no thread of its own
// gives them back.
func TestPurgeMemory(t *testing.T) {
	t.Parallel()
	r := server(t, "--jemalloc-bg-thread", "no")
	action := redis.PurgeMemory(r)
	const limit = 32 << 20
	h := &healings{action: action, limit: limit}
	actiontest.Run(t, actiontest.Case{
		Action: redis.PurgeMemory(r), Subject: map[string]string{"server": "cache"}, Limit: limit, Secret: secret,
		Child: "redis://" + r.Client.Options().Addr,
		Degrade: func(t *testing.T) {
			// FLUSHALL would purge by itself, and the server does in ten seconds of a busy
			// machine: then it is made to keep memory once more.
			for try := 0; measure(t, action) <= limit && try < 10; try++ {
				do(t, r, "eval",
					`for i=1,48 do redis.call("setrange","key"..i,1048575,"x") end for i=1,48 do redis.call("del","key"..i) end`, 0)
				for look := 0; measure(t, action) <= limit && look < 50; look++ {
					time.Sleep(20 * time.Millisecond)
				}
			}
			rises(t, action, limit)
			h.degraded = true
		},
		State: func(t *testing.T) string {
			text, err := r.Client.Info(t.Context(), "commandstats").Result()
			if err != nil {
				t.Fatal(err)
			}
			_, calls, _ := strings.Cut(text, "cmdstat_memory|purge:calls=")
			calls, _, _ = strings.Cut(calls, ",")
			return calls
		},
		Effects: h.count,
	})
}
