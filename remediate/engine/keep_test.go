package engine_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/remediate"
)

// What a step keeps is there in each later try of it, also in the next life, and the
// plan is still the one that was approved.
func TestStepKeeps(t *testing.T) {
	h := newHarness(t)
	d := &dying{Journal: h.journal}
	var mu sync.Mutex
	var tries []map[string]string
	h.machine.seen = func(f remediate.Fence, kept map[string]string) error {
		mu.Lock()
		defer mu.Unlock()
		tries = append(tries, kept)
		if kept != nil {
			return nil
		}
		if err := f.Note(t.Context(), map[string]string{"keys": fmt.Sprint(len(tries))},
			"keys were counted"); err != nil {
			return err
		}
		if len(tries) == 1 {
			d.dead.Store(true) // killed, with the answer of the target under way
		}
		return errors.New("the connection was lost")
	}
	_, stop := h.liveOn(d)
	h.alert("t", true)
	for end := time.Now().Add(2 * time.Minute); !d.dead.Load() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	run, err := h.journal.Get(t.Context(), 1)
	if err != nil || run.State != remediate.Allowed || run.Begun != 1 || run.Plan.Steps[0].Kept["keys"] != "1" {
		t.Fatalf("after the crash: %+v %v", run, err)
	}
	bare := run.Plan
	bare.Steps = []remediate.Step{run.Plan.Steps[0], run.Plan.Steps[1]}
	bare.Steps[0].Kept = nil
	if bare.Hash() != run.Plan.Hash() {
		t.Error("what was kept has made another plan of it")
	}
	h.live()
	run = h.await(1, remediate.Resolved)
	want := []map[string]string{nil, {"keys": "1"}, nil, {"keys": "3"}} // two steps, two tries each
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, tries); diff != "" {
		t.Error(diff)
	}
	if run.Plan.Steps[1].Kept["keys"] != "3" {
		t.Errorf("step 2 has kept %v", run.Plan.Steps[1].Kept)
	}
	h.verify()
}
