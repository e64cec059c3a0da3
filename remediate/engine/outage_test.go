package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// away takes the store away from everybody, or gives it back. What the test itself asks
// fails too.
func (h *harness) away(gone bool) {
	h.store.Intercept(nil)
	h.store.InterceptQueries(nil)
	if gone {
		h.store.Intercept(func(bool) error { return errStore })
		h.store.InterceptQueries(func() error { return errStore })
	}
}

// The store is away for a while, at any moment in the life of runs and for shorter and
// longer than a lease, and upkeep lives on: every the run continues when the store answers, and
// nothing is done twice.
func TestOutageOfTheStore(t *testing.T) {
	const subjects, each = 3, 3 * time.Second // a step takes so long
	for _, replicas := range []int{0, 1, 2} { // 0: one that is alone
		for _, length := range []time.Duration{time.Second, 6 * time.Second, 15 * time.Second, 70 * time.Second} {
			for _, after := range []time.Duration{0, 500 * time.Millisecond, 2900 * time.Millisecond, 4 * time.Second} {
				t.Run(fmt.Sprintf("%d replicas, %s away after %s", replicas, length, after), func(t *testing.T) {
					bubble(t, func(t *testing.T, h *harness) {
						h.machine.slow, h.machine.timeout = each, time.Hour
						h.alone = replicas == 0
						for i := range subjects {
							h.machine.damage[fmt.Sprint("t", i)] = 10
						}
						if h.alone {
							h.live()
						}
						for n := range replicas {
							h.liveOn(h.replica(fmt.Sprint(n)))
						}
						for i := range subjects {
							h.alert(fmt.Sprint("t", i), true)
						}
						pass(after)
						h.away(true)
						pass(length)
						h.away(false)
						pass(5 * time.Second) // both steps, where both were left
						pass(2*each + time.Second)
						for i := range subjects {
							h.is(int64(i+1), remediate.Resolved)
						}
						effects := h.machine.did()
						slices.Sort(effects)
						if n := len(slices.Compact(slices.Clone(effects))); n != 2*subjects || len(effects) != n {
							t.Errorf("effects %v, want two for each of %d", effects, subjects)
						}
						for i := range subjects {
							if notes := h.notes(int64(i + 1)); len(notes) != 0 {
								t.Errorf("run %d: %v; no instance has died", i+1, notes)
							}
						}
						h.verify()
					})
				})
			}
		}
	}
}

// What was let go in an outage, and what was claimed without its carrier knowing, can be
// stopped by a person afterwards.
func TestCancelAfterOutage(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.slow, h.machine.timeout = time.Hour, 2*time.Hour
		h.liveOn(h.replica("one"))
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Allowed)
		h.away(true)
		pass(15 * time.Second)
		if err := h.journal.Cancel(t.Context(), 1, "ann", "too slow"); !store.Away(err) {
			t.Errorf("cancel: %v, want that the store is away", err)
		}
		h.away(false)
		if err := h.journal.Cancel(t.Context(), 1, "ann", "too slow"); err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Second)
		if run := h.is(1, remediate.Cancelled); run.Reason != remediate.ReasonCancelled {
			t.Errorf("%s: %s", run.Reason, run.Why)
		}
	})
}

// The store takes no writes and can be read, as on a full disk: one that is alone lets
// the statement under way go on, and writes its end when there is room.
func TestFullDiskStopsNoStatement(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.slow, h.machine.timeout, h.alone = 20*time.Second, time.Hour, true
		h.machine.steps = 1
		h.machine.relief = 10
		var begun atomic.Int32
		h.machine.before = func() { begun.Add(1) }
		h.live()
		h.alert("t", true)
		pass(time.Second)
		h.store.Intercept(func(bool) error { return errStore })
		pass(15 * time.Second)
		h.store.Intercept(nil)
		pass(10 * time.Second)
		h.is(1, remediate.Resolved)
		if n := begun.Load(); n != 1 {
			t.Errorf("the step was begun %d times, want once", n)
		}
	})
}

// One fault of the store in each look at it is no fault of the run: it does not fail by
// them, and no try is counted.
func TestStoreIsNoFaultOfTheRun(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.slow, h.machine.timeout = 300*time.Millisecond, time.Hour
		_, stop := h.live()
		h.alert("t", true)
		rng := rand.New(rand.NewPCG(1, 1))
		var mu sync.Mutex
		fails := func() error {
			mu.Lock()
			defer mu.Unlock()
			if rng.IntN(3) == 0 {
				return errStore
			}
			return nil
		}
		for began, over := time.Now(), false; !over && time.Since(began) < 24*time.Hour; {
			h.store.InterceptQueries(fails)
			pass(5 * time.Minute)
			h.store.InterceptQueries(nil)
			over = h.count(remediate.Resolved) == 1
		}
		stop()
		if run := h.is(1, remediate.Resolved); len(h.machine.did()) != 2 {
			t.Errorf("%+v: %v", run, h.machine.did())
		}
		entries, err := h.journal.Entries(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.From == e.To && e.Step == 0 && e.Note == "" {
				t.Errorf("a try was counted: %s", e.Why)
			}
		}
	})
}

// An engine begins while its store cannot be had, and works as soon as it can.
func TestBeginsWithoutItsStore(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.alert("t", true)
		h.away(true)
		h.live()
		pass(time.Minute)
		h.away(false)
		pass(5 * time.Second)
		h.is(1, remediate.Resolved)
	})
}

