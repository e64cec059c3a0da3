package redis

import (
	"context"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/target"
)

// Server tells whether the server answers.
func Server(t *target.Redis) collectors.Collector {
	c := server{
		target: t,
		up:     &collectors.Metric{Name: "upkeep_redis_up", Type: collectors.Gauge, Help: "1 when the server answers a question, 0 when it does not.", Labels: []string{"server"}},
		info:   &collectors.Metric{Name: "upkeep_redis_info", Type: collectors.Gauge, Help: "1, with the version of the server as a label.", Labels: []string{"server", "version"}},
		start:  &collectors.Metric{Name: "upkeep_redis_start_timestamp_seconds", Type: collectors.Gauge, Help: "When the server was started.", Labels: []string{"server"}},
	}
	return collectors.Collector{
		Name:   "redis/server",
		Target: t.Name,
		Doc: `Server tells whether the server answers, its version and since when it runs.

Reads INFO server. Rights: +info and +client|setname. Cost: one INFO. A server
that does not answer is the answer 0 of upkeep_redis_up, not a failed collection.`,
		Metrics: []*collectors.Metric{c.up, c.info, c.start},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type server struct {
	target          *target.Redis
	up, info, start *collectors.Metric
}

func (c server) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target.Client, "server")
	if ctx.Err() != nil && context.Cause(ctx) == context.Canceled { //nolint:errorlint // stopped by us: nothing is known of the server
		return ctx.Err()
	}
	if err != nil {
		w.Set(c.up, 0, c.target.Name)
		return nil
	}
	w.Set(c.up, 1, c.target.Name)
	w.Set(c.info, 1, c.target.Name, i.version())
	now, known := i.clock()
	if uptime, ok := i.number("uptime_in_seconds"); ok && known {
		w.Set(c.start, float64(now.Unix())-uptime, c.target.Name)
	}
	return nil
}
