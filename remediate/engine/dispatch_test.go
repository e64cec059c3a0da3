package engine_test

import (
	"context"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// What a policy holds gets its run as soon as it has been open for so long, though
// nothing new is delivered; what is over before gets none.
func TestHeldUntilRipe(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.hold = 5 * time.Minute
		h.machine.damage["u"] = 10
		h.live()
		h.alert("t", true)
		h.alert("u", true)
		pass(5*time.Minute - time.Second)
		h.runs(0)
		h.alert("u", false)
		pass(2 * time.Second)
		h.runs(1)
		if run := h.is(1, remediate.Resolved); run.Request.Subject["table"] != "t" ||
			run.Created.Sub(h.now()) > time.Second {
			t.Errorf("%+v", run)
		}
		h.replay()
	})
}

// An alert that comes and goes is held down before its next run.
func TestFlappingIsHeldDown(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Resolved)
		h.alert("t", false)
		h.machine.set("t", 10)
		h.machine.change(func() { clear(h.machine.done) })
		pass(time.Minute)
		h.fires("t", time.Now())
		pass(50 * time.Second)
		h.runs(1)
		pass(11 * time.Second)
		h.is(2, remediate.Resolved)
	})
}

// fires delivers an alert that began at a moment.
func (h *harness) fires(table string, since time.Time) {
	h.t.Helper()
	a := remediate.Alert{
		Source: "alertmanager", Firing: true, StartsAt: since, Annotations: map[string]string{"limit": "0"},
		Labels: map[string]string{"alertname": "Damaged", "server": "main", "table": table, "job": "upkeep"},
	}
	if err := h.inbox.Accept(h.t.Context(), []remediate.Alert{a}); err != nil {
		h.t.Fatal(err)
	}
}

// Another edition of the policies decides the open incidents again, once. An incident
// that has its run is decided when that has ended, and not before.
func TestReload(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.mode = remediate.Observe
		e, _ := h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Observed)
		h.runs(1)

		use := func(change func()) {
			t.Helper()
			change()
			if err := e.Use(h.machine.actions(), h.policies()); err != nil {
				t.Fatal(err)
			}
			pass(10 * time.Second)
		}
		use(func() {}) // the same edition
		if n := len(h.notes(0)); n != 1 {
			t.Errorf("the same policies have decided again: %v", h.notes(0))
		}
		use(func() { h.mode = remediate.Auto }) // a step that was taken is not taken again
		h.runs(1)
		if n := len(h.notes(0)); n != 2 {
			t.Errorf("other policies have decided %d times, want twice", n)
		}
		use(func() { h.hold = time.Millisecond }) // nor later
		pass(10 * time.Minute)
		h.runs(1)
		if n := len(h.notes(0)); n != 3 || len(h.machine.did()) != 0 {
			t.Errorf("%v, effects %v", h.notes(0), h.machine.did())
		}
		h.replay()
		h.verify()
	})
}

// A run that was made under one edition is carried on under the next, with the
// terms that it was made with, and its incident is decided once it has ended.
func TestReloadWhileAsked(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.mode = remediate.Ask
		e, _ := h.live()
		h.machine.change(func() { h.machine.useless = map[string]bool{"repair": true} })
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.AwaitingApproval)
		h.second = remediate.Auto
		if err := e.Use(h.machine.actions(), h.policies()); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		h.runs(1)
		h.approve(1)
		pass(10 * time.Second)
		h.is(1, remediate.Unresolved)
		h.is(2, remediate.Resolved) // of the chain as it is now
	})
}

// A policy that comes later takes up the alerts without a policy.
func TestReloadFindsALateMatch(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		e, _ := h.live()
		if err := e.Use(h.machine.actions(), nil); err != nil {
			t.Fatal(err)
		}
		h.alert("t", true)
		pass(time.Minute)
		h.runs(0)
		if err := e.Use(h.machine.actions(), h.policies()); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		h.is(1, remediate.Resolved)
	})
}

