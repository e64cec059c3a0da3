package inbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

func TestReconcile(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0), "n", "stays"), firing(at(0), "n", "goes"))
	other := firing(at(0), "n", "of another source")
	other.Source = "elsewhere"
	d.accept(t, other)
	reconcile := func(after time.Duration, alerts ...remediate.Alert) {
		t.Helper()
		d.now = d.now.Add(after)
		if err := d.Reconcile(t.Context(), inbox.Listing{Source: "alertmanager", Alerts: alerts, Asked: d.now,
			Whole: true}, 5*time.Minute); err != nil {
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
	reconcile(time.Minute, firing(at(0), "n", "stays"), firing(at(0), "n", "never delivered"), silenced)
	if diff := cmp.Diff([]string{"stays", "goes", "of another source"}, names()); diff != "" {
		t.Error(diff)
	}
	reconcile(3*time.Minute, firing(at(0), "n", "stays"))
	if diff := cmp.Diff([]string{"stays", "goes", "of another source"}, names()); diff != "" {
		t.Errorf("closed too early: %s", diff)
	}
	reconcile(2*time.Minute, firing(at(0), "n", "stays"))
	if diff := cmp.Diff([]string{"stays", "of another source"}, names()); diff != "" {
		t.Error(diff)
	}
	silencedNow := firing(at(0), "n", "stays")
	silencedNow.Firing = false
	reconcile(10*time.Minute, silencedNow)
	if diff := cmp.Diff([]string{"stays", "of another source"}, names()); diff != "" {
		t.Errorf("a silence closes nothing: %s", diff)
	}
}

// Time without a listener is not an absence.
func TestReconcileAfterARest(t *testing.T) {
	s, err := store.Open(t.Context(), options(t))
	if err != nil {
		t.Fatal(err)
	}
	now := at(0)
	clock := func() time.Time { return now }
	if err := inbox.New(inbox.Config{Store: s, Now: clock}).Accept(t.Context(),
		[]remediate.Alert{firing(at(0))}); err != nil {
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
		if err := i.Reconcile(t.Context(), inbox.Listing{Source: "alertmanager", Asked: now, Whole: true},
			5*time.Minute); err != nil {
			t.Fatal(err)
		}
		if open, err := i.Incidents(t.Context(), 0, 1<<20); len(open) != step.open || err != nil {
			t.Errorf("after %s %d are open, want %d (%v)", step.after, len(open), step.open, err)
		}
	}
}

func TestWatchAsksForOurAlertsOnly(t *testing.T) {
	d := open(t)
	d.accept(t, remediate.Alert{Source: "alertmanager", Firing: true, StartsAt: at(0),
		Labels: map[string]string{"alertname": "Confirmed"}})
	seen := d.now
	d.now = d.now.Add(time.Hour)
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + " " + r.URL.Query().Get("receiver")
		_ = json.NewEncoder(w).Encode([]map[string]any{{
			"labels": map[string]string{"alertname": "Confirmed"}, "annotations": map[string]string{},
			"startsAt": at(0), "status": map[string]any{"state": "active"},
		}})
	}))
	t.Cleanup(server.Close)
	hurry := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- d.Watch(t.Context(), inbox.Alertmanager{URLs: []string{server.URL + "/"}, Receiver: "up.keep",
			Source: "alertmanager", Every: time.Hour, Absent: time.Minute, Hurry: hurry,
			Logger: slog.New(slog.DiscardHandler)})
	}()
	if got := <-asked; got != `/api/v2/alerts up\.keep` {
		t.Errorf("asked %q", got)
	}
	hurry <- struct{}{}
	<-asked
	hurry <- struct{}{} // taken only when the second answer is in the inbox
	if open := d.open(t); len(open) != 1 || !open[0].Seen.After(seen) {
		t.Errorf("open: %+v", open)
	}
}

