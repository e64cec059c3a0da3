package inbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// A fixture is an inbox whose clock the test sets.
type fixture struct {
	*inbox.Inbox
	store *store.Store
	now   time.Time
	woken int
}

// options say where a test keeps its alerts.
func options(t *testing.T) store.Options {
	t.Helper()
	if !strings.HasPrefix(t.Name(), "TestOnPostgres/") {
		return store.Options{Dir: t.TempDir()}
	}
	address, _ := servertest.Database(t)
	return store.Options{Postgres: address}
}

// What an inbox promises it promises on either database.
func TestOnPostgres(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"incidents": TestIncidents, "pairs": TestPairInOneDelivery, "late": TestLateFiringIsBelievedAtLast,
		"flapping": TestFlapping, "hold": TestHold, "undecided": TestUndecided, "anew": TestAnew,
		"hostile labels": TestHostileLabelsComeBackAsTheyWent, "dead letters": TestDeadLetters, "old dead letters": TestOldDeadLettersAreDeleted,
		"metrics":   TestMetrics,
		"reconcile": TestReconcile, "after a rest": TestReconcileAfterARest,
		"what is newer": TestReconcileKnowsWhatIsNewer, "merges": TestReconcileMerges,
		"many":           TestReconcileManyAndAbsence,
		"starts nothing": TestListingStartsNothing, "expire": TestExpire, "over restarts": TestExpireOverRestarts,
		"ahead": TestClockAhead, "no hold-down": TestFlapNever, "reported flapping": TestFlappingWithoutADecision,
		"sent again": TestLetterSentAgain,
	} {
		t.Run(name, test)
	}
}

func open(t *testing.T) *fixture {
	t.Helper()
	return openWith(t, options(t))
}

func openWith(t *testing.T, o store.Options) *fixture {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed by some tests already
	d := &fixture{store: s, now: time.UnixMilli(1_000_000_000_000).UTC()}
	d.Inbox = inbox.New(inbox.Config{Store: s, Sources: []string{"alertmanager", "grafana"},
		Now: func() time.Time { return d.now }, Wake: func() { d.woken++ }, FlapWindow: 10 * time.Minute})
	return d
}

func (d *fixture) accept(t *testing.T, alerts ...remediate.Alert) {
	t.Helper()
	d.now = d.now.Add(time.Second)
	if err := d.Accept(t.Context(), alerts); err != nil {
		t.Fatal(err)
	}
}

