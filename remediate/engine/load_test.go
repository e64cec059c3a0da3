package engine_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/guard"
)

const (
	loadTargets = 500
	loadBudget  = 0.1
	loadAll     = 32
	loadOnOne   = 2
)

var damaged = flag.Int("damaged", 4, "how many tables are damaged on each of 500 targets") //nolint:gochecknoglobals // flag of the test

// loadTables is how many tables are damaged on each target.
func loadTables() int {
	if raced {
		return min(2, *damaged)
	}
	return *damaged
}

// A hospital is many targets, with a ledger that is held against every limit at
// each effect. Work counts from the first step until the engine has measured again.
type hospital struct {
	mu       sync.Mutex
	repaired map[string]bool // by subject, when it had its effect
	working  map[string]bool // subjects whose work is not yet verified
	targets  map[string]int  // and how many of them are on each target
	acting   map[string]int  // steps at this moment, by target
	now      int             // in all
	seen     map[string]bool // subjects that were verified
	broken   []string

	mostActing, mostTargets int
}

func newHospital() *hospital {
	return &hospital{repaired: map[string]bool{}, working: map[string]bool{}, targets: map[string]int{},
		acting: map[string]int{}, seen: map[string]bool{}}
}

func (o *hospital) actions() (all []remediate.Action) {
	for n := range loadTargets {
		all = append(all, remediate.Action{
			Name: "machine/repair", Target: fmt.Sprint("s", n), Lowers: "upkeep_machine_damage",
			Subject:   []string{"server", "table"},
			Exclusive: []string{"server", "table"}, Timeout: time.Minute, Executor: o,
		})
	}
	return all
}

func bed(subject map[string]string) string { return subject["server"] + "/" + subject["table"] }

// Plan implements remediate.Executor.
func (o *hospital) Plan(_ context.Context, r remediate.Request) (remediate.Plan, error) {
	return remediate.Plan{Steps: []remediate.Step{{Do: "repair " + bed(r.Subject), Args: r.Subject}}}, nil
}

// Measure implements remediate.Executor.
func (o *hospital) Measure(_ context.Context, r remediate.Request) (float64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key, server := bed(r.Subject), r.Subject["server"]
	if !o.repaired[key] {
		return 10, nil
	}
	if o.working[key] {
		delete(o.working, key)
		o.seen[key] = true
		if o.targets[server]--; o.targets[server] == 0 {
			delete(o.targets, server)
		}
	}
	return 0, nil
}

// Apply implements remediate.Executor: it takes a while, and has one effect.
func (o *hospital) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	key, server := bed(s.Args), s.Args["server"]
	o.begin(key, server)
	defer o.end(server)
	select {
	case <-time.After(50 * time.Millisecond):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.repaired[key] {
		o.wrong("%s was repaired twice", key)
	}
	o.repaired[key] = true
	return nil
}

func (o *hospital) begin(key, server string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now++
	o.acting[server]++
	if !o.working[key] {
		o.working[key] = true
		o.targets[server]++
	}
	o.mostActing, o.mostTargets = max(o.mostActing, o.now), max(o.mostTargets, len(o.targets))
	if limit := loadBudget * loadTargets; float64(len(o.targets)) > limit {
		o.wrong("%d targets are worked on, the budget is %g", len(o.targets), limit)
	}
	if o.now > loadAll || o.acting[server] > loadOnOne {
		o.wrong("%d act in all, %d on %s", o.now, o.acting[server], server)
	}
	// The ramp: 1, 2, 4, … as they clear.
	earned := 1
	for earned*2 <= len(o.seen)+1 {
		earned *= 2
	}
	if len(o.working) > earned {
		o.wrong("%d runs are under way after %d that resolved, the ramp allows %d", len(o.working), len(o.seen), earned)
	}
}

func (o *hospital) end(server string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now--
	o.acting[server]--
}

func (o *hospital) wrong(format string, args ...any) {
	if len(o.broken) < 10 {
		o.broken = append(o.broken, fmt.Sprintf(format, args...))
	}
}

// Thousands of alerts on five hundred targets at once: no budget, no limit and no
// ramp is exceeded at any effect, and everything is repaired, once. A soak has ten thousand.
func TestThousandsOfAlerts(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		o := newHospital()
		h.actions, h.slots = o.actions, loadAll
		h.guards = guard.Config{Limits: guard.Limits{All: loadAll, PerTarget: loadOnOne}}
		h.terms.Budget, h.terms.Ramp = loadBudget, true
		e, _ := h.live()
		var all []remediate.Alert
		for table := range loadTables() {
			for n := range loadTargets {
				all = append(all, remediate.Alert{
					Source: "alertmanager", Firing: true, StartsAt: time.UnixMilli(1000).UTC(),
					Annotations: map[string]string{"limit": "0"},
					Labels: map[string]string{"alertname": "Damaged", "server": fmt.Sprint("s", n),
						"table": fmt.Sprint("t", table), "job": "upkeep"},
				})
			}
		}
		if err := h.inbox.Accept(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		e.Wake()
		began := time.Now()
		for o.left() > 0 && time.Since(began) < 30*time.Minute {
			pass(time.Second)
		}
		pass(time.Second)
		took := time.Since(began)
		for _, b := range o.broken {
			t.Error(b)
		}
		t.Logf("%d runs in %s of their time; %d acted at once, on %d targets that were worked on or not yet verified",
			loadTargets*loadTables(), took, o.mostActing, o.mostTargets)
		if o.left() != 0 || o.mostActing < loadAll/4 {
			t.Errorf("%d are not repaired; %d acted at once, and %d may", o.left(), o.mostActing, loadAll)
		}
		if resolved := h.count(remediate.Resolved); resolved != loadTargets*loadTables() {
			t.Errorf("%d runs resolved, want %d", resolved, loadTargets*loadTables())
		}
		h.verify()
	})
}

// left counts the subjects that are not verified.
func (o *hospital) left() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return loadTargets*loadTables() - len(o.seen)
}

// count counts the runs in a state.
func (h *harness) count(state remediate.State) int {
	h.t.Helper()
	runs, err := h.journal.In(h.t.Context(), state, 1_000_000)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(runs)
}
