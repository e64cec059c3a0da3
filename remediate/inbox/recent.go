package inbox

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	maxDeadLetters = 1000     // that are kept; the oldest go
	maxOfSender    = 100      // of one sender
	maxDeadLetter  = 64 << 10 // bytes that are kept of a body, enough to recognize it
	maxError       = 1 << 10  // bytes that are kept of an error, which may quote the body
)

// recentDeadLetters are those that this process has kept, by what is in them.
type recentDeadLetters struct {
	mu  sync.Mutex
	ids map[[sha256.Size]byte]int64
}

func digest(l remediate.DeadLetter) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, part := range []string{sender(l), l.Error, string(l.Body)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	h.Sum(sum[:0])
	return sum
}

func (r *recentDeadLetters) get(sum [sha256.Size]byte) (id int64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, known = r.ids[sum]
	return id, known
}

func (r *recentDeadLetters) put(sum [sha256.Size]byte, id int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids == nil || len(r.ids) >= maxDeadLetters {
		r.ids = make(map[[sha256.Size]byte]int64) // older ones may be there twice
	}
	r.ids[sum] = id
}

// sender names who has sent a dead letter: a source on a machine, or on a network of IPv6, of
// which one machine has many addresses.
func sender(l remediate.DeadLetter) string {
	host, _, err := net.SplitHostPort(l.Remote)
	if err != nil {
		host = l.Remote
	}
	if at, err := netip.ParseAddr(host); err == nil && at.Is6() && !at.Is4In6() {
		if network, err := at.WithZone("").Prefix(64); err == nil {
			host = network.String()
		}
	}
	return text(l.Source + " " + host)
}

// text makes what somebody sent fit for every database.
func text(s string) string {
	s = s[:min(len(s), maxError)]
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
