package engine_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// approve says yes to the plan that a run asks for.
func (h *harness) approve(id int64) {
	h.t.Helper()
	run := h.is(id, remediate.AwaitingApproval)
	if err := h.journal.Approve(h.t.Context(), id, run.Plan.Question(), "ann", "", h.now().Add(time.Hour)); err != nil {
		h.t.Fatal(err)
	}
}

// says checks that a text has every part.
func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

// The first action does not help, a person approves of the second, and it does.
func TestChain(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.second = remediate.Ask
		h.machine.useless = map[string]bool{"repair": true}
		h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Applied) // the measure may be late
		h.runs(1)
		pass(5 * time.Second)
		says(t, h.is(1, remediate.Unresolved).Why, "from 10 to 10, limit 0")

		run := h.is(2, remediate.AwaitingApproval)
		if run.Request.Action != "machine/rebuild" || run.Request.Step != 1 || run.Request.Incident != 1 {
			t.Errorf("%+v", run.Request)
		}
		asked := h.notifications(remediate.NotificationAsk)
		if len(asked) != 1 || asked[0].Run != 2 || asked[0].Plan != run.Plan.Question() ||
			!asked[0].Until.Equal(run.Due) {
			t.Fatalf("%+v", asked)
		}
		says(t, asked[0].Title, "machine/rebuild", `table="t"`)
		says(t, asked[0].Text, `1. rebuild "t" 1`, `2. rebuild "t" 2`, "upkeep_machine_damage is 10, its limit 0",
			"upkeep approve 2")
		if got := len(h.machine.did()); got != 2 {
			t.Errorf("%d effects before anybody has approved, want those of the first action", got)
		}

		h.approve(2)
		pass(2 * time.Second)
		h.is(2, remediate.Resolved)
		want := []string{`repair "t" 1`, `repair "t" 2`, `rebuild "t" 1`, `rebuild "t" 2`}
		if diff := cmp.Diff(want, h.machine.did()); diff != "" {
			t.Error(diff)
		}
		pass(time.Minute)
		h.runs(2)
		if pages := h.notifications(remediate.NotificationPage); len(pages) != 0 {
			t.Errorf("people were paged about what was resolved: %+v", pages)
		}
		h.verify()
	})
}

// The first step clears the way, which is all that it promises, and the second
// one ends the incident.
func TestChainClearsTheWay(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.second, h.first = remediate.Auto, new(8.0)
		h.live()
		h.machine.set("t", 18) // each of two steps relieves by 5
		h.alert("t", true)
		pass(time.Minute)
		run := h.is(1, remediate.Inconclusive)
		says(t, run.Why, "from 18 to 8, limit 8; the next step can run")
		if run.Reason != remediate.ReasonPrepared || !run.Request.Aside {
			t.Errorf("%+v", run)
		}
		h.is(2, remediate.Resolved)
		if pages := h.notifications(remediate.NotificationPage); len(pages) != 0 {
			t.Errorf("people were paged: %+v", pages)
		}
		h.verify()
	})
}

// If nothing blocks, a step that would clear it hands on at once: the alert
// fires for another reason, and waiting would not help.
func TestAsideWithNothingInTheWay(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.second, h.first = remediate.Auto, new(1000.0)
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		run := h.is(1, remediate.StateRefused)
		if run.Reason != remediate.ReasonCannotHelp {
			t.Errorf("%+v", run)
		}
		says(t, run.Why, "nothing to clear here")
		h.is(2, remediate.Resolved)
		h.verify()
	})
}

// What cannot be measured since it is of another kind is refused with what the plan
// says, and not tried again as a fault.
func TestUnmeasured(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.measureFaults, h.machine.refuse = 100, remediate.Refuse(remediate.ReasonUnfit, "it is a view")
		h.live()
		h.alert("t", true)
		pass(time.Second)
		if run := h.is(1, remediate.StateRefused); run.Reason != remediate.ReasonUnfit || run.Tries != 0 {
			t.Errorf("%+v", run)
		}
	})
}

// An action that insists on a person and on a window gets both, though its policy
// asks for neither.
func TestInsists(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		asks, windowed := h.machine.action(), h.machine.action()
		asks.Asks = true
		windowed.Name, windowed.Windowed = "machine/rebuild", true
		h.actions = func() []remediate.Action { return []remediate.Action{asks, windowed} }
		h.second, h.machine.useless = remediate.Auto, map[string]bool{"repair": true}
		h.live()
		h.alert("t", true)
		pass(time.Second)
		says(t, h.is(1, remediate.AwaitingApproval).Why, "machine/repair always asks")
		h.approve(1)
		pass(time.Minute)
		h.is(1, remediate.Unresolved)
		says(t, h.is(2, remediate.StateRefused).Why, "machine/rebuild needs a maintenance window")
		if got := len(h.machine.did()); got != 2 {
			t.Errorf("%d effects, want those of the first step", got)
		}
		h.verify()
	})
}

