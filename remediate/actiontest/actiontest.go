// Package actiontest is the promise that every action keeps, as a test: a plan
// changes nothing, a step applied twice is applied once, an old fence has no
// effect, and a run that was interrupted anywhere comes to the same end.
package actiontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A Case is an action and a subject on a real target, which the test can degrade as often as it
// needs.
type Case struct {
	Action  remediate.Action
	Subject map[string]string
	Params  map[string]string
	Limit   float64 // the measure is above it when degraded, and not after the action

	// Degrade makes the measure rise above the limit.
	Degrade func(t *testing.T)

	// State reports all that the action may change, so that an unchanged target
	// gives the same text.
	State func(t *testing.T) string

	// Effects counts how often the action has had its effect so far. It is asked
	// after each step, so it may count the changes that it sees between two calls.
	Effects func(t *testing.T) int

	// Child is what the function that was given to Main makes the same action of, in
	// another process: the target's URL, most often.
	Child string

	// Secret must be in no error; the target's password where it has one.
	Secret string
}

// Run tests the action of a case against every promise.
func Run(t *testing.T, p Case) {
	t.Run("text", p.text)
	t.Run("plan changes nothing", p.planChangesNothing)
	t.Run("twice is once", p.twiceIsOnce)
	t.Run("an old fence has no effect", p.oldFence)
	t.Run("an empty subject is refused", p.emptySubject)
	t.Run("a subject that is gone", p.gone)
	t.Run("interrupted and resumed", p.interrupted)
	t.Run("killed and resumed", p.killed)
}

// free is a fence that is held. What a step keeps is handed to keep.
func free(keep func(kept map[string]string) error) remediate.Fence {
	return remediate.Fence{
		Token: 1, Held: func(context.Context) error { return nil },
		Keep: func(_ context.Context, kept map[string]string, _ string) error { return keep(kept) },
	}
}

// Fence is one that is held, for a step: what the step keeps is in it afterwards, as
// the journal would give it back.
func Fence(s *remediate.Step) remediate.Fence {
	return free(func(kept map[string]string) error {
		s.Kept = maps.Clone(kept)
		return nil
	})
}

func (p Case) request() remediate.Request {
	return remediate.Request{Key: "test", Action: p.Action.Name, Subject: p.Subject, Params: p.Params, Limit: &p.Limit,
		Mode: remediate.Auto, By: "user/test"}
}

func (p Case) text(t *testing.T) {
	if p.Action.Doc == "" || p.Action.Lowers == "" || p.Action.Timeout <= 0 || len(p.Action.Subject) == 0 ||
		len(p.Action.Exclusive) == 0 {
		t.Errorf("%s is not described: %+v", p.Action.Name, p.Action)
	}
	for _, l := range p.Action.Subject {
		if p.Subject[l] == "" {
			t.Errorf("the case has no %s", l)
		}
	}
}

func (p Case) plan(t *testing.T) remediate.Plan {
	t.Helper()
	plan, err := p.Action.Plan(t.Context(), p.request())
	if err != nil {
		t.Fatalf("Plan: %v", err)
	}
	if len(plan.Steps) == 0 {
		t.Fatal("the plan has no steps")
	}
	return plan
}

func (p Case) measure(t *testing.T) float64 {
	t.Helper()
	v, err := p.Action.Measure(t.Context(), p.request())
	if p.Action.Removes && errors.Is(err, remediate.ErrGone) {
		return 0
	}
	if err != nil {
		t.Fatalf("Measure: %v", err)
	}
	return v
}

func (p Case) sicken(t *testing.T) {
	t.Helper()
	p.Degrade(t)
	if v := p.measure(t); v <= p.Limit {
		t.Fatalf("the case is not sick: %v, limit %v", v, p.Limit)
	}
}

// apply carries out one step, with a deadline as the engine gives it.
func (p Case) apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return p.Action.Apply(ctx, f, s)
}

func (p Case) repaired(t *testing.T, effects int) {
	t.Helper()
	// Servers refresh some of their figures a few times a second, and the engine looks again.
	servertest.Eventually(t, "the measure to be within its limit", func() error {
		if v := p.measure(t); v > p.Limit {
			return fmt.Errorf("the measure is %v, limit %v", v, p.Limit)
		}
		return nil
	})
	if got := p.Effects(t); got != effects {
		t.Errorf("the action has had its effect %d times, want %d", got, effects)
	}
}

