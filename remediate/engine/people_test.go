package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// asks is a harness whose policy asks first, with a run that asks.
func asks(t *testing.T, test func(t *testing.T, h *harness)) {
	t.Helper()
	bubble(t, func(t *testing.T, h *harness) {
		h.mode = remediate.Ask
		h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.AwaitingApproval)
		test(t, h)
		h.verify()
	})
}

// What a person approves of is one plan: when the target has changed until the run
// is to act, it asks again.
func TestApprovalIsOfOnePlan(t *testing.T) {
	asks(t, func(t *testing.T, h *harness) {
		old := h.is(1, remediate.AwaitingApproval).Plan.Question()
		h.machine.set("t", 20)
		h.approve(1)
		pass(2 * time.Second)
		run := h.is(1, remediate.AwaitingApproval)
		if run.Plan.Question() == old || len(h.machine.did()) != 0 {
			t.Fatalf("plan %s was %s, effects %v", run.Plan.Question(), old, h.machine.did())
		}
		says(t, run.Why, "it differs from plan "+old+", which ann approved")
		err := h.journal.Approve(t.Context(), 1, old, "ann", "", h.now().Add(time.Hour))
		if _, ok := errors.AsType[*journal.StaleError](err); !ok {
			t.Errorf("an answer to the old question: %v", err)
		}
		pass(10 * time.Minute)
		var plans []string
		for _, n := range h.notifications(remediate.NotificationAsk) {
			plans = append(plans, n.Plan)
		}
		if diff := cmp.Diff([]string{old, run.Plan.Question()}, plans); diff != "" {
			t.Errorf("people were asked about these plans, each once: %s", diff)
		}
		h.machine.change(func() { h.machine.relief = 10 })
		h.approve(1)
		pass(2 * time.Second)
		h.is(1, remediate.Resolved)
		want := []remediate.State{
			remediate.Received, remediate.Planned, remediate.AwaitingApproval, remediate.Received, remediate.Planned,
			remediate.AwaitingApproval,
			remediate.Received, remediate.Planned, remediate.Allowed, remediate.Applied, remediate.Resolved,
		}
		if diff := cmp.Diff(want, h.states(1)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]remediate.Note{remediate.NoteApproved, remediate.NoteApproved}, h.notes(1)); diff != "" {
			t.Error(diff)
		}
	})
}

// An approval holds for a time. What could not act until then asks again.
func TestApprovalExpires(t *testing.T) {
	asks(t, func(t *testing.T, h *harness) {
		if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "move",
			By: "bob"}); err != nil {
			t.Fatal(err)
		}
		h.approve(1) // for an hour
		pass(time.Minute)
		h.is(1, remediate.Waiting)
		pass(time.Hour)
		if _, err := h.journal.EndPause(t.Context(), "all", "bob", ""); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		says(t, h.is(1, remediate.AwaitingApproval).Why, "new approval", "the approval by ann expired at")
		if asked := h.notifications(remediate.NotificationAsk); len(asked) != 2 || asked[0].Plan != asked[1].Plan {
			t.Errorf("%+v", asked)
		}
		if len(h.machine.did()) != 0 {
			t.Errorf("effects %v", h.machine.did())
		}
		h.approve(1)
		pass(2 * time.Second)
		h.is(1, remediate.Resolved)
	})
}

// Each of these ends a question without a deed, and asks for nothing further.
func TestQuestionEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(h *harness) error
		after  time.Duration
		ends   remediate.State
		reason string
		says   string
	}{
		{"no", func(h *harness) error { return h.journal.Reject(h.t.Context(), 1, "", "ann", "not before the audit") },
			2 * time.Second, remediate.Rejected, remediate.ReasonPerson, "ann: not before the audit"},
		{"stopped", func(h *harness) error { return h.journal.Cancel(h.t.Context(), 1, "ann", "wrong table") },
			2 * time.Second, remediate.Rejected, remediate.ReasonPerson, "ann: wrong table"},
		{"no answer", func(*harness) error { return nil }, 10*time.Minute + time.Second, remediate.Expired,
			remediate.ReasonUnanswered, "approval not given in time"},
		{"it is over", func(h *harness) error { h.alert("t", false); return nil }, 2 * time.Second,
			remediate.StateRefused, remediate.ReasonResolved, "the incident is closed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.mode, h.second, h.terms.ApprovalLifetime = remediate.Ask, remediate.Auto, 10*time.Minute
				h.live()
				h.alert("t", true)
				pass(5 * time.Minute)
				h.is(1, remediate.AwaitingApproval)
				if err := test.answer(h); err != nil {
					t.Fatal(err)
				}
				pass(test.after)
				run := h.is(1, test.ends)
				says(t, run.Why, test.says)
				if run.Reason != test.reason {
					t.Errorf("reason %q, want %q", run.Reason, test.reason)
				}
				pass(time.Minute)
				h.runs(1)
				if len(h.machine.did()) != 0 || len(h.notifications(remediate.NotificationPage)) != 0 {
					t.Errorf("effects %v, pages %+v", h.machine.did(), h.notifications(remediate.NotificationPage))
				}
				var stale *journal.StaleError
				if err := h.journal.Approve(t.Context(), 1, "", "bob", "", h.now().Add(time.Hour)); !errors.As(err,
					&stale) {
					t.Errorf("an answer that comes too late: %v", err)
				}
				h.verify()
			})
		})
	}
}

func TestCancelOfOneThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "move",
			By: "ann"}); err != nil {
			t.Fatal(err)
		}
		h.second = remediate.Auto
		h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Waiting)
		if err := h.journal.Cancel(t.Context(), 1, "bob", "leave it"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		if run := h.is(1, remediate.Cancelled); run.Reason != remediate.ReasonCancelled ||
			run.Why != "stopped by bob: leave it" {
			t.Errorf("%s: %s", run.Reason, run.Why)
		}
		pass(time.Minute)
		h.runs(1)
		if len(h.notifications(remediate.NotificationPage)) != 0 {
			t.Error("people were paged about what a person wanted")
		}
	})
}

// A cancel reaches a step in the middle of its work. What a person stopped neither
// goes on in the chain nor counts against the policy.
func TestCancelOfOneThatActs(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.second, h.terms.Breaker, h.terms.Effect = remediate.Auto, 1, 0.9
		h.machine.slow, h.machine.timeout = time.Hour, 2*time.Hour
		h.machine.damage["u"] = 10
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		h.is(1, remediate.Allowed)
		if err := h.journal.Cancel(t.Context(), 1, "bob", "it blocks us"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second) // a beat
		run := h.is(1, remediate.Cancelled)
		if run.Reason != remediate.ReasonCancelled || run.Why != "stopped by bob: it blocks us" || run.Begun != 1 ||
			run.Done != 0 {
			t.Errorf("%+v", run)
		}
		if len(h.machine.did()) != 0 || h.machine.acting != 0 {
			t.Errorf("effects %v, %d still act", h.machine.did(), h.machine.acting)
		}
		pass(time.Minute)
		h.runs(1)
		if resolved, judged, err := h.journal.Effect(t.Context(), "repair"); resolved != 0 || judged != 0 || err != nil {
			t.Errorf("the effect of the policy is %d of %d, %v", resolved, judged, err)
		}
		h.machine.change(func() { h.machine.slow = time.Second })
		h.alert("u", true)
		pass(10 * time.Second)
		h.is(2, remediate.Resolved) // the breaker is closed
		h.verify()
	})
}

// What a stopped step leaves half done is in the words of the run's end.
func TestCancelSaysWhatIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.second = remediate.Auto
		h.machine.slow, h.machine.timeout, h.machine.leaves = time.Hour, 2*time.Hour,
			"t_2020 is detached: alter table t attach partition t_2020"
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		if err := h.journal.Cancel(t.Context(), 1, "bob", "stop"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		if run := h.is(1, remediate.Cancelled); run.Why != "stopped by bob: stop; "+h.machine.leaves {
			t.Error(run.Why)
		}
		h.verify()
	})
}

// Once every step is done there is nothing to stop, and a cancel is refused.
func TestCancelComesTooLate(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.relief = 1
		h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Applied)
		for _, state := range []remediate.State{remediate.Applied, remediate.Unresolved} {
			h.is(1, state)
			err := h.journal.Cancel(t.Context(), 1, "bob", "stop")
			if _, ok := errors.AsType[*journal.StaleError](err); !ok {
				t.Errorf("%s: %v", state, err)
			}
			pass(10 * time.Second)
		}
	})
}

// A pause that begins after every guard has agreed still comes before the deed.
func TestPauseAtTheLastMoment(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.liveOn(&pausing{Journal: h.journal})
		h.alert("t", true)
		pass(time.Second)
		if run := h.is(1, remediate.Waiting); run.Reason != "pause" || len(h.machine.did()) != 0 {
			t.Errorf("%s: %s, effects %v", run.Reason, run.Why, h.machine.did())
		}
		if _, err := h.journal.EndPause(t.Context(), "policy/repair", "ann", ""); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		h.is(1, remediate.Resolved)
		want := []remediate.State{remediate.Received, remediate.Planned, remediate.Waiting, remediate.Received,
			remediate.Planned, remediate.Allowed, remediate.Applied, remediate.Resolved}
		if diff := cmp.Diff(want, h.states(1)); diff != "" {
			t.Error(diff)
		}
	})
}

// pausing pauses the policy once, just before a run is let act.
type pausing struct {
	*journal.Journal
	once sync.Once
}

func (p *pausing) Append(ctx context.Context, c journal.Change) (err error) {
	if c.Entry.To == remediate.Allowed {
		p.once.Do(func() { err = p.SetPause(ctx, remediate.Pause{Scope: "policy/repair", Reason: "audit", By: "ann"}) })
	}
	return errors.Join(err, p.Journal.Append(ctx, c))
}
