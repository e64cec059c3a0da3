package guard_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
)

// A world is runs that are let in by the exact guards one after the other, and
// end at random, as the transactions of the journal would have them.
type world struct {
	rand   *rand.Rand
	limits guard.Limits
	terms  map[string]remediate.Terms // by policy
	guards []remediate.Guard

	targets int
	now     time.Time
	next    int64
	acting  []remediate.Work
	ended   map[string][]remediate.Ended // by policy, the newest first
}

func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		rand: r, now: noon, targets: 1 + r.IntN(40), ended: make(map[string][]remediate.Ended),
		terms:  make(map[string]remediate.Terms),
		limits: guard.Limits{All: r.IntN(20), PerTarget: r.IntN(4)},
	}
	for i := range 1 + r.IntN(3) {
		w.terms[fmt.Sprint("policy", i)] = remediate.Terms{
			Budget: r.Float64() * float64(r.IntN(2)), Ramp: r.IntN(2) == 0,
			Breaker: r.IntN(4), BreakerFor: time.Duration(r.IntN(3)) * 10 * time.Minute,
		}
	}
	w.guards = guard.All(guard.Config{Limits: w.limits})
	return w
}

// policy chooses one of the policies.
func (w *world) policy() string { return fmt.Sprint("policy", w.rand.IntN(len(w.terms))) }

// propose puts a run to the guards, and lets it in when they agree.
func (w *world) propose(t *testing.T) {
	t.Helper()
	policy := w.policy()
	server, table := fmt.Sprint("server", w.rand.IntN(w.targets)), w.rand.IntN(3)
	w.next++
	p := remediate.Proposal{
		Run: remediate.Run{ID: w.next, Request: remediate.Request{
			Action: "postgres/vacuum", Policy: policy, Mode: remediate.Auto, Terms: w.terms[policy], By: "alert/x",
			Subject: map[string]string{"server": server},
		}},
		Exclusive: fmt.Sprint(server, "/", table), Targets: w.targets, Now: w.now,
		Working: remediate.Working{Acting: w.acting, Ended: w.ended[policy]},
	}
	r, err := guard.Ask(t.Context(), w.guards, p, guard.InTransaction)
	if err != nil || r != nil && !r.Until.After(w.now) {
		t.Fatalf("%v, %v, want a refusal until later", r, err)
	}
	if r != nil {
		return
	}
	w.acting = append(w.acting, remediate.Work{Run: w.next, Action: "postgres/vacuum", Policy: policy, Target: server,
		Exclusive: p.Exclusive, State: remediate.Allowed})
	w.holds(t, policy)
}

// holds checks what must be true after a run of the policy was let in. It counts
// in its own way.
func (w *world) holds(t *testing.T, policy string) {
	t.Helper()
	terms := w.terms[policy]
	all, perTarget, subjects, targets, ours := 0, make(map[string]int), make(map[string]int), make(map[string]bool), 0
	for _, a := range w.acting {
		if a.State == remediate.Allowed {
			all++
			perTarget[a.Target]++
		}
		subjects[a.Exclusive]++
		targets[a.Target] = true
		if a.Policy == policy {
			ours++
		}
	}
	for s, n := range subjects {
		if n > 1 {
			t.Fatalf("%d runs on subject %s", n, s)
		}
	}
	for target, n := range perTarget {
		if w.limits.PerTarget > 0 && n > w.limits.PerTarget {
			t.Fatalf("%d runs act on %s, limit %d", n, target, w.limits.PerTarget)
		}
	}
	if w.limits.All > 0 && all > w.limits.All {
		t.Fatalf("%d runs act, limit %d", all, w.limits.All)
	}
	if most := math.Max(1, terms.Budget*float64(w.targets)); terms.Budget > 0 && float64(len(targets)) > most+1e-6 {
		t.Fatalf("%d of %d targets are worked on, budget %v", len(targets), w.targets, terms.Budget)
	}
	resolved, useless := w.record(policy)
	if terms.Ramp && float64(ours) > math.Pow(2, math.Floor(math.Log2(float64(resolved+1)))) {
		t.Fatalf("%d runs after %d that resolved", ours, resolved)
	}
	if terms.Breaker > 0 && useless >= terms.Breaker {
		if ours > 1 {
			t.Fatalf("%d runs of a policy whose breaker is half open", ours)
		}
		if terms.BreakerFor == 0 {
			t.Fatal("a run although a person must close the breaker")
		}
		for _, e := range w.ended[policy] {
			if e.Useless() && w.now.Sub(e.At) < terms.BreakerFor {
				t.Fatalf("a run %s after one that was useless, breaker for %s", w.now.Sub(e.At), terms.BreakerFor)
			}
		}
	}
}

