package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// What happens to a run when the configuration or a pause changes while it is in a
// situation: its state and reason. "+" joins what comes next when what held it is over.
//
// A run that waits here waits for a pause of its action, which ends afterwards.
const presentTable = `
change                    | waiting                           | asking                             | acting
policy removed            | refused policy                    | refused policy                     | refused policy
policy lowered to observe | refused policy                    | refused policy                     | refused policy
policy lowered to ask     | waiting pause + awaiting_approval | awaiting_approval                  | awaiting_approval approval
policy demoted            | waiting pause + awaiting_approval | awaiting_approval + resolved       | awaiting_approval approval + resolved
policy matches no more    | refused policy                    | refused policy                     | refused policy
policy has another action | refused policy                    | refused policy                     | refused policy
window closed             | waiting pause + waiting window    | awaiting_approval + waiting window | waiting window + resolved
paused all                | waiting pause + waiting pause     | awaiting_approval + waiting pause  | waiting pause + resolved
paused policy             | waiting pause + waiting pause     | awaiting_approval + waiting pause  | waiting pause + resolved
paused target             | waiting pause + waiting pause     | awaiting_approval + waiting pause  | waiting pause + resolved
paused action             | waiting pause + waiting pause     | awaiting_approval + waiting pause  | waiting pause + resolved
target removed            | waiting target + waiting pause    | waiting target + awaiting_approval | waiting target + resolved
target renamed            | waiting target + waiting pause    | waiting target + awaiting_approval | waiting target + resolved
entry removed             | waiting pause + refused unfit     | refused configuration              | refused configuration
entry of another age      | waiting pause + resolved          | refused configuration              | refused configuration
nothing                   | waiting pause + resolved          | awaiting_approval + resolved       | resolved
`

// The situations of acting.
var acting = []string{"between steps", "in a batch", "in a statement that may be cancelled", "in one that may not", "after a crash"} //nolint:gochecknoglobals // a table of the test

// A scene is a configuration that changes, and a action that works by its archive entry.
type scene struct {
	*harness
	e    *engine.Engine
	mode remediate.Mode

	mu      sync.Mutex
	entry   string // age of the archive entry, or ""
	effects int
	begun   [3]int        // how often each step was begun
	stay    time.Duration // of a statement
	batches int           // of a step
}

// Plan implements remediate.Executor.
func (s *scene) Plan(context.Context, remediate.Request) (p remediate.Plan, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entry == "" {
		return p, remediate.Refuse(remediate.ReasonUnfit, "there is no entry")
	}
	for n := range 2 {
		p.Steps = append(p.Steps, remediate.Step{Do: fmt.Sprint("step ", n+1),
			Args: map[string]string{"n": fmt.Sprint(n + 1), "age": s.entry}})
	}
	return p, nil
}

// Configured implements remediate.Configurer.
func (s *scene) Configured(_ remediate.Request, step remediate.Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entry != step.Args["age"] {
		return remediate.Refuse(remediate.ReasonConfiguration, "the entry is %q now", s.entry)
	}
	return nil
}