func (p Case) planChangesNothing(t *testing.T) {
	p.sicken(t)
	before := p.State(t)
	one, two := p.plan(t), p.plan(t)
	if diff := cmp.Diff(one.Steps, two.Steps); diff != "" || one.Hash() != two.Hash() {
		t.Errorf("the same state gives two plans:\n%s", diff)
	}
	if diff := cmp.Diff(before, p.State(t)); diff != "" {
		t.Errorf("the plan has changed something:\n%s", diff)
	}
	for _, s := range one.Steps {
		if s.Do == "" {
			t.Error("a step does not say what it does")
		}
	}
}

func (p Case) twiceIsOnce(t *testing.T) {
	p.sicken(t)
	plan, before := p.plan(t), p.Effects(t)
	for _, s := range plan.Steps {
		for range 2 {
			if err := p.apply(t.Context(), Fence(&s), s); err != nil {
				t.Fatalf("%s: %v", s.Do, err)
			}
			p.Effects(t)
		}
	}
	p.repaired(t, before+1)
}

func (p Case) oldFence(t *testing.T) {
	p.sicken(t)
	plan, before := p.plan(t), p.State(t)
	for name, f := range map[string]remediate.Fence{
		"the zero fence": {},
		"a passed fence": {Token: 1, Held: func(context.Context) error { return remediate.ErrFenced }},
	} {
		for _, s := range plan.Steps {
			if err := p.apply(t.Context(), f, s); !errors.Is(err, remediate.ErrFenced) {
				t.Errorf("%s under %s: %v, want %v", s.Do, name, err, remediate.ErrFenced)
			}
		}
	}
	if diff := cmp.Diff(before, p.State(t)); diff != "" {
		t.Errorf("a step without the right has changed something:\n%s", diff)
	}
}

// An empty label never means "all". The engine refuses it by the list of the
// action's labels; the action itself must find nothing by it either.
func (p Case) emptySubject(t *testing.T) {
	for _, l := range p.Action.Subject {
		if l == "server" {
			continue // chooses the action's target, before the action is asked
		}
		r := p.request()
		r.Subject = maps.Clone(p.Subject)
		delete(r.Subject, l)
		plan, err := p.Action.Plan(t.Context(), r)
		if _, refused := remediate.Refused(err); !refused {
			t.Errorf("without %s: %v, %v, want a refusal", l, plan, err)
		}
	}
}

func (p Case) gone(t *testing.T) {
	last := p.Action.Subject[len(p.Action.Subject)-1]
	if last == "server" {
		return
	}
	r := p.request()
	r.Subject = maps.Clone(p.Subject)
	r.Subject[last] = "no such \"thing\"; \\ '\n"
	_, err := p.Action.Plan(t.Context(), r)
	if refusal, refused := remediate.Refused(err); !refused || refusal.Reason != remediate.ReasonGone {
		t.Errorf("Plan: %v, want the refusal %q", err, remediate.ReasonGone)
	}
	if _, err := p.Action.Measure(t.Context(), r); !errors.Is(err, remediate.ErrGone) {
		t.Errorf("Measure: %v, want %v", err, remediate.ErrGone)
	}
	p.secretive(t, err)
}

// momentsEnv holds at how many moments a step is interrupted, and as many a process is
// killed. Without it there are few, at other moments each time; a soak takes many.
const momentsEnv = "UPKEEP_ACTIONTEST_MOMENTS"

// moments are the earliest one and some behind it, most of them soon after, in order.
func moments(t *testing.T, earliest, latest time.Duration) []time.Duration {
	t.Helper()
	n := 4
	if text, set := os.LookupEnv(momentsEnv); set {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", momentsEnv, err)
		}
	}
	all := []time.Duration{earliest}
	for range n - 1 {
		share := rand.Float64()
		at := earliest + time.Duration(share*share*float64(latest-earliest))
		all = append(all, at.Round(100*time.Microsecond))
	}
	slices.Sort(all)
	return all
}