func (d *fixture) open(t *testing.T) []remediate.Incident {
	t.Helper()
	all, err := d.Incidents(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// at is when an alert started; two moments are two incidents.
func at(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }

func firing(start time.Time, labels ...string) remediate.Alert {
	a := remediate.Alert{Source: "alertmanager", Firing: true, StartsAt: start,
		Labels: map[string]string{"alertname": "A"}, Annotations: map[string]string{"limit": "1"}}
	for i := 0; i < len(labels); i += 2 {
		a.Labels[labels[i]] = labels[i+1]
	}
	return a
}

func resolved(start time.Time, labels ...string) remediate.Alert {
	a := firing(start, labels...)
	a.Firing = false
	return a
}

// over is an end that says when the incident ended, as Alertmanager does.
func over(start, end time.Time, labels ...string) remediate.Alert {
	a := resolved(start, labels...)
	a.EndsAt = end
	return a
}

func TestIncidents(t *testing.T) {
	type alerts = []remediate.Alert
	for _, test := range []struct {
		name     string
		reported alerts
		opened   int64 // the number of the last incident
		open     int
	}{
		{"one incident", alerts{firing(at(0))}, 1, 1},
		{"delivered repeatedly", alerts{firing(at(0)), firing(at(0)), firing(at(0))}, 1, 1},
		{"delivered by both of a pair", alerts{firing(at(0), "replica", "a"), firing(at(1), "replica", "b"),
			firing(at(0), "prometheus_replica", "c")}, 1, 1},
		{"delivered by Grafana with labels of its own", alerts{firing(at(0)), firing(at(0), "__alert_rule_uid__", "x")},
			1, 1},
		{"two subjects", alerts{firing(at(0), "table", "a"), firing(at(0), "table", "b")}, 2, 2},
		{"over", alerts{firing(at(0)), resolved(at(0))}, 1, 0},
		{"resolved, delivered twice", alerts{firing(at(0)), resolved(at(0)), resolved(at(0))}, 1, 0},
		{"over for both of a pair", alerts{firing(at(0), "replica", "a"), firing(at(0), "replica", "b"),
			over(at(0), at(5), "replica", "a"), firing(at(0), "replica", "b"), over(at(0), at(6), "replica", "b")}, 1,
			0},
		{"a late firing of what is over", alerts{firing(at(0)), resolved(at(0)), firing(at(0))}, 1, 0},
		{"a late firing of what is over, whose start had moved on",
			alerts{firing(at(0)), over(at(0), at(5)), firing(at(3))}, 1, 0},
		{"a late firing of what is over, whose start had moved back",
			alerts{firing(at(3)), over(at(3), at(5)), firing(at(0))}, 1, 0},
		{"a late firing of the incident before the last",
			alerts{firing(at(0)), over(at(0), at(2)), firing(at(5)), over(at(5), at(6)), firing(at(0))}, 2, 0},
		{"a late end of an earlier incident", alerts{firing(at(5)), resolved(at(0))}, 1, 1},
		{"a late end of an earlier incident, which says when", alerts{firing(at(5)), over(at(0), at(4))}, 1, 1},
		{"a late firing and a late end of an earlier incident", alerts{firing(at(5)), firing(at(0)), over(at(0), at(4))},
			1, 1},
		{"a start that moves on, and the end", alerts{firing(at(0)), firing(at(5)), over(at(0), at(9))}, 1, 0},
		{"a start that moves back, and the end", alerts{firing(at(5)), firing(at(0)), over(at(0), at(9))}, 1, 0},
		{"a start that moves both ways", alerts{firing(at(5)), firing(at(0)), firing(at(7)), firing(at(3)),
			over(at(7), at(9)), over(at(0), at(9))}, 1, 0},
		{"a new incident after the end", alerts{firing(at(0)), resolved(at(0)), firing(at(5))}, 2, 1},
		{"a new incident at the moment of the end", alerts{firing(at(0)), over(at(0), at(5)), firing(at(5))}, 2, 1},
		{"the end of nothing", alerts{resolved(at(0))}, 0, 0},
		{"labels that run into each other", alerts{firing(at(0), "a", "b", "c", ""), firing(at(0), "a", "bc")}, 2, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			for _, a := range test.reported {
				d.accept(t, a)
			}
			d.has(t, test.opened, test.open)
		})
	}
}

// has checks how many incidents there were, and how many are open.
func (d *fixture) has(t *testing.T, opened int64, open int) {
	t.Helper()
	if got := d.open(t); len(got) != open {
		t.Errorf("%d incidents are open, want %d: %+v", len(got), open, got)
	}
	if _, err := d.Incident(t.Context(), opened+1); err == nil {
		t.Errorf("there is an incident %d", opened+1)
	}
	if opened > 0 {
		if _, err := d.Incident(t.Context(), opened); err != nil {
			t.Error(err)
		}
	}
}

// What one of a pair sees ended goes on where the other sees it fire.
func TestPairInOneDelivery(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0), "replica", "a"), firing(at(0), "replica", "b"))
	d.accept(t, over(at(0), at(5), "replica", "a"), firing(at(0), "replica", "b"))
	d.has(t, 1, 1)
	d.accept(t, firing(at(0), "replica", "b"), over(at(0), at(5), "replica", "a"))
	d.has(t, 1, 1)
	d.accept(t, over(at(0), at(6), "replica", "b"), over(at(0), at(5), "replica", "a"))
	d.has(t, 1, 0)
}

func TestReplicaLabelsOfOnesOwn(t *testing.T) {
	d := open(t)
	d.Inbox = inbox.New(inbox.Config{Store: d.store, Now: func() time.Time { return d.now },
		ReplicaLabels: []string{"member"}})
	d.accept(t, firing(at(0), "member", "a"))
	d.accept(t, firing(at(0), "member", "b"))
	d.accept(t, firing(at(0), "replica", "b"))
	d.has(t, 2, 2)
}

// A source that keeps sending a resolved alert is believed in the end.
func TestLateFiringIsBelievedAtLast(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0)))
	d.accept(t, over(at(0), at(5)))
	d.now = d.now.Add(8 * time.Minute)
	d.accept(t, firing(at(0)))
	d.has(t, 1, 0)
	d.now = d.now.Add(2 * time.Minute)
	d.accept(t, firing(at(0)))
	d.has(t, 2, 1)
}

// An alert that comes and goes is held down, and longer each time.
func TestFlapping(t *testing.T) {
	d := open(t)
	minute := 0
	for flaps, hold := range []time.Duration{0, 1, 2, 4, 8, 16, 30, 30} {
		d.accept(t, firing(at(minute)))
		e := d.open(t)[0]
		if e.Flaps != flaps {
			t.Errorf("%d flaps, want %d", e.Flaps, flaps)
		}
		var ripe time.Time
		if hold > 0 {
			ripe = d.now.Add(hold * time.Minute)
		}
		if !e.Ripe.Equal(ripe) {
			t.Errorf("after %d flaps ripe at %s, want %s", flaps, e.Ripe, ripe)
		}
		wants := 0
		if hold == 0 {
			wants = 1
		}
		if got := d.undecided(t, "e"); len(got) != wants {
			t.Errorf("after %d flaps %d want a decision at once", flaps, len(got))
		}
		d.now = d.now.Add(hold * time.Minute)
		if got := d.undecided(t, "e"); len(got) != 1 {
			t.Errorf("after %d flaps %d want a decision after the hold-down", flaps, len(got))
		}
		d.accept(t, over(at(minute), at(minute+1)))
		minute += 2
		d.now = d.now.Add(9 * time.Minute)
	}
	d.now = d.now.Add(2 * time.Minute)
	d.accept(t, firing(at(minute)))
	if e := d.open(t)[0]; e.Flaps != 0 || !e.Ripe.IsZero() {
		t.Errorf("what was quiet for long still flaps: %+v", e)
	}
}

