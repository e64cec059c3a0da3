package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// replica is the journal of one of several processes on the same store.
func (h *harness) replica(name string) *journal.Journal {
	return journal.New(journal.Config{Store: h.store, Name: name, Now: h.now, Shared: true, Lease: lease})
}

// Two engines on one store share the work; no run is carried by both.
func TestReplicasShareTheWork(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		const n = 60
		h.machine.slow, h.guards.Limits.All = time.Second, 20
		for i := range n {
			h.machine.damage[fmt.Sprint("t", i)] = 10
		}
		one, two := &claiming{Journal: h.replica("one")}, &claiming{Journal: h.replica("two")}
		h.liveOn(one)
		h.liveOn(two)
		for i := range n {
			h.alert(fmt.Sprint("t", i), true)
		}
		pass(time.Minute)
		for i := range n {
			h.is(int64(i+1), remediate.Resolved)
		}
		effects := h.machine.did()
		slices.Sort(effects)
		if all := len(effects); all != 2*n || len(slices.Compact(effects)) != 2*n {
			t.Errorf("%d effects, want two for each of %d runs", all, n)
		}
		if h.machine.most > 20 || h.machine.most <= 12 {
			t.Errorf("%d acted at once on both, want more than one alone can carry, and 20 at most", h.machine.most)
		}
		if one.claims.Load() == 0 || two.claims.Load() == 0 {
			t.Errorf("%d and %d claims: one did everything", one.claims.Load(), two.claims.Load())
		}
		h.verify()
	})
}

// claiming counts the runs that it got.
type claiming struct {
	*journal.Journal
	claims atomic.Int64
}

func (c *claiming) Claim(ctx context.Context, id int64) (remediate.Run, remediate.Fence, bool, error) {
	run, f, ok, err := c.Journal.Claim(ctx, id)
	if ok {
		c.claims.Add(1)
	}
	return run, f, ok, err
}

// A replica freezes in the middle of a step. The other carries the run on when the
// lease is over, and the one that wakes up changes nothing: not the target, and not
// the journal.
func TestTheOtherTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		thaw := make(chan struct{})
		h.machine.before = sync.OnceFunc(func() { <-thaw }) // deaf to every context
		h.machine.timeout = time.Hour
		frozen := &freezing{Journal: h.replica("one"), thaw: thaw}
		h.liveOn(frozen)
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Allowed)
		frozen.cold.Store(true)

		h.machine.change(func() { h.machine.before = nil }) // the other's steps are not held up
		h.liveOn(h.replica("two"))
		began := time.Now()
		for h.state(1) != remediate.Resolved && time.Since(began) < time.Minute {
			pass(100 * time.Millisecond)
		}
		h.is(1, remediate.Resolved)
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("the other took over after %s, want the lease and a moment", took)
		}
		if diff := cmp.Diff([]remediate.Note{remediate.NoteLeft}, h.notes(1)); diff != "" {
			t.Error(diff)
		}
		effects, states := h.machine.did(), h.states(1)

		frozen.cold.Store(false)
		close(thaw)
		pass(time.Minute)
		if diff := cmp.Diff(effects, h.machine.did()); diff != "" {
			t.Errorf("the one that woke up acted: %s", diff)
		}
		if diff := cmp.Diff(states, h.states(1)); diff != "" {
			t.Errorf("and wrote: %s", diff)
		}
		if err := frozen.fence.Check(t.Context()); !errors.Is(err, remediate.ErrFenced) {
			t.Errorf("its fence: %v, want ErrFenced", err)
		}

		h.machine.set("u", 10) // it is one of them again
		h.alert("u", true)
		pass(10 * time.Second)
		h.is(2, remediate.Resolved)
		h.verify()
	})
}

func (h *harness) state(id int64) remediate.State {
	h.t.Helper()
	run, err := h.journal.Get(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return run.State
}

// freezing does nothing at all while it is cold.
type freezing struct {
	*journal.Journal
	cold  atomic.Bool
	thaw  chan struct{}
	fence remediate.Fence
}

func (f *freezing) wait() {
	if f.cold.Load() {
		<-f.thaw
	}
}

func (f *freezing) Beat(ctx context.Context) ([]journal.Carried, error) {
	f.wait()
	return f.Journal.Beat(ctx)
}

func (f *freezing) Due(ctx context.Context, n int) ([]remediate.Run, error) {
	f.wait()
	return f.Journal.Due(ctx, n)
}

func (f *freezing) Decide(ctx context.Context, edition string, book json.RawMessage,
	all []journal.Decided) ([]remediate.Run, error) {
	f.wait()
	return f.Journal.Decide(ctx, edition, book, all)
}

func (f *freezing) Claim(ctx context.Context, id int64) (remediate.Run, remediate.Fence, bool, error) {
	f.wait()
	run, fence, ok, err := f.Journal.Claim(ctx, id)
	if ok && id == 1 {
		f.fence = fence
	}
	return run, fence, ok, err
}

// A replica that cannot renew its lease stops what it carries by itself, before
// anybody else may have begun.
func TestLeaseThatCannotBeRenewed(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.slow, h.machine.timeout = time.Hour, 2*time.Hour
		lonely := &lonely{Journal: h.replica("one")}
		h.liveOn(lonely)
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Allowed)
		lonely.cut.Store(true)
		pass(8 * time.Second)
		acting := 0
		h.machine.change(func() { acting, h.machine.slow = h.machine.acting, 0 })
		if acting != 0 {
			t.Errorf("%d still act without a lease", acting)
		}
		h.liveOn(h.replica("two"))
		pass(5 * time.Second)
		h.is(1, remediate.Resolved)
		if got := len(h.machine.did()); got != 2 {
			t.Errorf("effects %v", h.machine.did())
		}
	})
}

