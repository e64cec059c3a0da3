package journal_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// waiting makes a run of a policy and an action that waits an hour for a reason.
func (d *fixture) waiting(t *testing.T, r remediate.Request, reason, exclusive string) remediate.Run {
	t.Helper()
	run, made, err := d.Create(t.Context(), r, "why")
	if err != nil || !made {
		t.Fatalf("Create: %v %v", made, err)
	}
	run, f := claim(t, d.Journal, run.ID)
	from := run.State
	run.State, run.Reason, run.Due = remediate.Waiting, reason, d.now.Add(time.Hour)
	if err := d.Append(t.Context(), journal.Change{Run: run, Fence: f.Token, Leave: true, Exclusive: exclusive,
		Entry: remediate.Entry{Run: run.ID, At: d.now, From: from, To: run.State, Reason: reason}}); err != nil {
		t.Fatal(err)
	}
	return run
}

// dueNow returns the keys of the runs that are to be looked at, in order.
func (d *fixture) dueNow(t *testing.T) (keys []string) {
	t.Helper()
	runs, err := d.Due(t.Context(), 99)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		keys = append(keys, r.Request.Key)
	}
	return keys
}

// The end of a run that acted wakes a few of those that wait for what it held, the oldest
// first, and no other; a run that did not act wakes none.
func TestWhatTheEndWakes(t *testing.T) {
	acts := remediate.Request{Key: "acts", Action: "a/b", Policy: "p", Subject: map[string]string{"server": "s"}}
	request := func(policy, action, server string) remediate.Request {
		return remediate.Request{Policy: policy, Action: action, Subject: map[string]string{"server": server}}
	}
	for _, test := range []struct {
		name, reason, exclusive string
		request                 remediate.Request
		want                    int // of nine that wait
	}{
		{"the same object", remediate.ReasonBusy, "x", request("q", "c/d", "s"), 2},
		{"another object", remediate.ReasonBusy, "y", request("p", "a/b", "s"), 0},
		{"the limit of the server", remediate.ReasonLimit, "y", request("q", "c/d", "s"), 4},
		{"the limit of all", remediate.ReasonLimit, "y", request("q", "c/d", "other"), 4},
		{"the budget of its policy", remediate.ReasonBudget, "y", request("p", "c/d", "other"), 8},
		{"the budget of its action", remediate.ReasonBudget, "y", request("q", "a/b", "other"), 8},
		{"the budget of another", remediate.ReasonBudget, "y", request("q", "c/d", "s"), 0},
		{"a pause", remediate.ReasonPause, "x", request("p", "a/b", "s"), 0},
	} {
		for _, acted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, acted %v", test.name, acted), func(t *testing.T) {
				d := openStore(t, store.Options{Memory: true})
				run, made, err := d.Create(t.Context(), acts, "why")
				if err != nil || !made {
					t.Fatalf("Create: %v %v", made, err)
				}
				run, f := claim(t, d.Journal, run.ID)
				ways := []remediate.State{remediate.Planned, remediate.StateRefused}
				want := 0
				if acted {
					ways, want = []remediate.State{remediate.Planned, remediate.Allowed, remediate.Failed}, test.want
				}
				for i, to := range ways {
					if i == len(ways)-1 {
						for n := range 9 {
							r := test.request
							r.Key = fmt.Sprint(n)
							d.waiting(t, r, test.reason, test.exclusive)
						}
					}
					if run, err = appended(t, d.Journal, f.Token, run, to); err != nil {
						t.Fatal(err)
					}
				}
				keys := d.dueNow(t)
				if len(keys) != want {
					t.Fatalf("%v are due, want %d of them", keys, want)
				}
				for n, key := range keys {
					if key != fmt.Sprint(n) {
						t.Errorf("%v are due, want the oldest", keys)
					}
				}
			})
		}
	}
}

// The end of a pause makes those due that wait for it, and none that waits for something else.
func TestTheEndOfAPauseWakes(t *testing.T) {
	d := openStore(t, store.Options{Memory: true})
	for _, reason := range []string{remediate.ReasonPause, remediate.ReasonBusy} {
		d.waiting(t, remediate.Request{Key: reason, Action: "a/b"}, reason, reason)
	}
	if err := d.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "move", By: "ann"}); err != nil {
		t.Fatal(err)
	}
	if was, err := d.EndPause(t.Context(), "all", "ann", ""); !was || err != nil {
		t.Fatalf("EndPause: %v %v", was, err)
	}
	if keys := d.dueNow(t); len(keys) != 1 || keys[0] != remediate.ReasonPause {
		t.Errorf("%v are due", keys)
	}
}

// A run that is put off is free and stays as it is; one that was made due while it was
// looked at stays due, and nothing is written under an old fence.
func TestPostpone(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		d.waiting(t, remediate.Request{Key: "k", Action: "a/b"}, remediate.ReasonPause, "")
		d.now = d.now.Add(time.Hour)
		run, first := claim(t, d.Journal, 1)
		if err := d.Postpone(t.Context(), run, first.Token, d.now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if keys := d.dueNow(t); len(keys) != 0 {
			t.Errorf("put off, these are ready: %v", keys)
		}
		d.now = d.now.Add(time.Hour)
		run, second := claim(t, d.Journal, 1)
		if err := d.Postpone(t.Context(), run, first.Token, d.now); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("under an old fence: %v", err)
		}
		d.now = d.now.Add(time.Second)
		if err := d.Cancel(t.Context(), 1, "ann", "no"); err != nil {
			t.Fatal(err)
		}
		if err := d.Postpone(t.Context(), run, second.Token, d.now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if keys := d.dueNow(t); len(keys) != 1 {
			t.Error("it was cancelled while it was looked at, and is looked at in an hour")
		}
		if n, err := d.Verify(t.Context()); n.Entries != 3 || err != nil {
			t.Errorf("Verify: %+v %v: to put off is no entry", n, err)
		}
	})
}

