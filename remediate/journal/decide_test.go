package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// notified returns the keys of the notifications in the outbox.
func (d *fixture) notified(t *testing.T) (keys []string) {
	t.Helper()
	rows, err := d.store.Query(t.Context(), "select key from notifications order by key")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return keys
}

// A decision is written once for each edition of the policies, whichever replica made it:
// one run, one page, one entry; and all decisions of a call are kept or none is.
func TestDecide(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		incidents := []int64{d.incident(t, "acts"), d.incident(t, "pages"), d.incident(t, "waits"), d.incident(t, "left")}
		page := &remediate.Notification{Key: "page/2", Kind: remediate.NotificationPage, At: d.now}
		early := &remediate.Notification{Key: "page/3", Kind: remediate.NotificationPage, At: d.now}
		all := []journal.Decided{
			{Incident: incidents[0], Request: &remediate.Request{Key: "incident/1/1", Action: "a/b",
				Incident: incidents[0]}, Why: "p decides", Case: json.RawMessage(`{"n":1}`)},
			{Incident: incidents[1], Notification: page, Why: "nothing helps", Case: json.RawMessage(`{"n":2}`)},
			{Incident: incidents[2], Notification: early, Wait: d.now.Add(time.Hour), Why: "held",
				Case: json.RawMessage(`{"n":3}`)},
			{Incident: incidents[3], Why: "no policy", Case: json.RawMessage(`{"n":4}`)},
		}
		for n, edition := range []string{"e1", "e1", "e2"} {
			made, err := d.Decide(t.Context(), edition, json.RawMessage(`{"edition":"`+edition+`"}`), all)
			if err != nil || len(made) != 1-min(n, 1) {
				t.Fatalf("decision %d: %d runs, %v", n, len(made), err)
			}
		}
		if got := d.notified(t); !slices.Equal(got, []string{"page/2", "page/3"}) {
			t.Errorf("notified: %v", got)
		}
		var cases []string
		if err := d.Cases(t.Context(), func(_ int64, decided json.RawMessage) error {
			cases = append(cases, string(decided))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		// With the second edition the run is there already, and people were paged: what it decided is
		// written, and no one is paged twice.
		want := []string{`{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`, `{"n":2}`, `{"n":4}`}
		if !slices.Equal(cases, want) {
			t.Errorf("cases %v, want %v", cases, want)
		}
		books, err := d.Books(t.Context())
		if err != nil || len(books) != 2 || string(books["e2"]) != `{"edition":"e2"}` {
			t.Errorf("books %s, %v", books, err)
		}
		stop := errors.New("enough")
		if err := d.Cases(t.Context(), func(int64, json.RawMessage) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("Cases goes on: %v", err)
		}
		before, err := d.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		broken := []journal.Decided{{Incident: incidents[3], Why: "again"},
			{Incident: 99, Request: &remediate.Request{Key: "new", Action: "a/b"}, Case: json.RawMessage(`{`)}}
		if _, err := d.Decide(t.Context(), "e3", json.RawMessage(`{}`), broken); err == nil ||
			!strings.HasPrefix(err.Error(), "incident 99: ") {
			t.Errorf("a case that is no JSON: %v", err)
		}
		if after, err := d.Verify(t.Context()); err != nil || after != before {
			t.Errorf("%+v, %v: a part of the decisions was kept beside %+v", after, err, before)
		}
	})
}

// One process alone takes over what the last one left, and counts how it ended: most where a
// step had gone on for long.
func TestJoinTakesOver(t *testing.T) {
	for _, test := range []struct {
		name        string
		states      []remediate.State
		begun, done int
		worked      time.Duration // since the last entry
		want        int
	}{
		{"before the first step", []remediate.State{remediate.Planned}, 0, 0, time.Hour, 0},
		{"between two steps", []remediate.State{remediate.Planned, remediate.Allowed}, 1, 1, time.Hour, 0},
		{"in a step", []remediate.State{remediate.Planned, remediate.Allowed}, 1, 0, 2 * time.Second, 1},
		{"in a long step", []remediate.State{remediate.Planned, remediate.Allowed}, 1, 0, 10 * time.Second,
			journal.LostLong},
		{"after the last step", []remediate.State{remediate.Planned, remediate.Allowed, remediate.Applied}, 1, 0,
			time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := openStore(t, store.Options{Memory: true})
			alone := func() *journal.Journal {
				j := journal.New(journal.Config{Store: d.store, Lease: time.Minute, Now: func() time.Time { return d.now }})
				if err := j.Join(t.Context()); err != nil {
					t.Fatal(err)
				}
				return j
			}
			first := alone()
			run := create(t, first, "k")
			_, f := claim(t, first, run.ID)
			run.Begun, run.Done = test.begun, test.done
			for _, s := range test.states {
				var err error
				if run, err = appended(t, first, f.Token, run, s); err != nil {
					t.Fatal(err)
				}
			}
			d.now = d.now.Add(test.worked)
			if _, err := first.Beat(t.Context()); err != nil {
				t.Fatal(err)
			}
			second := alone()
			run, next := claim(t, second, run.ID)
			if run.Lost != test.want {
				t.Errorf("lost %d, want %d", run.Lost, test.want)
			}
			if err := f.Held(t.Context()); !errors.Is(err, remediate.ErrFenced) {
				t.Errorf("the first one's fence: %v", err)
			}
			if err := second.Progress(t.Context(), run.ID, next.Token); err != nil {
				t.Fatal(err)
			}
			if err := first.Progress(t.Context(), run.ID, f.Token); !errors.Is(err, remediate.ErrFenced) {
				t.Errorf("the first one's progress: %v", err)
			}
			if run, err := second.Get(t.Context(), run.ID); err != nil || run.Lost != 0 {
				t.Errorf("after progress: lost %d, %v", run.Lost, err)
			}
		})
	}
	j := journal.New(journal.Config{Store: openStore(t, store.Options{Memory: true}).store})
	if err := j.Join(t.Context()); err == nil || err.Error() != "join: the journal has no lease" {
		t.Errorf("without a lease: %v", err)
	}
}