// Apply implements remediate.Executor: batches, each of which asks before it has an
// effect, and stays for a while.
func (s *scene) Apply(ctx context.Context, f remediate.Fence, step remediate.Step) error {
	s.mu.Lock()
	s.begun[step.Args["n"][0]-'0']++
	batches, stay := s.batches, s.stay
	s.mu.Unlock()
	for range batches {
		if err := f.Check(ctx); err != nil {
			return fmt.Errorf("batch: %w", err)
		}
		select {
		case <-time.After(stay):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s.mu.Lock()
		s.effects++
		s.mu.Unlock()
	}
	return nil
}

// Measure implements remediate.Executor: all is well as soon as something was done.
func (s *scene) Measure(context.Context, remediate.Request) (float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun[2] > 0 {
		return 0, nil
	}
	return 10, nil
}

func (s *scene) did() int { s.mu.Lock(); defer s.mu.Unlock(); return s.effects }

func (s *scene) change(do func()) { s.mu.Lock(); defer s.mu.Unlock(); do() }

// setting is the configuration; edit changes it.
func (s *scene) setting(cancel remediate.Cancel, edit ...func(*engine.Setting)) engine.Setting {
	a := s.harness.machine.action()
	a.Timeout, a.Executor, a.Cancel = time.Hour, s, cancel
	s.harness.mode = s.mode
	set := engine.Setting{Actions: []remediate.Action{a}, Policies: s.policies()}
	set.Policies[0].Steps[0].Terms = remediate.Terms{Windows: []string{"w"}}
	set.Guards = guard.All(guard.Config{Windows: map[string]guard.Window{"w": always(true)}})
	for _, e := range edit {
		e(&set)
	}
	return set
}

// always is a window that is open, or is not for an hour.
type always bool

func (a always) Open(time.Time) bool { return bool(a) }

func (a always) Next(at time.Time) time.Time { return at.Add(time.Hour) }

// edits are what the changes do to the configuration.
func edits() map[string]func(*engine.Setting) {
	first := func(s *engine.Setting) *policy.Step { return &s.Policies[0].Steps[0] }
	gone := func(s *engine.Setting) { s.Actions[0].Target = "other" }
	return map[string]func(*engine.Setting){
		"policy removed":            func(s *engine.Setting) { s.Policies = nil },
		"policy lowered to observe": func(s *engine.Setting) { first(s).Mode = remediate.Observe },
		"policy lowered to ask":     func(s *engine.Setting) { first(s).Mode = remediate.Ask },
		"policy matches no more":    func(s *engine.Setting) { s.Policies[0].Match[0].Value = "Well" },
		"policy has another action": func(s *engine.Setting) { first(s).Action = "machine/rebuild" },
		"window closed": func(s *engine.Setting) {
			s.Guards = guard.All(guard.Config{Windows: map[string]guard.Window{"w": always(false)}})
		},
		"target removed": func(s *engine.Setting) { s.Actions = nil },
		"target renamed": gone,
	}
}

func TestPresentRules(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(presentTable), "\n")
	for _, line := range lines[1:] {
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		situations := map[string]string{"waiting": cells[1], "awaiting approval": cells[2]}
		for _, name := range acting {
			situations[name] = cells[3]
		}
		for situation, want := range situations {
			t.Run(cells[0]+"/"+situation, func(t *testing.T) {
				bubble(t, func(t *testing.T, h *harness) { present(t, h, cells[0], situation, want) })
			})
		}
	}
}

// present brings a run into a situation, changes something, and compares.
func present(t *testing.T, h *harness, change, situation, want string) {
	s := &scene{harness: h, mode: remediate.Auto, entry: "1y", stay: time.Second, batches: 20}
	cancel := remediate.CancelNever
	switch situation {
	case "awaiting approval":
		s.mode, s.batches = remediate.Ask, 1
	case "waiting":
		s.batches = 1
		s.pause("action/machine/repair", time.Time{})
	case "between steps", "in one that may not":
		s.batches, s.stay = 1, 20*time.Second
	case "in a statement that may be cancelled":
		s.batches, s.stay, cancel = 1, 20*time.Second, remediate.CancelAnytime
	}
	h.actions = func() []remediate.Action { return s.setting(cancel).Actions }
	e, stop := h.live()
	s.e = e
	s.adopt(cancel)
	h.alert("t", true)
	pass(5 * time.Second)
	if situation == "after a crash" {
		s.crash(stop)
	}
	// The change, and what the state says two seconds later.
	edit := s.apply(cancel, change)
	if situation == "after a crash" {
		s.e = h.engine(h.journal)
		s.adopt(cancel, edit...)
		s.run()
	}
	before, at := s.did(), time.Now()
	pass(2 * time.Second)
	now, next, more := strings.Cut(want, " + ")
	if change == "nothing" && situation != "waiting" && situation != "awaiting approval" {
		pass(time.Minute)
		s.says(situation, now)
		return
	}
	uncancelled := situation == "between steps" || situation == "in one that may not"
	if uncancelled {
		// The statement goes on; the run says already why nothing comes after it.
		state, reason, _ := strings.Cut(now, " ")
		if run := h.is(1, remediate.Allowed); !strings.Contains(state+reason, run.Reason) || run.Reason == "" ||
			!strings.Contains(run.Why, "no further step is started") {
			t.Errorf("while the statement goes on: %s (%s), want the reason of %q", run.Reason, run.Why, now)
		}
		pass(30 * time.Second)
	}
	s.says(situation, now)
	stopped := s.did()
	pass(5 * time.Minute)
	s.says(situation, now)
	if got := s.did(); got != stopped || !uncancelled && stopped > before+1 {
		t.Errorf("%d effects at %s, %d when the state said so, %d five minutes later\n%s", before, at, stopped, got,
			h.story(1))
	}
	if more {
		s.undo(cancel, change, situation)
		pass(time.Minute)
		s.says(situation, next)
	}
	if s.begun[1] > 1 && cancel == remediate.CancelNever && uncancelled {
		t.Errorf("step 1 was done %d times", s.begun[1])
	}
	h.verify()
}

