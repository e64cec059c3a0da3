// Package notify tells people what the journal wants them to know: each notice
// once to each notifier, across restarts and replicas. The journal writes the
// notice in the transaction that makes it true; here it is delivered, and tried
// again when it is not accepted. It also signs the links by which people approve of
// a plan.
package notify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	batchLimit  = 10               // notices that travel together, so that a flood is not a flood of messages
	sendTimeout = 10 * time.Second // of one message
	farewell    = 4 * time.Second  // for the message that is under way at the end
	claimFor    = time.Minute      // longer than a message takes; then another replica may try
	pollEvery   = 5 * time.Second  // for what another replica wrote, or left

	restFirst, restLongest = 5 * time.Second, 15 * time.Minute // while a notifier takes nothing
	againFirst, againLast  = time.Minute, 4 * time.Hour        // for a notice that was refused
	askedLongest           = time.Hour                         // a server that asks for more patience gets so much

	keepFor  = 72 * time.Hour // a long weekend; what is older is no news
	lookBack = time.Hour      // of a new notifier: pending approvals of this age are sent to it
	noteEach = time.Hour      // how often it is written down that older notices are settled
)

// A Message is what a notifier is to tell.
type Message struct{ Notifications []Item }

// An Item is one notice with the links that belong to it.
type Item struct {
	remediate.Notification
	Approve string // where its plan is approved or refused; empty where nothing is asked
	Open    string // where its run is shown; empty where it has none
}

// A Notifier takes messages to people.
type Notifier interface {
	// Notify returns nil when the message was taken. The error may be a *FaultError.
	// There is no secret in it.
	Notify(ctx context.Context, m Message) error
}

// A FaultError says more of a message that was not taken.
type FaultError struct {
	Err     error
	Refused bool          // this message; another one may be taken
	After   time.Duration // the server asks for so much patience
}

func (f *FaultError) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *FaultError) Unwrap() error { return f.Err }

// A Named is a notifier under the name that it has in the configuration. Its
// progress is kept under that name.
type Named struct {
	Name  string
	Wants func(remediate.NotificationKind) bool // which notices are for it; nil: all
	Alone bool                                  // each notice travels alone
	Notifier
}

// wants reports whether a kind of notice is for it.
func (n Named) wants(kind remediate.NotificationKind) bool { return n.Wants == nil || n.Wants(kind) }

// Config is what an Outbox works with.
type Config struct {
	Store     *store.Store
	Notifiers []Named
	Link      func(n remediate.Notification, approve bool) string // "" for no link; may be nil

	// Over reports whether what a notice is about is over, and whether it helped; nil: nothing
	// is ever over.
	Over func(ctx context.Context, n remediate.Notification) (over, helped bool, err error)

	Now        func() time.Time // for the pauses of this process; time.Now where nil. What replicas share goes by the store's clock
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// An Outbox delivers notices.
type Outbox struct {
	config  Config
	wake    chan struct{}
	total   *prometheus.CounterVec
	pending prometheus.Gauge

	mu        sync.Mutex
	notifiers []Named
	rests     map[string]rest
}

// A rest is how long a notifier that took nothing is left alone.
type rest struct {
	failures int
	until    time.Time
}

// Metrics returns the metrics of an Outbox.
func Metrics() []*metric.Family { return []*metric.Family{total(), pending()} }

func total() *metric.Family {
	return metric.Counter("upkeep_notifications_total",
		"Notifications by result of each attempt: delivered, failed or given_up.", "notifier", "kind", "result")
}

func pending() *metric.Family {
	return metric.Gauge("upkeep_notifications_pending",
		"Number of notifications that are not delivered yet, summed over the notifiers.")
}

// New returns an Outbox.
func New(c Config) *Outbox {
	if c.Now == nil {
		c.Now = time.Now
	}
	o := &Outbox{
		config: c, wake: make(chan struct{}, 1), notifiers: c.Notifiers, rests: make(map[string]rest),
		total:   metric.NewCounter(c.Registerer, total()),
		pending: metric.NewGauge(c.Registerer, pending()).WithLabelValues(),
	}
	return o
}

// Use puts other notifiers in the place of those in use.
func (o *Outbox) Use(notifiers []Named) {
	o.mu.Lock()
	o.notifiers, o.rests = notifiers, make(map[string]rest)
	o.mu.Unlock()
	o.begin(notifiers)
	o.Wake()
}

// Wake signals a new notice.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default: // it is about to look
	}
}

