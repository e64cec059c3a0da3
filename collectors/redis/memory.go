package redis

import (
	"context"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/target"
)

// Memory reports what the server uses, may use and loses to fragmentation.
func Memory(t *target.Redis) collectors.Collector {
	gauge := func(name, help string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_redis_memory_" + name, Type: collectors.Gauge, Help: help, Labels: []string{"server"}}
	}
	c := memory{
		target: t,
		fields: []field{
			{"used_memory", gauge("used_bytes", "Bytes that the server has allocated for data and itself.")},
			{"used_memory_rss", gauge("rss_bytes", "Bytes of the server that are in the machine's memory.")},
			{"used_memory_peak", gauge("peak_bytes", "The most bytes that the server had allocated since its start.")},
			{"maxmemory", gauge("max_bytes", "Bytes that the server may allocate before it evicts or refuses; absent when there is no limit.")},
			{"allocator_frag_ratio", gauge("fragmentation_ratio", "Bytes that the allocator holds active for each byte allocated. Large on a small heap, where it is no harm: read it with the bytes.")},
			{"allocator_frag_bytes", gauge("fragmentation_bytes", "Bytes that the allocator holds active and that are not allocated.")},
			{"evicted_keys", &collectors.Metric{Name: "upkeep_redis_evicted_keys_total", Type: collectors.Counter, Help: "Keys that were evicted for want of memory, since the start of the server.", Labels: []string{"server"}}},
		},
	}
	metrics := make([]*collectors.Metric, len(c.fields))
	for i, f := range c.fields {
		metrics[i] = f.metric
	}
	return collectors.Collector{
		Name:   "redis/memory",
		Target: t.Name,
		Doc: `Memory reports what the server uses, may use and loses to fragmentation.

Reads INFO memory and stats. Rights: +info and +client|setname. Cost: one INFO.
The fragmentation is the allocator's own: the ratio of resident to used memory
says nothing on a small server and after a peak.`,
		Metrics: metrics,
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type memory struct {
	target *target.Redis
	fields []field
}

// A field of INFO and the metric that it becomes.
type field struct {
	name   string
	metric *collectors.Metric
}

func (c memory) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target.Client, "memory", "stats")
	if err != nil {
		return err
	}
	for _, f := range c.fields {
		v, known := i.number(f.name)
		if known && (v > 0 || f.name != "maxmemory") {
			w.Set(f.metric, v, c.target.Name)
		}
	}
	return nil
}
