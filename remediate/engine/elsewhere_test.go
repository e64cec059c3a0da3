package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
)

// A twin is a machine at whose address one server or another answers. On the other one all
// is well.
type twin struct {
	*machine
	mu     sync.Mutex
	server string // that answers; "" none
}

func (w *twin) answers() string { w.mu.Lock(); defer w.mu.Unlock(); return w.server }

func (w *twin) turn(to string) { w.mu.Lock(); defer w.mu.Unlock(); w.server = to }

func (w *twin) Plan(ctx context.Context, r remediate.Request) (remediate.Plan, error) {
	p, err := w.machine.Plan(ctx, r)
	for i := range p.Steps {
		p.Steps[i].Args["server"] = w.answers()
	}
	return p, err
}

func (w *twin) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	if err := w.Identified(ctx, s); err != nil {
		return err
	}
	return w.machine.Apply(ctx, f, s)
}

// Identified implements remediate.Identifier.
func (w *twin) Identified(_ context.Context, s remediate.Step) error {
	switch is := w.answers(); is {
	case s.Args["server"]:
		return nil
	case "":
		return errors.New("connection refused")
	default:
		return remediate.Elsewhere("server %s answers", is)
	}
}

func (w *twin) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	if w.answers() == "b" {
		return 0, nil
	}
	return w.machine.Measure(ctx, r)
}

func (h *harness) twin() *twin {
	w := &twin{machine: h.machine, server: "a"}
	h.actions = func() []remediate.Action {
		a := h.machine.action()
		a.Timeout, a.Executor = time.Hour, w
		return []remediate.Action{a}
	}
	h.machine.slow = 20 * time.Second
	return w
}

// A run whose server is another for a while waits for the one of its plan, and goes on
// with the step that it had come to. It writes nothing meanwhile.
func TestGoesOnWhenItsServerAnswersAgain(t *testing.T) {
	for _, back := range []time.Duration{time.Second, 59 * time.Minute} {
		bubble(t, func(t *testing.T, h *harness) {
			w := h.twin()
			h.live()
			h.alert("t", true)
			pass(5 * time.Second)
			w.turn("b") // in step 1, which ends on its own server
			pass(20 * time.Second)
			run := h.is(1, remediate.Waiting)
			if run.Reason != remediate.ReasonTarget || run.Done != 1 || len(w.did()) != 1 {
				t.Fatalf("%+v, and done is %q", run, w.did())
			}
			says(t, run.Why, "stopped in step 2", "server b answers", "1 of 2 steps done")
			entries := strings.Count(h.story(1), "\n")
			w.turn("") // a server that does not answer is no failure of the run
			pass(back / 2)
			w.turn("b")
			pass(back / 2)
			h.is(1, remediate.Waiting)
			if got := strings.Count(h.story(1), "\n"); got != entries {
				t.Errorf("%d entries were written while it waited\n%s", got-entries, h.story(1))
			}
			w.turn("a")
			pass(2 * time.Minute)
			if h.is(1, remediate.Resolved); len(w.did()) != 2 {
				t.Errorf("done is %q", w.did())
			}
			h.verify()
		})
	}
}

// After an hour it ends, and says why.
func TestItsServerStaysAway(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		w := h.twin()
		_, stop := h.live()
		h.alert("t", true)
		pass(5 * time.Second)
		w.turn("b")
		pass(30 * time.Minute)
		h.is(1, remediate.Waiting)
		stop() // another life does not begin the hour anew
		h.live()
		pass(29 * time.Minute)
		h.is(1, remediate.Waiting)
		pass(2 * time.Minute)
		run := h.is(1, remediate.StateRefused)
		if run.Reason != remediate.ReasonTarget || len(w.did()) != 1 {
			t.Errorf("%+v, and done is %q", run, w.did())
		}
		says(t, run.Why, "server b answers; the run has waited 1h0m", "1 of 2 steps done")
		h.verify()
	})
}

// What another server measures is no verdict.
func TestNoVerdictByAnotherServer(t *testing.T) {
	for _, back := range []bool{true, false} {
		bubble(t, func(t *testing.T, h *harness) {
			w := h.twin()
			h.machine.useless = map[string]bool{"repair": true}
			h.machine.after = func() {
				if len(h.machine.effects) == 2 {
					w.turn("b")
				}
			}
			h.live()
			h.alert("t", true)
			pass(5 * time.Minute)
			if run := h.is(1, remediate.Applied); run.After != nil {
				t.Errorf("after is %v, which is another server's", *run.After)
			}
			if back {
				w.turn("a")
				pass(time.Minute)
				h.is(1, remediate.Unresolved)
				return
			}
			pass(time.Hour)
			run := h.is(1, remediate.Inconclusive)
			if run.Reason != remediate.ReasonTarget {
				t.Errorf("%+v", run)
			}
			says(t, run.Why, "2 steps done", "server b answers")
			h.verify()
		})
	}
}

