package redis

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

// role refuses what others follow, and what does not follow whom it should.
func (now observation) role(anyway bool) func() error {
	return func() error {
		s := now.state
		switch {
		case older(s.Version, 6, 2):
			return remediate.Refuse(remediate.ReasonUnfit,
				"the server is version %s, and holds back writes from 6.2 on only: rows written between the save and "+
					"the stop would be lost", s.Version)
		case s.Syncing || s.Replica && !s.LinkUp:
			return remediate.Refuse(remediate.ReasonUnfit,
				"the replica does not follow its primary now: it might come back with old data or none")
		case !anyway && s.Replicas > 0:
			return remediate.Refuse(remediate.ReasonUnfit,
				"%d replicas follow the server: make one of them the primary and restart this one as its replica, or "+
					"set the parameter replicas", s.Replicas)
		case !anyway && s.Cluster && !s.Replica:
			return remediate.Refuse(remediate.ReasonUnfit,
				"the server is a primary of a cluster: let a replica take over first (CLUSTER FAILOVER), or set the "+
					"parameter replicas")
		}
		return nil
	}
}

// kept refuses a server that does not get its data onto its disk.
func (now observation) kept() error {
	s := now.snapshot
	switch {
	case s.AOF && !s.AOFOK:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the last write to the append-only file failed: what it holds is not all")
	case s.AOF && !s.RewriteOK:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the last rewrite of the append-only file failed: see to that first")
	case !s.OK:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the last snapshot failed: see to that first (redis/bgsave), or a restart may lose data")
	case s.Took > now.pause:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the last snapshot took %s, and writes may be held for %s: give pause more time", s.Took, now.pause)
	}
	return nil
}

// same refuses where the container or the unit is not the server.
func (now observation) same() error {
	s, state := now.supervised, now.state
	switch {
	case !s.Running:
		return remediate.Refuse(remediate.ReasonUnfit,
			"Docker or systemd reports that the server does not run: the container or unit is another server")
	case now.address.IsValid() && len(s.Addresses) > 0 && !slices.Contains(s.Addresses, now.address):
		return remediate.Refuse(remediate.ReasonUnfit,
			"the container has the address %s and the server answers at %s: it is another", s.Addresses[0], now.address)
	case !s.Started.IsZero() && (state.Started.Before(s.Started.Add(-2*time.Second)) ||
		state.Started.After(s.Started.Add(bootWithin))):
		return remediate.Refuse(remediate.ReasonUnfit,
			"the container was started at %s and the server at %s: it is another", s.Started.UTC().Format(time.RFC3339),
			state.Started.UTC().Format(time.RFC3339))
	case s.Started.IsZero() && s.PID != state.PID:
		return remediate.Refuse(remediate.ReasonUnfit,
			"the unit runs process %d and the server is process %d: it is another", s.PID, state.PID)
	case now.hidden && len(s.Addresses) > 0 && now.place.root == "":
		return remediate.Refuse(remediate.ReasonPrivilege,
			"whether the container is the server cannot be seen: grant +client|info")
	}
	return now.listens()
}

// address asks the server which address of its own we talk to: also behind a published
// port it is the container's. A loopback address is every machine's.
func address(ctx context.Context, c *goredis.Client) (at netip.Addr, hidden bool, err error) {
	text, err := c.Do(ctx, "client", "info").Text()
	switch {
	case denied(err):
		return at, true, nil
	case err != nil && strings.HasPrefix(err.Error(), "ERR "): // before 6.2 there is no such command
		return at, false, nil
	case err != nil:
		return at, false, fmt.Errorf("client info: %w", err)
	}
	for field := range strings.FieldsSeq(text) {
		if local, ok := strings.CutPrefix(field, "laddr="); ok {
			if a, err := netip.ParseAddrPort(local); err == nil && !a.Addr().IsLoopback() {
				return a.Addr().Unmap().WithZone(""), false, nil
			}
		}
	}
	return at, false, nil
}

// listens refuses a server on another port than the container or the unit starts one on:
// those that share the machine's network are distinguished by it alone.
func (now observation) listens() error {
	starts := cmp.Or(now.begun.said["port"], "6379")
	// it reports the second where the first is 0
	if is := now.state.Port; now.begun.known && is != 0 && strconv.Itoa(is) != starts &&
		strconv.Itoa(is) != now.begun.said["tls-port"] {
		return remediate.Refuse(remediate.ReasonUnfit,
			"the server listens on port %d, and who restarts it starts one on port %s: it is another, or would come "+
				"back at another address", is, starts)
	}
	return nil
}

// stops refuses a time to stop in which the server could not save once more.
func (now observation) stops() error {
	if s := now.supervised; !now.dockered() && s.Grace >= 0 && s.Grace < 2*now.snapshot.Took+time.Second {
		return remediate.Refuse(remediate.ReasonUnfit,
			"systemd kills the server %s after the stop signal, and a save takes %s: raise TimeoutStopSec of the unit",
			s.Grace, now.snapshot.Took)
	}
	return nil
}

// grace is how long the server is given to stop.
func (now observation) grace(took time.Duration) time.Duration {
	switch g := now.supervised.Grace; {
	case g < 0:
		return longestGrace
	case now.dockered(): // Docker gets the timeout
		return max(g, 10*time.Second, 2*took+10*time.Second)
	default:
		return g
	}
}

// facts returns for people what they will notice.
func (now observation) facts(by target.Restart) (facts []string) {
	load := time.Duration(now.memory.Used / loadRate * float64(time.Second)).Round(time.Second)
	facts = append(facts, fmt.Sprintf("%d keys, %s; after the restart loading them takes at most about %s, during "+
		"which clients get no answers", now.state.Keys, remediate.Quantity("_bytes", now.memory.Used),
		max(load, time.Second)))
	if now.snapshot.Took >= 0 && now.snapshot.Succeeded {
		facts = append(facts, fmt.Sprintf("the last save took %s; writes are held about as long, %s at most, and "+
			"reads go on", now.snapshot.Took, now.pause))
	} else {
		facts = append(facts, fmt.Sprintf("no save was made since the start: how long writes are held is not known, "+
			"%s at most; reads go on", now.pause))
	}
	facts = append(facts, fmt.Sprintf("%s gives it %s to stop", by,
		map[bool]string{true: "as long as it wants",
			false: now.grace(now.snapshot.Took).String()}[now.supervised.Grace < 0]))
	role := "it is a primary without replicas"
	switch {
	case now.state.Replica:
		role = "it is a replica that follows its primary"
	case now.state.Replicas > 0:
		role = fmt.Sprintf("%d replicas follow it", now.state.Replicas)
	}
	facts = append(facts, role)
	facts = append(facts, "its data is in "+now.running.settings["dir"])
	if !now.begun.known {
		facts = append(facts, now.begun.lacks+" cannot be read from here; nothing was set since the server was "+
			"started (INFO commandstats)")
	}
	for _, gone := range now.goes() {
		facts = append(facts, "lost by the restart, because it was set at run time and is in no file: "+gone)
	}
	return facts
}