// The measure cannot be read any more after the steps are done: what was done is done,
// and the run is inconclusive, never failed. A target whose statistics are empty is not
// waited for.
func TestMeasureIsGoneAfterTheSteps(t *testing.T) {
	for name, tc := range map[string]struct {
		fault error
		wait  time.Duration
	}{
		"statistics are empty": {fmt.Errorf("the statistics are empty: %w", remediate.ErrNoData), 10 * time.Second},
		"the target is away":   {errors.New("connection refused"), 6 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				var crashed atomic.Bool
				h.machine.after = func() { crashed.Store(true) }
				h.actions = func() []remediate.Action {
					a := h.machine.action()
					a.Executor = forgetful{h.machine, &crashed, tc.fault}
					return []remediate.Action{a}
				}
				h.live()
				h.alert("t", true)
				pass(tc.wait)
				if run := h.is(1, remediate.Inconclusive); run.Done != 2 {
					t.Errorf("%+v", run)
				}
			})
		})
	}
}

// forgetful knows no measure any more once it has crashed.
type forgetful struct {
	*machine
	crashed *atomic.Bool
	fault   error
}

func (f forgetful) Measure(ctx context.Context, r remediate.Request) (float64, error) {
	if f.crashed.Load() {
		return 0, f.fault
	}
	return f.machine.Measure(ctx, r)
}

// Where the statistics are empty before anything was done, the run waits: it does not
// fail, and goes on when the target counts again.
func TestMeasureIsGoneBeforeTheSteps(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		var crashed atomic.Bool
		crashed.Store(true)
		h.actions = func() []remediate.Action {
			a := h.machine.action()
			a.Executor = forgetful{h.machine, &crashed, remediate.ErrNoData}
			return []remediate.Action{a}
		}
		h.live()
		h.alert("t", true)
		pass(10 * time.Minute)
		if run := h.is(1, remediate.Waiting); run.Reason != remediate.ReasonNoData {
			t.Errorf("%s: %s", run.Reason, run.Why)
		}
		crashed.Store(false)
		pass(time.Minute)
		h.is(1, remediate.Resolved)
	})
}

// A run that does not move is found, in a step after the step's own time and elsewhere
// when it was not looked at; one that waits for its time is not.
func TestStuck(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.timeout = time.Hour
		deaf := make(chan struct{})
		h.machine.before = func() { <-deaf } // to every context
		e, stop := h.live()
		defer stop()
		defer close(deaf)
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Allowed)
		is := func(want int) []engine.Stuck {
			t.Helper()
			all, err := e.Stuck(t.Context())
			if err != nil || len(all) != want {
				t.Fatalf("%d are stuck, want %d (%v)", len(all), want, err)
			}
			return all
		}
		pass(time.Hour)
		is(0)
		pass(6 * time.Minute)
		if s := is(1)[0]; s.Run.ID != 1 || s.Why == "" {
			t.Errorf("%+v", s)
		}
		h.machine.set("u", 10)
		if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "r", By: "ann"}); err != nil {
			t.Fatal(err)
		}
		h.alert("u", true)
		pass(3 * time.Hour)
		is(1)
		if err := h.journal.Cancel(t.Context(), 1, "ann", "it hangs"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		if why := e.Stopping(h.is(1, remediate.Allowed)); why == "" {
			t.Error("nothing is said about a run that does not stop")
		}
	})
}

// A run whose carrier believes that it never had it, because the commit of its claim broke
// and landed late, is given back by what the store says.
func TestClaimThatLandsLate(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		late := &landing{Journal: h.journal}
		h.liveOn(late)
		h.alert("t", true)
		pass(10 * time.Second)
		h.is(1, remediate.Resolved)
		if !late.done {
			t.Error("no claim was late: the test shows nothing")
		}
	})
}

// landing says of the first claim that it failed, and lets it land three beats later.
type landing struct {
	*journal.Journal
	done bool
}

func (l *landing) Claim(ctx context.Context, id int64) (remediate.Run, remediate.Fence, bool, error) {
	if !l.done {
		l.done = true
		go func() {
			time.Sleep(3 * time.Second)
			_, _, _, _ = l.Journal.Claim(context.WithoutCancel(ctx), id) // the answer is lost
		}()
		return remediate.Run{}, remediate.Fence{}, false, &store.AwayError{Err: errStore}
	}
	time.Sleep(4 * time.Second)
	return l.Journal.Claim(ctx, id)
}

// A process that was frozen finds the deadline of its connection over when it wakes up.
// That is no deadline of the step, and is tried again.
func TestFrozenWhileConnecting(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		connects := &connecting{machine: h.machine}
		h.actions = func() []remediate.Action {
			a := h.machine.action()
			a.Executor = connects
			return []remediate.Action{a}
		}
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		h.is(1, remediate.Resolved)
		if connects.tries.Load() < 3 {
			t.Error("every connection was made at once: the test shows nothing")
		}
	})
}

// connecting gets no connection with the first try.
type connecting struct {
	*machine
	tries atomic.Int32
}

func (c *connecting) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	if c.tries.Add(1) == 1 {
		return fmt.Errorf("connect: timeout: %w", context.DeadlineExceeded)
	}
	return c.machine.Apply(ctx, f, s)
}
