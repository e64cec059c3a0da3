package inbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// bounded is an inbox with little room, and what it pages.
func bounded(t *testing.T) (*fixture, *[]remediate.Notification) {
	t.Helper()
	d := openWith(t, options(t))
	var pages []remediate.Notification
	d.Inbox = inbox.New(inbox.Config{Store: d.store, Now: func() time.Time { return d.now },
		Limits: inbox.Limits{All: 5, PerAlert: 3}, Page: func(_ *store.Tx, n remediate.Notification) error {
			pages = append(pages, n)
			return nil
		}})
	return d, &pages
}

// many are firing alerts of one name, from one number to another.
func many(name string, from, to int) (all []remediate.Alert) {
	for n := from; n < to; n++ {
		all = append(all, firing(at(0), "alertname", name, "n", fmt.Sprint(n)))
	}
	return all
}

// Alerts beyond the bounds are not acknowledged, counted by their names, and taken in when there
// is room. People hear of it once.
func TestBoundsOfIncidents(t *testing.T) {
	d, pages := bounded(t)
	refused := func(all []remediate.Alert, want int) {
		t.Helper()
		d.now = d.now.Add(time.Minute)
		err := d.Accept(t.Context(), all)
		room, ok := errors.AsType[*inbox.NoRoomError](err)
		if want == 0 && err == nil || ok && room.Refused == want && room.Of == len(all) {
			return
		}
		t.Errorf("got %v, want %d refused", err, want)
	}
	refused(many("A", 0, 3), 0)
	refused(many("A", 0, 5), 2) // three of one alert, and what is known is no new one
	refused(many("B", 0, 4), 2) // five in all
	refused(many("C", 0, 1), 1)
	if n, err := d.Open(t.Context()); n != 5 || err != nil {
		t.Errorf("%d are open, %v", n, err)
	}
	if len(*pages) != 1 || !strings.Contains((*pages)[0].Text, `3 incidents of the alert "A"`) {
		t.Errorf("pages: %+v", *pages)
	}
	d.accept(t, over(at(0), at(1), "alertname", "A", "n", "1"))
	refused(many("A", 0, 5), 1) // one more has room; its end is no reason to open another
	refused(many("C", 0, 1), 1)
	d.accept(t, over(at(0), at(1), "alertname", "B", "n", "0"))
	refused(many("C", 0, 1), 0)
	if err := testutil.CollectAndCompare(d.Inbox, strings.NewReader(`
# HELP upkeep_incidents_open Number of open incidents, of the 50 alerts that have the most; the rest is other.
# TYPE upkeep_incidents_open gauge
upkeep_incidents_open{alertname="A"} 3
upkeep_incidents_open{alertname="B"} 1
upkeep_incidents_open{alertname="C"} 1
# HELP upkeep_inbox_alerts_refused_total Alerts that found no room, since too many incidents are open; each delivery counts, and is answered 503.
# TYPE upkeep_inbox_alerts_refused_total counter
upkeep_inbox_alerts_refused_total{alertname="A"} 3
upkeep_inbox_alerts_refused_total{alertname="B"} 2
upkeep_inbox_alerts_refused_total{alertname="C"} 2
`), "upkeep_incidents_open", "upkeep_inbox_alerts_refused_total"); err != nil {
		t.Error(err)
	}
	d.now = d.now.Add(2 * time.Hour) // that flood is over
	refused(many("D", 0, 1), 1)
	if len(*pages) != 2 || (*pages)[0].Key == (*pages)[1].Key {
		t.Errorf("pages after the second flood: %+v", *pages)
	}
}

// What a listing opens again needs room too, and comes in with a later one.
func TestListingNeedsRoom(t *testing.T) {
	d, _ := bounded(t)
	d.accept(t, many("A", 0, 1)...)
	d.accept(t, over(at(0), at(1), "alertname", "A", "n", "0"))
	d.accept(t, many("A", 1, 4)...)
	list := func(want int) {
		t.Helper()
		d.now = d.now.Add(2 * time.Minute)
		l := inbox.Listing{Source: "alertmanager", Alerts: many("A", 0, 4), Asked: d.now}
		if err := d.Reconcile(t.Context(), l, time.Hour); err != nil {
			t.Fatal(err)
		}
		if n, err := d.Open(t.Context()); n != int64(want) || err != nil {
			t.Errorf("%d are open (%v), want %d", n, err, want)
		}
	}
	list(3)
	d.accept(t, over(at(0), at(2), "alertname", "A", "n", "3"))
	d.has(t, 4, 2)
	list(3)
}

