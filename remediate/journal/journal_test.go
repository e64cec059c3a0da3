package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A fixture is a journal with its store and a clock that the test sets.
type fixture struct {
	*journal.Journal
	store *store.Store
	now   time.Time
}

// both runs a test on each database.
func both(t *testing.T, test func(t *testing.T, open func() *fixture)) {
	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		test(t, func() *fixture { return openStore(t, store.Options{Dir: dir}) })
	})
	t.Run("postgres", func(t *testing.T) {
		url, _ := servertest.Database(t)
		test(t, func() *fixture { return openStore(t, store.Options{Postgres: url}) })
	})
}

func openStore(t *testing.T, o store.Options) *fixture {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests have closed it
	d := &fixture{store: s, now: time.UnixMilli(1_700_000_000_000).UTC()}
	d.Journal = d.another("this")
	return d
}

// another returns the journal of another process on the same store, which has joined.
func (d *fixture) another(name string) *journal.Journal {
	j := journal.New(journal.Config{Store: d.store, Name: name, Lease: time.Minute, Shared: true,
		Now: func() time.Time { return d.now }})
	if err := j.Join(context.Background()); err != nil {
		panic(err)
	}
	return j
}

func open(t *testing.T) *fixture { return openStore(t, store.Options{Dir: t.TempDir()}) }

// claim gives a journal the right to carry a run.
func claim(t *testing.T, j *journal.Journal, run int64) (remediate.Run, remediate.Fence) {
	t.Helper()
	r, f, ok, err := j.Claim(t.Context(), run)
	if err != nil || !ok {
		t.Fatalf("Claim: %v %v", ok, err)
	}
	return r, f
}

func create(t *testing.T, j *journal.Journal, key string) remediate.Run {
	t.Helper()
	run, made, err := j.Create(t.Context(), remediate.Request{Key: key, Action: "a/b",
		Subject: map[string]string{"server": "s"}, Mode: remediate.Auto}, "why")
	if err != nil || !made {
		t.Fatalf("Create: %v %v", made, err)
	}
	return run
}

func appended(t *testing.T, j *journal.Journal, fence int64, run remediate.Run, to remediate.State) (remediate.Run,
	error) {
	t.Helper()
	next := run
	next.State, next.Why, next.Changed = to, "to "+string(to), time.UnixMilli(1_700_000_000_000).UTC()
	err := j.Append(t.Context(), journal.Change{Run: next, Fence: fence, Exclusive: "x",
		Entry: remediate.Entry{Run: run.ID, At: next.Changed, From: run.State, To: to, Why: next.Why}})
	if err != nil {
		return run, err
	}
	return next, nil
}

// walk claims a run and carries it through states.
func walk(t *testing.T, j *journal.Journal, run remediate.Run, states ...remediate.State) remediate.Run {
	t.Helper()
	_, f := claim(t, j, run.ID)
	var err error
	for _, s := range states {
		if run, err = appended(t, j, f.Token, run, s); err != nil {
			t.Fatal(err)
		}
	}
	if !run.State.Ended() {
		if err := j.Release(t.Context(), run.ID, f.Token); err != nil {
			t.Fatal(err)
		}
	}
	return run
}

func TestCreateTwiceIsOnce(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		j := open()
		run := create(t, j.Journal, "k")
		again, made, err := j.Create(t.Context(), remediate.Request{Key: "k", Action: "other"}, "again")
		if err != nil || made || again.ID != run.ID || again.Request.Action != "a/b" {
			t.Errorf("Create: %+v %v %v", again, made, err)
		}
		entries, err := j.Entries(t.Context(), run.ID)
		if err != nil || len(entries) != 1 {
			t.Errorf("Entries: %v %v", entries, err)
		}
	})
}

