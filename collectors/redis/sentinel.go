package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Sentinel reports what a Sentinel knows of the primaries that it watches.
func Sentinel(t *target.Sentinel) collectors.Collector {
	of := func(name, help string, labels ...string) *collectors.Metric {
		return &collectors.Metric{Name: "upkeep_sentinel_" + name, Type: collectors.Gauge, Help: help,
			Labels: append([]string{"server"}, labels...)}
	}
	c := &sentinel{
		target: t,
		up:     of("up", "1 when the Sentinel answers, 0 when it does not."),
		down: of("down", "1, with the reason why the Sentinel cannot be asked; absent while it can.", "reason").
			WithoutPanel("the reason of upkeep_sentinel_up, for the text of its alert"),
		ok: of("primary_ok", "1 while the primary answers the Sentinel, 0 when it, or a quorum of Sentinels, takes "+
			"the primary for down.", "primary"),
		quorum: of("primary_quorum_ok", "1 when enough Sentinels reach each other for a failover, 0 when they do not; "+
			"absent where the Sentinel does not say it.", "primary"),
		replicas: of("primary_replicas", "Number of replicas of the primary that the Sentinel knows.",
			"primary").WithoutPanel(collectors.AdHoc),
		sentinels: of("primary_sentinels", "Number of Sentinels that watch the primary, this one included.",
			"primary").WithoutPanel(collectors.AdHoc),
		info: of("primary_info", "1, with the address of the server that is the primary now.", "primary",
			"address").WithoutPanel("says who was the primary, and when that changed"),
		tilt: of("tilt", "1 while the Sentinel does not act because its clock has jumped, or it was held up.").
			WithoutPanel(collectors.AdHoc),
	}
	return collectors.Collector{
		Name:   "sentinel/primaries",
		Target: t.Name,
		Doc: `Sentinel reports what a Redis Sentinel knows of the primaries that it watches: who they are, whether they answer, and whether a failover is possible.

Reads INFO, and SENTINEL CKQUORUM for each primary. Rights: +info and
+sentinel|ckquorum; without the second it is not known whether a failover is possible.
Cost: one INFO, and one command for each primary. A Sentinel that does not answer is the
answer 0 of upkeep_sentinel_up, not a failed collection.`,
		Metrics: []*collectors.Metric{c.up, c.down, c.ok, c.quorum, c.replicas, c.sentinels, c.info, c.tilt},
		Every:   every,
		Timeout: timeout,
		Limit:   100,
		Collect: c.collect,
	}
}

type sentinel struct {
	target                                                *target.Sentinel
	up, down, ok, quorum, replicas, sentinels, info, tilt *collectors.Metric
	refused                                               time.Time // when CKQUORUM was refused last
}

func (c *sentinel) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target.Client)
	if err != nil {
		return unanswered(ctx, w, c.target.Name, c.up, c.down, err)
	}
	if i["sentinel_masters"] == "" {
		return errors.New("info: it watches no primary and is no Sentinel; a Redis server belongs into targets.redis")
	}
	w.Set(c.up, 1, c.target.Name)
	if v, known := i.number("sentinel_tilt"); known {
		w.Set(c.tilt, v, c.target.Name)
	}
	for n := 0; ; n++ {
		line, there := i["master"+strconv.Itoa(n)]
		if !there {
			return nil
		}
		if w.Limit() > 0 && n >= w.Limit() {
			w.Cut(1)
			continue
		}
		name, rest := watched(line)
		p := info(pairs(rest))
		replicas, known := p.number("slaves")
		sentinels, also := p.number("sentinels")
		if name == "" || !known || !also {
			return fmt.Errorf("info: master%d: %q is not understood", n, line)
		}
		w.Set(c.ok, one(p["status"] == "ok"), c.target.Name, name)
		w.Set(c.replicas, replicas, c.target.Name, name)
		w.Set(c.sentinels, sentinels, c.target.Name, name)
		w.Set(c.info, 1, c.target.Name, name, p["address"])
		if err := c.failover(ctx, w, name); err != nil {
			return err
		}
	}
}

// watched takes the name of a primary off its line in INFO. A Sentinel takes any name, with commas too.
func watched(line string) (name, rest string) {
	i := strings.LastIndex(line, ",status=")
	if i < 0 {
		return "", line
	}
	return strings.TrimPrefix(line[:i], "name="), line[i+1:]
}

// failover asks whether one is possible. A Sentinel that does not say it is not at fault.
func (c *sentinel) failover(ctx context.Context, w *collectors.Writer, primary string) error {
	if time.Since(c.refused) < askAgain {
		return nil
	}
	err := c.target.Client.Do(ctx, "sentinel", "ckquorum", primary).Err()
	if _, said := errors.AsType[redis.Error](err); err != nil && !said {
		return fmt.Errorf("sentinel ckquorum %q: %w", primary, err)
	}
	switch {
	case err == nil:
		w.Set(c.quorum, 1, c.target.Name, primary)
	case strings.HasPrefix(err.Error(), "NOQUORUM"):
		w.Set(c.quorum, 0, c.target.Name, primary)
	case strings.HasPrefix(err.Error(), "ERR No such master"): // it was removed since
	default:
		c.refused = time.Now()
	}
	return nil
}
