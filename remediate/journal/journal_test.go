package journal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func open(t *testing.T) (*store.Store, *journal.Journal) {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, journal.New(s, nil)
}

func create(t *testing.T, j *journal.Journal, key string) remediate.Run {
	t.Helper()
	run, made, err := j.Create(t.Context(), remediate.Request{Key: key, Action: "a/b", Subject: map[string]string{"server": "s"}, Mode: remediate.Auto}, "why")
	if err != nil || !made {
		t.Fatalf("Create: %v %v", made, err)
	}
	return run
}

func appended(t *testing.T, j *journal.Journal, fence int64, run remediate.Run, to remediate.State) (remediate.Run, error) {
	t.Helper()
	next := run
	next.State = to
	err := j.Append(t.Context(), fence, next, remediate.Entry{Run: run.ID, At: time.Now(), From: run.State, To: to, Why: "to " + string(to)})
	if err != nil {
		return run, err
	}
	return next, nil
}

func walk(t *testing.T, j *journal.Journal, run remediate.Run, states ...remediate.State) remediate.Run {
	t.Helper()
	var err error
	for _, s := range states {
		if run, err = appended(t, j, 0, run, s); err != nil {
			t.Fatal(err)
		}
	}
	return run
}

func TestCreateTwiceIsOnce(t *testing.T) {
	_, j := open(t)
	run := create(t, j, "k")
	again, made, err := j.Create(t.Context(), remediate.Request{Key: "k", Action: "other"}, "again")
	if err != nil || made || again.ID != run.ID || again.Request.Action != "a/b" {
		t.Errorf("Create: %+v %v %v", again, made, err)
	}
	entries, err := j.Entries(t.Context(), run.ID)
	if err != nil || len(entries) != 1 {
		t.Errorf("Entries: %v %v", entries, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	_, j := open(t)
	run := create(t, j, "k")
	if _, err := appended(t, j, 0, run, remediate.Cleared); err == nil {
		t.Error("a transition that is none was written")
	}
	planned := walk(t, j, run, remediate.Planned)
	if _, err := appended(t, j, 0, run, remediate.Planned); err == nil {
		t.Error("an entry from a state that the run has left was written")
	}
	first, err := j.Lease(t.Context(), "subject", run.ID)
	if err != nil {
		t.Fatal(err)
	}
	second, err := j.Lease(t.Context(), "subject", run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := appended(t, j, first.Token, planned, remediate.Allowed); !errors.Is(err, remediate.ErrFenced) {
		t.Errorf("an entry under an old fence: %v", err)
	}
	if err := first.Held(t.Context()); !errors.Is(err, remediate.ErrFenced) {
		t.Errorf("the old fence: %v", err)
	}
	if err := second.Held(t.Context()); err != nil {
		t.Errorf("the new fence: %v", err)
	}
	if _, err := appended(t, j, second.Token, planned, remediate.Allowed); err != nil {
		t.Error(err)
	}
	if n, err := j.Verify(t.Context()); n != 3 || err != nil {
		t.Errorf("Verify: %d %v: what was refused must leave no entry", n, err)
	}
}

func TestLease(t *testing.T) {
	_, j := open(t)
	one, two := create(t, j, "1"), create(t, j, "2")
	if _, err := j.Lease(t.Context(), "s", one.ID); err != nil {
		t.Fatal(err)
	}
	_, err := j.Lease(t.Context(), "s", two.ID)
	if busy, ok := errors.AsType[*journal.BusyError](err); !ok || busy.Run != one.ID {
		t.Errorf("a second run got the subject: %v", err)
	}
	if _, err := j.Lease(t.Context(), "other", two.ID); err != nil {
		t.Errorf("another subject: %v", err)
	}
	walk(t, j, one, remediate.Declined)
	if holder, err := j.Holder(t.Context(), "s"); holder != 0 || err != nil {
		t.Errorf("the end of a run keeps its lease: %d %v", holder, err)
	}
	f, err := j.Lease(t.Context(), "s", two.ID)
	if err != nil || f.Token <= 1 {
		t.Errorf("Lease: %v, token %d, want one that has grown", err, f.Token)
	}
}

func TestRunComesBackAsItWas(t *testing.T) {
	_, j := open(t)
	run := create(t, j, "k")
	hostile := "\"quoted\" \\ \n täble; DROP \x7f"
	run.Request.Subject["table"] = hostile
	before, after := 0.25, 0.5
	next := run
	next.State, next.Before, next.After, next.Begun, next.Done, next.Tries, next.Why = remediate.Planned, &before, &after, 2, 1, 3, hostile
	next.Plan = remediate.Plan{Steps: []remediate.Step{{Do: hostile, Args: map[string]string{hostile: hostile}}}, Facts: []string{hostile}}
	next.Due, next.Changed = time.UnixMilli(12345).UTC(), time.UnixMilli(23456).UTC()
	if err := j.Append(t.Context(), 0, next, remediate.Entry{Run: run.ID, At: next.Changed, From: run.State, To: next.State, Why: hostile}); err != nil {
		t.Fatal(err)
	}
	got, err := j.Get(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	delete(next.Request.Subject, "table") // the request is written once, at the beginning
	if diff := cmp.Diff(next, got); diff != "" {
		t.Error(diff)
	}
}

func TestVerifyFindsWhatWasDone(t *testing.T) {
	for name, sabotage := range map[string]string{
		"a changed entry":    "update entries set entry = replace(entry, 'to planned', 'to PLANNED') where seq = 2",
		"a changed hash":     "update entries set hash = '00' where seq = 2",
		"no first entry":     "delete from entries where seq = 1",
		"no middle entry":    "delete from entries where seq = 2",
		"a swapped pair":     "update entries set seq = 99 where seq = 2; update entries set seq = 2 where seq = 3; update entries set seq = 3 where seq = 99",
		"the last cut off":   "delete from entries where seq = (select max(seq) from entries)",
		"everything cut off": "delete from entries",
	} {
		t.Run(name, func(t *testing.T) {
			s, j := open(t)
			walk(t, j, create(t, j, "k"), remediate.Planned, remediate.Allowed, remediate.Applied)
			if n, err := j.Verify(t.Context()); n != 4 || err != nil {
				t.Fatalf("Verify: %d %v", n, err)
			}
			err := s.Write(t.Context(), func(tx *store.Tx) error {
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
	_, j := open(t)
	for _, wrong := range []journal.Pause{{Scope: "everything", Reason: "r"}, {Scope: "policy/", Reason: "r"}, {Scope: "all"}} {
		if err := j.SetPause(t.Context(), wrong); err == nil {
			t.Errorf("%+v was taken", wrong)
		}
	}
	for _, p := range []journal.Pause{
		{Scope: "all", Reason: "over", By: "ann", Until: time.Now().Add(-time.Second)},
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
	if was, err := j.EndPause(t.Context(), "target/main"); !was || err != nil {
		t.Errorf("EndPause: %v %v", was, err)
	}
	if was, err := j.EndPause(t.Context(), "target/main"); was || err != nil {
		t.Errorf("EndPause twice: %v %v", was, err)
	}
}

// Only a run that began to act counts for a cooldown.
func TestLastEnd(t *testing.T) {
	_, j := open(t)
	subject := journal.Subject(map[string]string{"server": "s"})
	walk(t, j, create(t, j, "1"), remediate.Declined)
	if at, err := j.LastEnd(t.Context(), "a/b", subject); !at.IsZero() || err != nil {
		t.Errorf("a declined run counts: %v %v", at, err)
	}
	run := walk(t, j, create(t, j, "2"), remediate.Planned, remediate.Allowed)
	run.Begun = 1
	walk(t, j, run, remediate.Applied, remediate.Cleared)
	if at, err := j.LastEnd(t.Context(), "a/b", subject); time.Since(at) > time.Minute || err != nil {
		t.Errorf("LastEnd: %v %v", at, err)
	}
	if at, err := j.LastEnd(t.Context(), "a/b", "another"); !at.IsZero() || err != nil {
		t.Errorf("another subject counts: %v %v", at, err)
	}
}

// A run that waits is not due; one that was interrupted is.
func TestDue(t *testing.T) {
	_, j := open(t)
	waits := create(t, j, "1")
	waits.Due = time.Now().Add(time.Hour)
	walk(t, j, waits, remediate.Waiting)
	walk(t, j, create(t, j, "2"), remediate.Planned, remediate.Allowed)
	walk(t, j, create(t, j, "3"), remediate.Declined)
	due, err := j.Due(t.Context())
	if err != nil || len(due) != 1 || due[0].Request.Key != "2" {
		t.Errorf("Due: %+v %v", due, err)
	}
	if _, err := j.Get(t.Context(), 99); !errors.Is(err, journal.ErrNoRun) {
		t.Errorf("Get: %v", err)
	}
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
