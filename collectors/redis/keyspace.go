package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Keyspace reports how many keys there are and whether they are found.
func Keyspace(t *target.Redis) collectors.Collector {
	c := keyspace{
		target: t,
		keys: gauge("keys", "Number of keys in a database; absent for a database without any, and while the "+
			"server reads its data set.", "db"),
		expiring: gauge("expiring_keys", "Number of keys in a database with a TTL.", "db"),
		fields: []field{
			{"expired_keys", counter("expired_keys_total",
				"Keys that expired, since the start of the server.")},
			{"keyspace_hits", counter("keyspace_hits_total",
				"Reads that found their key, since the start of the server.")},
			{"keyspace_misses", counter("keyspace_misses_total",
				"Reads that did not find their key, since the start of the server.")},
		},
	}
	return collectors.Collector{
		Name:   "redis/keyspace",
		Target: t.Name,
		Doc: `Keyspace reports how many keys there are, how many of them have an end, and whether reads find theirs.

Reads INFO keyspace, stats and persistence. Rights: +info. Cost: one INFO;
no key is looked at. A database without keys is not reported by the server, and
so not here.`,
		Metrics: declared(c.fields, c.keys, c.expiring),
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type keyspace struct {
	target         *target.Redis
	keys, expiring *collectors.Metric
	fields         []field
}

func (c keyspace) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target, "keyspace", "stats", "persistence")
	if err != nil {
		return err
	}
	i.write(w, c.target.Name, c.fields)
	if i.loading() {
		return nil // a part of the keys is there
	}
	for name, value := range i {
		number, ok := strings.CutPrefix(name, "db")
		if !ok {
			continue
		}
		if _, err := strconv.ParseUint(number, 10, 32); err != nil {
			continue
		}
		var keys, expires float64
		// "keys=2,expires=1,avg_ttl=0" and whatever later versions add
		if _, err := fmt.Sscanf(value, "keys=%g,expires=%g", &keys, &expires); err != nil {
			return fmt.Errorf("info: %s: %q: %w", name, value, err)
		}
		w.Set(c.keys, keys, c.target.Name, number)
		w.Set(c.expiring, expires, c.target.Name, number)
	}
	return nil
}
