package inbox

import (
	"crypto/sha256"
	"fmt"
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