// A run is left to a time; where a person has stopped it or its incident is over, it is
// looked at at once, but for one whose steps are all done.
func TestWhatIsLeftIsUrged(t *testing.T) {
	for _, test := range []struct {
		to             remediate.State
		cancel, closed bool
		want           bool
	}{
		{remediate.Waiting, false, false, false},
		{remediate.Waiting, true, false, true},
		{remediate.Waiting, false, true, true},
		{remediate.AwaitingApproval, true, false, true},
		{remediate.AwaitingApproval, false, true, true},
		{remediate.Allowed, true, false, true},
		{remediate.Allowed, false, true, false}, // what is begun is not stopped by an alert that has gone
		{remediate.Applied, true, true, false},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			d := openStore(t, store.Options{Memory: true})
			incident := d.incident(t, "k")
			run, _, err := d.Create(t.Context(), remediate.Request{Key: "k", Action: "a/b", Incident: incident}, "why")
			if err != nil {
				t.Fatal(err)
			}
			_, f := claim(t, d.Journal, run.ID)
			for _, s := range []remediate.State{remediate.Planned, remediate.Allowed} {
				if run, err = appended(t, d.Journal, f.Token, run, s); err != nil {
					t.Fatal(err)
				}
			}
			if test.cancel {
				if err := d.Cancel(t.Context(), run.ID, "ann", "no"); err != nil {
					t.Fatal(err)
				}
			}
			if test.closed {
				d.sql(t, "update incidents set closed = 1")
			}
			next := run
			next.State, next.Due = test.to, d.now.Add(time.Hour)
			if err := d.Append(t.Context(), journal.Change{Run: next, Fence: f.Token, Leave: true,
				Entry: remediate.Entry{Run: run.ID, At: d.now, From: run.State, To: test.to}}); err != nil {
				t.Fatal(err)
			}
			if due := d.dueNow(t); (len(due) == 1) != test.want {
				t.Errorf("due now: %v, want %v", due, test.want)
			}
		})
	}
}

// incident opens one, as the inbox does.
func (d *fixture) incident(t *testing.T, key string) (id int64) {
	t.Helper()
	err := d.store.Write(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow("insert into incidents (key, alert, opened, seen) values (?, '{}', 1, 1) returning id",
			key).Scan(&id)
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (d *fixture) sql(t *testing.T, query string, args ...any) {
	t.Helper()
	if err := d.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// Hurry makes those due that wait and are affected; what acts, has ended or is owned is not
// even asked about.
func TestHurry(t *testing.T) {
	d := openStore(t, store.Options{Memory: true})
	for _, key := range []string{"one", "two", "owned"} {
		d.waiting(t, remediate.Request{Key: key, Action: "a/b"}, remediate.ReasonPause, "")
	}
	d.sql(t, "update runs set owner = 99 where key = 'owned'")
	walk(t, d.Journal, create(t, d.Journal, "ended"), remediate.StateRefused)
	acts := create(t, d.Journal, "acts")
	acts.Due = d.now.Add(time.Hour)
	walk(t, d.Journal, acts, remediate.Planned, remediate.Allowed)
	var asked []string
	if err := d.Hurry(t.Context(), func(r remediate.Run) bool {
		asked = append(asked, r.Request.Key)
		return r.Request.Key == "two"
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(asked) != "[one two]" {
		t.Errorf("asked about %v", asked)
	}
	if keys := d.dueNow(t); fmt.Sprint(keys) != "[two]" {
		t.Errorf("%v are due", keys)
	}
}

// Unmoved are the runs that have not ended, were to be looked at, and were not: the
// longest first, at most n.
func TestUnmoved(t *testing.T) {
	d := openStore(t, store.Options{Memory: true})
	for _, key := range []string{"first", "second", "third"} {
		create(t, d.Journal, key)
		d.now = d.now.Add(time.Minute)
	}
	d.waiting(t, remediate.Request{Key: "waits", Action: "a/b"}, remediate.ReasonPause, "")
	walk(t, d.Journal, create(t, d.Journal, "ended"), remediate.StateRefused)
	d.now = d.now.Add(time.Minute)
	for _, test := range []struct {
		since time.Duration // before now
		n     int
		want  string
	}{{0, 9, "[first second third]"}, {0, 2, "[first second]"}, {2*time.Minute + time.Second, 9, "[first second]"},
		{time.Hour, 9, "[]"}} {
		runs, err := d.Unmoved(t.Context(), d.now.Add(-test.since), test.n)
		var keys []string
		for _, r := range runs {
			keys = append(keys, r.Request.Key)
		}
		if err != nil || fmt.Sprint(keys) != test.want {
			t.Errorf("since %s before, %d at most: %v %v, want %s", test.since, test.n, keys, err, test.want)
		}
	}
}
