package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// silence holds the silence of a run that works, where its policy wants one. That
// it cannot be held is no reason not to act.
func (e *Engine) silence(ctx context.Context, run remediate.Run) {
	incident, err := e.c.Inbox.Incident(ctx, run.Request.Incident)
	if err == nil {
		err = e.c.Silences.Hold(ctx, run, incident.Alert)
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
	if m.notification != nil && e.c.Notified != nil {
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
	if !m.to.Ended() {
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
	resolved, judged, err := e.c.Journal.Effect(ctx, name)
	if err != nil {
		return err
	}
	falls, why := policy.Falls(run.Request.Terms, resolved, judged)
	if !falls {
		return nil
	}
	done, err := e.c.Journal.Demote(ctx, name, why, run.ID)
	if done {
		e.log.Warn("policy demoted", "policy", name, "why", why)
		if e.c.Notified != nil {
			e.c.Notified()
		}
	}
	return err
}