// An answer is kept with what was answered: its amount, its end, and the person; the last one
// holds. What people write is kept as it is, whatever is in it.
func TestAnswersAreKept(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		hostile := "täble \"x\"; drop\n\x1b[31m \u202e"
		run := create(t, d.Journal, hostile)
		_, f := claim(t, d.Journal, run.ID)
		run, err := appended(t, d.Journal, f.Token, run, remediate.Planned)
		if err != nil {
			t.Fatal(err)
		}
		for _, by := range []string{"ann", hostile} {
			run.Plan.Amount = &remediate.Amount{Rows: float64(len(by)), Bytes: 1 << 40}
			if run, err = appended(t, d.Journal, f.Token, run, remediate.AwaitingApproval); err != nil {
				t.Fatal(err)
			}
			if err := d.Approve(t.Context(), run.ID, "", by, "", d.now.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		w, err := d.Working(t.Context(), run)
		if err != nil || w.Approval == nil || w.Approval.By != hostile || !w.Approval.Of(run.Plan) ||
			*w.Approval.Amount != *run.Plan.Amount || !w.Approval.At.Equal(d.now) {
			t.Errorf("Working: %+v, %v", w.Approval, err)
		}
		other := run.Plan
		other.Steps = []remediate.Step{{Do: "another"}}
		if w.Approval != nil && w.Approval.Of(other) {
			t.Error("the approval is of another plan too")
		}
		if err := d.Reject(t.Context(), run.ID, "", "bob", hostile); err != nil {
			t.Fatal(err)
		}
		var late *journal.StaleError
		for what, err := range map[string]error{
			"approve": d.Approve(t.Context(), run.ID, "", "ann", "", d.now), "reject": d.Reject(t.Context(), run.ID, "", "a", "b"),
		} {
			if want := fmt.Sprintf("run %d was answered already: bob: %s", run.ID, hostile); !errors.As(err, &late) ||
				err.Error() != want {
				t.Errorf("%s after the rejection: %v, want %q", what, err, want)
			}
		}
		if err := d.Cancel(t.Context(), run.ID, "ann", "too"); err != nil {
			t.Errorf("to cancel what was rejected: %v, want that once is enough", err)
		}
		if n, err := d.Verify(t.Context()); n.Entries != 7 || err != nil {
			t.Errorf("Verify: %+v %v", n, err)
		}
	})
}

// A change that is not written leaves nothing behind: neither the run, nor an entry, nor a
// notification.
func TestAppendIsAllOrNothing(t *testing.T) {
	d := openStore(t, store.Options{Memory: true})
	run, f := claim(t, d.Journal, create(t, d.Journal, "k").ID)
	next := run
	next.State = remediate.Planned
	change := journal.Change{Run: next, Fence: f.Token,
		Entry:        remediate.Entry{Run: run.ID, At: d.now, From: run.State, To: next.State},
		Notification: &remediate.Notification{Key: "n", At: d.now}}
	for _, test := range []struct {
		before  bool // the commit
		state   remediate.State
		entries int64
		said    int // notifications
	}{{true, remediate.Received, 1, 0}, {false, remediate.Planned, 2, 1}} {
		d.store.Intercept(func(before bool) error {
			if before == test.before {
				return errors.New("the disk is full")
			}
			return nil
		})
		if err := d.Append(t.Context(), change); err == nil {
			t.Fatal("the store has failed, and Append returns nil")
		}
		d.store.Intercept(nil)
		n, err := d.Verify(t.Context())
		got, errRun := d.Get(t.Context(), run.ID)
		if said := d.notified(t); err != nil || errRun != nil || n.Entries != test.entries || got.State != test.state ||
			len(said) != test.said {
			t.Errorf("%+v: %+v, the run is %s, notified %v, %v %v", test, n, got.State, said, err, errRun)
		}
	}
	if err := d.Append(t.Context(), change); err == nil || !strings.Contains(err.Error(), "is no longer received") {
		t.Errorf("the same once more: %v", err)
	}
}
