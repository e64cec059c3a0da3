package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// latencyBounds are the ends of the buckets in seconds: each of the server's own
// is twice the one before, and every fourth of them is enough.
func latencyBounds() []float64 {
	return []float64{17e-6, 68e-6, 272e-6, 1.1e-3, 4.4e-3, 17.6e-3, 70e-3, 0.28, 1.12}
}

// Commands reports how often each command is run and how long it takes.
func Commands(t *target.Redis) collectors.Collector {
	c := &commands{
		target:  t,
		calls:   counter("command_calls_total", "Executions of the command.", "command"),
		seconds: counter("command_seconds_total", "Execution time of the command.", "command"),
		failures: counter("command_failures_total",
			"Times that the command was refused or failed; absent before Redis 6.2.",
			"command").WithoutPanel(collectors.AdHoc),
		latency: &collectors.Metric{Name: "upkeep_redis_command_duration_seconds", Type: collectors.Histogram,
			Help: "Latency of the command; absent before Redis 7.0.", Labels: []string{"server", "command"}},
	}
	return collectors.Collector{
		Name:   "redis/commands",
		Target: t.Name,
		Doc: `Commands reports how often each command is run, how long it takes, and how that is distributed.

Reads INFO commandstats and LATENCY HISTOGRAM. Rights: +info and
+latency|histogram; without the second, or before Redis 7.0, there are no
histograms, and the server is asked again after ten minutes. Cost: two commands. The commands that took the most server time
are exported, up to the limit, and the sum of the others.`,
		Metrics: []*collectors.Metric{c.calls, c.seconds, c.failures, c.latency},
		Every:   every,
		Timeout: timeout,
		Limit:   50,
		Collect: c.collect,
	}
}

type commands struct {
	target                            *target.Redis
	calls, seconds, failures, latency *collectors.Metric

	refused time.Time // when the server refused histograms last
}

// commandCost is what one command cost.
type commandCost struct {
	name                     string
	calls, seconds, failures float64
	counted                  bool // failures are
}

func (c *commands) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target, "commandstats")
	if err != nil {
		return err
	}
	all, err := costs(i)
	if err != nil {
		return err
	}
	kept, rest := collectors.Largest(all, w.Limit(), func(k commandCost) float64 { return k.seconds })
	if len(rest) > 0 {
		sum := commandCost{name: collectors.Other}
		for _, k := range rest {
			sum.calls, sum.seconds, sum.failures, sum.counted = sum.calls+k.calls, sum.seconds+k.seconds,
				sum.failures+k.failures, k.counted
		}
		kept = append(slices.Clip(kept), sum)
		w.Cut(len(rest))
	}
	seconds := make(map[string]float64)
	for _, k := range kept {
		w.Set(c.calls, k.calls, c.target.Name, k.name)
		w.Set(c.seconds, k.seconds, c.target.Name, k.name)
		if k.counted {
			w.Set(c.failures, k.failures, c.target.Name, k.name)
		}
		seconds[k.name] = k.seconds
	}
	return c.histograms(ctx, w, seconds)
}

func costs(i info) (all []commandCost, err error) {
	for line, value := range i {
		name, ok := strings.CutPrefix(line, "cmdstat_")
		if !ok {
			continue
		}
		p := info(pairs(value))
		calls, known := p.number("calls")
		usec, knownTime := p.number("usec")
		if !known || !knownTime {
			return nil, fmt.Errorf("info: %s: %q is not understood", line, value)
		}
		refused, counted := p.number("rejected_calls")
		failed, _ := p.number("failed_calls")
		all = append(all, commandCost{name, calls, usec / 1e6, refused + failed, counted})
	}
	slices.SortFunc(all, func(a, b commandCost) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// histograms writes the distribution of the exported commands. A server
// without histograms is not a fault.
func (c *commands) histograms(ctx context.Context, w *collectors.Writer, seconds map[string]float64) error {
	if time.Since(c.refused) < askAgain {
		return nil
	}
	answer, err := c.target.Client.Do(ctx, "latency", "histogram").Result()
	if err != nil {
		if _, said := errors.AsType[redis.Error](err); said { // the right is missing, or the server has no such command
			c.refused = time.Now()
			return nil
		}
		return fmt.Errorf("latency histogram: %w", err)
	}
	all := table(answer)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sum, known := seconds[name]
		if !known {
			continue
		}
		entry := table(all[name])
		calls, ok := entry["calls"].(int64)
		buckets := numbers(entry["histogram_usec"])
		if !ok || len(buckets) == 0 {
			return fmt.Errorf("latency histogram: the answer of %s is not understood", name)
		}
		w.SetHistogram(c.latency, latencyBounds(), distribute(buckets, calls), sum, c.target.Name, name)
	}
	return nil
}

// A bucket of the server has the number of calls up to its end.
type bucket struct {
	usec, calls int64
}

// distribute counts the calls of our buckets from those of the server.
func distribute(theirs []bucket, calls int64) []uint64 {
	slices.SortFunc(theirs, func(a, b bucket) int { return int(a.usec - b.usec) })
	counts := make([]uint64, 0, len(latencyBounds())+1)
	at, before := 0, int64(0)
	for _, end := range latencyBounds() {
		upTo := before
		for ; at < len(theirs) && float64(theirs[at].usec) <= end*1e6; at++ {
			upTo = theirs[at].calls
		}
		counts = append(counts, uint64(max(upTo-before, 0)))
		before = upTo
	}
	return append(counts, uint64(max(calls-before, 0)))
}

// table returns a map as either version of the protocol writes it: as one, or as
// a list of names and values.
func table(v any) map[string]any {
	all := make(map[string]any)
	switch v := v.(type) {
	case map[any]any:
		for name, value := range v {
			if s, ok := name.(string); ok {
				all[s] = value
			}
		}
	case []any:
		for i := 0; i+1 < len(v); i += 2 {
			if s, ok := v[i].(string); ok {
				all[s] = v[i+1]
			}
		}
	}
	return all
}

func numbers(v any) (all []bucket) {
	add := func(name, value any) {
		usec, ok1 := name.(int64)
		calls, ok2 := value.(int64)
		if ok1 && ok2 {
			all = append(all, bucket{usec, calls})
		}
	}
	switch v := v.(type) {
	case map[any]any:
		for name, value := range v {
			add(name, value)
		}
	case []any:
		for i := 0; i+1 < len(v); i += 2 {
			add(v[i], v[i+1])
		}
	}
	return all
}
