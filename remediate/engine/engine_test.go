package engine_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func TestHeals(t *testing.T) {
	h := newHarness(t)
	h.live()
	h.alert("t", true)
	run := h.await(1, remediate.Resolved)
	want := []remediate.State{remediate.Received, remediate.Planned, remediate.Allowed, remediate.Applied,
		remediate.Resolved}
	if diff := cmp.Diff(want, h.states(1)); diff != "" {
		t.Error(diff)
	}
	if *run.Before != 10 || *run.After != 0 || run.Done != 2 || run.Request.Policy != "repair" ||
		run.Request.By != "alert/Damaged" {
		t.Errorf("%+v", run)
	}
	if diff := cmp.Diff([]string{`repair "t" 1`, `repair "t" 2`}, h.machine.did()); diff != "" {
		t.Error(diff)
	}
	if a := h.machine.action(); h.refreshed.Load() != a.Lowers+" "+a.Target {
		t.Errorf("%v was read again, want %s of %s", h.refreshed.Load(), a.Lowers, a.Target)
	}
	h.verify()
}

// Each of these is an end that the journal explains, and in none of them more is
// done than it says.
func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		name    string
		set     func(h *harness)
		state   remediate.State
		says    string
		effects int
	}{
		{"not enough", func(h *harness) { h.machine.relief = 1 }, remediate.Unresolved, "from 10 to 8, limit 0", 2},
		{"gone", func(h *harness) { delete(h.machine.damage, "t") }, remediate.StateRefused, "not there", 0},
		{"an empty plan", func(h *harness) { h.machine.steps = 0 }, remediate.StateRefused, "nothing to do", 0},
		{"refused by the action", func(h *harness) { h.machine.refuse = remediate.Refuse(remediate.ReasonUnfit, "a view") },
			remediate.StateRefused, "a view", 0},
		{"only observed", func(h *harness) { h.mode = remediate.Observe }, remediate.Observed, "only observes", 0},
		{"no measure", func(h *harness) { h.machine.damage["t"] = math.NaN() }, remediate.Failed, "NaN is no measure", 0},
		{"a look fails once", func(h *harness) { h.machine.measureFaults = 1 }, remediate.Resolved, "limit 0", 2},
		{"a step fails once", func(h *harness) { h.machine.applyFaults = 1 }, remediate.Resolved, "limit 0", 2},
		{"a step fails always", func(h *harness) { h.machine.applyFaults = math.MaxInt }, remediate.Failed,
			"the connection was lost", 0},
		{"a step fails for good", func(h *harness) {
			h.machine.seen = func(remediate.Fence, map[string]string) error {
				return fmt.Errorf("200 keys are gone: %w", remediate.ErrFinal)
			}
		}, remediate.Failed, "200 keys are gone: not tried again", 0},
		{"a step panics", func(h *harness) { h.machine.before = func() { panic("no such luck") } }, remediate.Failed,
			"a bug in it: no such luck", 0},
		{"a step takes too long", func(h *harness) { h.machine.before = func() { time.Sleep(2100 * time.Millisecond) } },
			remediate.Failed, "longer than 2s", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				test.set(h)
				h.live()
				h.alert("t", true)
				pass(5 * time.Minute)
				run := h.is(1, test.state)
				if !strings.Contains(run.Why, test.says) {
					t.Errorf("why: %q, want something with %q", run.Why, test.says)
				}
				if got := len(h.machine.did()); got != test.effects {
					t.Errorf("%d effects, want %d", got, test.effects)
				}
				h.verify()
			})
		})
	}
}