// Run delivers until ctx is done.
func (o *Outbox) Run(ctx context.Context) error {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		if err := o.Deliver(ctx); err != nil && ctx.Err() == nil {
			o.config.Logger.Warn("notices not delivered", "err", err)
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
		all.Go(func() { left[i], failed[i] = o.tell(ctx, n) })
	}
	all.Wait()
	sum := 0
	for i, err := range failed {
		if err != nil {
			return fmt.Errorf("notices for %s: %w", notifiers[i].Name, err)
		}
		sum += left[i]
	}
	o.pending.Set(float64(sum))
	return nil
}

// tell delivers what is due to one notifier and returns how much is left.
func (o *Outbox) tell(ctx context.Context, n Named) (left int, err error) {
	work, err := o.waits(ctx, n.Name)
	if err != nil {
		return 0, err
	}
	for work && ctx.Err() == nil && !o.resting(n.Name) {
		b, err := o.claim(ctx, n)
		if err != nil {
			return 0, err
		}
		for _, g := range b.givenUp {
			o.count(n, g.notice, "given_up")
			o.config.Logger.Error("notice given up", "notifier", n.Name, "notice", g.notice.ID, "title", g.notice.Title, "err", g.why)
		}
		if len(b.notices) == 0 && !b.others {
			break
		}
		if len(b.notices) > 0 {
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
		for _, notice := range b.notices {
			o.count(n, notice, "delivered")
		}
		return o.delivered(ctx, n.Name, b)
	}
	fault, known := asFault(err)
	if known && fault.Refused && len(b.notices) > 1 {
		// One of them is not to the server's taste: each is tried alone, at once.
		return o.postpone(ctx, n.Name, b, 1, 0, err.Error())
	}
	pause := o.rest(n.Name, fault.After)
	for _, notice := range b.notices {
		o.count(n, notice, "failed")
	}
	o.config.Logger.Warn("notification not accepted", "notifier", n.Name, "notices", len(b.notices), "pause", pause, "err", err)
	if known && fault.Refused {
		return o.postpone(ctx, n.Name, b, 1, grow(againFirst, againLast, b.tries+1), err.Error())
	}
	return o.postpone(ctx, n.Name, b, 0, 0, err.Error())
}

// notify sends the message of a batch.
func (o *Outbox) notify(ctx context.Context, n Named, b batch) error {
	return o.within(ctx, func(ctx context.Context) error { return n.Notify(ctx, o.message(b.notices)) })
}

// within lets a message that is under way at the end of the process be taken, so that
// it need not be sent twice.
func (o *Outbox) within(ctx context.Context, send func(context.Context) error) error {
	sending, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), sendTimeout, fmt.Errorf("no answer within %s", sendTimeout))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-sending.Done():
		case <-time.After(farewell):
			cancel()
		}
	})()
	return send(sending)
}

func (o *Outbox) message(notices []remediate.Notification) Message {
	var m Message
	for _, n := range notices {
		item := Item{Notification: n}
		if o.config.Link != nil {
			if n.Kind == remediate.NotificationAsk {
				item.Approve = o.config.Link(n, true)
			}
			if n.Run != 0 {
				item.Open = o.config.Link(n, false)
			}
		}
		m.Notifications = append(m.Notifications, item)
	}
	return m
}

func (o *Outbox) count(n Named, notice remediate.Notification, result string) {
	o.total.WithLabelValues(n.Name, string(notice.Kind), result).Inc()
}

func (o *Outbox) resting(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.config.Now().Before(o.rests[name].until)
}

// rest leaves a notifier alone, longer each time.
func (o *Outbox) rest(name string, asked time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rests[name]
	r.failures++
	pause := max(grow(restFirst, restLongest, r.failures), min(asked, askedLongest))
	r.until = o.config.Now().Add(pause)
	o.rests[name] = r
	return pause
}

func (o *Outbox) rested(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.rests, name)
}

// grow doubles a pause with each try, up to the longest.
func grow(first, longest time.Duration, tries int) time.Duration {
	pause := first
	for i := 1; i < tries && pause < longest; i++ {
		pause *= 2
	}
	return min(pause, longest)
}