// interrupted stops each step after ever longer times, as a kill or a deadline
// does, and takes it up again: the end is the same, and the effect is there once.
func (p Case) interrupted(t *testing.T) {
	for _, after := range moments(t, 0, 120*time.Millisecond) {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			p.sicken(t)
			plan, before := p.plan(t), p.Effects(t)
			for _, s := range plan.Steps {
				ctx, cancel := context.WithTimeout(t.Context(), after)
				err := p.apply(ctx, Fence(&s), s)
				cancel()
				p.secretive(t, err)
				p.Effects(t)
				if err := p.apply(t.Context(), Fence(&s), s); err != nil {
					t.Fatalf("%s, taken up again: %v", s.Do, err)
				}
			}
			p.repaired(t, before+1)
		})
	}
}

// childEnv holds what a process is to apply in the place of its tests.
const childEnv = "UPKEEP_ACTIONTEST_APPLY"

// An order is one step for another process.
type order struct {
	Action, Child string
	Step          remediate.Step
	Probe         bool   // the action is made and nothing applied
	Kept          string // the file for what the step keeps, "" where that is not asked for
}

// keep writes what the step keeps to the order's file, whole or not at all.
func (o order) keep(kept map[string]string) error {
	if o.Kept == "" {
		return nil
	}
	text, err := json.Marshal(kept)
	if err == nil {
		err = os.WriteFile(o.Kept+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(o.Kept+".new", o.Kept)
	}
	return err
}

// kept reads what the step has kept, nothing where it did not come to that.
func (o order) kept(t *testing.T) (kept map[string]string) {
	t.Helper()
	text, err := os.ReadFile(o.Kept)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// Main runs the tests of a package of actions, or one step for a test that will
// kill this process. Find makes an action by its name and the Child of its Case.
func Main(m *testing.M, find func(action, child string) (remediate.Action, error)) {
	text := os.Getenv(childEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	var a remediate.Action
	if err == nil {
		a, err = find(o.Action, o.Child)
	}
	if err == nil && !o.Probe {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // who waits for it ends it earlier
		defer cancel()
		err = a.Apply(ctx, free(o.keep), o.Step)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// killed has each step done by another process, which is killed with SIGKILL after
// ever longer times; the step is then taken up again here.
func (p Case) killed(t *testing.T) {
	if p.Child == "" {
		t.Fatal("the case has no Child to be killed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A child that cannot make the action ends before it is killed, and shows nothing.
	if err := p.child(t, self, order{Action: p.Action.Name, Child: p.Child, Probe: true}).Run(); err != nil {
		t.Fatalf("the function that was given to Main makes no %s: add it to the list in the package's TestMain, or "+
			"where TestMain takes it from: %v", p.Action.Name, err)
	}
	killed := 0
	for _, after := range moments(t, 15*time.Millisecond, 150*time.Millisecond) {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			p.sicken(t)
			plan, before := p.plan(t), p.Effects(t)
			for _, s := range plan.Steps {
				o := order{Action: p.Action.Name, Child: p.Child, Step: s, Kept: filepath.Join(t.TempDir(), "kept")}
				var said strings.Builder
				cmd := p.child(t, self, o)
				cmd.Stderr = &said
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended by itself
				err = cmd.Wait()
				kill.Stop()
				switch ended, ok := errors.AsType[*exec.ExitError](err); {
				case ok && !ended.Exited():
					killed++
				case err != nil:
					t.Fatalf("%s: %v: %s", s.Do, err, said.String())
				}
				p.Effects(t)
				s.Kept = o.kept(t)
				if err := p.apply(t.Context(), Fence(&s), s); err != nil {
					t.Fatalf("%s, taken up again: %v", s.Do, err)
				}
			}
			p.repaired(t, before+1)
		})
	}
	if killed == 0 {
		t.Error("no step was killed: the test shows nothing")
	}
}

// child is another process of this program that carries out an order.
func (p Case) child(t *testing.T, self string, o order) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	return cmd
}

func (p Case) secretive(t *testing.T, err error) {
	t.Helper()
	if err != nil && p.Secret != "" && strings.Contains(err.Error(), p.Secret) {
		t.Errorf("the password is in an error: %v", err)
	}
}
