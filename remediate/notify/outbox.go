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
	batchLimit  = 10               // notifications that travel together, so that a flood is not a flood of messages
	sendTimeout = 10 * time.Second // of one message
	farewell    = 4 * time.Second  // for the message that is under way at the end
	claimFor    = time.Minute      // longer than a message takes; then another replica may try
	pollEvery   = 5 * time.Second  // for what another replica wrote, or left

	restFirst, restLongest = 5 * time.Second, 15 * time.Minute // while a notifier takes nothing
	againFirst, againLast  = time.Minute, 4 * time.Hour        // for a notification that was refused
	askedLongest           = time.Hour                         // a server that asks for more patience gets so much

	keepFor  = 72 * time.Hour // a long weekend; what is older is no news
	lookBack = time.Hour      // of a new notifier: pending approvals of this age are sent to it
	noteEach = time.Hour      // how often it is written down that older notifications are settled
)

// Config is what an Outbox works with.
type Config struct {
	Store     *store.Store
	Notifiers []Named
	Link      func(n remediate.Notification, approve bool) string // "" for no link; may be nil

	Rate Rate // of messages to one notifier

	// Over reports whether what a notification is about is over, and whether it helped; nil: nothing
	// is ever over.
	Over func(ctx context.Context, n remediate.Notification) (over, helped bool, err error)

	// for the pauses of this process; time.Now where nil. What replicas share goes by the store's clock
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// An Outbox delivers notifications.
type Outbox struct {
	config  Config
	wake    chan struct{}
	total   *prometheus.CounterVec
	pending prometheus.Gauge

	mu        sync.Mutex
	notifiers []Named
	rests     map[string]rest
	budgets   map[string]*budget
}

// A Rate bounds how many messages a notifier gets. What comes in a flood is summed up in one.
type Rate struct {
	Most  int           // messages in a row, the last of which sums up what is pending; 0: no limit
	Every time.Duration // after which there may be one more
}

// A budget is how many messages a notifier may get now. It is kept in memory: after a restart,
// and in another replica, it begins anew.
type budget struct {
	left int
	at   time.Time // when the last one was added
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
		budgets: make(map[string]*budget),
		total:   metric.NewCounter(c.Registerer, total()),
		pending: metric.NewGauge(c.Registerer, pending()).WithLabelValues(),
	}
	return o
}

// Wake signals a new notification.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default: // it is about to look
	}
}

// within lets a message that is under way at the end of the process be taken, so that
// it need not be sent twice.
func (o *Outbox) within(ctx context.Context, send func(context.Context) error) error {
	sending, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), sendTimeout,
		fmt.Errorf("no answer within %s", sendTimeout))
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

func (o *Outbox) message(notifications []remediate.Notification) Message {
	var m Message
	for _, n := range notifications {
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

func (o *Outbox) count(n Named, notification remediate.Notification, result string) {
	o.total.WithLabelValues(n.Name, string(notification.Kind), result).Inc()
}

// ends is the name under which the delivered ends of a notifier are stored.
func ends(name string) string { return name + ", ends" }
