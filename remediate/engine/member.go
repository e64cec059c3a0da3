package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
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
	began := e.now()
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

// letGo ends everything that is carried.
func (e *Engine) letGo(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.carried {
		c.cancel(cause)
	}
	clear(e.silent) // the process that takes over the runs renews their silences
}

// stop ends the step of a run that a person wants to stop.
func (e *Engine) stop(id int64, who string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.carried[id]; c != nil {
		c.cancel(&cancelError{who})
	}
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

// left is how long it takes until the lease is over.
func (e *Engine) left() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return max(0, e.renewed.Add(e.c.Journal.Lease()).Sub(e.now())) + time.Millisecond
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
	episode, err := e.c.Inbox.Incident(ctx, run.Request.Incident)
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
	if e.c.Silences == nil || !run.Request.Terms.Silence || run.Request.Incident == 0 {
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
	if m.notice != nil && e.c.Notified != nil {
		e.c.Notified()
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
	cleared, judged, err := e.c.Journal.Effect(ctx, name)
	if err != nil {
		return err
	}
	falls, why := policy.Falls(run.Request.Terms, cleared, judged)
	if !falls {
		return nil
	}
	done, err := e.c.Journal.Demote(ctx, name, why, run.ID)
	if done {
		e.log.Warn("policy put back to ask", "policy", name, "why", why)
		if e.c.Notified != nil {
			e.c.Notified()
		}
	}
	return err
}
