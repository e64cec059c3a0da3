package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A remover is a action that removes rows, and is bound by what may go.
type remover struct {
	rows, gone float64
	most       *remediate.Amount
}

func (r *remover) Plan(context.Context, remediate.Request) (remediate.Plan, error) {
	return remediate.Plan{Steps: []remediate.Step{{Do: "remove what is old"}},
		Amount: &remediate.Amount{Rows: r.rows, OfRows: 50000}}, nil
}

func (r *remover) Apply(ctx context.Context, f remediate.Fence, _ remediate.Step) error {
	r.most = f.Most
	if err := f.Check(ctx); err != nil {
		return err
	}
	r.gone, r.rows = r.rows, 0
	return nil
}

func (r *remover) Measure(context.Context, remediate.Request) (float64, error) { return r.rows, nil }

func removing(h *harness) *remover {
	r := &remover{rows: 13}
	a := h.machine.action()
	a.Executor = r
	h.actions = func() []remediate.Action { return []remediate.Action{a} }
	return r
}

// An approval is for an amount: what grew while a person thought about it is asked
// about again, and a run removes no more than was approved and a little.
func TestApprovalIsForAnAmount(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.mode = remediate.Ask
		r := removing(h)
		h.live()
		h.alert("t", true)
		pass(time.Second)
		h.is(1, remediate.AwaitingApproval)
		says(t, h.notifications(remediate.NotificationAsk)[0].Text, "13 of 50000 rows", "up to 1013 rows")
		r.rows = 50000
		h.approve(1)
		pass(5 * time.Second)
		run := h.is(1, remediate.AwaitingApproval)
		says(t, run.Why, "because of the amount", "ann approved 13 of 50000 rows", "now it is 50000 of 50000 rows")
		if n := len(h.notifications(remediate.NotificationAsk)); r.gone != 0 || n != 2 {
			t.Fatalf("%v rows are gone, %d notifications", r.gone, n)
		}
		err := h.journal.Approve(t.Context(), 1, h.notifications(remediate.NotificationAsk)[0].Plan, "bob", "",
			h.now().Add(time.Hour))
		if _, stale := errors.AsType[*journal.StaleError](err); !stale ||
			h.notifications(remediate.NotificationAsk)[1].Plan != run.Plan.Question() {
			t.Errorf("an answer to the amount of before: %v", err)
		}
		r.rows = 51000 // within the tolerance
		h.approve(1)
		pass(5 * time.Second)
		h.is(1, remediate.Resolved)
		if r.gone != 51000 || r.most == nil || r.most.Rows != 55000 {
			t.Errorf("%v rows are gone, at most %v", r.gone, r.most)
		}
	})
}

// A policy bounds what may go, and what a person approves of does not raise it.
func TestPolicyBoundsTheAmount(t *testing.T) {
	for name, terms := range map[string]remediate.Terms{"rows": {MostRows: 1000}, "share": {MostShare: 0.02}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				h.terms = terms
				r := removing(h)
				r.rows = 1001
				h.live()
				h.alert("t", true)
				pass(5 * time.Second)
				if run := h.is(1, remediate.StateRefused); run.Reason != remediate.ReasonAmount {
					t.Errorf("%s: %s", run.Reason, run.Why)
				}
				r.rows = 900
				h.alert("u", true)
				pass(5 * time.Second)
				h.is(2, remediate.Resolved)
				if r.gone != 900 || r.most == nil || r.most.Rows != 1000 {
					t.Errorf("%v rows are gone, at most %v", r.gone, r.most)
				}
			})
		})
	}
}

// An engine that dies in a step each time it takes the run up does so no more often
// than a fault is tried, and ten times as often where it dies right after its start,
// which need not be the step's doing; a step that makes progress may be interrupted
// for ever.
func TestCrashIsATry(t *testing.T) {
	for _, test := range []struct {
		name   string
		checks int
		life   time.Duration
		want   remediate.State
		lives  int
	}{
		{"no progress", 3, 5 * time.Second, remediate.Failed, 6},
		{"killed at once", 3, time.Second, remediate.Failed, 60},
		{"progress", 40, 5 * time.Second, remediate.Allowed, 70},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				lives := 0
				d := &dying{Journal: h.journal}
				a := h.machine.action()
				a.Executor = &mortal{machine: h.machine, die: func(ctx context.Context, f remediate.Fence) error {
					lives++
					for range test.checks {
						if err := f.Check(ctx); err != nil {
							return err
						}
					}
					d.dead.Store(true)
					<-ctx.Done()
					return errors.New("the process is dead")
				}}
				h.actions = func() []remediate.Action { return []remediate.Action{a} }
				h.alert("t", true)
				for range 70 {
					d.dead.Store(false)
					_, stop := h.liveOn(&leaveless{dying: d})
					pass(test.life)
					stop()
				}
				run := h.is(1, test.want)
				if lives != test.lives || test.want == remediate.Failed &&
					!strings.Contains(run.Why, "interrupted repeatedly") {
					t.Errorf("%d lives: %s", lives, run.Why)
				}
				h.verify()
			})
		})
	}
}