// What a setting brought with it is given up when no run is in a stage that began under
// it, and not before what was replaced earlier.
func TestSettingIsFreed(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		var mu sync.Mutex
		var freed []int
		s := &scene{harness: h, mode: remediate.Auto, entry: "1y", stay: 20 * time.Second, batches: 1}
		h.actions = func() []remediate.Action { return s.setting(remediate.CancelNever).Actions }
		s.e, _ = h.live()
		replace := func(n int) {
			s.adopt(remediate.CancelNever, func(set *engine.Setting) {
				set.Freed = func() { mu.Lock(); defer mu.Unlock(); freed = append(freed, n) }
			})
		}
		expect := func(want ...int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if fmt.Sprint(freed) != fmt.Sprint(want) {
				t.Errorf("freed is %v, want %v", freed, want)
			}
		}
		replace(1)
		expect(1)
		h.alert("t", true)
		pass(5 * time.Second) // in step 1
		replace(2)
		replace(3)
		pass(10 * time.Second)
		expect(1)
		pass(time.Minute)
		expect(1, 2, 3)
		h.is(1, remediate.Resolved)
	})
}

// A glutton is an eater whose one step never ends by itself.
type glutton struct{ *eater }

func (r *glutton) Plan(context.Context, remediate.Request) (remediate.Plan, error) {
	return remediate.Plan{Steps: []remediate.Step{{Do: "three"}}}, nil
}

// A run that is stopped in the middle of a step says how much is gone, also where
// nothing bounds it, and at most how much where its process was killed.
func TestSaysWhatWasRemoved(t *testing.T) {
	for _, how := range []string{"paused", "cancelled", "policy removed", "killed and policy removed"} {
		bubble(t, func(t *testing.T, h *harness) {
			r := &eater{random: rand.New(rand.NewPCG(1, 2)), end: func() error { return nil }}
			a := h.machine.action()
			a.Executor, a.Timeout = &glutton{r}, time.Hour
			h.actions = func() []remediate.Action { return []remediate.Action{a} }
			d := &dying{Journal: h.journal}
			e, stop := h.liveOn(&leaveless{dying: d})
			h.alert("t", true)
			pass(300 * time.Millisecond)
			want, exact := remediate.StateRefused, true
			switch how {
			case "paused":
				want = remediate.Waiting
				if err := h.journal.SetPause(t.Context(),
					remediate.Pause{Scope: "all", Reason: "r", By: "ann"}); err != nil {
					t.Fatal(err)
				}
			case "cancelled":
				want = remediate.Cancelled
				if err := h.journal.Cancel(t.Context(), 1, "ann", "wrong table"); err != nil {
					t.Fatal(err)
				}
			case "killed and policy removed":
				d.dead.Store(true)
				pass(50 * time.Millisecond)
				stop()
				d.dead.Store(false)
				exact = false
				e = h.engine(h.journal)
				fallthrough
			default:
				if err := e.Use(h.actions(), nil); err != nil {
					t.Fatal(err)
				}
				if !exact {
					ctx, end := context.WithCancel(context.Background())
					var lives sync.WaitGroup
					lives.Go(func() { _ = e.Run(ctx) })
					defer lives.Wait()
					defer end()
				}
			}
			pass(time.Minute)
			run := h.is(1, want)
			r.mu.Lock()
			defer r.mu.Unlock()
			gone, err := run.Plan.Steps[max(run.Begun-1, 0)].Taken()
			if err != nil || gone.Rows < r.gone || exact && gone.Rows != r.gone || gone.Rows > 2*r.gone+600 ||
				r.gone == 0 {
				t.Errorf("%s: %v rows are gone, and the step says %v (%v)\n%s", how, r.gone, gone.Rows, err, h.story(1))
			}
			text := fmt.Sprintf("step %d has removed %.0f rows", run.Begun, gone.Rows)
			if !exact {
				text += " at most"
			}
			says(t, run.Why, text)
			h.verify()
		})
	}
}