// One process carries a run at a time, and only under its newest fence.
func TestClaim(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		other := d.another("other")
		run := create(t, d.Journal, "k")
		run, first := claim(t, d.Journal, run.ID)
		if _, _, ok, err := other.Claim(t.Context(), run.ID); ok || err != nil {
			t.Errorf("two processes carry one run: %v %v", ok, err)
		}
		if err := d.Release(t.Context(), run.ID, first.Token); err != nil {
			t.Fatal(err)
		}
		_, second := claim(t, other, run.ID)
		if second.Token <= first.Token {
			t.Errorf("the fence went from %d to %d", first.Token, second.Token)
		}
		if _, err := appended(t, d.Journal, first.Token, run, remediate.Planned); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("an entry under an old fence: %v", err)
		}
		if err := first.Held(t.Context()); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("the old fence: %v", err)
		}
		if err := second.Held(t.Context()); err != nil {
			t.Errorf("the new fence: %v", err)
		}
		if _, err := appended(t, other, second.Token, run, remediate.Planned); err != nil {
			t.Error(err)
		}
		if n, err := d.Verify(t.Context()); n.Entries != 2 || err != nil {
			t.Errorf("Verify: %+v %v: what was refused must leave no entry", n, err)
		}
	})
}

// An instance that does not renew its lease is declared dead by the others, and what it
// carried is free; when it wakes up it has no right left.
func TestTheDeadAreBuried(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		other := d.another("other")
		run := create(t, d.Journal, "k")
		run, f := claim(t, d.Journal, run.ID)
		d.passes(t, 45*time.Second)
		if _, err := other.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Held(t.Context()); err != nil {
			t.Errorf("within its lease: %v", err)
		}
		d.passes(t, 30*time.Second)
		if err := f.Held(t.Context()); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("after its lease: %v", err)
		}
		if _, err := other.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		claim(t, other, run.ID)
		if _, err := d.Beat(t.Context()); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("the dead one beats: %v", err)
		}
		if _, err := appended(t, d.Journal, f.Token, run, remediate.Planned); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("the dead one writes: %v", err)
		}
		if _, _, ok, err := d.Claim(t.Context(), create(t, d.Journal, "k2").ID); ok || err != nil {
			t.Errorf("the dead one claims: %v %v", ok, err)
		}
		entries, err := d.Entries(t.Context(), run.ID)
		if err != nil || len(entries) != 2 || entries[1].Note != remediate.NoteLeft {
			t.Errorf("Entries: %+v %v", entries, err)
		}
		if err := d.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		claim(t, d.Journal, create(t, d.Journal, "k3").ID)
		if err := d.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if due, err := other.Due(t.Context(), 9); len(due) != 2 || err != nil {
			t.Errorf("after it has left %d runs are free, %v", len(due), err)
		}
	})
}

// passes lets time pass: on PostgreSQL leases live by the server's clock, so there
// the lease itself is moved.
func (d *fixture) passes(t *testing.T, by time.Duration) {
	t.Helper()
	d.now = d.now.Add(by)
	if !d.store.Shared() {
		return
	}
	err := d.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("update instances set expires = expires - ?", by.Milliseconds())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAppendRefuses(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		run, f := claim(t, d.Journal, create(t, d.Journal, "k").ID)
		if _, err := appended(t, d.Journal, f.Token, run, remediate.Resolved); err == nil {
			t.Error("an invalid transition was written")
		}
		if _, err := appended(t, d.Journal, f.Token, run, remediate.Planned); err != nil {
			t.Fatal(err)
		}
		if _, err := appended(t, d.Journal, f.Token, run, remediate.Planned); err == nil {
			t.Error("an entry from a state that the run has left was written")
		}
		planned, err := d.Get(t.Context(), run.ID)
		if err != nil {
			t.Fatal(err)
		}
		no := remediate.Refuse("busy", "no")
		next := planned
		next.State = remediate.Allowed
		err = d.Append(t.Context(), journal.Change{
			Run: next, Fence: f.Token, Entry: remediate.Entry{Run: run.ID, At: d.now, From: remediate.Planned,
				To: remediate.Allowed},
			Admit: func(remediate.Working) error { return no },
		})
		if !errors.Is(err, no) {
			t.Errorf("a change that was not admitted: %v", err)
		}
		if n, err := d.Verify(t.Context()); n.Entries != 2 || err != nil {
			t.Errorf("Verify: %+v %v: what was refused must leave no entry", n, err)
		}
	})
}

