package redis

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Memory reports what the server uses, may use and loses to fragmentation.
func Memory(t *target.Redis) collectors.Collector {
	c := memory{
		target: t,
		limit: gauge("memory_max_bytes",
			"Bytes that the server may allocate before it evicts or refuses; absent when there is no limit."),
		ratio: gauge("memory_used_ratio",
			"Share of memory_max_bytes that is allocated; absent when there is no limit."),
		fields: []field{
			{"used_memory", gauge("memory_used_bytes", "Bytes that the server has allocated for data and itself.")},
			{"used_memory_rss", gauge("memory_rss_bytes", "Resident memory of the server.")},
			{"used_memory_peak", gauge("memory_peak_bytes",
				"Peak of the allocated bytes since the start of the server.").WithoutPanel(collectors.AdHoc)},
			{"allocator_frag_ratio", gauge("memory_fragmentation_ratio",
				"Bytes that the allocator holds active for each byte allocated. Large on a small heap, where it is "+
					"no harm: read it with the bytes.")},
			{"allocator_frag_bytes", gauge("memory_fragmentation_bytes",
				"Bytes that the allocator holds active and that are not allocated.")},
			{"mem_fragmentation_ratio", gauge("memory_rss_ratio",
				"Bytes in the machine's memory for each byte allocated. Large on a small server and after a peak, "+
					"and below 1 where the server is swapped out.").WithoutPanel(collectors.AdHoc)},
			{"allocator_rss_bytes", gauge("memory_retained_bytes",
				"Bytes that the allocator has from the machine and holds nothing active in: what MEMORY PURGE may "+
					"give back.")},
			{"evicted_keys", counter("evicted_keys_total",
				"Keys that were evicted because maxmemory was reached, since the start of the server.")},
		},
	}
	return collectors.Collector{
		Name:   "redis/memory",
		Target: t.Name,
		Doc: `Memory reports what the server uses, may use and loses to fragmentation.

Reads INFO memory and stats. Rights: +info. Cost: one INFO.
The fragmentation is the allocator's own: the ratio of resident to used memory
says nothing on a small server and after a peak. The actions redis/defrag and
redis/restart lower the fragmentation, and redis/purge_memory what is retained.`,
		Metrics: declared(c.fields, c.limit, c.ratio),
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type memory struct {
	target       *target.Redis
	limit, ratio *collectors.Metric
	fields       []field
}

func (c memory) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target, "memory", "stats")
	if err != nil {
		return err
	}
	i.write(w, c.target.Name, c.fields)
	used, _ := i.number("used_memory")
	if limit, _ := i.number("maxmemory"); limit > 0 {
		w.Set(c.limit, limit, c.target.Name)
		w.Set(c.ratio, used/limit, c.target.Name)
	}
	return nil
}

// Usage is what a server does with its memory.
type Usage struct {
	Used, Limit   float64 // bytes; 0 means no limit
	Fragmentation float64 // active bytes for each that is allocated; 0 where the allocator does not tell
	Fragmented    float64 // active bytes that are not allocated
	Retained      float64 // bytes that the allocator has and holds nothing active in
	Resident      float64 // bytes in the machine's memory
	Allocator     string  // as "jemalloc-5.3.0"
	Policy        string  // what is evicted at the limit
	Defragmenting bool    // just now, by the server itself
	Moved         float64 // allocations that defragmentation has moved since the start
}

// Jemalloc reports whether the allocator can tell and give back what it holds.
func (u Usage) Jemalloc() bool { return strings.HasPrefix(u.Allocator, "jemalloc") }

// ReadMemory asks a server what it does with its memory.
func ReadMemory(ctx context.Context, c *redis.Client) (u Usage, err error) {
	i, err := readInfo(ctx, c, "memory", "stats")
	if err != nil {
		return u, err
	}
	u.Allocator, u.Policy = i["mem_allocator"], i["maxmemory_policy"]
	used, known := i.number("used_memory")
	if !known {
		return u, errors.New("info: it says nothing of memory; is +info granted, and is this a Redis?")
	}
	u.Used = used
	u.Limit, _ = i.number("maxmemory")
	u.Fragmentation, _ = i.number("allocator_frag_ratio")
	u.Fragmented, _ = i.number("allocator_frag_bytes")
	u.Retained, _ = i.number("allocator_rss_bytes")
	u.Resident, _ = i.number("used_memory_rss")
	u.Moved, _ = i.number("active_defrag_hits")
	running, _ := i.number("active_defrag_running")
	u.Defragmenting = running > 0
	return u, nil
}
