package engine_test

import (
	"testing"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// What a person demotes asks: after a reload and in another process too, until a person promotes it. Nothing acts
// meanwhile.
func TestDemotedByAPerson(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		e, stop := h.live()
		h.machine.change(func() { h.machine.relief = 10 })
		for _, table := range []string{"a", "b", "c"} {
			h.machine.set(table, 5)
		}
		if err := h.journal.DemoteBy(t.Context(), "repair", "user/ann", "the storage is slow"); err != nil {
			t.Fatal(err)
		}
		h.alert("a", true)
		pass(time.Second)
		says(t, h.is(1, remediate.AwaitingApproval).Why, "the policy is demoted: user/ann: the storage is slow")
		if err := e.Use(h.machine.actions(), h.policies()); err != nil { // a reload
			t.Fatal(err)
		}
		h.alert("b", true)
		pass(time.Second)
		h.is(1, remediate.AwaitingApproval)
		h.is(2, remediate.AwaitingApproval)
		stop()
		h.live() // a restart
		h.alert("c", true)
		pass(time.Minute)
		for id := range int64(3) {
			h.is(id+1, remediate.AwaitingApproval)
		}
		if did := h.machine.did(); len(did) != 0 {
			t.Errorf("it acted: %v", did)
		}
		if err := h.journal.Promote(t.Context(), "repair", "user/bob", "it is fast again"); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		for id := range int64(3) {
			h.is(id+1, remediate.Resolved)
		}
		h.verify()
	})
}

// A dry run says what a policy would decide: about what fires by the runs that there were, about what has closed as
// if nothing had been done. It leaves out what the policy does not match, and names the policy that comes first.
// Nothing is done and nothing is journalled.
func TestTry(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.hold = 10 * time.Minute
		e := h.engine(h.journal)
		match, err := labels.ParseMatchers(`server="main"`)
		if err != nil {
			t.Fatal(err)
		}
		all := append(h.policies(), policy.Policy{Name: "second", Match: match, Steps: []policy.Step{
			{Action: "machine/rebuild", Mode: remediate.Observe}}})
		if err := e.Use(h.machine.actions(), all); err != nil {
			t.Fatal(err)
		}
		h.alert("short", true)
		pass(time.Minute)
		h.alert("short", false)
		h.alert("long", true)
		h.alert("new", true)
		h.alert("gone", true)
		pass(time.Hour)
		h.alert("gone", false)
		h.alert("newest", true)
		other := remediate.Alert{Source: "alertmanager", Firing: true, Labels: map[string]string{"alertname": "Other",
			"server": "main"}}
		if err := h.inbox.Accept(t.Context(), []remediate.Alert{other}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		incidents, err := h.inbox.Fired(t.Context(), h.now().Add(-24*time.Hour), 100)
		if err != nil {
			t.Fatal(err)
		}
		histories := make(map[int64][]remediate.Run)
		for _, one := range incidents {
			if one.Alert.Labels["table"] == "long" {
				histories[one.ID] = []remediate.Run{{ID: 7, State: remediate.Unresolved, Begun: 1,
					Request: remediate.Request{Policy: "repair", Action: "machine/repair"}}}
			}
			if one.Alert.Labels["table"] == "gone" { // what was done about it does not count
				histories[one.ID] = []remediate.Run{{ID: 8, State: remediate.Resolved, Begun: 1,
					Request: remediate.Request{Policy: "repair", Action: "machine/repair"}}}
			}
		}
		want := map[string]string{
			"newest": "waits: policy \"repair\" holds for 10m",
			"new":    "runs machine/repair: policy \"repair\" asks for machine/repair",
			"long":   "people: run 7 of machine/repair is unresolved; policy \"repair\" has no further step",
			"gone":   "runs machine/repair: policy \"repair\" asks for machine/repair",
			"short":  "waits: policy \"repair\" holds for 10m",
		}
		for _, trial := range e.Try(t.Context(), "repair", incidents, histories) {
			table, d := trial.Incident.Alert.Labels["table"], trial.Decision
			got := "nothing: " + d.Why
			switch {
			case d.Request != nil:
				got = "runs " + d.Request.Action + ": " + d.Why
			case d.Page:
				got = "people: " + d.Why
			case !d.Wait.IsZero():
				got = "waits: " + d.Why
			}
			if got != want[table] || trial.By != "repair" {
				t.Errorf("%s by %q: %s, want %s", table, trial.By, got, want[table])
			}
			delete(want, table)
		}
		if len(want) > 0 {
			t.Errorf("missing: %v", want)
		}
		for _, trial := range e.Try(t.Context(), "second", incidents, nil) {
			by := "repair"
			if trial.Incident.Name() == "Other" {
				by = "second"
			}
			if trial.By != by {
				t.Errorf("%s is decided by %q", trial.Incident.Name(), trial.By)
			}
			delete(want, by)
			want["seen "+by] = ""
		}
		if len(want) != 2 {
			t.Errorf("decided by: %v", want)
		}
		if none := e.Try(t.Context(), "none", incidents, nil); none != nil {
			t.Errorf("an unknown policy: %+v", none)
		}
		h.runs(0)
		if part, err := h.journal.Find(t.Context(), journal.EntryFilter{}, 9); err != nil || len(part.Entries) > 0 {
			t.Errorf("it was journalled: %+v %v", part.Entries, err)
		}
	})
}
