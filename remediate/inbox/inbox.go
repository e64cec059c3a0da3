// Package inbox keeps the alerts that were taken in, the episodes that they open
// and close, and the deliveries that could not be read. What Accept took is on disk.
package inbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// together is how many alerts of a delivery are written in one transaction: other
	// deliveries come in between the parts of a large one.
	together = 500

	// lateness is how long after its end an alert may still be delivered as firing
	// by a peer that is behind: Alertmanager tries a delivery for group_interval,
	// five minutes by default, and a peer waits some more for the one before it.
	lateness = 10 * time.Minute
)

// Config is what an Inbox is made of.
type Config struct {
	Store *store.Store
	Now   func() time.Time // time.Now where nil
	Wake  func()           // called after an episode opened or closed; may be nil

	// Sources are the sources of alerts, whose counters exist from the start.
	Sources []string

	// Hold is how long nothing is decided for an episode after it opened.
	Hold time.Duration

	// FlapWindow is how soon after its end an alert that fires again is flapping; each
	// such return doubles the hold-down. 0: none is ever held down.
	FlapWindow time.Duration

	// ReplicaLabels tell apart the members of a highly available pair, which tell
	// of one and the same trouble; replica and prometheus_replica where nil.
	ReplicaLabels []string
}

// An Inbox turns alerts, which come late, twice and in any order, into episodes.
type Inbox struct {
	config Config
	store  *store.Store
	now    func() time.Time
	begun  time.Time // absence counts from here at the earliest
	alerts *prometheus.CounterVec
	kept   *prometheus.CounterVec

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
	return &Inbox{config: c, store: c.Store, now: c.Now, begun: c.Now(), alerts: alertsVec(c.Sources), kept: keptVec()}
}

// key identifies the alert by its source and labels, but for those that Grafana
// keeps to itself (__alert_rule_uid__). Neither the start nor the group of an
// alert is part of it: both move while the trouble stays the same.
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
}

// merge gives each alert its key, and leaves one of those that are the same but
// for the replica that sends it: what fires for one of them fires.
func (i *Inbox) merge(alerts []remediate.Alert) []keyed {
	all := make([]keyed, 0, len(alerts))
	place := make(map[string]int, len(alerts))
	for _, a := range alerts {
		k := keyed{i.key(a), a}
		at, twice := place[k.key]
		switch {
		case !twice:
			place[k.key] = len(all)
			all = append(all, k)
		case a.Firing && !all[at].Firing, a.Firing == all[at].Firing && newer(a, all[at].Alert):
			all[at] = k
		}
	}
	return all
}

func newer(a, b remediate.Alert) bool {
	return a.StartsAt.After(b.StartsAt) || a.StartsAt.Equal(b.StartsAt) && a.EndsAt.After(b.EndsAt)
}

// Accept takes alerts in. When it returns nil they are all on disk; where it returns an
// error some may be, and to tell them again changes nothing. Incidents open, are
// refreshed and close.
func (i *Inbox) Accept(ctx context.Context, alerts []remediate.Alert) error {
	changed := false
	defer func() {
		if changed {
			i.config.Wake()
		}
	}()
	for some := range slices.Chunk(i.merge(alerts), together) {
		moved, err := i.acceptSome(ctx, some)
		if err != nil {
			return err
		}
		changed = changed || moved
	}
	for _, a := range alerts {
		status := "resolved"
		if a.Firing {
			status = "firing"
		}
		i.alerts.WithLabelValues(a.Source, status).Inc()
	}
	return nil
}

// acceptSome takes alerts in, all or none.
func (i *Inbox) acceptSome(ctx context.Context, all []keyed) (changed bool, err error) {
	now := i.now()
	err = i.store.Write(ctx, func(tx *store.Tx) error {
		changed = false
		for _, a := range all {
			moved, err := i.accept(tx, a, now)
			if err != nil {
				return fmt.Errorf("alert %s: %w", a.Labels["alertname"], err)
			}
			changed = changed || moved
		}
		return nil
	})
	return changed && err == nil, err
}

func (i *Inbox) accept(tx *store.Tx, a keyed, now time.Time) (changed bool, err error) {
	open, before, err := latest(tx, a.key)
	switch {
	case err != nil:
		return false, err
	case a.Firing && open != nil:
		return i.again(tx, *open, a, now)
	case a.Firing && late(before, a.Alert, now):
		return false, nil
	case a.Firing:
		return true, i.start(tx, a, before, now)
	case open != nil && ends(a.Alert, open.Alert):
		return true, finish(tx, *open, a.EndsAt, now)
	}
	return false, nil // the end of something that is not open, or of an earlier trouble
}

// late reports whether an alert fires for the trouble that before was, whose end
// was delivered or seen first. Peers deliver in any order, for a while.
func late(before *incident, a remediate.Alert, now time.Time) bool {
	return before != nil && now.Sub(before.Closed) < lateness &&
		(sameEnd(*before, a) || before.Why == whyAbsent && byOurs(before.Alert, a, now).Before(before.Seen))
}

// sameEnd reports whether an alert fires for the incident whose end was delivered as before's.
func sameEnd(before incident, a remediate.Alert) bool {
	return before.Why == whyResolved && (a.StartsAt.Equal(before.Alert.StartsAt) || a.StartsAt.Before(before.Alert.EndsAt))
}

// ends reports whether the end a is the end of the trouble that open is. The
// beginning of a trouble moves both ways while it lasts, so it only tells where
// the source does not say when the trouble ended.
func ends(a, open remediate.Alert) bool {
	if a.EndsAt.IsZero() {
		return !a.StartsAt.Before(open.StartsAt)
	}
	return a.EndsAt.After(open.StartsAt)
}
