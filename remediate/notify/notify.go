// Package notify tells people what the journal wants them to know: each notification
// once to each notifier, across restarts and replicas. The journal writes the
// notification in the transaction that makes it true; here it is delivered, and tried
// again when it is not accepted. It also signs the links by which people approve of
// a plan.
package notify

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Use puts other notifiers in the place of those in use.
func (o *Outbox) Use(notifiers []Named) {
	o.mu.Lock()
	o.notifiers, o.rests = notifiers, make(map[string]rest)
	o.mu.Unlock()
	o.begin(notifiers)
	o.Wake()
}

// Run delivers until ctx is done.
func (o *Outbox) Run(ctx context.Context) error {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		if err := o.Deliver(ctx); err != nil && ctx.Err() == nil {
			o.config.Logger.Warn("notifications not delivered", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		case <-poll.C:
		}
	}
}

// Deliver tells every notifier that is not resting what is due. A message that
// was not taken is logged and counted; the error is the store's.
func (o *Outbox) Deliver(ctx context.Context) error {
	o.mu.Lock()
	notifiers := o.notifiers
	o.mu.Unlock()
	left := make([]int, len(notifiers))
	failed := make([]error, len(notifiers))
	var all sync.WaitGroup
	for i, n := range notifiers { // one that hangs keeps no other waiting
		all.Go(func() { left[i], failed[i] = o.deliver(ctx, n) })
	}
	all.Wait()
	sum := 0
	for i, err := range failed {
		if err != nil {
			return fmt.Errorf("notifications for %s: %w", notifiers[i].Name, err)
		}
		sum += left[i]
	}
	o.pending.Set(float64(sum))
	return nil
}

// deliver delivers what is due to one notifier and returns how much is left.
func (o *Outbox) deliver(ctx context.Context, n Named) (left int, err error) {
	work, err := o.waits(ctx, n.Name)
	if err != nil {
		return 0, err
	}
	for work && ctx.Err() == nil && !o.resting(n.Name) {
		left := o.allowance(n.Name)
		if left == 0 {
			break // what comes meanwhile is summed up
		}
		b, err := o.next(ctx, n, left == 1)
		if err != nil {
			return 0, err
		}
		for _, g := range b.givenUp {
			o.count(n, g.notification, "given_up")
			o.config.Logger.Error("notification given up", "notifier", n.Name, "notification", g.notification.ID,
				"title", g.notification.Title, "err", g.why)
		}
		if len(b.notifications) == 0 && !b.others {
			break
		}
		if len(b.notifications) > 0 {
			err = o.send(ctx, n, b)
		}
		if err != nil {
			return 0, err
		}
	}
	if err := o.over(ctx, n); err != nil {
		return 0, err
	}
	return o.left(ctx, n.Name)
}

// send tells one batch and notes what came of it.
func (o *Outbox) send(ctx context.Context, n Named, b batch) error {
	err := o.notify(ctx, n, b)
	if err == nil {
		o.rested(n.Name)
		o.spend(n.Name)
		for _, notification := range b.notifications {
			o.count(n, notification, "delivered")
		}
		return o.delivered(ctx, n.Name, b)
	}
	fault, known := asFault(err)
	if known && fault.Refused && len(b.notifications) > 1 && !b.sum {
		// One of them is not to the server's taste: each is tried alone, at once.
		return o.postpone(ctx, n.Name, b, 1, 0, err.Error())
	}
	pause := o.rest(n.Name, fault.After)
	for _, notification := range b.notifications {
		o.count(n, notification, "failed")
	}
	o.config.Logger.Warn("notification not accepted", "notifier", n.Name, "notifications", len(b.notifications),
		"pause", pause, "err", err)
	if known && fault.Refused {
		return o.postpone(ctx, n.Name, b, 1, grow(againFirst, againLast, b.tries+1), err.Error())
	}
	return o.postpone(ctx, n.Name, b, 0, 0, err.Error())
}

// notify sends the message of a batch.
func (o *Outbox) notify(ctx context.Context, n Named, b batch) error {
	m := o.message(b.notifications)
	if b.sum {
		m = summary(b.notifications)
	}
	return o.within(ctx, func(ctx context.Context) error { return n.Notify(ctx, m) })
}