// At the end of the chain people are notified of all measurements, once:
// however often the alert is delivered, and whatever else the policies say later.
func TestChainEndsWithAPage(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.second = remediate.Auto
		h.machine.useless = map[string]bool{"repair": true}
		e, _ := h.live()
		h.machine.after = func() { // the second action breaks
			if len(h.machine.effects) == 2 {
				h.machine.applyFaults = 100
			}
		}
		h.alert("t", true, "summary", "the table is damaged", "runbook", "https://runbooks/damaged")
		pass(5 * time.Minute)
		h.is(1, remediate.Unresolved)
		h.is(2, remediate.Failed)

		pages := h.notifications(remediate.NotificationPage)
		if len(pages) != 1 || pages[0].Incident != 1 {
			t.Fatalf("%+v", pages)
		}
		says(t, pages[0].Title, "Damaged needs a person")
		says(t, pages[0].Text,
			"no further step", `table="t"`, "the table is damaged", "https://runbooks/damaged",
			"run 1, machine/repair: unresolved. upkeep_machine_damage went from 10 to 10, limit 0", `1. repair "t" 1`,
			"run 2, machine/rebuild: failed.", "the connection was lost", `1. rebuild "t" 1`,
			"upkeep_machine_damage is 10, its limit 0")

		h.alert("t", true)
		pass(time.Minute)
		h.hold = time.Second // another edition of the policies decides again
		if err := e.Use(h.machine.actions(), h.policies()); err != nil {
			t.Fatal(err)
		}
		h.alert("t", true)
		pass(time.Minute)
		if pages := h.notifications(remediate.NotificationPage); len(pages) != 1 {
			t.Errorf("%d pages, want one", len(pages))
		}
		if diff := cmp.Diff([]remediate.Note{remediate.NotePaged, remediate.NoteDecided}, h.notes(0)); diff != "" {
			t.Errorf("what the journal says of the incident: %s", diff)
		}
		h.runs(2)
		h.verify()
	})
}

// What follows a step hangs on how it ended.
func TestChainGoesOn(t *testing.T) {
	for _, test := range []struct {
		name  string
		set   func(h *harness)
		first remediate.State
		says  string
		runs  int
		pages int
	}{
		{"it cannot help", func(h *harness) {
			h.machine.refuse, h.machine.refuses = remediate.Refuse(remediate.ReasonCannotHelp, "it is too damaged for that"),
				"repair"
		}, remediate.StateRefused, "too damaged", 2, 0},
		{"it is not known whether it helped", func(h *harness) {
			h.machine.after = func() { delete(h.machine.damage, "t") }
		}, remediate.Inconclusive, "no longer exists", 1, 1},
		{"the action sees nothing wrong", func(h *harness) {
			h.machine.refuse = remediate.Refuse(remediate.ReasonNothing,
				"nothing to do")
		}, remediate.StateRefused, "nothing to do", 1, 1},
		{"it only observes", func(h *harness) { h.mode = remediate.Observe }, remediate.Observed, "only observes", 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.second = remediate.Auto
				test.set(h)
				h.live()
				h.alert("t", true)
				pass(time.Minute)
				says(t, h.is(1, test.first).Why, test.says)
				h.runs(test.runs)
				if test.runs == 2 {
					h.is(2, remediate.Resolved)
				}
				if pages := h.notifications(remediate.NotificationPage); len(pages) != test.pages {
					t.Errorf("%d pages, want %d", len(pages), test.pages)
				}
				h.verify()
			})
		})
	}
}

// A chain ends with its incident: what is over is not remedied further.
func TestChainStopsWithTheIncident(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.second = remediate.Auto
		h.machine.useless = map[string]bool{"repair": true}
		h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Applied)
		h.alert("t", false)
		pass(time.Minute)
		h.is(1, remediate.Unresolved)
		h.runs(1)
		if pages := h.notifications(remediate.NotificationPage); len(pages) != 0 {
			t.Errorf("%+v", pages)
		}
	})
}

// Every entry of a chain is found by its run, and every case in it is decided
// again as it was.
func TestChainIsJournalled(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.second = remediate.Auto
		h.machine.useless = map[string]bool{"repair": true, "rebuild": true}
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		h.is(2, remediate.Unresolved)
		if n := h.replay(); n != 5 { // two requests, two verdicts, one page
			t.Errorf("%d cases, want 5", n)
		}
		want := []remediate.State{remediate.Received, remediate.Planned, remediate.Allowed, remediate.Applied,
			remediate.Unresolved}
		for id := range int64(2) {
			if diff := cmp.Diff(want, h.states(id+1)); diff != "" {
				t.Errorf("run %d: %s", id+1, diff)
			}
		}
		entries, err := h.journal.Entries(t.Context(), 1)
		if err != nil || len(entries) != 9 { // and two of each step
			t.Errorf("%d entries %v", len(entries), err)
		}
		h.verify()
	})
}

// replay decides every recorded case again and counts them.
func (h *harness) replay() (n int) {
	h.t.Helper()
	texts, err := h.journal.Books(h.t.Context())
	books := make(map[string]policy.Book)
	for hash, text := range texts {
		var b policy.Book
		err = errors.Join(err, json.Unmarshal(text, &b))
		books[hash] = b
	}
	if err == nil {
		err = h.journal.Cases(h.t.Context(), func(seq int64, decided json.RawMessage) error {
			var r policy.Record
			n++
			return errors.Join(json.Unmarshal(decided, &r), policy.Replay(books, r))
		})
	}
	if err != nil {
		h.t.Error(err)
	}
	return n
}
