package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// A simWard is the targets of a simulated world, with the truth about each
// subject and a ledger of every effect. As on PostgreSQL, an action works in a
// session that holds the subject's lock; one that is idle with the lock can
// be ended by the holder of the fence.
type simWard struct {
	w         *sim
	patients  []*patient
	takeovers int
}

// A patient is one subject.
type patient struct {
	server, table string
	sickness      float64
	since         time.Time // when it fell sick
	well          time.Time // when it was last made well
	useless       bool      // the first remedy does not help
	effects       map[string]int
	lock          *session
}

// A session is a connection that holds the lock of a subject.
type session struct{ ended bool }

func newSimWard(w *sim) *simWard {
	ward := &simWard{w: w}
	for n := range 4 {
		for _, table := range []string{"a", "b"}[:1+n%2] {
			ward.patients = append(ward.patients, &patient{server: fmt.Sprint("s", n), table: table,
				effects: make(map[string]int)})
		}
	}
	return ward
}

func (p *patient) key() string { return p.server + "/" + p.table }

func (s *simWard) pick() *patient { return s.patients[s.w.rng.IntN(len(s.patients))] }

func (s *simWard) find(subject map[string]string) *patient {
	for _, p := range s.patients {
		if p.server == subject["server"] && p.table == subject["table"] {
			return p
		}
	}
	return nil
}

// holds reports whether the alert's expression holds: also for a while after its
// cause is gone.
func (s *simWard) holds(p *patient) bool {
	return p.sickness > 0 || !s.w.quiet && !p.well.IsZero() && s.w.now.Sub(p.well) < simLinger
}

// Firing implements engine.Rules.
func (s *simWard) Firing(_ context.Context, _ string, subject map[string]string) (bool, error) {
	if !s.w.quiet && s.w.rng.IntN(20) == 0 {
		return false, errors.New("prometheus does not answer")
	}
	return s.holds(s.find(subject)), nil
}

func (s *simWard) actions() (all []remediate.Action) {
	for n := range 4 {
		for _, verb := range []string{"heal", "operate"} {
			all = append(all, remediate.Action{
				Name: "ward/" + verb, Target: fmt.Sprint("s", n), Lowers: "upkeep_ward_sickness",
				Subject:   []string{"server", "table"},
				Exclusive: []string{"server", "table"}, Timeout: time.Hour, Executor: simExecutor{s, verb},
			})
		}
	}
	return all
}

// A simExecutor is one verb of the ward.
type simExecutor struct {
	s    *simWard
	verb string
}

func (r simExecutor) fault(what string) error {
	if !r.s.w.quiet && r.s.w.rng.IntN(25) == 0 {
		return errors.New(what)
	}
	return nil
}

func (r simExecutor) Measure(_ context.Context, request remediate.Request) (float64, error) {
	return r.s.find(request.Subject).sickness, r.fault("no answer")
}

func (r simExecutor) Plan(_ context.Context, request remediate.Request) (p remediate.Plan, err error) {
	patient := r.s.find(request.Subject)
	for n := range 2 {
		name := fmt.Sprint(r.verb, n)
		p.Steps = append(p.Steps, remediate.Step{Do: name + " " + patient.key(), Args: map[string]string{
			"server": patient.server, "table": patient.table, "effect": name,
			"seen": strconv.Itoa(patient.effects[name]),
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
	if !r.s.w.quiet && r.s.w.depth < 2 && r.s.w.rng.IntN(6) == 0 {
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
	return r.fault("the connection was lost after")
}

func (r simExecutor) effect(p *patient, f remediate.Fence, step remediate.Step, seen int) {
	name := step.Args["effect"]
	p.effects[name]++
	r.s.w.say("effect %s on %s under fence %d", name, p.key(), f.Token)
	r.s.w.manager.acted(p)
	if p.effects[name] > seen+1 {
		r.s.w.broken("%s on %s was done twice", name, p.key())
	}
	if r.verb == "heal" && p.useless {
		return
	}
	if p.sickness -= 5; p.sickness <= 0 {
		p.sickness, p.well = 0, r.s.w.now
	}
}