// An answer that is no list ends nothing: it is not an empty list.
func TestWatchTakesNoAnswerForAnEmptyList(t *testing.T) {
	for _, body := range []string{"", "null", "[", `[null]`, "{}", "<html>", `[{"labels":{"alertname":"A"`, "[] []"} {
		d := open(t)
		d.accept(t, firing(at(0)))
		d.now = d.now.Add(time.Hour)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body)
		}))
		hurry := make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		var done sync.WaitGroup
		var log strings.Builder
		done.Go(func() {
			am := inbox.Alertmanager{URLs: []string{server.URL}, Source: "alertmanager", Every: time.Hour,
				Absent: -time.Hour, Hurry: hurry, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			if err := d.Watch(ctx, am); err != nil {
				t.Error(err)
			}
		})
		hurry <- struct{}{}
		hurry <- struct{}{} // taken only when what came of the second answer is in the inbox
		d.has(t, 1, 1)
		stop()
		done.Wait()
		server.Close()
		if !strings.Contains(log.String(), "not Alertmanager's JSON") {
			t.Errorf("%q: the log says %s", body, &log)
		}
	}
}

// A listing is redirected by a proxy that wants another address, and followed.
func TestWatchFollows(t *testing.T) {
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v2/alerts" {
			http.Redirect(w, r, "/am"+r.URL.Path+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
			return
		}
		asked <- r.URL.Path + " " + r.URL.Query().Get("silenced")
		fmt.Fprint(w, "[]")
	}))
	t.Cleanup(server.Close)
	d := open(t)
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		_ = d.Watch(ctx, inbox.Alertmanager{URLs: []string{server.URL}, Source: "alertmanager", Every: time.Hour,
			Logger: slog.New(slog.DiscardHandler)})
	})
	if got := <-asked; got != "/am/api/v2/alerts true" {
		t.Errorf("asked %q", got)
	}
	stop()
	done.Wait()
}

// A delivery after the request for the list is newer than the list.
func TestReconcileKnowsWhatIsNewer(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0), "n", "over since"), firing(at(0), "n", "over before"))
	d.accept(t, over(at(0), at(5), "n", "over before"))
	asked := d.now.Add(time.Second)
	d.accept(t, over(at(0), at(5), "n", "over since"))
	d.now = d.now.Add(10 * time.Second)
	list := inbox.Listing{Source: "alertmanager", Asked: asked, Whole: true,
		Alerts: []remediate.Alert{firing(at(0), "n", "over since"), firing(at(0), "n", "over before")}}
	for _, step := range []struct {
		after        time.Duration
		opened, open int
	}{{0, 2, 0}, {59 * time.Second, 3, 1}, {2 * time.Second, 4, 2}} {
		list.Asked = list.Asked.Add(step.after)
		d.now = d.now.Add(step.after)
		if err := d.Reconcile(t.Context(), list, time.Minute); err != nil {
			t.Fatal(err)
		}
		d.has(t, int64(step.opened), step.open)
	}
}

// A peer of a pair that is silenced does not hide the one that fires.
func TestReconcileMerges(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0)))
	silenced := resolved(at(1))
	list := inbox.Listing{Source: "alertmanager", Asked: d.now,
		Alerts: []remediate.Alert{silenced, firing(at(0)), silenced}}
	if err := d.Reconcile(t.Context(), list, time.Minute); err != nil {
		t.Fatal(err)
	}
	d.has(t, 1, 1)
	if e := d.open(t)[0]; !e.Alert.Firing {
		t.Errorf("%+v", e)
	}
}