// The end of a run wakes those that wait for what it held.
func TestTheEndWakes(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		acts, waits := create(t, d.Journal, "1"), create(t, d.Journal, "2")
		acts, f := claim(t, d.Journal, acts.ID)
		for _, s := range []remediate.State{remediate.Planned, remediate.Allowed, remediate.Applied} {
			var err error
			if acts, err = appended(t, d.Journal, f.Token, acts, s); err != nil {
				t.Fatal(err)
			}
		}
		_, g := claim(t, d.Journal, waits.ID)
		next := waits
		next.State, next.Due = remediate.Waiting, d.now.Add(time.Hour)
		err := d.Append(t.Context(), journal.Change{Run: next, Fence: g.Token, Leave: true, Exclusive: "x",
			Entry: remediate.Entry{Run: waits.ID, At: d.now, From: remediate.Received, To: remediate.Waiting,
				Reason: "busy"}})
		if err != nil {
			t.Fatal(err)
		}
		if w, err := d.Working(t.Context(), waits); err != nil || len(w.Acting) != 1 || w.Acting[0].Run != acts.ID ||
			w.Acting[0].Exclusive != "x" {
			t.Errorf("Working: %+v %v", w, err)
		}
		if due, err := d.Due(t.Context(), 9); len(due) != 0 || err != nil {
			t.Errorf("it is ready while the other acts: %v %v", due, err)
		}
		if _, err := appended(t, d.Journal, f.Token, acts, remediate.Resolved); err != nil {
			t.Fatal(err)
		}
		if due, err := d.Due(t.Context(), 9); len(due) != 1 || err != nil {
			t.Errorf("it is not due after the other's end: %v %v", due, err)
		}
	})
}

// What people say is kept with who said it, and only where it is still the question.
func TestPeople(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		run := create(t, d.Journal, "k")
		stale := func(err error) {
			t.Helper()
			if _, ok := errors.AsType[*journal.StaleError](err); !ok {
				t.Errorf("%v, want that it is too late", err)
			}
		}
		until := d.now.Add(time.Hour)
		stale(d.Approve(t.Context(), run.ID, run.Plan.Question(), "ann", "", until))
		run = walk(t, d.Journal, run, remediate.Planned, remediate.AwaitingApproval)
		stale(d.Approve(t.Context(), run.ID, "another plan", "ann", "", until))
		if err := d.Approve(t.Context(), run.ID, run.Plan.Question(), "ann", "", until); err != nil {
			t.Fatal(err)
		}
		w, err := d.Working(t.Context(), run)
		if err != nil || w.Approval == nil || w.Approval.By != "ann" || !w.Approval.Until.Equal(until) {
			t.Errorf("Working: %+v %v", w, err)
		}
		if err := d.Reject(t.Context(), run.ID, "", "bob", "not today"); err != nil {
			t.Fatal(err)
		}
		stale(d.Approve(t.Context(), run.ID, run.Plan.Question(), "ann", "", until))
		run = walk(t, d.Journal, run, remediate.StateRefused)
		stale(d.Cancel(t.Context(), run.ID, "ann", "r"))
		if err := d.Cancel(t.Context(), 99, "ann", "r"); !errors.Is(err, journal.ErrNoRun) {
			t.Errorf("Cancel of nothing: %v", err)
		}
		acts, _ := claim(t, d.Journal, create(t, d.Journal, "k2").ID)
		if err := d.Cancel(t.Context(), acts.ID, "ann", "release"); err != nil {
			t.Fatal(err)
		}
		if mine, err := d.Beat(t.Context()); err != nil || len(mine) != 1 || mine[0].Run != acts.ID ||
			mine[0].Cancel != "ann: release" {
			t.Errorf("Beat: %v %v", mine, err)
		}
		entries, err := d.Entries(t.Context(), run.ID)
		if err != nil || entries[3].Note != remediate.NoteApproved || entries[3].By != "ann" ||
			entries[4].Note != remediate.NoteRejected {
			t.Errorf("Entries: %+v %v", entries, err)
		}
	})
}