func TestWrongRequests(t *testing.T) {
	limit := 0.0
	good := func() remediate.Request {
		return remediate.Request{Key: "k", Action: "machine/repair",
			Subject: map[string]string{"server": "main", "table": "t"}, Limit: &limit, Mode: remediate.Auto,
			By: "user/ann"}
	}
	for _, test := range []struct {
		name   string
		spoil  func(r *remediate.Request)
		reason string
	}{
		{"unknown action", func(r *remediate.Request) { r.Action = "machine/kill" }, remediate.ReasonAction},
		{"unknown target", func(r *remediate.Request) { r.Subject["server"] = "other" }, remediate.ReasonAction},
		{"no target", func(r *remediate.Request) { delete(r.Subject, "server") }, remediate.ReasonSubject},
		{"missing label", func(r *remediate.Request) { delete(r.Subject, "table") }, remediate.ReasonSubject},
		{"empty label", func(r *remediate.Request) { r.Subject["table"] = "" }, remediate.ReasonSubject},
		{"a label too many", func(r *remediate.Request) { r.Subject["schema"] = "public" }, remediate.ReasonSubject},
		{"a zero byte", func(r *remediate.Request) { r.Subject["table"] = "a\x00b" }, remediate.ReasonSubject},
		{"no UTF-8", func(r *remediate.Request) { r.Subject["table"] = "a\xffb" }, remediate.ReasonSubject},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHarness(t)
			e := h.engine(h.journal)
			r := good()
			test.spoil(&r)
			_, err := e.Request(t.Context(), r)
			if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != test.reason {
				t.Errorf("Request: %v, want a refusal %q", err, test.reason)
			}
			if runs, err := h.journal.Recent(t.Context(), 0, 10); len(runs) != 0 || err != nil {
				t.Errorf("a run was made: %+v %v", runs, err)
			}
		})
	}
}

// What comes with an alert is refused in the journal, with its reason.
func TestWrongAlerts(t *testing.T) {
	for name, limit := range map[string]string{"no limit": "", "no number": "much", "not a number": "NaN",
		"no end": "+Inf"} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.live()
			h.alert("t", true, "limit", limit)
			run := h.await(1, remediate.StateRefused)
			if !strings.Contains(run.Why, "limit") || len(h.machine.did()) != 0 {
				t.Errorf("%s, effects %v", run.Why, h.machine.did())
			}
		})
	}
}

// Somebody asks by hand and names no limit: it helped when it did not get worse.
func TestRequestWithoutLimit(t *testing.T) {
	h := newHarness(t)
	e, _ := h.live()
	r := remediate.Request{Key: "user/1", Action: "machine/repair",
		Subject: map[string]string{"server": "main", "table": "t"}, Mode: remediate.Auto, By: "user/ann"}
	run, err := e.Request(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	h.await(run.ID, remediate.Resolved)
	again, err := e.Request(t.Context(), r)
	if err != nil || again.ID != run.ID {
		t.Errorf("the same request made another run: %d %v", again.ID, err)
	}
}

func TestPreviewChangesNothing(t *testing.T) {
	h := newHarness(t)
	e := h.engine(h.journal)
	limit := 0.0
	if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "r", By: "b"}); err != nil {
		t.Fatal(err)
	}
	p, err := e.Preview(t.Context(), remediate.Request{Action: "machine/repair",
		Subject: map[string]string{"server": "main", "table": "t"}, Limit: &limit, Mode: remediate.Auto})
	if err != nil || len(p.Plan.Steps) != 2 || *p.Before != 10 || len(p.Refusals) != 1 ||
		p.Refusals[0].Reason != "pause" {
		t.Errorf("Preview: %+v %v", p, err)
	}
	if runs, err := h.journal.Recent(t.Context(), 0, 10); len(runs) != 0 || err != nil || len(h.machine.did()) != 0 {
		t.Errorf("the preview left something: %v %v %v", runs, h.machine.did(), err)
	}
}

func TestPauseHoldsAndEnds(t *testing.T) {
	h := newHarness(t)
	if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "target/main", Reason: "move",
		By: "ann"}); err != nil {
		t.Fatal(err)
	}
	h.live()
	h.alert("t", true)
	run := h.await(1, remediate.Waiting)
	if !strings.Contains(run.Why, "paused by ann") || len(h.machine.did()) != 0 {
		t.Errorf("%s, effects %v", run.Why, h.machine.did())
	}
	if _, err := h.journal.EndPause(t.Context(), "target/main", "ann", ""); err != nil {
		t.Fatal(err)
	}
	h.skip(time.Minute)
	h.await(1, remediate.Resolved)
}

