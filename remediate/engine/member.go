package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// Join makes this process one of those that carry runs.
func (e *Engine) Join(ctx context.Context) error {
	began := e.now()
	if err := e.c.Journal.Join(ctx); err != nil {
		return err
	}
	e.renew(began)
	return nil
}

// Beat renews this process' right to carry runs, passes on what people want to stop,
// and gives back what the store says is carried here and is not. Where others have taken
// it for dead, or may have, everything that it carries is let go; in the first case it
// begins anew.
func (e *Engine) Beat(ctx context.Context) error {
	began, stirs := e.now(), e.stirring()
	mine, err := e.c.Journal.Beat(ctx)
	if errors.Is(err, remediate.ErrFenced) {
		e.log.Warn("other instances declared this process dead; it registers again")
		e.letGo(remediate.ErrFenced)
		return e.Join(ctx)
	}
	if err != nil {
		e.lapse(err)
		return err
	}
	e.renew(began)
	if len(mine) == 0 {
		e.settle(stirs)
	}
	for _, run := range mine {
		if run.Cancel != "" {
			e.stop(run.Run, run.Cancel)
		}
	}
	return e.giveBack(ctx, mine)
}

func (e *Engine) renew(at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.renewed, e.lapsed = at, false
}

// lapse lets go of everything once the lease could not be renewed in time: others may
// take it over now.
func (e *Engine) lapse(why error) {
	e.mu.Lock()
	over, first := !e.c.Alone && e.now().Sub(e.renewed) > e.c.Journal.Lease(), !e.lapsed
	e.lapsed = e.lapsed || over
	e.mu.Unlock()
	if !over {
		return
	}
	if first {
		e.log.Error("the lease could not be renewed; all runs of this process are released", "err", why)
	}
	e.letGo(fmt.Errorf("the lease could not be renewed: %w", remediate.ErrFenced))
}

// giveBack frees the runs that are this process' and that it does not carry: their
// carrier ended while the store was away, or never knew that its claim was kept. What
// was claimed before the store was asked is expected here; what was claimed after it has
// another token.
func (e *Engine) giveBack(ctx context.Context, mine []journal.Carried) error {
	freed := false
	for _, run := range mine {
		if e.carries(run.Run) {
			continue
		}
		if err := e.c.Journal.Release(ctx, run.Run, run.Token); err != nil {
			return err
		}
		e.log.Info("a run that stopped during the store outage continues", "run", run.Run)
		freed = true
	}
	if freed {
		e.Wake()
	}
	return nil
}

// beats renews the lease until ctx is done. A store that does not answer must not keep
// this process from releasing its runs in time.
func (e *Engine) beats(ctx context.Context) {
	every := time.NewTicker(e.c.Journal.Lease() / 5)
	defer every.Stop()
	failing := false
	for {
		if e.unasked() {
			every.Stop()
			select {
			case <-ctx.Done():
				return
			case <-e.stirred:
			}
			every.Reset(e.c.Journal.Lease() / 5)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		late := time.AfterFunc(e.left(), func() { e.lapse(errors.New("the store does not answer")) })
		limited, cancel := context.WithTimeout(ctx, e.c.Journal.Lease()/2)
		err := e.Beat(limited)
		cancel()
		late.Stop()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			e.log.Warn("the lease was not renewed", "err", err)
		case err == nil && failing:
			e.log.Info("the lease is renewed again")
		}
		failing = err != nil
	}
}

// unasked reports whether no process needs a beat: no other process works on the store, and no run was claimed here, or
// tried to be, since a beat found none.
func (e *Engine) unasked() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.c.Alone && e.calm == e.stirs && len(e.expected) == 0
}

func (e *Engine) stirring() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stirs
}

// settle notes that a beat found no run of this process, after it had tried to claim so many.
func (e *Engine) settle(stirs int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calm = stirs
}

// left is how long it takes until the lease is over.
func (e *Engine) left() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(0, e.renewed.Add(e.c.Journal.Lease()).Sub(e.now())) + time.Millisecond
}