func TestHold(t *testing.T) {
	d := open(t)
	d.Inbox = inbox.New(inbox.Config{Store: d.store, Now: func() time.Time { return d.now }, Hold: 90 * time.Second,
		FlapWindow: time.Minute})
	for minute, want := range []struct{ flaps, seconds int }{{0, 90}, {1, 90}, {2, 120}} {
		d.accept(t, firing(at(minute)))
		e := d.open(t)[0]
		if e.Flaps != want.flaps || !e.Ripe.Equal(d.now.Add(time.Duration(want.seconds)*time.Second)) {
			t.Errorf("%d flaps, ripe after %s, want %+v", e.Flaps, e.Ripe.Sub(d.now), want)
		}
		d.accept(t, resolved(at(minute)))
	}
}

func TestUndecided(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0), "n", "1"), firing(at(0), "n", "2"), firing(at(0), "n", "3"), firing(at(0), "n", "4"))
	d.accept(t, resolved(at(0), "n", "4"))
	numbers := func(edition string, limit int) (all []int64) {
		t.Helper()
		incidents, err := d.Undecided(t.Context(), edition, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range incidents {
			all = append(all, e.ID)
		}
		return all
	}
	check := func(what string, got []int64, want ...int64) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("at first", numbers("a", 10), 1, 2, 3)
	check("two at most", numbers("a", 2), 1, 2)
	d.exec(t, "update incidents set settled = 'a' where id = 1") // as the journal does
	check("settled", numbers("a", 10), 2, 3)
	check("other policies", numbers("b", 10), 1, 2, 3)
	for n, s := range remediate.States() {
		d.run(t, 2, s, n)
		if s.Ended() {
			check(string(s), numbers("a", 10), 2, 3)
		} else {
			check(string(s), numbers("a", 10), 3)
		}
		d.exec(t, "delete from runs")
	}
}

// A run that resolved the incident, and an alert that fires anew.
func TestAnew(t *testing.T) {
	d := open(t)
	d.accept(t, firing(d.now))
	resolved := d.now.Add(time.Minute)
	d.run(t, 1, remediate.Resolved, int(resolved.UnixMilli()))
	d.now = resolved.Add(time.Minute)
	d.accept(t, firing(resolved.Add(-time.Second)))
	d.has(t, 1, 1)
	d.accept(t, firing(resolved.Add(time.Second)))
	d.has(t, 2, 1)
	if e := d.open(t)[0]; e.Flaps != 0 || !e.Ripe.IsZero() {
		t.Errorf("what a run had resolved is held down as flapping: %+v", e)
	}
}

// run writes a run of an incident; the journal's own way is not the inbox's business.
func (d *fixture) run(t *testing.T, incident int64, s remediate.State, changed int) {
	t.Helper()
	d.exec(t, "insert into runs (key, request, action, subject, incident, state, why, plan, due, created, changed) "+
		"values ('k', '{}', 'a', 's', ?, ?, '', '{}', 0, 0, ?)", incident, string(s), changed)
}

func (d *fixture) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	err := d.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (d *fixture) undecided(t *testing.T, edition string) []remediate.Incident {
	t.Helper()
	all, err := d.Undecided(t.Context(), edition, 100)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestHostileLabelsComeBackAsTheyWent(t *testing.T) {
	d := open(t)
	a := firing(at(0), "schema", `My "Schema"`, "table", "täble\"; DROP TABLE x; --\\ '\n\t\x01", "long",
		strings.Repeat("ß", 2<<10-2))
	d.accept(t, a)
	got := d.open(t)
	got[0].Alert.Ahead = 0 // the clock of these tests is behind the alerts
	if diff := cmp.Diff([]remediate.Alert{a}, []remediate.Alert{got[0].Alert}); diff != "" {
		t.Error(diff)
	}
}

func TestWakesOnlyWhenSomethingChanged(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0)))
	d.accept(t, firing(at(0)))
	if d.woken != 1 {
		t.Errorf("woken %d times, want once", d.woken)
	}
	d.accept(t, resolved(at(0)))
	if d.woken != 2 {
		t.Errorf("woken %d times, want twice", d.woken)
	}
}
