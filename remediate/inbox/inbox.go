// Package inbox keeps the alerts that were taken in, the incidents that they open
// and close, and the deliveries that could not be read. What Accept took is on disk.
package inbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Config is what an Inbox is made of.
type Config struct {
	Store *store.Store
	Now   func() time.Time // time.Now where nil
	Wake  func()           // called after an incident opened or closed; may be nil

	// Sources are the sources of alerts, whose counters exist from the start.
	Sources []string

	// Hold is how long nothing is decided for an incident after it opened.
	Hold time.Duration

	// FlapWindow is how soon after its end an alert that fires again is flapping; each
	// such return doubles the hold-down. 0: none is ever held down.
	FlapWindow time.Duration

	// Limits bound how many incidents are open at once.
	Limits Limits

	// Page notifies people in a transaction; nil: no one is notified.
	Page func(tx *store.Tx, n remediate.Notification) error

	// ReplicaLabels tell apart the members of a highly available pair, which tell
	// of one and the same incident; replica and prometheus_replica where nil.
	ReplicaLabels []string
}

// Limits bound how many incidents are open at once.
type Limits struct {
	All      int // 10,000 where 0
	PerAlert int // of one name; 2,000 where 0
}

const (
	limitAll      = 10000
	limitPerAlert = 2000
)

// An Inbox turns alerts, which come late, twice and in any order, into incidents.
type Inbox struct {
	config Config
	store  *store.Store
	now    func() time.Time
	begun  time.Time // absence counts from here at the earliest
	alerts *prometheus.CounterVec
	kept   *prometheus.CounterVec

	refused *prometheus.CounterVec
	names   names
	crowd   *crowd

	restless restless
	recent   recentDeadLetters
}

// New returns an Inbox.
func New(c Config) *Inbox {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wake == nil {
		c.Wake = func() {}
	}
	if c.ReplicaLabels == nil {
		c.ReplicaLabels = []string{"replica", "prometheus_replica"}
	}
	c.Limits.All, c.Limits.PerAlert = cmp.Or(c.Limits.All, limitAll), cmp.Or(c.Limits.PerAlert, limitPerAlert)
	return &Inbox{config: c, store: c.Store, now: c.Now, begun: c.Now(), alerts: alertsVec(c.Sources), kept: keptVec(),
		refused: metric.NewCounter(nil, refused()), crowd: newCrowd()}
}

// key identifies the alert by its source and labels, but for those that Grafana
// keeps to itself (__alert_rule_uid__). Neither the start nor the group of an
// alert is part of it: both move while the incident stays the same.
func (i *Inbox) key(a remediate.Alert) string {
	h := sha256.New()
	var length [20]byte
	write := func(s string) {
		h.Write(append(strconv.AppendInt(length[:0], int64(len(s)), 10), ':'))
		h.Write([]byte(s))
	}
	write(a.Source)
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if !strings.HasPrefix(name, "__") && !i.replica(name) {
			write(name)
			write(a.Labels[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// replica reports whether a label only distinguishes the senders of an alert.
func (i *Inbox) replica(name string) bool { return slices.Contains(i.config.ReplicaLabels, name) }

// A keyed alert is one with its key.
type keyed struct {
	key string
	remediate.Alert

	wide bool // its labels are too many or too long
}

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

// Waiting is how many deliveries, or parts of large ones, wait to be written at this moment.
func (i *Inbox) Waiting() int {
	i.crowd.mu.Lock()
	defer i.crowd.mu.Unlock()
	return len(i.crowd.waiting)
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

const (
	// together is how many alerts of a delivery are written in one transaction: other
	// deliveries come in between the parts of a large one.
	together = 500
)

// A turned alert is one that found no room.
type turned struct{ name, why string }
