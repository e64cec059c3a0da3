package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ai-micro-service/upkeep/internal/prom"
)

// An Unlisted is a source that cannot be asked which of its alerts are still there. An
// end that is lost is found by its silence alone: it repeats what fires.
type Unlisted struct {
	Sources []string
	After   time.Duration // how long an alert may go unrepeated before its episode is over; 0: for ever
	Every   time.Duration // how often that is looked at
	Logger  *slog.Logger
}

// Expire closes the episodes of sources that cannot be asked, as u says, until ctx is
// done. Time during which nothing was received does not count: before the start, and while the
// machine was suspended or no delivery could be taken.
func (i *Inbox) Expire(ctx context.Context, u Unlisted) error {
	if u.After <= 0 || len(u.Sources) == 0 {
		return nil
	}
	timer := time.NewTicker(u.Every)
	defer timer.Stop()
	listens := unbroken{most: 2*u.Every + prom.AskTimeout}
	for {
		err := i.store.Ping(ctx)
		if err == nil { // else no delivery can be taken
			err = i.expire(ctx, u, listens.at(i.now()))
		}
		if err != nil && ctx.Err() == nil {
			u.Logger.Warn("cannot close what is not repeated", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

func (i *Inbox) expire(ctx context.Context, u Unlisted, since time.Time) error {
	for _, source := range u.Sources {
		ended, err := i.endAbsent(ctx, absence{source: source, since: since, limit: i.now().Add(-u.After), why: whySilent})
		if ended {
			i.config.Wake()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return nil
}