// record is how many of a policy's newest runs resolved in a row within a day, and
// how many were of no use.
func (w *world) record(policy string) (resolved, useless int) {
	rampDone, breakerDone := false, false
	for _, e := range w.ended[policy] {
		bad, good := e.State == remediate.Failed || e.State == remediate.Unresolved, e.State == remediate.Resolved
		rampDone = rampDone || bad || w.now.Sub(e.At) > 24*time.Hour
		breakerDone = breakerDone || good
		if good && !rampDone {
			resolved++
		}
		if bad && !breakerDone {
			useless++
		}
	}
	return resolved, useless
}

// proceed takes one run on: from acting to verified, or to its end.
func (w *world) proceed(harm float64) {
	if len(w.acting) == 0 {
		return
	}
	i := w.rand.IntN(len(w.acting))
	a := w.acting[i]
	if a.State == remediate.Allowed && w.rand.IntN(10) > 0 {
		w.acting[i].State = remediate.Applied
		return
	}
	state := remediate.Resolved
	switch {
	case w.rand.Float64() < 0.1:
		state = remediate.Inconclusive
	case w.rand.Float64() < harm:
		state = []remediate.State{remediate.Failed, remediate.Unresolved}[w.rand.IntN(2)]
	}
	w.acting = append(w.acting[:i:i], w.acting[i+1:]...)
	w.ended[a.Policy] = append([]remediate.Ended{{Run: a.Run, State: state, At: w.now}}, w.ended[a.Policy]...)
}

// Whatever comes and ends, what the exact guards let in is within the limits, the
// budget and the ramp, one run a subject, and a half-open breaker lets in one.
func TestNeverTooMany(t *testing.T) {
	admitted, halfOpen, ramped := int64(0), 0, 0
	for seed := range uint64(400) {
		w := newWorld(seed)
		harm := w.rand.Float64() * w.rand.Float64()
		for range 300 {
			before := len(w.acting)
			if w.rand.IntN(3) > 0 {
				w.propose(t)
			} else {
				w.proceed(harm)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
			if len(w.acting) > before {
				admitted++
				last := w.acting[len(w.acting)-1]
				resolved, useless := w.record(last.Policy)
				if terms := w.terms[last.Policy]; terms.Breaker > 0 && useless >= terms.Breaker {
					halfOpen++
				} else if terms.Ramp && resolved > 2 {
					ramped++
				}
			}
			w.now = w.now.Add(time.Duration(w.rand.ExpFloat64() * float64(time.Minute)))
			if w.rand.IntN(100) == 0 {
				w.now = w.now.Add(time.Duration(w.rand.IntN(30)) * time.Hour)
			}
		}
	}
	t.Logf("%d runs were let in, %d of them by a half-open breaker, %d high on a ramp", admitted, halfOpen, ramped)
	if admitted < 10_000 || halfOpen < 100 || ramped < 500 {
		t.Errorf("the worlds are too quiet to show anything: %d runs, %d by a half-open breaker, %d high on a ramp",
			admitted, halfOpen, ramped)
	}
}

// While a breaker is half open, of any number of runs that come at once one is let in.
func TestHalfOpenLetsInOne(t *testing.T) {
	for n := range 50 {
		w := newWorld(uint64(n))
		w.limits, w.targets = guard.Limits{}, 40
		w.terms = map[string]remediate.Terms{"policy0": {Breaker: 1 + n%3, BreakerFor: time.Minute}}
		for range 3 {
			w.ended["policy0"] = append(w.ended["policy0"],
				remediate.Ended{State: remediate.Failed, At: w.now.Add(-time.Minute)})
		}
		w.guards = nil
		for _, g := range guard.All(guard.Config{}) {
			if g.Exact {
				w.guards = append(w.guards, g)
			}
		}
		for range 100 {
			w.propose(t)
		}
		if len(w.acting) != 1 {
			t.Fatalf("%d runs were let in, want 1", len(w.acting))
		}
		w.acting, w.ended["policy0"] = nil, append([]remediate.Ended{{State: remediate.Resolved, At: w.now}},
			w.ended["policy0"]...)
		for range 100 {
			w.propose(t)
		}
		if len(w.acting) < 20 {
			t.Fatalf("%d runs were let in after one has resolved: the breaker is not closed", len(w.acting))
		}
	}
}
