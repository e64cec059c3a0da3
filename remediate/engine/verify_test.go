package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A rulebook tells whether an expression holds, as Prometheus would.
type rulebook struct {
	mu    sync.Mutex
	until time.Time // it holds so long
	err   error
	asked map[string]int // expressions, with their subjects
}

func (r *rulebook) Firing(_ context.Context, expr string, subject map[string]string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = make(map[string]int)
	}
	r.asked[expr+" for "+subject["table"]]++
	return time.Now().Before(r.until), r.err
}

// The measure is within its limit. What the alert's own expression says decides
// whether that is believed.
func TestVerifiedByTheExpression(t *testing.T) {
	for _, test := range []struct {
		name   string
		expr   string
		rules  *rulebook     // with until counted from the beginning
		holds  time.Duration // how long the expression holds
		decay  time.Duration // of the policy
		undone time.Duration // for so long it is not yet known
		state  remediate.State
		at     time.Duration // and then it is
		says   string
	}{
		{"no Prometheus", "damaged > 0", nil, 0, 0, 0, remediate.Resolved, 0, "from 10 to 0, limit 0"},
		{"no expression", "", &rulebook{}, time.Hour, 0, 0, remediate.Resolved, 0, "from 10 to 0, limit 0"},
		{"it does not hold", "damaged > 0", &rulebook{}, 0, 0, 0, remediate.Resolved, 0, "no longer holds"},
		{"it holds for a while", "damaged > 0", &rulebook{}, 2 * time.Minute, 0, 119 * time.Second, remediate.Resolved,
			126 * time.Second, "no longer holds"},
		{"it holds on", "damaged > 0", &rulebook{}, time.Hour, 0, 299 * time.Second, remediate.Inconclusive,
			306 * time.Second, "still holds"},
		{"it looks back", "avg_over_time(damaged[10m]) > 0", &rulebook{}, 14 * time.Minute, 0, 839 * time.Second,
			remediate.Resolved, 846 * time.Second, "no longer holds"},
		{"it looks back as the policy says", "damaged > 0", &rulebook{}, time.Hour, 5 * time.Minute, 599 * time.Second,
			remediate.Inconclusive, 606 * time.Second, "still holds"},
		{"it cannot be asked", "damaged > 0", &rulebook{err: errors.New("no answer")}, 0, 0, 299 * time.Second,
			remediate.Inconclusive, 306 * time.Second, "could not be evaluated"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.expr, h.terms.Decay, h.second = test.expr, test.decay, remediate.Auto
				if test.rules != nil {
					test.rules.until = time.Now().Add(test.holds)
					h.rules = test.rules
				}
				h.live()
				h.alert("t", true)
				pass(test.undone)
				if test.undone > 0 {
					h.is(1, remediate.Applied)
				}
				pass(test.at - test.undone)
				says(t, h.is(1, test.state).Why, test.says)
				pages := 0
				if test.state == remediate.Inconclusive {
					pages = 1 // what contradicts itself is for people
				}
				if got := h.notifications(remediate.NotificationPage); len(got) != pages {
					t.Errorf("%d pages, want %d", len(got), pages)
				}
				h.runs(1)
				if test.rules != nil && test.expr != "" && test.rules.asked[test.expr+" for t"] == 0 {
					t.Errorf("asked %v", test.rules.asked)
				}
				h.replay()
				h.verify()
			})
		})
	}
}

// A measure that comes back over its limit while the expression is waited for is
// no cure.
func TestRelapseWhileVerified(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.expr, h.rules = "damaged > 0", &rulebook{until: time.Now().Add(time.Hour)}
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		h.is(1, remediate.Applied)
		h.machine.set("t", 7)
		pass(10 * time.Second)
		says(t, h.is(1, remediate.Unresolved).Why, "from 10 to 7, limit 0")
	})
}

// damaged makes tables damaged that a step relieves by so much, and delivers them one
// after the other.
func (h *harness) damaged(first, n int) {
	for i := first; i < first+n; i++ {
		h.machine.set(fmt.Sprint("t", i), 10)
		h.alert(fmt.Sprint("t", i), true)
		pass(10 * time.Second)
	}
}

