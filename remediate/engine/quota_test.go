package engine_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// An eater is a action of three steps that removes rows for as long as there are any,
// and there are ever more.
type eater struct {
	mu     sync.Mutex
	random *rand.Rand
	gone   float64
	end    func() error // now and then ends a try
}

func (r *eater) Plan(context.Context, remediate.Request) (remediate.Plan, error) {
	return remediate.Plan{Steps: []remediate.Step{{Do: "one"}, {Do: "two"}, {Do: "three"}},
		Amount: &remediate.Amount{Rows: 9000, OfRows: 50000}}, nil
}

func (r *eater) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) (err error) {
	q, err := f.Quota(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Settle(ctx)) }()
	for {
		r.mu.Lock()
		a, whim := remediate.Amount{Rows: float64(1 + r.random.IntN(300))}, r.random.IntN(12)
		r.mu.Unlock()
		switch {
		case whim == 0 && s.Do != "three":
			return nil
		case whim == 1:
			if err := r.end(); err != nil {
				return err
			}
		}
		if !q.Fits(a) {
			return remediate.Refuse(remediate.ReasonAmount, "more would go than may")
		}
		if err := q.Reserve(ctx, a); err != nil {
			return err
		}
		if err := f.Check(ctx); err != nil {
			return err
		}
		q.Take(a)
		r.mu.Lock()
		r.gone += a.Rows
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *eater) Measure(context.Context, remediate.Request) (float64, error) { return 1, nil }

// Whatever happens in between, and in however many steps and lives, a run removes no
// more than its bound: it is held, fails, and its process is killed.
func TestQuotaOverLives(t *testing.T) {
	for seed := range uint64(12) {
		bubble(t, func(t *testing.T, h *harness) {
			h.terms = remediate.Terms{MostRows: 10_000}
			d := &dying{Journal: h.journal}
			random := rand.New(rand.NewPCG(seed, 13))
			r := &eater{random: random}
			r.end = func() error {
				switch random.IntN(4) {
				case 0:
					return &remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "not now",
						Until: h.now().Add(time.Second)}
				case 1:
					d.dead.Store(true) // killed, in the middle of what it does
				}
				return nil
			}
			a := h.machine.action()
			a.Executor = r
			h.actions = func() []remediate.Action { return []remediate.Action{a} }
			h.alert("t", true)
			var run remediate.Run
			for range 400 {
				d.dead.Store(false)
				_, stop := h.liveOn(&leaveless{dying: d})
				pass(3 * time.Second)
				stop()
				var err error
				if run, err = h.journal.Get(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				if run.State.Ended() {
					break
				}
			}
			beside, err := run.Plan.TakenBeside(-1)
			if err != nil || run.State != remediate.StateRefused || run.Reason != remediate.ReasonAmount ||
				r.gone > 10_000 || r.gone < 1000 || beside.Rows > 10_000 || beside.Rows < r.gone {
				t.Errorf("seed %d: %v rows are gone, the journal says %v; the run is %s (%s): %v\n%s", seed, r.gone,
					beside.Rows, run.State, run.Why, err, h.story(1))
			}
			h.verify()
		})
	}
}
