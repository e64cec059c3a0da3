package logs

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/ai-micro-service/upkeep/collectors/logs/follow"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// saved is what is kept of the logs of an engine over a restart: how far they were read, and
// what was counted up to there. Both are written at once, and before a count is exported. So a line
// is counted once, whenever upkeep is killed, and no counter decreases.
type saved struct {
	Services map[string]*savedTally `json:"services"`
	Logs     map[string]savedLog    `json:"logs"` // by the ID of the container
}

type savedLog struct {
	Service string              `json:"service"`
	Path    string              `json:"path"`           // as the engine names it
	Idle    bool                `json:"idle,omitempty"` // no trace is open
	Files   []follow.Generation `json:"files"`
}

type savedTally struct {
	Lines     uint64          `json:"lines"`
	Errors    uint64          `json:"errors"`
	Slow      uint64          `json:"slow"`
	Requests  uint64          `json:"requests"`
	Plain     uint64          `json:"plain"`
	Missed    uint64          `json:"missed"`
	Counts    [buckets]uint64 `json:"counts"`
	Sum       float64         `json:"sum"`
	Templates savedTop        `json:"templates"`
	Endpoints savedTop        `json:"endpoints"`
}

// A savedTop has what is exported. What else was counted came so often as Gone at most.
type savedTop struct {
	All     uint64       `json:"all"`
	Rest    uint64       `json:"rest"`
	Gone    uint64       `json:"gone"`
	Entries []savedEntry `json:"entries"`
}

type savedEntry struct {
	Name  []byte `json:"name"` // as it is: it need not be UTF-8
	Count uint64 `json:"count"`
	Over  uint64 `json:"over"`
	Slow  uint64 `json:"slow"`
}

// load reads what was saved; nil where nothing was.
func load(path string) (*saved, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nothing was saved
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing was saved
	}
	if err != nil {
		return nil, fmt.Errorf("stored state of logs: %w", err)
	}
	var s saved
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("stored state of logs: %s: %w; counting begins anew", path, err)
	}
	return &s, nil
}

// A keeper writes states to a file, in the order in which they were taken.
type keeper struct {
	taken atomic.Uint64 // states

	mu      sync.Mutex
	written uint64 // the number of the last one
	sum     [sha256.Size]byte
}

func (k *keeper) write(path string, text []byte, number uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	sum := sha256.Sum256(text)
	if number < k.written || sum == k.sum {
		return nil
	}
	if err := target.WriteNote(path, json.RawMessage(text)); err != nil {
		return fmt.Errorf("stored state of logs: %w", err)
	}
	k.written, k.sum = number, sum
	return nil
}

func (t *tally) saved() *savedTally {
	return &savedTally{Lines: t.lines, Errors: t.errors, Slow: t.slow, Requests: t.requests, Plain: t.broken,
		Missed: t.missed, Counts: t.counts, Sum: t.sum, Templates: t.templates.saved(), Endpoints: t.endpoints.saved()}
}

func (s *savedTally) tally(slowest float64) *tally {
	t := newTally(slowest)
	t.lines, t.errors, t.slow, t.requests, t.broken, t.missed = s.Lines, s.Errors, s.Slow, s.Requests, s.Plain, s.Missed
	t.counts, t.sum = s.Counts, s.Sum
	t.templates.restore(s.Templates)
	t.endpoints.restore(s.Endpoints)
	return t
}

func (t *top) saved() savedTop {
	s := savedTop{All: t.all, Rest: t.rest, Gone: t.gone}
	for _, e := range t.least {
		if e.exported {
			s.Entries = append(s.Entries, savedEntry{[]byte(e.Name), e.Count, e.Over, e.Slow})
		} else {
			s.Gone = max(s.Gone, e.Count)
		}
	}
	return s
}

func (t *top) restore(s savedTop) {
	for _, e := range s.Entries {
		if len(t.least) < t.room {
			had := t.enter(string(e.Name))
			had.Count, had.Over, had.Slow, had.exported = e.Count, e.Over, e.Slow, true
		}
	}
	t.all, t.rest, t.gone = s.All, s.Rest, s.Gone
}