// What Alertmanager mutes, or holds until the rest of its group is there, looks as if it
// fired in a listing; it was not delivered, and nothing begins for it. What was delivered
// and has ended wrongly is open again.
func TestListingStartsNothing(t *testing.T) {
	d := open(t)
	d.accept(t, firing(at(0), "n", "ended by a peer that was behind"), firing(at(0), "n", "missing for a while"),
		firing(at(0), "n", "over"))
	d.accept(t, over(at(0), at(5), "n", "ended by a peer that was behind"), over(at(0), at(5), "n", "over"))
	list := func(after time.Duration, alerts ...remediate.Alert) (names []string) {
		t.Helper()
		d.now = d.now.Add(after)
		if err := d.Reconcile(t.Context(), inbox.Listing{Source: "alertmanager", Alerts: alerts, Asked: d.now,
			Whole: true}, 5*time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, e := range d.open(t) {
			names = append(names, e.Alert.Labels["n"])
		}
		return names
	}
	if got := list(6 * time.Minute); len(got) != 0 {
		t.Errorf("open: %q", got)
	}
	all := []remediate.Alert{
		firing(at(0), "n", "ended by a peer that was behind"), firing(at(0), "n", "missing for a while"),
		firing(at(6), "n", "over"), firing(at(0), "n", "muted"),
	}
	for range 3 {
		if diff := cmp.Diff([]string{"ended by a peer that was behind", "missing for a while"},
			list(time.Minute, all...)); diff != "" {
			t.Error(diff)
		}
	}
}

// More alerts than go into one write, and an absence that is only believed when
// the listing is whole.
func TestReconcileManyAndAbsence(t *testing.T) {
	d := open(t)
	var all []remediate.Alert
	for n := range 250 {
		all = append(all, firing(at(0), "n", strconv.Itoa(n)))
	}
	d.accept(t, all...)
	list := inbox.Listing{Source: "alertmanager", Asked: d.now, Alerts: all, Whole: true}
	if err := d.Reconcile(t.Context(), list, time.Minute); err != nil {
		t.Fatal(err)
	}
	d.has(t, 250, 250)
	d.now = d.now.Add(2 * time.Minute)
	list = inbox.Listing{Source: "alertmanager", Asked: d.now, Alerts: all[:100]}
	if err := d.Reconcile(t.Context(), list, time.Minute); err != nil {
		t.Fatal(err)
	}
	d.has(t, 250, 250)
	list.Whole = true
	if err := d.Reconcile(t.Context(), list, time.Minute); err != nil {
		t.Fatal(err)
	}
	d.has(t, 250, 100)
	if d.woken != 2 {
		t.Errorf("woken %d times, want when they opened and when they closed", d.woken)
	}
}

// Of several peers, one that holds an alert is enough for it to be there, and one
// that does not answer is enough not to know that it is gone.
func TestWatchPeers(t *testing.T) {
	d := open(t)
	for _, n := range []string{"gone", "one", "two", "three"} {
		d.accept(t, firing(at(0), "n", n))
	}
	d.now = d.now.Add(time.Hour)
	var broken atomic.Bool
	broken.Store(true)
	peer := func(fails bool, names ...string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if fails && broken.Load() {
				http.Error(w, "not now", http.StatusInternalServerError)
				return
			}
			list := []map[string]any{}
			for _, n := range names {
				list = append(list, map[string]any{"labels": map[string]string{"alertname": "A", "n": n},
					"startsAt": at(0), "status": map[string]any{"state": "active"},
					"generatorURL": "http://p/graph?g0.expr=up+%3D%3D+0"})
			}
			_ = json.NewEncoder(w).Encode(list)
		}))
		t.Cleanup(server.Close)
		return strings.Replace(server.URL, "http://", "http://ann:secret@", 1)
	}
	var log strings.Builder
	hurry := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		am := inbox.Alertmanager{URLs: []string{peer(false, "one"), peer(true, "two"), peer(false, "one", "three")},
			Source: "alertmanager", Every: time.Hour, Absent: -time.Hour, Hurry: hurry,
			Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if err := d.Watch(ctx, am); err != nil {
			t.Error(err)
		}
	})
	names := func() (all []string) {
		for _, e := range d.open(t) {
			all = append(all, e.Alert.Labels["n"]+" "+e.Alert.Expr)
		}
		return all
	}
	hurry <- struct{}{} // taken only when the first answer is in the inbox
	if diff := cmp.Diff([]string{"gone ", "one up == 0", "two ", "three up == 0"}, names()); diff != "" {
		t.Error(diff)
	}
	hurry <- struct{}{}
	broken.Store(false)
	hurry <- struct{}{}
	hurry <- struct{}{}
	if diff := cmp.Diff([]string{"one up == 0", "two up == 0", "three up == 0"}, names()); diff != "" {
		t.Error(diff)
	}
	stop()
	done.Wait()
	if said := log.String(); !strings.Contains(said, "status 500: not now") ||
		!strings.Contains(said, "reconciles with alertmanager again") || strings.Contains(said, "secret") {
		t.Errorf("the log says %s", said)
	}
}