// leaveless is a journal of a process that is killed: it says no word at its end.
type leaveless struct{ *dying }

func (leaveless) Leave(context.Context) error                 { return nil }
func (leaveless) Release(context.Context, int64, int64) error { return nil }

// mortal is a machine in which the process dies.
type mortal struct {
	*machine
	die func(context.Context, remediate.Fence) error
}

func (m *mortal) Apply(ctx context.Context, f remediate.Fence, _ remediate.Step) error {
	return m.die(ctx, f)
}

// A stop that is no crash is no try.
func TestHandOverIsNoTry(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		h.machine.slow = time.Minute
		h.machine.timeout = time.Hour
		h.alert("t", true)
		for range 10 {
			_, stop := h.live()
			pass(5 * time.Second)
			stop()
		}
		if run := h.is(1, remediate.Allowed); run.Lost != 0 || run.Begun != 1 {
			t.Errorf("%+v", run)
		}
		h.live()
		pass(5 * time.Minute)
		h.is(1, remediate.Resolved)
	})
}

// A refusal of the action while it acts ends the run as refused, or lets it wait.
func TestRefusedWhileActing(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		a := h.machine.action()
		refusals := []error{
			&remediate.Refusal{Reason: remediate.ReasonCannotHelp, Detail: "a replica is behind",
				Until: h.now().Add(time.Minute)},
			remediate.Refuse(remediate.ReasonChanged, "a column came"),
		}
		a.Executor = &mortal{machine: h.machine, die: func(context.Context, remediate.Fence) error {
			err := refusals[0]
			refusals = refusals[1:]
			return err
		}}
		h.actions = func() []remediate.Action { return []remediate.Action{a} }
		h.live()
		h.alert("t", true)
		pass(5 * time.Second)
		if run := h.is(1, remediate.Waiting); run.Reason != remediate.ReasonCannotHelp || run.Begun != 1 {
			t.Errorf("%+v", run)
		}
		pass(2 * time.Minute)
		run := h.is(1, remediate.StateRefused)
		if run.Reason != remediate.ReasonChanged {
			t.Errorf("%+v", run)
		}
		says(t, run.Why, "stopped in step 1", "a column came", "none of 2 steps done")
		if got := h.states(1); len(got) != 6 || got[4] != remediate.Allowed {
			t.Errorf("%v", got)
		}
		h.verify()
	})
}

// A reload that changes nothing of a run's policy does not disturb it; neither does a
// policy that comes or goes beside it.
func TestReloadDisturbsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, h *harness) {
		s := &scene{harness: h, mode: remediate.Auto, entry: "1y", stay: time.Second, batches: 5}
		h.actions = func() []remediate.Action { return s.setting(remediate.CancelAnytime).Actions }
		s.e, _ = h.live()
		s.adopt(remediate.CancelAnytime)
		h.alert("t", true)
		for n := range 40 {
			pass(300 * time.Millisecond)
			s.adopt(remediate.CancelAnytime, func(set *engine.Setting) {
				other := set.Policies[0]
				other.Name = "other"
				if n%2 == 0 {
					set.Policies = append(set.Policies, other)
				}
				set.Guards = guard.All(guard.Config{Windows: map[string]guard.Window{"w": always(true),
					"x": always(n%2 == 0)}})
			})
		}
		pass(time.Minute)
		h.is(1, remediate.Resolved)
		if s.begun[1] != 1 || s.begun[2] != 1 || s.did() != 10 {
			t.Errorf("begun %v, %d effects\n%s", s.begun, s.did(), h.story(1))
		}
	})
}

// A target that was gone when it was to be verified comes back, and the run ends with
// what is true.
func TestTargetComesBackBeforeTheVerdict(t *testing.T) {
	for _, away := range []time.Duration{10 * time.Minute, 2 * time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *harness) {
				e, _ := h.live()
				h.machine.after = func() {
					if len(h.machine.effects) == 2 {
						if err := e.Use(nil, h.policies()); err != nil {
							t.Error(err)
						}
					}
				}
				h.alert("t", true)
				pass(away)
				if away > time.Hour {
					if run := h.is(1, remediate.Inconclusive); run.Reason != remediate.ReasonTarget {
						t.Errorf("%+v", run)
					}
					return
				}
				h.is(1, remediate.Applied)
				if err := e.Use(h.machine.actions(), h.policies()); err != nil {
					t.Fatal(err)
				}
				pass(time.Minute)
				h.is(1, remediate.Resolved)
			})
		})
	}
}
