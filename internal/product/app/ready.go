package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// stuckAfter is how long the engine's loop may take to go on. It goes on a few times a minute; what takes
// longest in it, the decision about a batch of incidents, takes seconds on a busy machine.
const stuckAfter = time.Minute

// Ready returns nil where upkeep does its work: its address is listened on, its configuration is in
// force, the embedded Prometheus runs, and the store takes writes. A store that is away is not
// waited for: metrics are served without it.
func (a *App) Ready(ctx context.Context) error { return a.readiness(ctx, true) }

// readiness returns nil, or why upkeep is not ready in words that every user may read: the log has
// the error of the store, which can name a host, a user and a file.
func (a *App) readiness(ctx context.Context, without bool) error {
	if err := a.store.Ping(ctx); err != nil && !(without && store.Away(err)) {
		a.unready.Do(func() { a.log.Warn("not ready", "err", err) })
		return errors.New("the store takes no writes; the log of upkeep says why")
	}
	if a.embedded != nil && !a.embedded.Ready() {
		return errors.New("the embedded Prometheus does not run yet")
	}
	return nil
}

// Alive returns nil unless the engine's loop does not go on, for no known reason. A store that takes no
// writes is one: a restart would not mend it, and would end the metrics too.
func (a *App) Alive(ctx context.Context) error {
	return stuck(a.engine.Looped(), time.Now(), func() error { return a.store.Ping(ctx) })
}

// stuck returns an error where a loop that last went on at a time has not since, and the store takes writes. A loop
// that has not begun waits for the store too.
func stuck(looped, now time.Time, writes func() error) error {
	still := now.Sub(looped)
	if looped.IsZero() || still < stuckAfter || writes() != nil {
		return nil
	}
	return fmt.Errorf("the engine has not looked for work for %s", still.Round(time.Second))
}