// Names that a sender makes up fill neither the metrics nor the memory.
func TestNamesAreBounded(t *testing.T) {
	d := open(t)
	d.Inbox = inbox.New(inbox.Config{Store: d.store, Limits: inbox.Limits{All: 100}})
	for n := range 200 {
		err := d.Accept(t.Context(), many(fmt.Sprintf("%03d%s", n, strings.Repeat("x", 1000)), 0, 1))
		if _, full := errors.AsType[*inbox.NoRoomError](err); err != nil && !full {
			t.Fatal(err)
		}
	}
	if n := testutil.CollectAndCount(d.Inbox, "upkeep_incidents_open"); n != 51 {
		t.Errorf("%d alerts are counted one by one, want 50 and the rest", n)
	}
	if n := testutil.CollectAndCount(d.Inbox, "upkeep_inbox_alerts_refused_total"); n != 51 {
		t.Errorf("%d refused alerts are counted one by one, want 50 and the rest", n)
	}
}

// A listing with an alert whose labels are too long says so and compares the others; what a version
// before has taken stays open.
func TestWideLabelsInAListing(t *testing.T) {
	d := open(t)
	wide := firing(at(0), "long", strings.Repeat("x", 5000))
	d.accept(t, firing(at(0)))
	if err := d.Accept(t.Context(), []remediate.Alert{wide}); err == nil || !strings.Contains(err.Error(), "5004 bytes") {
		t.Errorf("Accept: %v", err)
	}
	d.exec(t, "update incidents set seen = 1")
	d.now = d.now.Add(time.Hour)
	l := inbox.Listing{Source: "alertmanager", Alerts: []remediate.Alert{wide}, Asked: d.now, Whole: true}
	if err := d.Reconcile(t.Context(), l, time.Minute); err == nil || !strings.Contains(err.Error(), `label "long"`) {
		t.Errorf("Reconcile: %v", err)
	}
	d.has(t, 1, 0)
}

// One sender pushes out only its own dead letters.
func TestDeadLettersOfOneSender(t *testing.T) {
	d := open(t)
	keep := func(remote, why string) {
		t.Helper()
		if err := d.Keep(t.Context(), remediate.DeadLetter{Remote: remote, Source: "grafana", Error: why}); err != nil {
			t.Fatal(err)
		}
	}
	keep("192.0.2.1:1", "mine")
	keep("[2001:db8::1]:1", "mine too")
	for n := range 150 {
		keep(fmt.Sprintf("192.0.2.9:%d", 1000+n), fmt.Sprint("flood ", n))
		keep(fmt.Sprintf("[2001:db8:0:1::%x]:1", n), fmt.Sprint("flood of many addresses ", n))
	}
	all, err := d.DeadLetters(t.Context(), 0, 1000)
	if err != nil || len(all) != 202 || all[201].Error != "mine" || all[200].Error != "mine too" {
		t.Errorf("%d are kept, %v; want 100 of each flood, and what others sent", len(all), err)
	}
	for machine := range 12 { // more than fit
		for n := range 100 {
			keep(fmt.Sprintf("198.51.100.%d:1", machine), fmt.Sprint("flood ", n))
		}
	}
	if all, err = d.DeadLetters(t.Context(), 0, 2000); err != nil || len(all) != 1000 || all[999].Error != "mine" {
		t.Errorf("%d are kept, %v; want a thousand, with what others sent", len(all), err)
	}
	if part, err := d.DeadLetters(t.Context(), all[9].ID, 5); err != nil || len(part) != 5 || part[0].ID != all[10].ID {
		t.Errorf("the part after the tenth: %+v, %v", part, err)
	}
}

// Counts that a former version has not kept are mended by the retention.
func TestCountsAreMended(t *testing.T) {
	d := open(t)
	d.accept(t, many("A", 0, 3)...)
	d.exec(t, "insert into incidents (key, alert, name, opened, seen) values ('k', '{}', 'B', 1, 1)")
	d.exec(t, "update incidents set closed = 5 where id = 1")
	d.exec(t, "update incident_counts set opened = 7 where scope = 'alert'")
	if more, err := d.Prune(t.Context(), at(-1000)); more || err != nil {
		t.Errorf("Prune: %v, %v", more, err)
	}
	if n, err := d.Open(t.Context()); n != 3 || err != nil {
		t.Errorf("%d are open (%v), want 3", n, err)
	}
	if n := d.number(t, "select opened from incident_counts where scope = 'alert' and name = 'A'"); n != 2 {
		t.Errorf("%d of A are open, want 2", n)
	}
}