// lonely does not reach the store with its beats.
type lonely struct {
	*journal.Journal
	cut atomic.Bool
}

func (l *lonely) Beat(ctx context.Context) ([]journal.Carried, error) {
	if l.cut.Load() {
		return nil, errors.New("the store does not answer")
	}
	return l.Journal.Beat(ctx)
}

// One that is stopped gives its runs to the other at once.
func TestStopHandsOver(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.slow, h.machine.timeout = time.Minute, time.Hour
		_, stop := h.liveOn(h.replica("one"))
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.Allowed)
		h.liveOn(h.replica("two"))
		stop()
		h.machine.change(func() { h.machine.slow = 0 })
		pass(1500 * time.Millisecond) // no lease is waited for
		h.is(1, remediate.Resolved)
		if len(h.notes(1)) != 0 {
			t.Errorf("%v", h.notes(1))
		}
	})
}

// A curtain is the silences that are held, and when.
type curtain struct {
	mu       sync.Mutex
	begun    time.Time
	held     []time.Duration // after the beginning
	released []int64
	alert    remediate.Alert
}

func (c *curtain) Hold(_ context.Context, _ remediate.Run, alert remediate.Alert) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held, c.alert = append(c.held, time.Since(c.begun)), alert
	return nil
}

// seen returns what was held and released until now.
func (c *curtain) seen() (held []time.Duration, released []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.held), slices.Clone(c.released)
}

func (c *curtain) Release(_ context.Context, run int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = append(c.released, run)
	return nil
}

// The silence of a run is made when it begins to act, renewed while it does, and
// ended with it: also by another process, which takes the run over.
func TestSilence(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		t.Run(fmt.Sprintf("taken over %v", takeover), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				c := &curtain{begun: time.Now()}
				h.silences, h.terms.Silence = c, true
				h.machine.slow, h.machine.timeout = 24*time.Second, time.Hour
				_, stop := h.live()
				h.alert("t", true)
				pass(15 * time.Second)
				want := []time.Duration{0, 10 * time.Second}
				if held, _ := c.seen(); !slices.Equal(held, want) {
					t.Errorf("held %v, want %v", held, want)
				}
				if takeover {
					stop()
					pass(time.Minute)
					if held, released := c.seen(); len(held) != 2 || len(released) != 0 {
						t.Errorf("without a run: held %v, released %v", held, released)
					}
					h.live()
					pass(time.Second)
					if held, _ := c.seen(); len(held) != 3 {
						t.Errorf("the next holds it at once: %v", held)
					}
				}
				pass(time.Minute)
				h.is(1, remediate.Resolved)
				before, released := c.seen()
				if diff := cmp.Diff([]int64{1}, released); diff != "" {
					t.Errorf("released: %s", diff)
				}
				pass(time.Minute)
				if held, _ := c.seen(); len(held) != len(before) || len(held) < 5 || c.alert.Labels["table"] != "t" {
					t.Errorf("held %v for %v: it is renewed while the run works, and not after", held, c.alert)
				}
			})
		})
	}
}

// Where the policy does not want it, nothing is silenced; nor for what only asks.
func TestNoSilence(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		c := &curtain{begun: time.Now()}
		h.silences, h.mode = c, remediate.Ask
		h.terms.Silence = true
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		h.is(1, remediate.AwaitingApproval)
		if len(c.held) != 0 {
			t.Errorf("an alert without a run is silenced: %v", c.held)
		}
	})
	bubble(t, func(t *testing.T, h *harness) {
		c := &curtain{begun: time.Now()}
		h.silences = c
		h.live()
		h.alert("t", true)
		pass(time.Minute)
		h.is(1, remediate.Resolved)
		if len(c.held) != 0 || len(c.released) != 0 {
			t.Errorf("held %v, released %v", c.held, c.released)
		}
	})
}
