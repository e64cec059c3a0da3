package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
)

const (
	stallKeys    = 1_000_000
	stallClients = 8
	stallGoal    = 1.0 / 15 // of the naive way's longest stall
)

// An executor is an action beside what people do by hand for the same problem.
type executor struct {
	name   string
	server func(testing.TB, ...string) string // returns its URL
	args   []string
	action func(*target.Redis) remediate.Action
	naive  []any
	sicken func(testing.TB, *target.Redis)
}

func remedies() []executor {
	plain := func(tb testing.TB, args ...string) string { return servertest.Redis(tb, args...).URL }
	defragging := func(tb testing.TB, args ...string) string { return servertest.RedisDefrag(tb, args...).URL }
	holes := func(tb testing.TB, r *target.Redis) {
		tb.Helper()
		do(tb, r, "eval", `for i=1,tonumber(ARGV[1]) do if i%4~=0 then redis.call("del","key"..i) end end`, 0,
			stallKeys)
	}
	// What a restart does to clients: everything is saved, and loaded again.
	restart := []any{"debug", "reload"}
	return []executor{
		{name: "bgsave", server: plain, action: redis.BGSave, naive: []any{"save"}},
		{name: "bgrewriteaof", server: plain, args: []string{"--appendonly", "yes", "--auto-aof-rewrite-percentage",
			"0"}, action: redis.BGRewriteAOF, naive: []any{"save"}},
		{name: "purge_memory", server: plain, args: []string{"--jemalloc-bg-thread", "no"}, action: redis.PurgeMemory,
			naive: restart, sicken: holes},
		{name: "defrag", server: defragging, action: redis.Defrag, naive: restart, sicken: holes},
	}
}

// BenchmarkStall prints for each action how many commands of eight clients failed,
// how long one took at most, and how long beside what people do by hand.
func BenchmarkStall(b *testing.B) {
	for _, r := range remedies() {
		b.Run(r.name, func(b *testing.B) {
			s := connect(b, r.server(b, append([]string{"--requirepass", secret, "--enable-debug-command", "yes",
				"--save", ""}, r.args...)...))
			for range b.N {
				naive := r.run(b, s, func(ctx context.Context) error { return s.Client.Do(ctx, r.naive...).Err() })
				ours := r.run(b, s, func(ctx context.Context) error { return r.act(ctx, s) })
				ratio, verdict := ours.worst.Seconds()/naive.worst.Seconds(), "goal met"
				if ratio > stallGoal {
					verdict = fmt.Sprintf("GOAL MISSED: want 1/%.0f", 1/stallGoal)
				}
				b.Logf("%s: failed %d of %d, longest command %v; beside %v %d of %d, %v: 1/%.1f, %s; beside nothing %v",
					r.name, ours.failed, ours.done, ours.worst, r.naive, naive.failed, naive.done, naive.worst, 1/ratio,
					verdict, ours.before)
				b.ReportMetric(float64(ours.failed), "failed")
				b.ReportMetric(float64(ours.worst.Microseconds())/1000, "stall-ms")
				b.ReportMetric(float64(naive.worst.Microseconds())/1000, "naive-stall-ms")
				b.ReportMetric(ratio, "stall-ratio")
				if ours.failed > 0 {
					b.Errorf("%s: %d commands failed", r.name, ours.failed)
				}
			}
		})
	}
}

func (r executor) act(ctx context.Context, s *target.Redis) error {
	a := r.action(s)
	plan, err := a.Plan(ctx, remediate.Request{Subject: map[string]string{"server": "cache"}})
	if err != nil {
		return err
	}
	for _, step := range plan.Steps {
		if err := a.Apply(ctx, fence(), step); err != nil {
			return err
		}
	}
	return nil
}

// An outcome is what the clients felt.
type outcome struct {
	done, failed  int
	worst, before time.Duration // the longest command meanwhile, and in the second before
}

// run does the work on a fresh problem while clients read and write.
func (r executor) run(b *testing.B, s *target.Redis, work func(context.Context) error) (o outcome) {
	b.Helper()
	do(b, s, "flushall", "sync")
	do(b, s, "eval", `for i=1,tonumber(ARGV[1]) do redis.call("set","key"..i,string.rep("x",100)) end`, 0, stallKeys)
	if r.sicken != nil {
		r.sicken(b, s)
	}
	ctx, stop := context.WithCancel(b.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	working := false
	for range stallClients {
		c := goredis.NewClient(&goredis.Options{Addr: s.Client.Options().Addr, Password: secret, PoolSize: 1,
			MaxRetries: -1, ReadTimeout: time.Minute})
		clients.Go(func() {
			defer func() { _ = c.Close() }()
			for ctx.Err() == nil {
				key := fmt.Sprint("key", 1+rand.IntN(stallKeys))
				began := time.Now()
				_, err := c.Get(context.WithoutCancel(ctx), key).Result()
				if errors.Is(err, goredis.Nil) {
					err = c.Set(context.WithoutCancel(ctx), key, key, 0).Err()
				}
				took := time.Since(began)
				mu.Lock()
				switch {
				case !working:
					o.before = max(o.before, took)
				case err != nil:
					o.failed++
					fallthrough
				default:
					o.done++
					o.worst = max(o.worst, took)
				}
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	set := func(on bool) {
		mu.Lock()
		working = on
		mu.Unlock()
	}
	time.Sleep(time.Second)
	set(true)
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := work(limited); err != nil {
		b.Errorf("%s: %v", r.name, err)
	}
	time.Sleep(50 * time.Millisecond) // all waiting clients have been answered
	stop()
	clients.Wait()
	return o
}
