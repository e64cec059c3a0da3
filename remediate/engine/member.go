package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// Join makes this process one of those that carry runs.
func (e *Engine) Join(ctx context.Context) error { return e.c.Members.Join(ctx) }

// Beat renews this process' right to carry runs and passes on what people want
// to stop. Where others have taken it for dead, everything that it carries is let
// go, and it begins anew.
func (e *Engine) Beat(ctx context.Context) error {
	cancelled, err := e.c.Members.Beat(ctx)
	if errors.Is(err, remediate.ErrFenced) {
		e.log.Warn("others took this process for dead; it begins anew")
		e.letGo(remediate.ErrFenced)
		return e.c.Members.Join(ctx)
	}
	if err != nil {
		return err
	}
	for id, who := range cancelled {
		e.stop(id, who)
	}
	return e.giveBack(ctx)
}

// letGo ends everything that is carried.
func (e *Engine) letGo(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.carried {
		c.cancel(cause)
	}
	clear(e.adrift)
	clear(e.silent) // whoever carries the runs on holds theirs
}

// stop ends the step of a run that a person wants to stop.
func (e *Engine) stop(id int64, who string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.carried[id]; c != nil {
		c.cancel(&cancelError{who})
	}
}

// giveBack frees the runs whose carrier ended with an error of the store.
func (e *Engine) giveBack(ctx context.Context) error {
	e.mu.Lock()
	adrift := maps.Clone(e.adrift)
	e.mu.Unlock()
	for id, token := range adrift {
		if err := e.c.Queue.Release(ctx, id, token); err != nil {
			return err
		}
		e.mu.Lock()
		delete(e.adrift, id)
		e.mu.Unlock()
	}
	return nil
}

// beats renews the lease until ctx is done. A lease that could not be renewed in
// time ends what is carried: others may take it over now.
func (e *Engine) beats(ctx context.Context) {
	every := time.NewTicker(e.c.Lease / 5)
	defer every.Stop()
	last := e.now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		limited, cancel := context.WithTimeout(ctx, e.c.Lease/2)
		err := e.Beat(limited)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			last = e.now()
		case e.now().Sub(last) > e.c.Lease:
			e.log.Error("the lease could not be renewed; what is carried is let go", "err", err)
			e.letGo(fmt.Errorf("the lease could not be renewed: %w", remediate.ErrFenced))
		default:
			e.log.Warn("the lease was not renewed", "err", err)
		}
	}
}

func (e *Engine) note(c *carried) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.carried[c.run.ID] = c
}

func (e *Engine) forget(c *carried) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.carried, c.run.ID)
}

// silence holds the silence of a run that works, where its policy wants one. That
// it cannot be held is no reason not to act.
func (e *Engine) silence(ctx context.Context, run remediate.Run) {
	episode, err := e.c.Inbox.Episode(ctx, run.Request.Episode)
	if err == nil {
		err = e.c.Silences.Hold(ctx, run, episode.Alert)
	}
	if err != nil {
		e.log.Warn("the alert could not be silenced", "run", run.ID, "err", err)
	}
}

// quieten lets the silence of a run that works be made and renewed, and does not
// wait for it: Alertmanager may be slow, and the run must not be.
func (e *Engine) quieten(run remediate.Run) {
	if e.c.Silences == nil || !run.Request.Terms.Silence || run.Request.Episode == 0 {
		return
	}
	e.mu.Lock()
	_, held := e.silent[run.ID]
	e.silent[run.ID] = run
	e.mu.Unlock()
	if held {
		return
	}
	select {
	case e.hush <- struct{}{}:
	default: // it is about to
	}
}

// silences renews the silences of the runs that act, until ctx is done.
func (e *Engine) silences(ctx context.Context) {
	every := time.NewTicker(10 * time.Second)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-e.hush:
		}
		e.mu.Lock()
		silent := slices.Collect(maps.Values(e.silent))
		e.mu.Unlock()
		for _, run := range silent {
			e.silence(ctx, run)
		}
	}
}

// after does what follows a transition and may be lost in a crash: what was not
// done is done at the next occasion.
func (e *Engine) after(ctx context.Context, c *carried, m move) {
	if m.notice != nil && e.c.Told != nil {
		e.c.Told()
	}
	if m.to == remediate.Allowed || m.to == remediate.Applied {
		return
	}
	e.mu.Lock()
	_, held := e.silent[c.run.ID]
	delete(e.silent, c.run.ID)
	e.mu.Unlock()
	if held {
		if err := e.c.Silences.Release(ctx, c.run.ID); err != nil {
			e.log.Warn("the silence could not be ended; it ends by itself", "run", c.run.ID, "err", err)
		}
	}
	if !m.to.Final() {
		return
	}
	if err := e.weigh(ctx, c.run); err != nil {
		e.log.Warn("the effect of a policy could not be measured", "run", c.run.ID, "err", err)
	}
}

// weigh puts a policy back to ask when its measured effect has fallen.
func (e *Engine) weigh(ctx context.Context, run remediate.Run) error {
	name := run.Request.Policy
	if name == "" || !run.Acted() || run.Request.Terms.Effect <= 0 {
		return nil
	}
	cleared, judged, err := e.c.Standing.Effect(ctx, name)
	if err != nil {
		return err
	}
	falls, why := policy.Falls(run.Request.Terms, cleared, judged)
	if !falls {
		return nil
	}
	done, err := e.c.Standing.Demote(ctx, name, why, run.ID)
	if done {
		e.log.Warn("policy put back to ask", "policy", name, "why", why)
		if e.c.Told != nil {
			e.c.Told()
		}
	}
	return err
}
