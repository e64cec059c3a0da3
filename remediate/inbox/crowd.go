package inbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// A crowd joins the deliveries that come while another one is written: what each write has besides its alerts,
// the counts and the savepoint, it then has once.
type crowd struct {
	mu      sync.Mutex
	waiting []*arrival
	lead    chan struct{} // held by the one that writes
}

// An arrival is a part of a delivery.
type arrival struct {
	ctx     context.Context //nolint:containedctx // of the delivery that waits: several are written at once
	alerts  []keyed
	changed bool
	out     []turned
	err     error
	done    chan struct{}
}

func newCrowd() *crowd { return &crowd{lead: make(chan struct{}, 1)} }

// do has write called for an arrival, with others or alone, and returns when that is done.
func (c *crowd) do(a *arrival, write func([]*arrival)) {
	c.mu.Lock()
	c.waiting = append(c.waiting, a)
	c.mu.Unlock()
	select {
	case <-a.done: // another one has written it
		return
	case <-a.ctx.Done():
		if c.withdraw(a) {
			a.err = a.ctx.Err()
			return
		}
		<-a.done // it is being written
		return
	case c.lead <- struct{}{}:
	}
	defer func() { <-c.lead }()
	for !a.written() {
		some := c.take()
		write(some)
		for _, one := range some {
			close(one.done)
		}
	}
}

func (a *arrival) written() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// take returns those that come next, as many as one write may have alerts.
func (c *crowd) take() []*arrival {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, alerts := 0, 0
	for n < len(c.waiting) && (n == 0 || alerts+len(c.waiting[n].alerts) <= together) {
		alerts += len(c.waiting[n].alerts)
		n++
	}
	some := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	return some
}

// withdraw takes out one that waits no longer, and reports whether it still waited.
func (c *crowd) withdraw(a *arrival) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var rest []*arrival
	for _, one := range c.waiting {
		if one != a {
			rest = append(rest, one)
		}
	}
	found := len(rest) < len(c.waiting)
	c.waiting = rest
	return found
}

// acceptSome takes alerts in, all or none but for those that find no room.
func (i *Inbox) acceptSome(ctx context.Context, all []keyed) (changed bool, out []turned, err error) {
	a := &arrival{ctx: ctx, alerts: all, done: make(chan struct{})}
	i.crowd.do(a, i.acceptAll)
	if a.err != nil {
		return false, nil, a.err
	}
	i.count(a.out)
	return a.changed, a.out, nil
}

// acceptAll writes arrivals in one transaction. One of them whose write fails does not fail the others: then
// each is written by itself.
func (i *Inbox) acceptAll(all []*arrival) {
	ctx, cancel := anyOf(all)
	defer cancel()
	err := i.acceptTogether(ctx, all)
	for _, a := range all {
		a.err = err
		if err != nil && len(all) > 1 && ctx.Err() == nil && !store.Away(err) {
			a.err = i.acceptTogether(a.ctx, []*arrival{a})
		}
	}
}

func (i *Inbox) acceptTogether(ctx context.Context, all []*arrival) error {
	now := i.now()
	return i.store.Write(ctx, func(tx *store.Tx) error {
		l := i.newLedger(tx)
		var out []turned
		for _, a := range all {
			a.changed, a.out = false, nil
			for _, one := range a.alerts {
				moved, why, err := i.accept(l, one, now)
				if err != nil {
					return fmt.Errorf("alert %s: %w", one.Labels["alertname"], err)
				}
				if why != "" {
					a.out = append(a.out, turned{one.Labels["alertname"], why})
				}
				a.changed = a.changed || moved
			}
			out = append(out, a.out...)
		}
		return i.settle(l, out, now)
	})
}

// anyOf returns a context that ends when no one waits for arrivals any more.
func anyOf(all []*arrival) (context.Context, context.CancelFunc) {
	if len(all) == 1 {
		return all[0].ctx, func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(all[0].ctx))
	var left atomic.Int64
	left.Store(int64(len(all)))
	stops := make([]func() bool, 0, len(all))
	for _, a := range all {
		stops = append(stops, context.AfterFunc(a.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
