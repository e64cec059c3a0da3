package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/logs/follow"
	"github.com/ai-micro-service/upkeep/collectors/logs/latency"
	"github.com/ai-micro-service/upkeep/collectors/logs/top"
)

// saved is what is kept of the logs of a target over a restart: how far they were read, and
// what was counted up to there. Both are written at once, and before a count is exported. So a line
// is counted once, whenever upkeep is killed, and no counter decreases.
type saved struct {
	Services map[string]*savedTally `json:"services"`
	Logs     map[string]savedLog    `json:"logs"`               // by the ID of the container, or the path
	Patterns []string               `json:"patterns,omitempty"` // that were looked at
	Journal  *place                 `json:"journal,omitempty"`
	Unread   []string               `json:"unread,omitempty"` // folders that could not be
}

// A place is how far a journal was read.
type place struct {
	Cursor string    `json:"cursor"`
	At     time.Time `json:"at"` // when everything that there was had been asked for
}

type savedLog struct {
	Service string              `json:"service"`
	Path    string              `json:"path"`           // as the engine names it
	Idle    bool                `json:"idle,omitempty"` // no trace is open
	Skip    bool                `json:"skip,omitempty"` // what is there is to be passed over, and could not be yet
	Files   []follow.Generation `json:"files"`
}

type savedTally struct {
	Lines     uint64                  `json:"lines"`
	Errors    uint64                  `json:"errors"`
	Slow      uint64                  `json:"slow"`
	Requests  uint64                  `json:"requests"`
	Plain     uint64                  `json:"plain"`
	Missed    uint64                  `json:"missed"`
	Counts    [latency.Buckets]uint64 `json:"counts"`
	Sum       float64                 `json:"sum"`
	Templates top.Saved               `json:"templates"`
	Endpoints top.Saved               `json:"endpoints"`
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

func (t *tally) saved() *savedTally {
	return &savedTally{Lines: t.lines, Errors: t.errors, Slow: t.slow, Requests: t.requests, Plain: t.broken,
		Missed: t.missed, Counts: t.durations.Counts, Sum: t.durations.Sum,
		Templates: t.templates.Saved(), Endpoints: t.endpoints.Saved()}
}

func (s *savedTally) tally(slowest float64) *tally {
	t := newTally(slowest)
	t.lines, t.errors, t.slow, t.requests, t.broken, t.missed = s.Lines, s.Errors, s.Slow, s.Requests, s.Plain, s.Missed
	t.durations = latency.Histogram{Counts: s.Counts, Sum: s.Sum}
	t.templates.Restore(s.Templates)
	t.endpoints.Restore(s.Endpoints)
	return t
}