// The measure is within its limit, and the alert fires: whichever of them is late,
// nothing is done until it is known.
func TestWithinLimit(t *testing.T) {
	h := newHarness(t)
	h.machine.damage["t"], h.machine.damage["u"] = 0, 0
	h.live()
	h.alert("t", true)
	h.alert("u", true)
	for id := range 2 {
		if run := h.await(int64(id+1), remediate.Waiting); !strings.Contains(run.Why, "within its limit") {
			t.Error(run.Why)
		}
	}
	h.alert("u", false)
	if run := h.await(2, remediate.StateRefused); !strings.Contains(run.Why, "the incident is closed") {
		t.Error(run.Why)
	}
	h.machine.mu.Lock()
	h.machine.damage["t"] = 10
	h.machine.mu.Unlock()
	h.skip(time.Minute)
	h.await(1, remediate.Resolved)
	if got := len(h.machine.did()); got != 2 {
		t.Errorf("%d effects, want those on one subject", got)
	}
}

// What its run resolved and what fires again later are two incidents, even if
// the end of the first was not delivered.
func TestFiresAnew(t *testing.T) {
	h := newHarness(t)
	h.live()
	h.alert("t", true)
	h.await(1, remediate.Resolved)
	h.alert("t", true)
	if open, err := h.inbox.Incidents(t.Context(), 0, 1<<20); err != nil || len(open) != 1 || open[0].ID != 1 {
		t.Fatalf("the late repetition of an alert opened another incident: %+v %v", open, err)
	}
	h.machine.mu.Lock()
	h.machine.damage["t"], h.machine.done = 10, map[string]bool{}
	h.machine.mu.Unlock()
	a := remediate.Alert{Source: "alertmanager", Firing: true, StartsAt: h.now().Add(time.Second),
		Labels:      map[string]string{"alertname": "Damaged", "server": "main", "table": "t", "job": "upkeep"},
		Annotations: map[string]string{"limit": "0"}}
	if err := h.inbox.Accept(t.Context(), []remediate.Alert{a}); err != nil {
		t.Fatal(err)
	}
	h.await(2, remediate.Resolved)
}

// An incident that comes back before its alert could end is one too: an alert that
// still fires a quarter of an hour after the clearing is looked at anew.
func TestFiresOn(t *testing.T) {
	h := newHarness(t)
	h.live()
	h.alert("t", true)
	h.await(1, remediate.Resolved)
	h.machine.mu.Lock()
	h.machine.damage["t"], h.machine.done = 10, map[string]bool{}
	h.machine.mu.Unlock()
	h.skip(14 * time.Minute)
	h.alert("t", true)
	if open, err := h.inbox.Incidents(t.Context(), 0, 1<<20); err != nil || len(open) != 1 || open[0].ID != 1 {
		t.Fatalf("too early: %+v %v", open, err)
	}
	h.skip(2 * time.Minute)
	h.alert("t", true)
	h.await(2, remediate.Resolved)
}

func TestIncidentEndsWhileWaiting(t *testing.T) {
	h := newHarness(t)
	if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "move", By: "ann"}); err != nil {
		t.Fatal(err)
	}
	h.live()
	h.alert("t", true)
	h.await(1, remediate.Waiting)
	h.alert("t", false)
	if run := h.await(1, remediate.StateRefused); !strings.Contains(run.Why, "the incident is closed") {
		t.Error(run.Why)
	}
	if len(h.machine.did()) != 0 {
		t.Errorf("effects %v", h.machine.did())
	}
}

func TestCooldown(t *testing.T) {
	h := newHarness(t)
	h.cool = time.Hour
	e, _ := h.live()
	h.alert("t", true)
	h.await(1, remediate.Resolved)
	h.alert("t", false)
	h.machine.mu.Lock()
	h.machine.damage["t"], h.machine.done = 10, map[string]bool{}
	h.machine.mu.Unlock()
	h.skip(time.Minute)
	a := remediate.Alert{Source: "alertmanager", Firing: true, StartsAt: time.UnixMilli(99_000),
		Labels:      map[string]string{"alertname": "Damaged", "server": "main", "table": "t"},
		Annotations: map[string]string{"limit": "0"}}
	if err := h.inbox.Accept(t.Context(), []remediate.Alert{a}); err != nil {
		t.Fatal(err)
	}
	e.Wake()
	run := h.await(2, remediate.Waiting)
	if left := run.Due.Sub(h.now()); left < 50*time.Minute || left > time.Hour {
		t.Errorf("due in %s, want a little less than an hour", left)
	}
	h.skip(time.Hour)
	h.await(2, remediate.Resolved)
}