// A policy's measured effect, its demotion and a person's word for it.
func TestStandings(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		n := 0
		end := func(server string, to remediate.State) {
			t.Helper()
			n++
			run, made, err := d.Create(t.Context(), remediate.Request{Key: fmt.Sprint(n), Action: "a/b", Policy: "p",
				Subject: map[string]string{"server": server}}, "why")
			if err != nil || !made {
				t.Fatalf("Create: %v %v", made, err)
			}
			run.Begun = 1
			walk(t, d.Journal, run, remediate.Planned, remediate.Allowed, remediate.Applied, to)
		}
		end("1", remediate.Resolved)
		end("2", remediate.Unresolved)
		end("3", remediate.Inconclusive)
		if resolved, judged, err := d.Effect(t.Context(), "p"); resolved != 1 || judged != 2 || err != nil {
			t.Errorf("Effect: %d of %d, %v", resolved, judged, err)
		}
		d.passes(t, time.Hour)
		end("1", remediate.Resolved) // it has come back
		if resolved, judged, err := d.Effect(t.Context(), "p"); resolved != 1 || judged != 3 || err != nil {
			t.Errorf("Effect after it came back: %d of %d, %v", resolved, judged, err)
		}
		for n := range 2 {
			if done, err := d.Demote(t.Context(), "p", "1 of 3", 3); done != (n == 0) || err != nil {
				t.Errorf("Demote: %v %v", done, err)
			}
		}
		run := remediate.Run{ID: 99, Request: remediate.Request{Policy: "p", Terms: remediate.Terms{Breaker: 3}}}
		if w, err := d.Working(t.Context(), run); err != nil || w.Demoted != "1 of 3" || len(w.Ended) != 4 ||
			w.Ended[0].State != remediate.Resolved {
			t.Errorf("Working: %+v %v", w, err)
		}
		d.passes(t, time.Hour)
		if err := d.Promote(t.Context(), "p", "ann", "mended"); err != nil {
			t.Fatal(err)
		}
		if w, err := d.Working(t.Context(), run); err != nil || w.Demoted != "" || len(w.Ended) != 0 {
			t.Errorf("Working after the promotion: %+v %v", w, err)
		}
		if resolved, judged, err := d.Effect(t.Context(), "p"); resolved != 0 || judged != 0 || err != nil {
			t.Errorf("Effect after the promotion: %d of %d, %v", resolved, judged, err)
		}
		if n, err := d.Verify(t.Context()); err != nil {
			t.Errorf("Verify: %+v %v", n, err)
		}
	})
}

