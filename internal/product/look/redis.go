package look

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ai-micro-service/upkeep/remediate"
)

// From what on a Redis is listed. The warnings begin where the shipped rules fire.
const (
	memoryMuch     = 0.9       // as RedisMemoryNearLimit
	memoryFull     = 0.98      // the next large value does not fit
	fragmented     = 1.5       // as RedisFragmented
	fragmentedSize = 100 << 20 // the same
	retainedSize   = 256 << 20 // as RedisMemoryRetained
	snapshotOld    = 86_400    // as RedisSnapshotOld
	slowShown      = 3         // commands of the slow log
)

// redisFinders finds what is wrong with a Redis.
func redisFinders() []finder {
	return []finder{redisMemory, redisLimit, redisFragmentation, redisRetention, redisPersistence, redisSlow, redisLoad}
}

// ofServer is the plan of an action on a whole server.
func (f Facts) ofServer(action string) *Plan {
	return plan(action, map[string]string{"server": f.Server}, nil, "server")
}

func redisMemory(f Facts) []Finding {
	x, known := f.Figures.one(redisUsed)
	if !known || x.Value < memoryMuch {
		return nil
	}
	one := Finding{Kind: "redis/memory", Severity: worse(x.Value, memoryMuch, memoryFull), Harm: Service,
		Title:    fmt.Sprintf("%s of maxmemory is allocated", remediate.Quantity(x.Metric, x.Value)),
		Cost:     "at the limit keys are evicted or writes refused, as maxmemory-policy says",
		Evidence: []Evidence{x.evidence()}, ByHand: "Give it more memory, or keys a TTL."}
	if u := f.Redis; u != nil && u.Policy != "" {
		one.Evidence = append(one.Evidence, Evidence{What: "maxmemory_policy", Value: u.Policy, From: "INFO memory",
			At: f.At})
		if u.Policy == "noeviction" {
			one.Cost = "at the limit every write is refused: maxmemory-policy is noeviction"
		}
	}
	return []Finding{one}
}

// redisLimit finds a server that may take all memory of its machine.
func redisLimit(f Facts) []Finding {
	if f.Redis == nil || f.Redis.Limit > 0 {
		return nil
	}
	return []Finding{{Kind: "redis/no_limit", Severity: severity(remediate.Info), Harm: Service, Bytes: f.Redis.Used,
		Title: "maxmemory is not set: nothing is evicted, and the server may take all memory of its machine",
		Cost:  "the machine may end the server, or another process, when its memory is used up",
		Evidence: []Evidence{{What: "maxmemory", Value: "0", From: "INFO memory", At: f.At},
			{What: "maxmemory_policy", Value: f.Redis.Policy, From: "INFO memory", At: f.At}},
		ByHand: "Set maxmemory, and maxmemory-policy to allkeys-lru where it is a cache."}}
}

func redisFragmentation(f Facts) []Finding {
	ratio, known := f.Figures.one(redisFragments)
	bytes, sized := f.Figures.one(redisFragmented)
	if !known || !sized || ratio.Value <= fragmented || bytes.Value <= fragmentedSize {
		return nil
	}
	return []Finding{{Kind: "redis/fragmentation", Severity: severity(remediate.Warning), Harm: Space,
		Bytes: bytes.Value,
		Title: fmt.Sprintf("the allocator holds %.2f bytes for each that is used", ratio.Value),
		Cost:  "memory of " + size(bytes.Value), Evidence: []Evidence{{What: ratio.Metric,
			Value: fmt.Sprintf("%.2f", ratio.Value), From: ratio.Collector, At: ratio.At}, bytes.evidence()},
		Plan: f.ofServer("redis/defrag")}}
}

func redisRetention(f Facts) []Finding {
	x, known := f.Figures.one(redisRetained)
	if !known || x.Value <= retainedSize {
		return nil
	}
	return []Finding{{Kind: "redis/retained", Severity: severity(remediate.Warning), Harm: Space, Bytes: x.Value,
		Title: fmt.Sprintf("the allocator retains %s that hold nothing", size(x.Value)), Cost: "memory of " +
			size(x.Value),
		Evidence: []Evidence{x.evidence()}, Plan: f.ofServer("redis/purge_memory")}}
}

