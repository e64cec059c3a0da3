package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// With rights to read alone the whole plan is shown, with what it needs, and nothing is
// done, whatever the mode.
func TestLackingRights(t *testing.T) {
	for _, test := range []struct {
		mode   remediate.Mode
		reason string
	}{{remediate.Observe, remediate.ReasonMode}, {remediate.Ask, remediate.ReasonPrivilege},
		{remediate.Auto, remediate.ReasonPrivilege}} {
		t.Run(string(test.mode), func(t *testing.T) {
			h := newHarness(t)
			h.mode, h.machine.lacks = test.mode, "grant the knife to the role"
			h.live()
			h.alert("t", true)
			run := h.await(1, remediate.StoppedBy(test.reason))
			if run.Reason != test.reason || !strings.Contains(run.Why,
				"before it may act it needs: grant the knife to the role") {
				t.Errorf("%s: %s", run.Reason, run.Why)
			}
			if len(run.Plan.Steps) != 2 || len(run.Plan.Needs) != 1 || run.Before == nil || *run.Before != 10 {
				t.Errorf("the plan is %+v, before %v", run.Plan, run.Before)
			}
			if got := h.machine.did(); len(got) != 0 || run.Begun != 0 {
				t.Errorf("effects %v", got)
			}
		})
	}
	h := newHarness(t)
	h.machine.lacks = "grant the knife to the role"
	p, err := h.engine(h.journal).Preview(t.Context(), remediate.Request{Action: "machine/repair",
		Subject: map[string]string{"server": "main", "table": "t"}, Mode: remediate.Auto})
	if err != nil || len(p.Plan.Steps) != 2 || p.Hash == "" || len(p.Refusals) != 1 ||
		p.Refusals[0].Reason != remediate.ReasonPrivilege {
		t.Errorf("Preview: %+v %v", p, err)
	}
}

// What a target cannot tell is no zero: an alert's run waits until it is known.
func TestUnknownMeasure(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.unknown = true
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		if run := h.is(1, remediate.Waiting); run.Reason != remediate.ReasonNoData ||
			!strings.Contains(run.Why, "the machine has crashed") {
			t.Errorf("%s: %s", run.Reason, run.Why)
		}
		h.machine.change(func() { h.machine.unknown = false })
		pass(5 * time.Minute)
		h.is(1, remediate.Resolved)
	})
}