func TestRunComesBackAsItWas(t *testing.T) {
	j := open(t)
	run := create(t, j.Journal, "k")
	_, f := claim(t, j.Journal, run.ID)
	hostile := "\"quoted\" \\ \n täble; DROP \x7f"
	run.Request.Subject["table"] = hostile
	before, after := 0.25, 0.5
	next := run
	next.State, next.Before, next.After, next.Begun, next.Done, next.Tries, next.Why = remediate.Planned, &before,
		&after, 2, 1, 3, hostile
	next.Plan = remediate.Plan{Steps: []remediate.Step{{Do: hostile, Args: map[string]string{hostile: hostile}}},
		Facts: []string{hostile}}
	next.Due, next.Changed, next.Applied = time.UnixMilli(12345).UTC(), time.UnixMilli(23456).UTC(),
		time.UnixMilli(34567).UTC()
	if err := j.Append(t.Context(), journal.Change{Run: next, Fence: f.Token,
		Entry: remediate.Entry{Run: run.ID, At: next.Changed, From: run.State, To: next.State,
			Why: hostile}}); err != nil {
		t.Fatal(err)
	}
	got, err := j.Get(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(next, got); diff != "" {
		t.Error(diff)
	}
}

func TestVerifyFindsWhatWasDone(t *testing.T) {
	for name, sabotage := range map[string]string{
		"a changed entry": "update entries set entry = replace(entry, 'to planned', 'to PLANNED') where seq = 2",
		"a changed hash":  "update entries set hash = '00' where seq = 2",
		"no first entry":  "delete from entries where seq = 1",
		"no middle entry": "delete from entries where seq = 2",
		"a swapped pair": "update entries set seq = 99 where seq = 2; update entries set seq = 2 where seq = 3; " +
			"update entries set seq = 3 where seq = 99",
		"the last cut off":   "delete from entries where seq = (select max(seq) from entries)",
		"everything cut off": "delete from entries",
	} {
		t.Run(name, func(t *testing.T) {
			j := open(t)
			walk(t, j.Journal, create(t, j.Journal, "k"), remediate.Planned, remediate.Allowed, remediate.Applied)
			if n, err := j.Verify(t.Context()); n.Entries != 4 || err != nil {
				t.Fatalf("Verify: %+v %v", n, err)
			}
			err := j.store.Write(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(sabotage)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := j.Verify(t.Context()); err == nil {
				t.Error("Verify found nothing")
			}
		})
	}
}

func TestPauses(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		j := open()
		for _, wrong := range []remediate.Pause{{Scope: "everything", Reason: "r"}, {Scope: "policy/", Reason: "r"},
			{Scope: "all"}} {
			if err := j.SetPause(t.Context(), wrong); err == nil {
				t.Errorf("%+v was taken", wrong)
			}
		}
		for _, p := range []remediate.Pause{
			{Scope: "all", Reason: "over", By: "ann", Until: j.now.Add(-time.Second)},
			{Scope: "target/main", Reason: "move", By: "bob"},
			{Scope: "target/main", Reason: "move again", By: "bob"},
		} {
			if err := j.SetPause(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		got, err := j.Pauses(t.Context())
		if err != nil || len(got) != 1 || got[0].Reason != "move again" {
			t.Errorf("Pauses: %+v %v", got, err)
		}
		if was, err := j.EndPause(t.Context(), "target/main", "ann", ""); !was || err != nil {
			t.Errorf("EndPause: %v %v", was, err)
		}
		if was, err := j.EndPause(t.Context(), "target/main", "ann", ""); was || err != nil {
			t.Errorf("EndPause twice: %v %v", was, err)
		}
		if n, err := j.Verify(t.Context()); n.Entries != 4 || err != nil {
			t.Errorf("Verify: %+v %v, want one for each pause and its end", n, err)
		}
	})
}

// Only a run that began to act counts for a cooldown.
func TestLastEnd(t *testing.T) {
	j := open(t)
	last := func(subject string) time.Time {
		t.Helper()
		w, err := j.Working(t.Context(), remediate.Run{ID: 99,
			Request: remediate.Request{Action: "a/b", Subject: map[string]string{"server": subject}}})
		if err != nil {
			t.Fatal(err)
		}
		return w.LastEnd
	}
	walk(t, j.Journal, create(t, j.Journal, "1"), remediate.StateRefused)
	if at := last("s"); !at.IsZero() {
		t.Errorf("a refused run counts: %v", at)
	}
	run := create(t, j.Journal, "2")
	run.Begun = 1
	walk(t, j.Journal, run, remediate.Planned, remediate.Allowed, remediate.Applied, remediate.Resolved)
	if at := last("s"); !at.Equal(j.now) {
		t.Errorf("LastEnd: %v", at)
	}
	if at := last("another"); !at.IsZero() {
		t.Errorf("another subject counts: %v", at)
	}
}

// A run that waits is not due; one that was interrupted is.
func TestDue(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		j := open()
		waits := create(t, j.Journal, "1")
		waits.Due = j.now.Add(time.Hour)
		walk(t, j.Journal, waits, remediate.Waiting)
		walk(t, j.Journal, create(t, j.Journal, "2"), remediate.Planned, remediate.Allowed)
		walk(t, j.Journal, create(t, j.Journal, "3"), remediate.StateRefused)
		due, err := j.Due(t.Context(), 9)
		if err != nil || len(due) != 1 || due[0].Request.Key != "2" {
			t.Errorf("Due: %+v %v", due, err)
		}
		if _, err := j.Get(t.Context(), 99); !errors.Is(err, journal.ErrNoRun) {
			t.Errorf("Get: %v", err)
		}
	})
}