// redisPersistence finds what a start of the server would lose.
func redisPersistence(f Facts) (found []Finding) {
	add := func(kind string, s remediate.Severity, title, cost string, p *Plan, byHand string, e ...Evidence) {
		found = append(found, Finding{Kind: kind, Severity: severity(s), Harm: Data, Title: title, Cost: cost,
			Evidence: e, Plan: p, ByHand: byHand})
	}
	age, aged := f.Figures.one(redisAge)
	if x, known := f.Figures.one(redisSnapshot); known && x.Value == 0 {
		add("redis/snapshot_failed", remediate.Critical, "the last snapshot failed",
			"changes since the one before are lost with the process, and the server may refuse every write",
			f.ofServer("redis/bgsave"), "", x.evidence())
	} else if changes, counted := f.Figures.one(redisChanges); aged && counted && age.Value > snapshotOld &&
		changes.Value > 0 && !f.appends() {
		add("redis/snapshot_old", remediate.Warning,
			"the newest snapshot is "+remediate.Quantity(age.Metric, age.Value)+" old",
			fmt.Sprintf("%.0f changes since are lost with the process", changes.Value), f.ofServer("redis/bgsave"), "",
			age.evidence(), changes.evidence())
	}
	if x, known := f.Figures.one(redisAOFOK); known && x.Value == 0 {
		add("redis/append_file_failing", remediate.Critical, "the append-only file cannot be written",
			"changes are lost with the process, and the server refuses writes", nil,
			"Look at the disk of the server: it may be full.", x.evidence())
	}
	if x, known := f.Figures.one(redisRewrite); known && x.Value == 0 && f.appends() {
		add("redis/append_file_rewrite_failed", remediate.Warning, "the last rewrite of the append-only file failed",
			"the file grows, and a start takes longer", f.ofServer("redis/bgrewriteaof"), "", x.evidence())
	}
	return found
}

// appends reports whether every change is written to the append-only file.
func (f Facts) appends() bool {
	x, known := f.Figures.one(redisAOF)
	return known && x.Value == 1
}

func redisSlow(f Facts) []Finding {
	length, known := f.Figures.one(redisSlowLength)
	if !known || length.Value == 0 {
		return nil
	}
	commands := slices.Clone(f.Figures[redisSlowTime])
	slices.SortStableFunc(commands, func(a, b Figure) int { return cmp.Compare(b.Value, a.Value) })
	one := Finding{Kind: "redis/slow_log", Severity: severity(remediate.Info), Harm: Speed,
		Title:    fmt.Sprintf("the slow log has %.0f commands", length.Value),
		Cost:     "while one of them runs, all clients wait",
		Evidence: []Evidence{length.evidence()},
		ByHand: "Replace commands that read all keys, such as KEYS, by those that " +
			"read a part, such as SCAN."}
	for _, x := range commands[:min(len(commands), slowShown)] {
		one.Seconds += x.Value
		one.Evidence = append(one.Evidence, x.evidence("command"))
	}
	return []Finding{one}
}

func redisLoad(f Facts) (found []Finding) {
	if x, known := f.Figures.one(redisClients); known && x.Value >= memoryMuch {
		found = append(found, Finding{Kind: "redis/clients", Severity: worse(x.Value, memoryMuch, memoryFull),
			Harm: Service,
			Title: fmt.Sprintf("%s of the clients that the server allows are connected", remediate.Quantity(x.Metric,
				x.Value)),
			Cost: "the next clients are refused", Evidence: []Evidence{x.evidence()},
			ByHand: "Find the clients that keep connections they do not use, or raise maxclients."})
	}
	if x, known := f.Figures.one(redisLink); known && x.Value == 0 {
		found = append(found, Finding{Kind: "redis/replica_disconnected", Severity: severity(remediate.Warning),
			Harm: Service, Title: "the replica has lost its primary",
			Cost: "it serves old values, and does not replace the primary", Evidence: []Evidence{x.evidence()},
			ByHand: "Find out whether the primary is down or the replica was cut off."})
	}
	return found
}