// What cannot be done as it is asked for is refused in the journal, in words, and
// the chain goes on to a step that can.
func TestWrongSteps(t *testing.T) {
	for _, test := range []struct {
		name   string
		with   string // the parameter of the step
		labels map[string]string
		reason string
		says   string
	}{
		{"right", "$depth", map[string]string{"depth": "3"}, "", ""},
		{"no number", "$depth", map[string]string{"depth": "deep"}, remediate.ReasonSubject,
			`parameter "cuts" is "deep"; a whole number of at least 0 was expected`},
		{"missing", "$depth", nil, remediate.ReasonSubject, `parameter "cuts": the alert has no label "depth"`},
		{"a wrong word in the policy", "many", nil, remediate.ReasonSubject,
			`parameter "cuts" is "many"; a whole number`},
		{"no table", "1", map[string]string{"table": ""}, remediate.ReasonSubject, `label "table"`},
		{"a target that is not there", "1", map[string]string{"server": "other"}, remediate.ReasonAction,
			`no target "other" takes it`},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				e, _ := h.live()
				pass(time.Second) // its first look is over: it decides by what is in force when a look begins
				policies := h.policies()
				rebuild := policies[0].Steps[0]
				rebuild.Action, rebuild.With = "machine/rebuild", map[string]string{"cuts": test.with}
				policies[0].Steps = []policy.Step{rebuild, policies[0].Steps[0]}
				if err := e.Use(h.machine.actions(), policies); err != nil {
					t.Fatal(err)
				}
				a := remediate.Alert{
					Source: "alertmanager", Firing: true, StartsAt: time.Now(),
					Annotations: map[string]string{"limit": "0"},
					Labels:      map[string]string{"alertname": "Damaged", "server": "main", "table": "t"},
				}
				maps.Copy(a.Labels, test.labels)
				if err := h.inbox.Accept(t.Context(), []remediate.Alert{a}); err != nil {
					t.Fatal(err)
				}
				pass(10 * time.Second)
				if test.reason == "" {
					if run := h.is(1, remediate.Resolved); run.Request.Params["cuts"] != "3" {
						t.Errorf("%+v", run.Request)
					}
					return
				}
				run := h.is(1, remediate.StateRefused)
				if run.Reason != test.reason {
					t.Errorf("reason %q, want %q", run.Reason, test.reason)
				}
				says(t, run.Why, test.says)
				h.runs(2) // the next step is asked for, whatever becomes of it
				h.verify()
			})
		})
	}
}

// An action that no target has any more, while its run waits, holds the run for a
// while, in words, and ends it then.
func TestActionGoes(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.mode = remediate.Ask
		e, _ := h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.AwaitingApproval)
		if err := e.Use(h.machine.actions()[1:], h.policies()); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if run := h.is(1, remediate.Waiting); run.Reason != remediate.ReasonTarget {
			t.Errorf("reason %q", run.Reason)
		}
		says(t, h.is(1, remediate.Waiting).Why, `no target "main" that takes machine/repair`)
		pass(61 * time.Minute)
		if run := h.is(1, remediate.StateRefused); run.Reason != remediate.ReasonTarget {
			t.Errorf("reason %q", run.Reason)
		}
	})
}

// A heldJournal does not say what is due while it is held.
type heldJournal struct {
	engine.Journal
	hold atomic.Pointer[chan struct{}]
}

func (j *heldJournal) Due(ctx context.Context, n int) ([]remediate.Run, error) {
	if hold := j.hold.Load(); hold != nil {
		<-*hold
	}
	return j.Journal.Due(ctx, n)
}

// The loop goes on each second, also where nothing happens, and the engine says when it last did.
func TestLooped(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		j := &heldJournal{Journal: h.journal}
		idle := h.engine(j)
		if at := idle.Looped(); !at.IsZero() {
			t.Errorf("it has looped at %s and has not begun", at)
		}
		e, _ := h.liveOn(j)
		goes := func(want bool) {
			t.Helper()
			pass(time.Minute)
			if still := time.Since(e.Looped()); (still <= 2*time.Second) != want {
				t.Errorf("it last went on %s ago, want it going on: %t", still, want)
			}
		}
		goes(true)
		hold := make(chan struct{})
		j.hold.Store(&hold)
		goes(false)
		j.hold.Store(nil)
		close(hold)
		goes(true)
	})
}

// A countingJournal counts how often it is asked for work and renewed.
type countingJournal struct {
	engine.Journal
	asked, renewed atomic.Int64
}

func (j *countingJournal) Due(ctx context.Context, n int) ([]remediate.Run, error) {
	j.asked.Add(1)
	return j.Journal.Due(ctx, n)
}

func (j *countingJournal) Beat(ctx context.Context) ([]journal.Carried, error) {
	j.renewed.Add(1)
	return j.Journal.Beat(ctx)
}

// Where no other process works on the store, an engine with nothing to do asks it nothing. Whatever is written
// makes it look again, though it is not woken.
func TestNothingToDo(t *testing.T) {
	for _, alone := range []bool{true, false} {
		bubble(t, func(t *testing.T, h *harness) {
			h.alone, h.deaf = alone, true
			j := &countingJournal{Journal: h.journal}
			h.liveOn(j)
			rests := func() {
				t.Helper()
				pass(time.Minute)
				asked, renewed := j.asked.Load(), j.renewed.Load()
				pass(time.Hour)
				asked, renewed = j.asked.Load()-asked, j.renewed.Load()-renewed
				if alone != (asked == 0) || alone != (renewed == 0) {
					t.Errorf("alone %t: asked %d times in an hour, renewed %d times", alone, asked, renewed)
				}
			}
			rests()
			h.alert("t", true)
			pass(2 * time.Second)
			h.is(1, remediate.Resolved)
			asked := j.asked.Load()
			pass(time.Minute)
			if j.asked.Load() == asked {
				t.Error("an incident is open, and it is not asked for work")
			}
			h.alert("t", false)
			rests()
			h.machine.set("t", 10)
			h.machine.change(func() { clear(h.machine.done) })
			h.fires("t", time.Now())
			pass(2 * time.Second)
			h.is(2, remediate.Resolved)
			h.replay()
		})
	}
}
