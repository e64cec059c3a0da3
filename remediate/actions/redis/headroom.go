package redis

import (
	"context"
	"time"

	read "github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// headroom reports how far the replicas of a server are behind. While one of them
// takes over the whole data set that is not known. A transaction of Redis is over
// before it is seen, and INFO does not tell where the data is kept: the disk is
// not known either.
func headroom(ctx context.Context, t *target.Redis) (h remediate.Headroom, err error) {
	replicas, err := read.ReadReplicas(ctx, t.Client)
	if err != nil {
		return h, err
	}
	h.Transaction = new(time.Duration(0))
	var lag time.Duration
	for _, r := range replicas {
		if r.State != "online" {
			return h, nil
		}
		lag = max(lag, r.Lag)
	}
	h.Lag = &lag
	return h, nil
}
