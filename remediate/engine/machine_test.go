package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A machine is the target of the tests: subjects that are damaged, and a ledger of
// what was done to them.
type machine struct {
	mu      sync.Mutex
	damage  map[string]float64 // by table
	steps   int                // of a plan
	done    map[string]bool    // steps that had their effect, as a real target would know
	effects []string           // every effect, in order
	relief  float64            // by which a step lowers the damage
	acting  int                // applies at this moment
	most    int                // and at most at once

	measureFaults, applyFaults int    // how many fail before one does not
	lacks                      string // a right that the plan needs and has not
	unknown                    bool   // it cannot tell its measure
	refuse                     error
	refuses                    string          // the verb that is refused; "": each
	useless                    map[string]bool // verbs that relieve nothing
	slow                       time.Duration   // that a step takes
	leaves                     string          // what a step that is stopped leaves half done
	timeout                    time.Duration
	before                     func() // called at the beginning of Apply
	// called before an effect; may be nil
	seen  func(f remediate.Fence, kept map[string]string) error
	after func() // called after an effect
}

func newMachine() *machine {
	return &machine{damage: map[string]float64{"t": 10}, steps: 2, done: map[string]bool{}, relief: 5,
		timeout: 2 * time.Second}
}

func (w *machine) action() remediate.Action {
	return remediate.Action{
		Name: "machine/repair", Target: "main", Lowers: "upkeep_machine_damage", Subject: []string{"server", "table"},
		Exclusive: []string{"server", "table"}, Timeout: w.timeout, Executor: w,
	}
}

// actions are two verbs of the same action; the second takes a parameter.
func (w *machine) actions() []remediate.Action {
	second := w.action()
	second.Name, second.Params = "machine/rebuild", []remediate.Param{{Name: "cuts", Type: remediate.Int, Default: "1"}}
	return []remediate.Action{w.action(), second}
}

func (w *machine) Plan(_ context.Context, r remediate.Request) (p remediate.Plan, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	verb, table := strings.TrimPrefix(r.Action, "machine/"), r.Subject["table"]
	if w.refuse != nil && (w.refuses == "" || w.refuses == verb) {
		return p, w.refuse
	}
	for i := range w.steps {
		if w.lacks != "" {
			if err := p.NoteMissing(remediate.Refuse(remediate.ReasonPrivilege, "%s", w.lacks)); err != nil {
				return p, err
			}
		}
		p.Steps = append(p.Steps, remediate.Step{Do: fmt.Sprintf("%s %q %d", verb, table, i+1),
			Args: map[string]string{"table": table, "verb": verb, "damage": fmt.Sprint(w.damage[table])}})
	}
	return p, p.Missing()
}

func (w *machine) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	w.mu.Lock()
	w.acting++
	w.most = max(w.most, w.acting)
	before, slow, leaves := w.before, w.slow, w.leaves
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.acting--; w.mu.Unlock() }()
	if before != nil {
		before()
	}
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		if leaves != "" {
			return &remediate.LeftError{Detail: leaves, Err: context.Cause(ctx)}
		}
		return context.Cause(ctx)
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	if w.seen != nil {
		if err := w.seen(f, s.Kept); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.applyFaults > 0 {
		w.applyFaults--
		return errors.New("the connection was lost")
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if !w.done[s.Do] {
		w.done[s.Do] = true
		w.effects = append(w.effects, s.Do)
		if !w.useless[s.Args["verb"]] {
			w.damage[s.Args["table"]] -= w.relief
		}
		if w.after != nil {
			w.after()
		}
	}
	return nil
}

func (w *machine) Measure(_ context.Context, r remediate.Request) (float64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.measureFaults > 0 {
		w.measureFaults--
		return 0, errors.New("no answer")
	}
	if w.unknown {
		return 0, fmt.Errorf("the machine has crashed: %w", remediate.ErrNoData)
	}
	v, ok := w.damage[r.Subject["table"]]
	if !ok {
		return 0, remediate.ErrGone
	}
	return v, nil
}

func (w *machine) did() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.effects)
}

// change lets a test change something while engines run.
func (w *machine) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// set changes how damaged a table is.
func (w *machine) set(table string, damage float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.damage[table] = damage
}