func FuzzSubject(f *testing.F) {
	f.Add("a", "b", "c", "d")
	f.Add("a", `b",c="d`, "c", "d")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		if strings.ContainsAny(k1+k2, `=,"`) || k1 == k2 {
			return // names of labels are identifiers
		}
		one := journal.Subject(map[string]string{k1: v1, k2: v2})
		two := journal.Subject(map[string]string{k1: v1 + v2, k2: ""})
		if v2 != "" && one == two {
			t.Errorf("two subjects are one string: %s", one)
		}
	})
}

func ExampleSubject() {
	fmt.Println(journal.Subject(map[string]string{"table": `täble"; DROP`, "server": "main"}))
	// Output: server="main",table="täble\"; DROP"
}

// An instance that could not renew itself in time declares no other dead: the store was away for the
// others too. They get the time of a lease, and those that do not come back are buried.
func TestNobodyIsBuriedAfterAnOutage(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		alive, dead := d.another("alive"), d.another("dead")
		held, _ := claim(t, alive, create(t, d.Journal, "k1").ID)
		left, _ := claim(t, dead, create(t, d.Journal, "k2").ID)
		d.passes(t, 5*time.Minute) // the store is away
		if _, err := d.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.passes(t, 30*time.Second)
		mine, err := alive.Beat(t.Context())
		if err != nil || len(mine) != 1 || mine[0].Run != held.ID {
			t.Errorf("the one that came back: %v %v", mine, err)
		}
		if d.store.Shared() {
			return // its clock cannot be moved
		}
		for range 3 {
			d.passes(t, 25*time.Second)
			for _, j := range []*journal.Journal{d.Journal, alive} {
				if _, err := j.Beat(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := dead.Beat(t.Context()); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("the one that did not come back in time: %v", err)
		}
		claim(t, d.Journal, left.ID)
		run, err := d.Get(t.Context(), held.ID)
		if err != nil || run.Lost != 0 {
			t.Errorf("%d times lost (%v), want never", run.Lost, err)
		}
	})
}

// A run whose owner is no instance, because somebody has removed its row, is free with
// the next beat.
func TestOrphansAreFreed(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		other := d.another("other")
		run, _ := claim(t, other, create(t, d.Journal, "k").ID)
		if err := d.store.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("delete from instances where name = ?", "other")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if mine, err := d.Beat(t.Context()); err != nil || len(mine) != 0 {
			t.Errorf("Beat: %v %v", mine, err)
		}
		claim(t, d.Journal, run.ID)
	})
}

// Who answers a run that has ended is referred to a new run, and not to what can no longer be done.
func TestAnswerToEnded(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		run := create(t, d.Journal, "k")
		run = walk(t, d.Journal, run, remediate.Planned, remediate.AwaitingApproval, remediate.Rejected)
		for what, err := range map[string]error{
			"approve": d.Approve(t.Context(), run.ID, "", "ann", "", d.now.Add(time.Hour)),
			"reject":  d.Reject(t.Context(), run.ID, "", "ann", "no"),
			"cancel":  d.Cancel(t.Context(), run.ID, "ann", "no"),
		} {
			_, stale := errors.AsType[*journal.StaleError](err)
			if !stale || !strings.HasPrefix(err.Error(), fmt.Sprintf("run %d has ended: it is rejected", run.ID)) ||
				!strings.HasSuffix(err.Error(), fmt.Sprintf("to run it once more: upkeep retry %d --why …", run.ID)) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
