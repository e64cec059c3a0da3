package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A crash after any write, and after any effect: the next life comes to the same
// end, and each effect is there once.
func TestCrashAnywhere(t *testing.T) {
	for n := 1; ; n++ {
		h := newHarness(t)
		h.alert("t", true)
		ctx, cancel := context.WithCancel(t.Context())
		c := &crashing{Journal: h.journal, left: n, crash: cancel}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = h.engine(c).Run(ctx) }()
		whole := make(chan struct{})
		go func() {
			defer close(whole)
			for ctx.Err() == nil {
				if run, err := h.journal.Get(context.Background(), 1); err == nil && run.State.Ended() {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}()
		<-whole
		crashed := ctx.Err() != nil
		cancel()
		<-ended
		h.live()
		h.await(1, remediate.Resolved)
		if diff := cmp.Diff([]string{`repair "t" 1`, `repair "t" 2`}, h.machine.did()); diff != "" {
			t.Errorf("crash after write %d: %s\n%s", n, diff, h.story(1))
		}
		h.verify()
		if !crashed {
			if n < 9 { // created, planned, allowed, leased, 2×(begun, done), applied
				t.Errorf("a whole run took %d writes: there were no crashes", n-1)
			}
			return
		}
	}
}

// crashing crashes after a number of writes, which are durable.
type crashing struct {
	*journal.Journal
	mu    sync.Mutex
	left  int
	crash func()
}

func (c *crashing) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		c.crash()
	}
}

func (c *crashing) Decide(ctx context.Context, edition string, book json.RawMessage,
	all []journal.Decided) ([]remediate.Run, error) {
	defer c.count()
	return c.Journal.Decide(ctx, edition, book, all)
}

func (c *crashing) Append(ctx context.Context, change journal.Change) error {
	defer c.count()
	return c.Journal.Append(ctx, change)
}

func (c *crashing) Claim(ctx context.Context, id int64) (remediate.Run, remediate.Fence, bool, error) {
	defer c.count()
	return c.Journal.Claim(ctx, id)
}

// A crash between an effect and the entry that says so: the next life begins the
// step again, and it is there once.
func TestCrashAfterEffect(t *testing.T) {
	for n := 1; n <= 2; n++ {
		h := newHarness(t)
		d := &dying{Journal: h.journal}
		_, stop := h.liveOn(d)
		effects := 0
		h.machine.after = func() {
			if effects++; effects == n {
				d.dead.Store(true)
			}
		}
		h.alert("t", true)
		for end := time.Now().Add(2 * time.Minute); !d.dead.Load() && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		stop()
		run, err := h.journal.Get(t.Context(), 1)
		if err != nil || run.State != remediate.Allowed || run.Begun != n || run.Done != n-1 {
			t.Fatalf("after the crash: %+v %v", run, err)
		}
		h.live()
		h.await(1, remediate.Resolved)
		if got := h.machine.did(); len(got) != 2 {
			t.Errorf("crash after effect %d: %v", n, got)
		}
		h.verify()
	}
}

// dying writes nothing any more once it is dead.
type dying struct {
	*journal.Journal
	dead atomic.Bool
}

func (d *dying) Append(ctx context.Context, c journal.Change) error {
	if d.dead.Load() {
		return errors.New("this process is dead")
	}
	return d.Journal.Append(ctx, c)
}

// A stop between an effect and the entry that says so is no crash: what is done is
// written, nothing more is begun, and the next life goes on behind it.
func TestStopAfterEffect(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		_, stop := h.live()
		once := sync.OnceFunc(func() {
			go stop()
			time.Sleep(time.Second) // the context is done before Apply returns
		})
		h.machine.after = once
		h.alert("t", true)
		pass(2 * time.Second)
		run := h.is(1, remediate.Allowed)
		if run.Begun != 1 || run.Done != 1 || len(h.machine.did()) != 1 {
			t.Errorf("begun %d, done %d, effects %v", run.Begun, run.Done, h.machine.did())
		}
		h.live()
		pass(time.Second)
		h.is(1, remediate.Resolved)
		if diff := cmp.Diff([]string{`repair "t" 1`, `repair "t" 2`}, h.machine.did()); diff != "" {
			t.Error(diff)
		}
		h.verify()
	})
}
