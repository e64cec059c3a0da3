package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
)

// An alert that is flapping, and never outlasts its hold-down, is notified once.
func TestFlappingIsReportedOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		on, off time.Duration
		mode    remediate.Mode
		label   string
		lasts   time.Duration
		pages   int
	}{
		{"each second", time.Second, time.Second, remediate.Auto, "Damaged", 25 * time.Minute, 1},
		{"in minutes", 220 * time.Second, time.Minute, remediate.Ask, "Damaged", time.Hour, 1},
		{"only observed", time.Second, time.Second, remediate.Observe, "Damaged", 12 * time.Minute, 0},
		{"without a policy", time.Second, time.Second, remediate.Auto, "Well", 12 * time.Minute, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.mode = c.mode
				h.live()
				tell := func(began time.Time, firing bool) {
					a := remediate.Alert{
						Source: "alertmanager", Firing: firing, StartsAt: began,
						Labels:      map[string]string{"alertname": c.label, "server": "main", "table": "t"},
						Annotations: map[string]string{"limit": "0"},
					}
					if !firing {
						a.EndsAt = h.now()
					}
					if err := h.inbox.Accept(t.Context(), []remediate.Alert{a}); err != nil {
						t.Fatal(err)
					}
				}
				for begun := h.now(); h.now().Sub(begun) < c.lasts; {
					began := h.now()
					tell(began, true)
					pass(c.on)
					tell(began, false)
					pass(c.off)
				}
				pages := h.notifications(remediate.NotificationPage)
				if len(pages) != c.pages {
					t.Fatalf("%d pages, want %d: %+v", len(pages), c.pages, pages)
				}
				for _, p := range pages {
					says(t, p.Title, "Damaged is flapping")
					says(t, p.Text, "has been flapping since", "returns) and each time ended during its hold-down",
						"keep_firing_for", "engine.flap")
				}
				h.verify()
				// It stays in the end, and its policy has its turn.
				before, err := h.journal.Recent(t.Context(), 0, 1000)
				if err != nil || c.label == "Well" {
					return
				}
				tell(h.now(), true)
				pass(31 * time.Minute)
				if after, err := h.journal.Recent(t.Context(), 0, 1000); err != nil || len(after) != len(before)+1 {
					t.Errorf("%d runs, want one more than %d (%v)", len(after), len(before), err)
				}
			})
		})
	}
}

// deliveries say what Alertmanager would: why the alert is held, or an error.
type deliveries struct {
	mu  sync.Mutex
	why string
	err error
}

func (d *deliveries) Held(context.Context, int64) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.why, d.err
}

func (d *deliveries) set(why string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.why, d.err = why, err
}

// What would not be delivered now is not acted on: not before the first step, and not
// between two steps.
func TestSuppressed(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		d := new(deliveries)
		h.guards.Deliveries = d
		d.set("silenced by ann", nil)
		h.live()
		h.alert("t", true)
		pass(10 * time.Minute)
		run := h.is(1, remediate.Waiting)
		if run.Reason != "suppressed" || !strings.Contains(run.Why, "silenced by ann") || len(h.machine.did()) != 0 {
			t.Errorf("%s %s, %q", run.Reason, run.Why, h.machine.did())
		}
		h.machine.after = func() {
			if len(h.machine.effects) == 1 {
				d.set("muted by nights", nil)
			}
		}
		d.set("", nil)
		pass(time.Minute)
		run = h.is(1, remediate.Waiting)
		if diff := cmp.Diff([]string{`repair "t" 1`}, h.machine.did()); diff != "" || run.Reason != "suppressed" ||
			!strings.Contains(run.Why, "muted by nights; 1 of 2 steps done") {
			t.Errorf("%s %s %s", run.Reason, run.Why, diff)
		}
		d.set("", nil)
		pass(time.Minute)
		h.is(1, remediate.Resolved)
		h.verify()
	})
}

// While no Alertmanager answers, whether it would deliver is not known.
func TestSuppressedOrNotIsUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		d := new(deliveries)
		h.guards.Deliveries = d
		d.set("", errors.New("connection refused"))
		h.live()
		h.alert("t", true)
		pass(10 * time.Minute)
		if run := h.is(1, remediate.Waiting); run.Reason != "suppressed" ||
			!strings.Contains(run.Why, "suppresses the alert: connection refused") || run.Tries != 0 {
			t.Errorf("%+v", run)
		}
		d.set("", nil)
		pass(time.Minute)
		h.is(1, remediate.Resolved)
	})
}
