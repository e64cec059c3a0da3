package redis

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// Replication reports who follows the server, or how it follows another.
func Replication(t *target.Redis) collectors.Collector {
	c := replication{
		target: t,
		replica: gauge("is_replica",
			"1 when the server is a replica, 0 when it takes writes."),
		replicas: gauge("replicas", "Number of replicas that are connected."),
		lagBytes: gauge("replica_lag_bytes", "Replication offset that the replica has not confirmed yet; of several "+
			"behind one address, the farthest behind.", "replica"),
		lag: gauge("replica_lag_seconds", "Time since the replica's last confirmation; it confirms once a second.",
			"replica").WithoutPanel(collectors.AdHoc),
		link: gauge("primary_link_up",
			"1 when the replica is connected to its primary, 0 when it is not; absent on a primary."),
		silence: gauge("primary_silent_seconds",
			"Time since the replica last received data from its primary; absent on a primary and without a "+
				"connection.").
			WithoutPanel(collectors.AdHoc),
		syncing: gauge("primary_sync_in_progress",
			"1 while the replica takes over the whole data set; absent on a primary.").WithoutPanel(collectors.AdHoc),
		full: counter("full_syncs_total",
			"Full resyncs of replicas from this server.").WithoutPanel(collectors.AdHoc),
	}
	return collectors.Collector{
		Name:   "redis/replication",
		Target: t.Name,
		Doc: `Replication reports how far each replica is behind, or how a replica is connected to its primary.

Reads INFO replication and stats. Rights: +info. Cost: one
INFO.`,
		Metrics: []*collectors.Metric{c.replica, c.replicas, c.lagBytes, c.lag, c.link, c.silence, c.syncing, c.full},
		Every:   every,
		Timeout: timeout,
		Collect: c.collect,
	}
}

type replication struct {
	target                                                         *target.Redis
	replica, replicas, lagBytes, lag, link, silence, syncing, full *collectors.Metric
}

func (c replication) collect(ctx context.Context, w *collectors.Writer) error {
	i, err := readInfo(ctx, c.target, "replication", "stats")
	if err != nil {
		return err
	}
	name := c.target.Name
	replica := i["role"] == "slave"
	w.Set(c.replica, one(replica), name)
	for _, f := range []field{{"connected_slaves", c.replicas}, {"sync_full", c.full}} {
		if v, known := i.number(f.name); known {
			w.Set(f.metric, v, name)
		}
	}
	if replica {
		w.Set(c.link, one(i["master_link_status"] == "up"), name)
		w.Set(c.syncing, one(i["master_sync_in_progress"] == "1"), name)
		if s, known := i.number("master_last_io_seconds_ago"); known && s >= 0 {
			w.Set(c.silence, s, name)
		}
	}
	replicas, err := i.replicas()
	if err != nil {
		return err
	}
	worst := make(map[string]Replica) // several may be behind one address
	for _, r := range replicas {
		before := worst[r.Address]
		worst[r.Address] = Replica{LagBytes: max(r.LagBytes, before.LagBytes), Lag: max(r.Lag, before.Lag)}
	}
	for address, r := range worst {
		w.Set(c.lagBytes, r.LagBytes, name, address)
		w.Set(c.lag, r.Lag.Seconds(), name, address)
	}
	return nil
}

// A Replica is a server that follows the one that was asked.
type Replica struct {
	Address  string
	State    string // "online", or what it is at before it follows; Lag says nothing then
	LagBytes float64
	Lag      time.Duration // how long ago it confirmed last
}

// ReadReplicas asks a server who follows it.
func ReadReplicas(ctx context.Context, c *redis.Client) ([]Replica, error) {
	i, err := readInfo(ctx, c, "replication")
	if err != nil {
		return nil, err
	}
	return i.replicas()
}

func (i info) replicas() (all []Replica, err error) {
	offset, _ := i.number("master_repl_offset")
	for n := 0; ; n++ {
		line, there := i["slave"+strconv.Itoa(n)]
		if !there {
			return all, nil
		}
		p := info(pairs(line))
		confirmed, known := p.number("offset")
		lag, knownLag := p.number("lag")
		if !known || !knownLag {
			return nil, fmt.Errorf("info: slave%d: %q is not understood", n, line)
		}
		all = append(all, Replica{Address: net.JoinHostPort(p["ip"], p["port"]), State: p["state"],
			LagBytes: max(offset-confirmed, 0), Lag: time.Duration(lag * float64(time.Second))})
	}
}