// A policy that does not help is demoted, with an entry and a notification, until
// a person lets it act by itself again.
func TestDemotedByItsEffect(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.terms.Effect = 0.5
		h.live()
		h.damaged(1, 4)
		h.machine.change(func() { h.machine.relief = 1 })
		h.damaged(5, 1)
		if got := h.notifications(remediate.NotificationInfo); len(got) != 0 {
			t.Fatalf("4 of 5 promise 52 %%, which is enough: %+v", got)
		}
		h.damaged(6, 1)
		got := h.notifications(remediate.NotificationInfo)
		if len(got) != 1 || got[0].Run != 6 {
			t.Fatalf("4 of 6 promise 41 %%, which is too little: %+v", got)
		}
		says(t, got[0].Title, `Policy "repair" is demoted`)
		says(t, got[0].Text, "4 of 6 runs resolved the incident (lower bound 41 %)", "at least 50 %",
			"upkeep policy promote 'repair'")
		if diff := cmp.Diff([]remediate.Note{remediate.NoteDemoted}, h.notes(6)); diff != "" {
			t.Error(diff)
		}
		h.damaged(7, 1)
		says(t, h.is(7, remediate.AwaitingApproval).Why, "the policy is demoted", "at least 50 %")
		effects := len(h.machine.did())

		if err := h.journal.Promote(t.Context(), "repair", "ann", "the action is mended"); err != nil {
			t.Fatal(err)
		}
		h.machine.change(func() { h.machine.relief = 10 })
		pass(2 * time.Second)
		h.is(7, remediate.Resolved)
		if got := len(h.machine.did()); got != effects+2 {
			t.Errorf("%d effects, want two more than %d", got, effects)
		}
		h.machine.change(func() { h.machine.relief = 1 })
		h.damaged(8, 3) // 1 of 4 since: too few to tell
		if got := h.notifications(remediate.NotificationInfo); len(got) != 1 {
			t.Errorf("what was before the promotion counts: %+v", got)
		}
		h.verify()
	})
}

// Three useless runs open the breaker; a person closes it.
func TestBreaker(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.terms.Breaker = 3
		h.machine.relief = 1
		h.live()
		h.damaged(1, 3)
		h.is(3, remediate.Unresolved)
		h.damaged(4, 2)
		for _, id := range []int64{4, 5} {
			run := h.is(id, remediate.Waiting)
			if run.Reason != "breaker" {
				t.Errorf("run %d: %s: %s", id, run.Reason, run.Why)
			}
			says(t, run.Why, "the last 3 runs of policy repair failed or did not help")
		}
		pass(10 * time.Minute)
		h.is(4, remediate.Waiting)
		if got := len(h.machine.did()); got != 6 {
			t.Errorf("%d effects, want those of three runs", got)
		}
		h.machine.change(func() { h.machine.relief = 10 })
		if err := h.journal.CloseBreaker(t.Context(), "repair", "ann", "mended"); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		h.is(4, remediate.Resolved)
		h.is(5, remediate.Resolved)
		h.verify()
	})
}

// An alert that looks back fires though its cause is gone: the subject is left
// alone until it cannot any more.
func TestDecay(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.expr = "avg_over_time(damaged[10m]) > 0"
		h.live()
		h.alert("t", true)
		pass(time.Second)
		resolved := h.is(1, remediate.Resolved)
		h.machine.set("t", 10)
		h.machine.change(func() { clear(h.machine.done) })
		pass(16 * time.Minute) // no decay
		h.alert("t", true)
		pass(2 * time.Second)
		second := h.is(2, remediate.Resolved)
		if second.Request.Terms.Decay != 10*time.Minute || second.Created.Sub(resolved.Changed) < 10*time.Minute {
			t.Errorf("%+v", second)
		}

		h.machine.set("t", 10)
		h.machine.change(func() { clear(h.machine.done) })
		a := remediate.Request{Key: "again", Action: "machine/repair", Subject: second.Request.Subject, Mode: remediate.Auto,
			Terms: second.Request.Terms, Schedule: "nightly"}
		if _, _, err := h.journal.Create(t.Context(), a, "it is night"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		run := h.is(3, remediate.Waiting)
		if run.Reason != "decay" || !run.Due.Equal(second.Changed.Add(10*time.Minute)) {
			t.Errorf("%s: %s, due %s", run.Reason, run.Why, run.Due)
		}
		pass(10 * time.Minute)
		h.is(3, remediate.Resolved)
	})
}
