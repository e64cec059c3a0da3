package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
)

// halved is a scene whose steps leave something half done where they are interrupted.
type halved struct {
	*scene
	undone []string // steps that were undone
	faults []error  // of the next undoings
}

func (d *halved) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	p, err := d.scene.Plan(ctx, r)
	for i := range p.Steps {
		p.Steps[i].Left = "half of " + p.Steps[i].Do + ": MEND IT"
	}
	return p, err
}

func (d *halved) Undo(ctx context.Context, f remediate.Fence, s remediate.Step) (string, error) {
	if err := f.Check(ctx); err != nil { // the configuration does not count
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.faults) > 0 {
		err := d.faults[0]
		d.faults = d.faults[1:]
		return "", err
	}
	d.undone = append(d.undone, s.Do)
	return s.Do + " is as it was", nil
}

// A run that had begun a step when upkeep was killed, and that ends without ending it,
// has the step undone first; where that cannot be, its end says what is left.
func TestBegunStepIsUndone(t *testing.T) {
	away := errors.New("connection refused")
	for _, test := range []struct {
		name, change string
		cancel       bool
		faults       []error
		says         string
		left         bool
	}{
		{name: "entry removed", change: "entry removed", says: "of step 1: step 1 is as it was"},
		{name: "policy removed", change: "policy removed", says: "of step 1: step 1 is as it was"},
		{name: "cancelled while it waits", change: "paused target", cancel: true,
			says: "of step 1: step 1 is as it was"},
		{name: "cancelled without a target", change: "target renamed", cancel: true, says: `no target "main"`,
			left: true},
		{name: "a server that starts", change: "entry removed", faults: []error{away, away},
			says: "of step 1: step 1 is as it was"},
		{name: "a server that is away", change: "entry removed",
			faults: []error{away, away, away, away, away, away, away}, says: "connection refused", left: true},
		{name: "another server", change: "entry removed",
			faults: []error{remediate.Refuse(remediate.ReasonTarget, "another server answers")},
			says:   "another server answers", left: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				s := &scene{harness: h, mode: remediate.Auto, entry: "1y", stay: time.Second, batches: 20}
				d := &halved{scene: s, faults: test.faults}
				mine := func(set *engine.Setting) { set.Actions[0].Executor = d }
				h.actions = func() []remediate.Action { return s.setting(remediate.CancelNever, mine).Actions }
				e, stop := h.live()
				s.e = e
				s.adopt(remediate.CancelNever, mine)
				h.alert("t", true)
				pass(5 * time.Second)
				s.crash(stop)
				edit := s.apply(remediate.CancelNever, test.change)
				s.e = h.engine(h.journal)
				s.adopt(remediate.CancelNever, append([]func(*engine.Setting){mine}, edit...)...)
				s.run()
				pass(2 * time.Second)
				end := remediate.StateRefused
				if test.cancel {
					end = remediate.Cancelled
					h.is(1, remediate.Waiting)
					if err := h.journal.Cancel(t.Context(), 1, "ann", "enough"); err != nil {
						t.Fatal(err)
					}
				}
				pass(3 * time.Minute)
				run := h.is(1, end)
				says(t, run.Why, "none of 2 steps done, step 1 was begun", test.says)
				pages := h.notifications(remediate.NotificationPage)
				if test.left {
					says(t, run.Why, "half of step 1: MEND IT")
				}
				said := 0
				for _, n := range pages {
					if strings.Contains(n.Text, "MEND IT") && n.Run == 1 {
						said++
					}
				}
				if want := map[bool]int{true: 1}[test.left]; said != want || len(d.undone) == 0 != test.left {
					t.Errorf("undone: %v; notified %d times: %+v", d.undone, said, pages)
				}
				h.verify()
			})
		})
	}
}