// adopt puts a configuration into force.
func (s *scene) adopt(cancel remediate.Cancel, edit ...func(*engine.Setting)) {
	s.t.Helper()
	if err := s.e.Adopt(s.setting(cancel, edit...)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) pause(scope string, until time.Time) {
	s.t.Helper()
	if err := s.journal.SetPause(s.t.Context(), remediate.Pause{Scope: scope, Reason: "r", By: "ann",
		Until: until}); err != nil {
		s.t.Fatal(err)
	}
}

// crash ends the engine so that its owner is lost without a word.
func (s *scene) crash(stop func()) {
	stop()
	s.t.Helper()
}

// run lets the engine of the scene live.
func (s *scene) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.e.Run(ctx) }()
	s.t.Cleanup(func() { cancel(); <-ended })
}

// apply makes a change, and returns what it edits of the configuration.
func (s *scene) apply(cancel remediate.Cancel, change string) (edit []func(*engine.Setting)) {
	switch change {
	case "nothing":
	case "entry removed":
		s.change(func() { s.entry = "" })
	case "entry of another age":
		s.change(func() { s.entry = "2y" })
	case "paused all", "paused policy", "paused target", "paused action":
		s.pause(scopes()[change], time.Time{})
		return nil
	case "policy demoted":
		if err := s.journal.DemoteBy(s.t.Context(), "repair", "user/ann", "r"); err != nil {
			s.t.Fatal(err)
		}
		return nil
	default:
		edit = append(edit, edits()[change])
	}
	s.adopt(cancel, edit...)
	return edit
}

func scopes() map[string]string {
	return map[string]string{"paused all": "all", "paused policy": "policy/repair", "paused target": "target/main",
		"paused action": "action/machine/repair"}
}

// undo lets go what holds the run: what the change did, or for a run that waits or
// asks, what it waited for before.
func (s *scene) undo(cancel remediate.Cancel, change, situation string) {
	resume := func(scope string) {
		if _, err := s.journal.EndPause(s.t.Context(), scope, "ann", ""); err != nil {
			s.t.Error(err)
		}
	}
	away := strings.HasPrefix(change, "target")
	switch {
	case situation == "waiting" && change == "paused action":
		s.pause("action/machine/repair", time.Time{}) // it is the same one
	case situation == "waiting" && !away:
		resume("action/machine/repair")
	case situation == "awaiting approval" && !away:
		s.approve(1)
	case strings.HasPrefix(change, "paused"):
		resume(scopes()[change])
	case change == "policy demoted":
		if err := s.journal.Promote(s.t.Context(), "repair", "user/ann", "r"); err != nil {
			s.t.Error(err)
		}
	default:
		s.adopt(cancel)
	}
}

// says compares the state of the run, and its reason where one is said.
func (s *scene) says(situation, want string) {
	s.t.Helper()
	state, reason, _ := strings.Cut(want, " ")
	run, err := s.journal.Get(s.t.Context(), 1)
	if err != nil || string(run.State) != state || reason != "" && run.Reason != reason {
		s.t.Fatalf("%s: run is %s %s (%s) %v, want %s\n%s", situation, run.State, run.Reason, run.Why, err, want,
			s.story(1))
	}
}