// What is decided by the plan is decided again when the right to act is there.
func TestPlanHasChanged(t *testing.T) {
	h := newHarness(t)
	changed := &changing{Journal: h.journal, machine: h.machine}
	e := h.engine(changed)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = e.Run(ctx) }()
	h.alert("t", true)
	h.await(1, remediate.Unresolved) // 20 - 2×5
	want := []remediate.State{
		remediate.Received, remediate.Planned, remediate.Allowed, remediate.Received,
		remediate.Planned, remediate.Allowed, remediate.Applied, remediate.Unresolved,
	}
	if diff := cmp.Diff(want, h.states(1)); diff != "" {
		t.Error(diff)
	}
}

// changing makes the simSubject sicker once, between the plan and the deed.
type changing struct {
	*journal.Journal
	machine *machine
	once    sync.Once
}

func (c *changing) Append(ctx context.Context, change journal.Change) error {
	if change.Entry.To == remediate.Allowed {
		c.once.Do(func() {
			c.machine.mu.Lock()
			defer c.machine.mu.Unlock()
			c.machine.damage["t"] = 20
		})
	}
	return c.Journal.Append(ctx, change)
}

// Two runs on one subject never act at once, for every requester.
func TestOneAtATimeOnASubject(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.damage["t"], h.machine.slow = 1000, 20*time.Millisecond
		e, _ := h.live()
		limit := 999.0
		for i := range 6 {
			_, err := e.Request(t.Context(), remediate.Request{Key: fmt.Sprint(i), Action: "machine/repair",
				Subject: map[string]string{"server": "main", "table": "t"}, Limit: &limit, Mode: remediate.Auto})
			if err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Minute)
		for i := range 6 {
			h.is(int64(i+1), remediate.Resolved)
		}
		if h.machine.most != 1 {
			t.Errorf("%d acted at once", h.machine.most)
		}
	})
}

// Many incidents at once: as many act as may, and each subject once.
func TestManyIncidents(t *testing.T) {
	const n = 200
	h := newHarness(t)
	h.machine.steps, h.machine.relief, h.machine.before = 1, 10, func() { time.Sleep(time.Millisecond) }
	h.machine.timeout = time.Minute // of the machine's clock, which may be busy
	for i := range n {
		h.machine.damage[fmt.Sprint("t", i)] = 10
	}
	e, _ := h.live()
	for i := range n {
		h.alert(fmt.Sprint("t", i), true)
	}
	e.Wake()
	for i := range n {
		h.await(int64(i+1), remediate.Resolved)
	}
	effects := h.machine.did()
	slices.Sort(effects)
	if got := len(slices.Compact(effects)); got != n || len(h.machine.did()) != n {
		t.Errorf("%d effects, %d of them different, want %d", len(h.machine.did()), got, n)
	}
	if h.machine.most > 4 || h.machine.most < 2 {
		t.Errorf("%d acted at once, want 2 to 4", h.machine.most)
	}
	h.verify()
}

// One incident that cannot be written does not hold up the others.
func TestNamesThatHurt(t *testing.T) {
	h := newHarness(t)
	hostile := "täble\"; DROP TABLE x; --\\ '\n{{ .Labels }} $1 %s"
	h.machine.damage[hostile] = 10
	h.live()
	h.alert(hostile, true)
	run := h.await(1, remediate.Resolved)
	if run.Request.Subject["table"] != hostile || h.machine.damage[hostile] != 0 {
		t.Errorf("%+v %v", run.Request, h.machine.damage)
	}
	h.verify()
}
