package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A simMachines is the targets of a simulated world, with the truth about each
// subject and a ledger of every effect. As on PostgreSQL, an action works in a
// session that holds the subject's lock; one that is idle with the lock can
// be ended by the holder of the fence.
type simMachines struct {
	w         *sim
	subjects  []*simSubject
	takeovers int
}

// A simSubject is one subject.
type simSubject struct {
	server, table string
	damage        float64
	since         time.Time // when it fell damaged
	well          time.Time // when it was last repaired
	useless       bool      // the first action does not help
	effects       map[string]int
	lock          *session
}

// A session is a connection that holds the lock of a subject.
type session struct{ ended bool }

func newSimMachines(w *sim) *simMachines {
	machine := &simMachines{w: w}
	for n := range 4 {
		for _, table := range []string{"a", "b"}[:1+n%2] {
			machine.subjects = append(machine.subjects, &simSubject{server: fmt.Sprint("s", n), table: table,
				effects: make(map[string]int)})
		}
	}
	return machine
}

func (p *simSubject) key() string { return p.server + "/" + p.table }

func (s *simMachines) pick() *simSubject { return s.subjects[s.w.rng.IntN(len(s.subjects))] }

func (s *simMachines) find(subject map[string]string) *simSubject {
	for _, p := range s.subjects {
		if p.server == subject["server"] && p.table == subject["table"] {
			return p
		}
	}
	return nil
}

// holds reports whether the alert's expression holds: also for a while after its
// cause is gone.
func (s *simMachines) holds(p *simSubject) bool {
	return p.damage > 0 || !s.w.quiet && !p.well.IsZero() && s.w.now.Sub(p.well) < simLinger
}

// Firing implements engine.Rules.
func (s *simMachines) Firing(_ context.Context, _ string, subject map[string]string) (bool, error) {
	if !s.w.quiet && s.w.rng.IntN(20) == 0 {
		return false, errors.New("prometheus does not answer")
	}
	return s.holds(s.find(subject)), nil
}

func (s *simMachines) actions() (all []remediate.Action) {
	for n := range 4 {
		for _, verb := range []string{"repair", "rebuild"} {
			all = append(all, remediate.Action{
				Name: "machine/" + verb, Target: fmt.Sprint("s", n), Lowers: "upkeep_machine_damage",
				Subject:   []string{"server", "table"},
				Exclusive: []string{"server", "table"}, Timeout: time.Hour, Executor: simExecutor{s, verb},
			})
		}
	}
	return all
}

// A simExecutor is one verb of the machine.
type simExecutor struct {
	s    *simMachines
	verb string
}

func (r simExecutor) fault(what string) error {
	if !r.s.w.quiet && r.s.w.rng.IntN(25) == 0 {
		return errors.New(what)
	}
	return nil
}

func (r simExecutor) Measure(_ context.Context, request remediate.Request) (float64, error) {
	return r.s.find(request.Subject).damage, r.fault("no answer")
}

func (r simExecutor) Plan(_ context.Context, request remediate.Request) (p remediate.Plan, err error) {
	simSubject := r.s.find(request.Subject)
	for n := range 2 {
		name := fmt.Sprint(r.verb, n)
		p.Steps = append(p.Steps, remediate.Step{Do: name + " " + simSubject.key(), Args: map[string]string{
			"server": simSubject.server, "table": simSubject.table, "effect": name,
			"seen": strconv.Itoa(simSubject.effects[name]),
		}})
	}
	return p, r.fault("no plan")
}

// Apply does what an action on PostgreSQL does, in its order: the session takes
// the lock, what is done already is known by a count, the fence is checked, and
// then comes the effect. It may be frozen between any two of them.
func (r simExecutor) Apply(ctx context.Context, f remediate.Fence, step remediate.Step) error {
	p := r.s.find(step.Args)
	me := &session{}
	if p.lock != nil {
		if err := f.Check(ctx); err != nil {
			return err
		}
		p.lock.ended = true
		r.s.takeovers++
		r.s.w.say("an idle session on %s is ended", p.key())
	}
	p.lock = me
	defer func() {
		if p.lock == me {
			p.lock = nil
		}
	}()
	seen, err := strconv.Atoi(step.Args["seen"])
	if err != nil {
		return err
	}
	if p.effects[step.Args["effect"]] > seen {
		return nil // done already
	}
	if err := f.Check(ctx); err != nil {
		return err
	}
	r.s.w.asked(f.Token)
	if !r.s.w.quiet && r.s.w.depth < 2 && r.s.w.rng.IntN(4) == 0 {
		r.s.w.say("the owner of fence %d freezes before the effect on %s", f.Token, p.key())
		r.s.w.depth++
		if r.s.w.rng.IntN(2) == 0 {
			r.s.w.others()
		}
		for range r.s.w.rng.IntN(10) {
			r.s.w.turn()
		}
		r.s.w.depth--
		r.s.w.say("the owner of fence %d wakes up", f.Token)
	}
	if !r.s.w.quiet && r.s.w.depth < 2 && r.s.w.rng.IntN(5) == 0 {
		r.s.w.long()
	}
	if me.ended {
		return errors.New("the connection was closed")
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := r.fault("the connection was lost before"); err != nil {
		return err
	}
	r.effect(p, f, step, seen)
	if !r.s.w.quiet && r.s.w.rng.IntN(8) == 0 {
		r.s.w.demote(r.s.w.current)
	}
	return r.fault("the connection was lost after")
}

func (r simExecutor) effect(p *simSubject, f remediate.Fence, step remediate.Step, seen int) {
	name := step.Args["effect"]
	p.effects[name]++
	r.s.w.say("effect %s on %s under fence %d", name, p.key(), f.Token)
	r.s.w.manager.acted(p)
	if p.effects[name] > seen+1 {
		r.s.w.broken("%s on %s was done twice", name, p.key())
	}
	if r.verb == "repair" && p.useless {
		return
	}
	if p.damage -= 5; p.damage <= 0 {
		p.damage, p.well = 0, r.s.w.now
	}
}
