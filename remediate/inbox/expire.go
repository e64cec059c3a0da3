package inbox

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
)

// An Unlisted is a source that cannot be asked which of its alerts are still there. An
// end that is lost is found by its silence alone: it repeats what fires.
type Unlisted struct {
	Sources []string
	After   time.Duration // how long an alert may go unrepeated before its incident is over; 0: for ever
	Every   time.Duration // how often that is looked at
	Logger  *slog.Logger
}

// Expire closes the incidents of sources that cannot be asked, as u says, until ctx is
// done. Time during which nothing was received does not count: while no upkeep ran, the
// machine was suspended, or no delivery could be taken.
func (i *Inbox) Expire(ctx context.Context, u Unlisted) error {
	if u.After <= 0 || len(u.Sources) == 0 {
		return nil
	}
	timer := time.NewTicker(u.Every)
	defer timer.Stop()
	for {
		if err := i.listen(ctx, u); err != nil && ctx.Err() == nil {
			u.Logger.Warn("cannot close what is not repeated", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// listen notes that the sources can be heard, and closes what they have not repeated.
func (i *Inbox) listen(ctx context.Context, u Unlisted) error {
	if err := i.store.Ping(ctx); err != nil { // no delivery can be taken
		return err
	}
	var limit time.Time
	err := i.store.Change(ctx, "hearing of the inbox", func(old []byte) ([]byte, error) {
		var h hearing
		if old != nil {
			if err := json.Unmarshal(old, &h); err != nil {
				return nil, fmt.Errorf("when deliveries could be taken: %w", err)
			}
		}
		now, most := i.now(), 2*u.Every+prom.AskTimeout
		seldom := now.UnixMilli()-h.Last < most.Milliseconds()/4
		h.at(now, most)
		if limit = h.before(now, u.After); seldom {
			return nil, nil
		}
		return json.Marshal(h)
	})
	if err != nil {
		return err
	}
	return i.expire(ctx, u, limit)
}

func (i *Inbox) expire(ctx context.Context, u Unlisted, limit time.Time) error {
	for _, source := range u.Sources {
		ended, err := i.endAbsent(ctx, absence{source: source, limit: limit, why: whySilent})
		if ended {
			i.config.Wake()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return nil
}

// A hearing is when deliveries could be taken, in milliseconds. It is kept in the store,
// so that neither a restart nor another replica begins it anew.
type hearing struct {
	Last int64      `json:"last"`           // when it was last known
	Deaf [][2]int64 `json:"deaf,omitempty"` // from when to when they could not, the oldest first
}

// deafMost is how many times are kept in which nothing could be taken. Of more, the two
// oldest become one.
const deafMost = 200

// at notes that deliveries can be taken now. A break that is no longer than most does not
// count: the sources try again.
func (h *hearing) at(now time.Time, most time.Duration) {
	if is := now.UnixMilli(); is > h.Last {
		if is-h.Last > most.Milliseconds() {
			h.Deaf = append(h.Deaf, [2]int64{h.Last, is})
		}
		h.Last = is
	}
	if len(h.Deaf) > deafMost {
		h.Deaf[1][0] = h.Deaf[0][0]
		h.Deaf = h.Deaf[1:]
	}
}

// before returns since when deliveries could be taken for so long in all, and forgets
// what was before.
func (h *hearing) before(now time.Time, after time.Duration) time.Time {
	end, left := now.UnixMilli(), after.Milliseconds()
	for n, deaf := range slices.Backward(h.Deaf) {
		heard := end - deaf[1]
		if heard >= left {
			h.Deaf = h.Deaf[n+1:]
			break
		}
		left -= max(heard, 0)
		end = min(end, deaf[0])
	}
	return time.UnixMilli(end - left)
}
