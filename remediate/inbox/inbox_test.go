package inbox_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// A desk is an inbox whose clock the test sets.
type desk struct {
	*inbox.Inbox
	now   time.Time
	woken int
}

func open(t *testing.T) *desk { return openAt(t, t.TempDir()) }

func openAt(t *testing.T, dir string) *desk {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed by some tests already
	d := &desk{now: time.UnixMilli(1_000_000_000_000).UTC()}
	d.Inbox = inbox.New(inbox.Config{Store: s, Now: func() time.Time { return d.now }, Wake: func() { d.woken++ }})
	return d
}

func (d *desk) accept(t *testing.T, alerts ...remediate.Alert) {
	t.Helper()
	d.now = d.now.Add(time.Second)
	if err := d.Accept(t.Context(), alerts); err != nil {
		t.Fatal(err)
	}
}

func (d *desk) open(t *testing.T) []remediate.Episode {
	t.Helper()
	all, err := d.Episodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// at is when an alert started; two moments are two troubles.
func at(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }

func firing(start time.Time, labels ...string) remediate.Alert {
	a := remediate.Alert{Source: "alertmanager", Firing: true, StartsAt: start, Labels: map[string]string{"alertname": "A"}, Annotations: map[string]string{"limit": "1"}}
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

func TestEpisodes(t *testing.T) {
	for _, test := range []struct {
		name   string
		told   []remediate.Alert
		opened int64 // the number of the last episode
		open   int
	}{
		{"one trouble", []remediate.Alert{firing(at(0))}, 1, 1},
		{"told again and again", []remediate.Alert{firing(at(0)), firing(at(0)), firing(at(0))}, 1, 1},
		{"told by both of a pair", []remediate.Alert{firing(at(0), "replica", "a"), firing(at(1), "replica", "b"), firing(at(0), "prometheus_replica", "c")}, 1, 1},
		{"two subjects", []remediate.Alert{firing(at(0), "table", "a"), firing(at(0), "table", "b")}, 2, 2},
		{"over", []remediate.Alert{firing(at(0)), resolved(at(0))}, 1, 0},
		{"over, told twice", []remediate.Alert{firing(at(0)), resolved(at(0)), resolved(at(0))}, 1, 0},
		{"a late firing of what is over", []remediate.Alert{firing(at(0)), resolved(at(0)), firing(at(0))}, 1, 0},
		{"a late end of an earlier trouble", []remediate.Alert{firing(at(5)), resolved(at(0))}, 1, 1},
		{"a new trouble after the end", []remediate.Alert{firing(at(0)), resolved(at(0)), firing(at(5))}, 2, 1},
		{"the end of nothing", []remediate.Alert{resolved(at(0))}, 0, 0},
		{"labels that run into each other", []remediate.Alert{firing(at(0), "a", "b", "c", ""), firing(at(0), "a", "bc")}, 2, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			for _, a := range test.told {
				d.accept(t, a)
			}
			got := d.open(t)
			if len(got) != test.open {
				t.Errorf("%d episodes are open, want %d: %+v", len(got), test.open, got)
			}
			if _, err := d.Episode(t.Context(), test.opened+1); err == nil {
				t.Errorf("there is an episode %d", test.opened+1)
			}
			if test.opened > 0 {
				if _, err := d.Episode(t.Context(), test.opened); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestHostileLabelsComeBackAsTheyWent(t *testing.T) {
	dir := t.TempDir()
	d := openAt(t, dir)
	a := firing(at(0), "schema", `My "Schema"`, "table", "täble\"; DROP TABLE x; --\\ '\n\t\x01", "long", strings.Repeat("ß", 64<<10))
	d.accept(t, a)
	got := d.open(t)
	if diff := cmp.Diff([]remediate.Alert{a}, []remediate.Alert{got[0].Alert}); diff != "" {
		t.Error(diff)
	}
}

// All of a delivery or nothing of it.
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

func TestReconcile(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0), "n", "stays"), firing(at(0), "n", "goes"))
	other := firing(at(0), "n", "of another source")
	other.Source = "elsewhere"
	d.accept(t, other)
	reconcile := func(after time.Duration, alerts ...remediate.Alert) {
		t.Helper()
		d.now = d.now.Add(after)
		if err := d.Reconcile(t.Context(), "alertmanager", alerts, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	names := func() (all []string) {
		for _, e := range d.open(t) {
			all = append(all, e.Alert.Labels["n"])
		}
		return all
	}
	silenced := firing(at(0), "n", "silenced")
	silenced.Firing = false
	reconcile(time.Minute, firing(at(0), "n", "stays"), firing(at(0), "n", "missed"), silenced)
	if diff := cmp.Diff([]string{"stays", "goes", "of another source", "missed"}, names()); diff != "" {
		t.Error(diff)
	}
	reconcile(3*time.Minute, firing(at(0), "n", "stays"), firing(at(0), "n", "missed"))
	if diff := cmp.Diff([]string{"stays", "goes", "of another source", "missed"}, names()); diff != "" {
		t.Errorf("closed too early: %s", diff)
	}
	reconcile(2*time.Minute, firing(at(0), "n", "stays"))
	if diff := cmp.Diff([]string{"stays", "of another source", "missed"}, names()); diff != "" {
		t.Error(diff)
	}
	silencedNow := firing(at(0), "n", "stays")
	silencedNow.Firing = false
	reconcile(10*time.Minute, silencedNow)
	if diff := cmp.Diff([]string{"stays", "of another source"}, names()); diff != "" {
		t.Errorf("a silence closes nothing: %s", diff)
	}
}

// Time during which nobody listened is no absence.
func TestReconcileAfterARest(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	now := at(0)
	clock := func() time.Time { return now }
	if err := inbox.New(inbox.Config{Store: s, Now: clock}).Accept(t.Context(), []remediate.Alert{firing(at(0))}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(24 * time.Hour)
	i := inbox.New(inbox.Config{Store: s, Now: clock})
	t.Cleanup(func() { _ = s.Close() }) // read only from here
	for _, step := range []struct {
		after time.Duration
		open  int
	}{{time.Minute, 1}, {5 * time.Minute, 0}} {
		now = now.Add(step.after)
		if err := i.Reconcile(t.Context(), "alertmanager", nil, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		if open, err := i.Episodes(t.Context()); len(open) != step.open || err != nil {
			t.Errorf("after %s %d are open, want %d (%v)", step.after, len(open), step.open, err)
		}
	}
}

func TestWatchAsksForOurAlertsOnly(t *testing.T) {
	d := open(t)
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + " " + r.URL.Query().Get("receiver")
		_ = json.NewEncoder(w).Encode([]map[string]any{{
			"labels": map[string]string{"alertname": "Missed"}, "annotations": map[string]string{}, "startsAt": at(0), "status": map[string]any{"state": "active"},
		}})
	}))
	t.Cleanup(server.Close)
	hurry := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- d.Watch(t.Context(), inbox.Alertmanager{URL: server.URL + "/", Receiver: "up.keep", Source: "alertmanager", Every: time.Hour, Absent: time.Minute, Hurry: hurry, Logger: slog.New(slog.DiscardHandler)})
	}()
	if got := <-asked; got != `/api/v2/alerts up\.keep` {
		t.Errorf("asked %q", got)
	}
	hurry <- struct{}{}
	<-asked
	hurry <- struct{}{} // taken only when the second answer is in the inbox
	if open := d.open(t); len(open) != 1 || open[0].Name() != "Missed" {
		t.Errorf("open: %+v", open)
	}
}
