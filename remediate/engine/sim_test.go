package engine_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// The simulator drives the real engine, journal, inbox, guards and policies on a
// real store in memory, with a clock, targets, alert senders, people, crashes and
// freezes that one seed decides, in one goroutine: the same seed is the same
// history. make sim SEEDS=1000000 runs many.
var (
	simSeeds = flag.Int("seeds", 1000, "how many histories the simulator runs")                  //nolint:gochecknoglobals // flags of the test
	simFirst = flag.Uint64("seed", 1, "the first seed; with -seeds 1 -v its history is printed") //nolint:gochecknoglobals // the same
)

const (
	simAll       = 3 // runs that act at once
	simPerTarget = 1
	simBudget    = 0.5 // of four targets
	simLease     = 5 * time.Second
	simStale     = 250 * time.Millisecond // an engine reads pauses and demotions so often while a step is under way
	simLinger    = time.Minute            // the alert's expression holds so long after its cause is gone
)

func TestSimulation(t *testing.T) {
	workers := min(runtime.GOMAXPROCS(0), *simSeeds)
	var next atomic.Uint64
	var moves, crashes, takeovers, outages, heldBack, demoted atomic.Int64
	began := time.Now()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			s, err := store.Open(t.Context(), store.Options{Memory: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = s.Close() }() // nothing of it is kept
			for {
				n := next.Add(1) - 1
				if n >= uint64(*simSeeds) || t.Failed() {
					return
				}
				w := newSim(t, s, *simFirst+n)
				w.live()
				moves.Add(int64(w.turns))
				crashes.Add(int64(w.crashes))
				takeovers.Add(int64(w.machine.takeovers))
				outages.Add(int64(w.outages))
				heldBack.Add(int64(w.manager.heldBack))
				demoted.Add(int64(w.demoted))
			}
		})
	}
	all.Wait()
	t.Logf("%d histories, %.0f a second, %d turns, %d crashes, %d outages of the store, %d sessions taken over from "+
		"frozen owners, %d times a muted alert held a run back, %d times a demotion held a run that acted",
		*simSeeds, float64(*simSeeds)/time.Since(began).Seconds(), moves.Load(), crashes.Load(), outages.Load(),
		takeovers.Load(), heldBack.Load(), demoted.Load())
	if !t.Failed() && *simSeeds >= 1000 && (crashes.Load() == 0 || takeovers.Load() == 0 || outages.Load() == 0 ||
		heldBack.Load() == 0 || demoted.Load() == 0) {
		t.Error("no crash, no outage, no takeover, no muted alert or no demotion: the simulation shows nothing")
	}
}

// crash is what a replica that dies panics with.
type crash struct{}

// errStore is what a store says that does not work at the moment.
var errStore = errors.New("the store does not answer")

// A sim is one simulated world.
type sim struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	now      time.Time
	store    *store.Store
	machine  *simMachines
	manager  *simManager
	replicas []*replica
	quiet    bool // no more faults
	depth    int  // of turns within turns
	turns    int
	crashes  int
	outages  int
	demoted  int             // runs that acted and were held because their policy was demoted
	jumped   time.Time       // from where the clock went back last
	back     time.Time       // until then the store does not answer
	looking  int             // the simulator itself asks, which no outage stops
	current  *replica        // that does something
	acked    map[string]bool // subjects whose firing was acknowledged
	trace    []string
}

// A replica is one upkeep, which may be dead, or frozen in the middle of a call.
type replica struct {
	n       int
	life    int
	s       *sim
	dead    bool
	frozen  bool
	busy    bool // in the middle of a long step, while its beats go on
	alone   bool // no other replica ever works on the store
	variant simVariant
	*journal.Journal
	inbox  *inbox.Inbox
	engine *engine.Engine
}

// name is that of this life of the replica.
func (r *replica) name() string { return fmt.Sprintf("replica %d, life %d", r.n, r.life) }

func newSim(t *testing.T, s *store.Store, seed uint64) *sim {
	w := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 3, 29, 0, 50, 0, 0, time.UTC),
		store: s, acked: make(map[string]bool)}
	w.machine = newSimMachines(w)
	w.manager = newSimManager(w)
	s.Intercept(nil)
	s.InterceptQueries(nil)
	err := s.Write(t.Context(), func(tx *store.Tx) error {
		for _, table := range []string{"incidents", "runs", "entries", "instances", "pauses", "approvals", "policy_states",
			"books", "notifications"} {
			if _, err := tx.Exec("delete from " + table); err != nil {
				return err
			}
		}
		_, err := tx.Exec("update fences set last = 1")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 1 + w.rng.IntN(3) {
		w.replicas = append(w.replicas, &replica{n: n, s: w, dead: true})
	}
	if len(w.replicas) == 1 {
		w.replicas[0].alone = w.rng.IntN(2) == 0
	}
	s.Intercept(w.commits)
	s.InterceptQueries(func() error {
		if w.away() {
			return errStore
		}
		return nil
	})
	return w
}

// commits lets commits fail, one by one or in an outage, and take their time.
func (w *sim) commits(before bool) error {
	switch {
	case w.quiet || w.looking > 0:
		return nil
	case w.away():
		if before {
			return errStore
		}
		return nil
	case before && w.rng.IntN(200) == 0:
		slow := time.Duration(w.rng.Int64N(int64(9 * time.Second)))
		w.say("the store is slow: %s", slow.Round(time.Millisecond))
		w.now = w.now.Add(slow)
	}
	if w.rng.IntN(150) != 0 {
		return nil
	}
	w.say("the store fails, before the commit: %v", before)
	return errStore
}

// away reports whether an outage of the store lasts.
func (w *sim) away() bool { return !w.quiet && w.looking == 0 && w.now.Before(w.back) }

// own lets the simulator itself ask the store.
func (w *sim) own(ask func()) {
	w.looking++
	defer func() { w.looking-- }()
	ask()
}

// outage takes the store away for a while, which the replicas survive. Shorter and longer
// than a lease.
func (w *sim) outage() {
	if w.away() {
		return
	}
	d := []time.Duration{time.Second, 4 * time.Second, 8 * time.Second, 20 * time.Second,
		3 * time.Minute}[w.rng.IntN(5)]
	w.outages++
	w.back = w.now.Add(d)
	w.say("the store is away for %s", d)
	for range w.rng.IntN(8) {
		w.now = w.now.Add(time.Second)
		w.beats()
	}
}

func (w *sim) clock() time.Time { return w.now }

func (w *sim) say(format string, args ...any) {
	w.trace = append(w.trace, w.now.Format("15:04:05.000 ")+strings.Repeat("  ", w.depth)+fmt.Sprintf(format, args...))
}

// broken fails the test with the history that led there.
func (w *sim) broken(format string, args ...any) {
	if w.t.Failed() {
		return
	}
	from := max(0, len(w.trace)-150)
	w.t.Errorf("seed %d: %s\n%s", w.seed, fmt.Sprintf(format, args...), strings.Join(w.trace[from:], "\n"))
}

// live runs one history: a time of faults, and then a quiet time in which
// everything must come to its end.
func (w *sim) live() {
	for range 6 + w.rng.IntN(24) {
		if w.t.Failed() {
			return
		}
		w.turn()
	}
	w.quiet = true
	w.settle()
	if testing.Verbose() && *simSeeds == 1 {
		w.t.Log("\n" + strings.Join(w.trace, "\n"))
	}
}

// turn lets one thing happen.
func (w *sim) turn() {
	w.turns++
	switch n := w.rng.IntN(100); {
	case n < 12:
		w.advance()
	case n < 22:
		w.sicken()
	case n < 40:
		w.deliver()
	case n < 45:
		w.person()
	case n < 48:
		w.reload()
	case n < 52:
		w.outage()
	case n < 54:
		w.manager.mute()
	default:
		w.act()
	}
}

// reload gives a replica another configuration: the policy is lowered, gone or back,
// or a target is gone. The replicas need not agree.
func (w *sim) reload() {
	r := w.pick()
	if r == nil {
		return
	}
	r.variant = simVariant(w.rng.IntN(int(simVariants)))
	w.say("replica %d reloads: %d", r.n, r.variant)
	w.adopt(r)
}

// A simVariant is one of the configurations.
type simVariant int

const (
	simWhole simVariant = iota
	simAsks
	simObserves
	simNoPolicy
	simNoTarget
	simMoved   // the targets have another address
	simOneStep // the second step is gone
	simVariants
)

func (w *sim) adopt(r *replica) {
	policies := []policy.Policy{{Name: "repair", Match: w.matchers(), Steps: []policy.Step{
		{Action: "machine/repair", Mode: remediate.Auto, Terms: remediate.Terms{Budget: simBudget, Ramp: true, Breaker: 3,
			BreakerFor: time.Hour, Effect: 0.5, Cooldown: time.Minute}},
		{Action: "machine/rebuild", Mode: remediate.Ask, Terms: remediate.Terms{ApprovalLifetime: 2 * time.Hour}},
	}}}
	actions := w.machine.actions()
	switch r.variant {
	case simAsks:
		policies[0].Steps[0].Mode = remediate.Ask
	case simObserves:
		policies[0].Steps[0].Mode = remediate.Observe
	case simNoPolicy:
		policies = nil
	case simNoTarget:
		actions = actions[2:]
	case simMoved:
		for i := range actions {
			actions[i].At = "elsewhere"
		}
	case simOneStep:
		policies[0].Steps = policies[0].Steps[:1]
	default:
	}
	if err := r.engine.Use(actions, policies); err != nil {
		w.broken("use: %v", err)
	}
}

func (w *sim) advance() {
	steps := []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second, 3 * time.Second, 20 * time.Second,
		2 * time.Minute, 20 * time.Minute, 3 * time.Hour, -2 * time.Second}
	d := steps[w.rng.IntN(len(steps))]
	if d < 0 {
		w.jumped = w.now
	}
	w.now = w.now.Add(d)
	if w.rng.IntN(8) == 0 {
		w.say("the clock jumps by %s", d)
		return
	}
	w.say("%s pass", d)
	for _, r := range w.replicas {
		if !r.dead && (!r.frozen || r.busy) && !w.away() {
			w.renew(r)
		}
	}
	w.beats()
}

// beats lets each replica that lives beat once, also one in the middle of a long step.
func (w *sim) beats() {
	for _, r := range w.replicas {
		if !r.dead && (!r.frozen || r.busy) {
			w.as(r, func() { w.note(r, "beat", r.engine.Beat(context.Background())) })
		}
	}
}

// renew replaces all heartbeats of a replica in a time that has passed.
func (w *sim) renew(r *replica) {
	lives := simLease
	if w.quiet {
		lives = time.Hour // it is renewed all the time
	}
	err := w.store.Write(context.Background(), func(tx *store.Tx) error {
		_, err := tx.Exec("update instances set expires = ? where name = ?", store.Millis(w.now.Add(lives)), r.name())
		return err
	})
	if err != nil {
		w.say("replica %d, beat: %v", r.n, err)
	}
}

func (w *sim) sicken() {
	p := w.machine.pick()
	p.damage = 10
	p.since = w.now
	p.useless = w.rng.IntN(4) == 0
	w.say("%s is damaged", p.key())
}

// deliver tells a replica of alerts: as they are, late, twice, or of what is over.
func (w *sim) deliver() {
	r := w.pick()
	if r == nil {
		return
	}
	p := w.machine.pick()
	for range 3 { // most deliveries are of what is damaged
		if p.damage == 0 {
			p = w.machine.pick()
		}
	}
	if w.manager.mutes(p) {
		w.say("%s is muted, and not delivered", p.key())
		return
	}
	a := w.alert(p, p.damage > 0)
	if w.rng.IntN(6) == 0 {
		a.Firing = !a.Firing // a peer that is late
	}
	if w.rng.IntN(5) == 0 {
		a.Labels["replica"] = fmt.Sprint(w.rng.IntN(2))
	}
	if a.Firing {
		w.manager.delivered[p.key()] = true
	}
	for range 1 + w.rng.IntN(2) {
		w.as(r, func() {
			if err := r.inbox.Accept(context.Background(), []remediate.Alert{a}); err == nil && a.Firing {
				w.acked[p.key()] = true
				w.say("replica %d acknowledged %s", r.n, p.key())
			}
		})
	}
	if w.rng.IntN(8) == 0 {
		w.manager.muteFor(p, 2*time.Minute)
	}
	if w.rng.IntN(3) == 0 {
		w.reconcile(r)
	}
}

func (w *sim) reconcile(r *replica) {
	var present []remediate.Alert
	for _, p := range w.machine.subjects {
		if w.machine.holds(p) {
			present = append(present, w.alert(p, true))
		}
	}
	w.as(r, func() {
		_ = r.inbox.Reconcile(context.Background(), inbox.Listing{Source: "alertmanager", Alerts: present, Asked: w.now,
			Whole: true}, 5*time.Minute)
	}) // it is asked again
}

func (w *sim) alert(p *simSubject, firing bool) remediate.Alert {
	return remediate.Alert{
		Source: "alertmanager", Firing: firing, StartsAt: p.since, Expr: "damage > 0",
		Labels:      map[string]string{"alertname": "Damaged", "server": p.server, "table": p.table},
		Annotations: map[string]string{"limit": "0"},
	}
}

// person lets somebody do something.
func (w *sim) person() {
	r := w.pick()
	if r == nil {
		return
	}
	ctx := context.Background()
	runs, err := r.Recent(ctx, 0, 20)
	if store.Away(err) {
		return
	}
	if err != nil {
		w.broken("runs: %v", err)
		return
	}
	scopes := []string{"all", "policy/repair", "action/machine/repair", "target/s0"}
	switch w.rng.IntN(4) {
	case 0:
		p := remediate.Pause{Scope: scopes[w.rng.IntN(len(scopes))], Reason: "r", By: "ann"}
		if w.rng.IntN(2) == 0 {
			p.Until = w.now.Add(time.Hour)
		}
		w.say("ann pauses %s: %v", p.Scope, r.SetPause(ctx, p))
	case 1:
		for _, s := range scopes {
			_, _ = r.EndPause(ctx, s, "ann", "") // not every one is paused
		}
		w.say("ann resumes everything, and promotes the policy: %v", r.Promote(ctx, "repair", "ann", "r"))
	case 2:
		w.approve(r, runs)
	case 3:
		if len(runs) > 0 {
			id := runs[w.rng.IntN(len(runs))].ID
			w.say("ann cancels run %d: %v", id, r.Cancel(ctx, id, "ann", "r"))
		}
	}
}

func (w *sim) approve(r *replica, runs []remediate.Run) {
	for _, run := range runs {
		if run.State != remediate.AwaitingApproval {
			continue
		}
		if !w.quiet && w.rng.IntN(3) == 0 {
			w.say("ann rejects run %d: %v", run.ID, r.Reject(context.Background(), run.ID, "", "ann", "no"))
			continue
		}
		err := r.Approve(context.Background(), run.ID, run.Plan.Question(), "ann", "", w.now.Add(24*time.Hour))
		w.say("ann approves of run %d: %v", run.ID, err)
	}
}

// pick returns a replica that could do something, nil where none can.
func (w *sim) pick() *replica {
	for range 6 {
		r := w.replicas[w.rng.IntN(len(w.replicas))]
		if r.dead && !r.frozen {
			w.start(r)
		}
		if !r.dead && !r.frozen {
			return r
		}
	}
	return nil
}

// start begins another life of a replica.
func (w *sim) start(r *replica) {
	r.life++
	r.Journal = journal.New(journal.Config{Store: w.store, Name: r.name(), Lease: simLease, Now: w.clock,
		Shared: !r.alone})
	r.inbox = inbox.New(inbox.Config{Store: w.store, Now: w.clock, FlapWindow: 10 * time.Minute})
	r.engine = engine.New(engine.Config{
		Journal: r, Inbox: r.inbox, Rules: w.machine,
		Guards: func() []remediate.Guard {
			return guard.All(guard.Config{Limits: guard.Limits{All: simAll, PerTarget: simPerTarget},
				Deliveries: simDelivery{w.manager, r}})
		},
		Alone: r.alone, Now: w.clock, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	w.adopt(r)
	r.dead = false
	w.as(r, func() {
		if err := r.engine.Join(context.Background()); err != nil {
			r.dead = true // it starts again
			return
		}
		w.say("replica %d starts", r.n)
	})
}

func (w *sim) matchers() labels.Matchers {
	m, err := labels.ParseMatchers(`alertname="Damaged"`)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// act lets a replica do a part of its work.
func (w *sim) act() {
	if r := w.pick(); r != nil {
		w.as(r, func() { w.work(r) })
	}
}

func (w *sim) work(r *replica) {
	ctx := context.Background()
	switch n := w.rng.IntN(10); {
	case n < 2 && !w.quiet:
		w.note(r, "beat", r.engine.Beat(ctx))
	case n < 4:
		w.note(r, "decide", r.engine.Decide(ctx))
	case n < 5 && !w.quiet && w.rng.IntN(8) == 0:
		w.say("replica %d leaves", r.n)
		_ = r.Leave(ctx) // or its lease runs out
		r.dead = true
	default:
		due, err := r.Due(ctx, 64)
		if err != nil || len(due) == 0 {
			return
		}
		run := due[w.rng.IntN(len(due))]
		w.say("replica %d takes run %d, %s", r.n, run.ID, run.State)
		w.note(r, "carry", r.engine.Carry(ctx, run.ID))
	}
}

func (w *sim) note(r *replica, what string, err error) {
	if err != nil {
		w.say("replica %d, %s: %v", r.n, what, err)
	}
}

// as lets a replica do something during which it may die.
func (w *sim) as(r *replica, do func()) {
	frozen, busy, before := r.frozen, r.busy, w.current
	r.frozen, r.busy, w.current = true, false, r // no other replica uses it meanwhile
	defer func() {
		r.frozen, r.busy, w.current = frozen, busy, before
		if p := recover(); p != nil {
			if _, ok := p.(crash); !ok {
				panic(p)
			}
			w.crashes++
			w.say("replica %d is dead", r.n)
		}
	}()
	do()
}

// boundary is where a replica may die, or freeze while others act.
func (w *sim) boundary(r *replica) {
	if r.dead {
		panic(crash{})
	}
	if w.quiet {
		return
	}
	switch n := w.rng.IntN(60); {
	case n == 0:
		r.dead = true
		panic(crash{})
	case n < 4 && w.depth < 2:
		w.freeze(r)
	}
}

// freeze stops a replica where it is and lets time and others go on.
func (w *sim) freeze(r *replica) {
	w.say("replica %d freezes", r.n)
	w.depth++
	for range 1 + w.rng.IntN(8) {
		w.turn()
	}
	w.depth--
	w.say("replica %d goes on", r.n)
}

// long lets time and others go on in the middle of a step, and the beats of its owner too.
func (w *sim) long() {
	r := w.current
	w.say("replica %d is long at a step", r.n)
	w.depth++
	r.busy = true
	if w.rng.IntN(2) == 0 {
		w.demote(r)
	}
	for range 1 + w.rng.IntN(8) {
		w.turn()
	}
	r.busy = false
	w.depth--
	if r.dead { // in one of its beats
		panic(crash{})
	}
	w.say("replica %d comes to the end of it", r.n)
}

// demote lets a person demote the policy.
func (w *sim) demote(r *replica) {
	w.say("ann demotes the policy: %v", r.DemoteBy(context.Background(), "repair", "ann", "r"))
}

// others lets a lease run out, and another replica take over what it finds.
func (w *sim) others() {
	w.now = w.now.Add(2 * simLease)
	r := w.pick()
	if r == nil {
		return
	}
	w.renew(r)
	w.as(r, func() {
		ctx := context.Background()
		w.note(r, "beat", r.engine.Beat(ctx))
		due, err := r.Due(ctx, 64)
		w.note(r, "due", err)
		for _, run := range due {
			w.say("replica %d takes run %d, %s", r.n, run.ID, run.State)
			w.note(r, "carry", r.engine.Carry(ctx, run.ID))
		}
	})
}

// settle is the quiet time: everything is delivered, all answer, and every run
// must end.
func (w *sim) settle() {
	w.say("quiet")
	w.manager.unmute()
	ctx := context.Background()
	for _, r := range w.replicas {
		if r.variant = simWhole; r.dead {
			w.start(r)
		}
		w.adopt(r)
	}
	r := w.replicas[0]
	for _, scope := range []string{"all", "policy/repair", "action/machine/repair", "target/s0"} {
		if _, err := r.EndPause(ctx, scope, "ann", ""); err != nil {
			w.broken("resume: %v", err)
		}
	}
	for n := range 200 {
		r := w.replicas[n%len(w.replicas)]
		if n%3 == 0 {
			w.reconcile(r)
			for _, each := range w.replicas {
				w.note(each, "beat", each.engine.Beat(ctx))
			}
			for _, each := range w.replicas {
				w.renew(each)
			}
		}
		w.note(r, "decide", r.engine.Decide(ctx))
		due, err := r.Due(ctx, 1000)
		if err != nil {
			w.broken("due: %v", err)
		}
		for _, run := range due {
			w.note(r, "carry", r.engine.Carry(ctx, run.ID))
		}
		next, asked, left := w.left()
		if asked > 0 {
			w.approveAll(r)
		}
		if left == 0 && n > 3 {
			runs, err := r.Recent(ctx, 0, 1000)
			if err != nil {
				w.broken("runs: %v", err)
			}
			w.judge(runs)
			return
		}
		// On to the next moment at which something is due.
		w.now = w.now.Add(min(max(next.Sub(w.now), time.Second), 30*time.Second))
	}
	runs, _ := r.Recent(ctx, 0, 1000)
	for _, run := range runs {
		w.say("run %d %s %s since %s due %s: %s", run.ID, run.Request.Action, run.State,
			run.Changed.Format(time.TimeOnly), run.Due.Format(time.TimeOnly), run.Why)
	}
	w.broken("runs hang")
}

// left counts the runs that have not ended, and tells when the first of them is
// due. A run that waits for its policy's breaker, or for an alert to end, may wait
// for longer than the quiet time lasts.
func (w *sim) left() (next time.Time, asked, left int) {
	rows, err := w.store.Query(context.Background(), `select min(due), count(*), sum(case when state = ? then 1 else 0 end) from runs
		where state in (?, ?, ?, ?, ?) or state = ? and reason not in (?, ?)`,
		string(remediate.AwaitingApproval), string(remediate.Received), string(remediate.Planned), string(remediate.AwaitingApproval),
		string(remediate.Allowed), string(remediate.Applied),
		string(remediate.Waiting), "breaker", remediate.ReasonNothing)
	if err != nil {
		w.broken("left: %v", err)
		return next, 0, 0
	}
	var due, waiting *int64
	for rows.Next() {
		err = rows.Scan(&due, &left, &waiting)
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		w.broken("left: %v", err)
	}
	if left == 0 {
		return w.now, 0, 0
	}
	return store.Time(*due), int(*waiting), left
}

func (w *sim) approveAll(r *replica) {
	runs, err := r.In(context.Background(), remediate.AwaitingApproval, 1000)
	if err != nil {
		w.broken("runs: %v", err)
	}
	w.approve(r, runs)
}

// judge holds the journal against what happened.
func (w *sim) judge(runs []remediate.Run) {
	ctx := context.Background()
	j := w.replicas[0].Journal
	if _, err := j.Verify(ctx); err != nil {
		w.broken("verify: %v", err)
	}
	keys := make(map[string]bool)
	for _, run := range runs {
		if keys[run.Request.Key] {
			w.broken("two runs for %s", run.Request.Key)
		}
		keys[run.Request.Key] = true
	}
	rows, err := w.store.Query(ctx, "select alert from incidents")
	if err != nil {
		w.broken("incidents: %v", err)
		return
	}
	said := make(map[string]bool)
	for rows.Next() {
		var text []byte
		var a remediate.Alert
		if err := errors.Join(rows.Scan(&text), json.Unmarshal(text, &a)); err != nil {
			w.broken("incidents: %v", err)
		}
		said[a.Labels["server"]+"/"+a.Labels["table"]] = true
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		w.broken("incidents: %v", err)
	}
	for key := range w.acked {
		if !said[key] {
			w.broken("%s was acknowledged and has no incident", key)
		}
	}
	for key := range said {
		if !w.manager.delivered[key] {
			w.broken("%s has an incident and was listed only, never delivered", key)
		}
	}
	w.replay(j)
}

func (w *sim) replay(j *journal.Journal) {
	ctx := context.Background()
	texts, err := j.Books(ctx)
	books := make(map[string]policy.Book)
	for hash, text := range texts {
		var b policy.Book
		err = errors.Join(err, json.Unmarshal(text, &b))
		books[hash] = b
	}
	if err == nil {
		err = j.Cases(ctx, func(seq int64, decided json.RawMessage) error {
			var r policy.Record
			if err := json.Unmarshal(decided, &r); err != nil {
				return err
			}
			if err := policy.Replay(books, r); err != nil {
				return fmt.Errorf("entry %d: %w", seq, err)
			}
			return nil
		})
	}
	if err != nil {
		w.broken("replay: %v", err)
	}
}

// The journal of a replica, at whose boundaries it may die or freeze.

func (r *replica) Append(ctx context.Context, c journal.Change) error {
	r.s.boundary(r)
	err := r.Journal.Append(ctx, c)
	if err == nil || errors.Is(err, errStore) { // which may have been after the commit
		r.s.check(r, c)
	}
	if err == nil && c.Entry.From == remediate.Allowed && c.Entry.To == remediate.AwaitingApproval &&
		strings.Contains(c.Entry.Why, "the policy is demoted") {
		r.s.demoted++
	}
	if err == nil && c.Entry.Step == 0 {
		r.s.say("replica %d: run %d %s → %s: %s", r.n, c.Run.ID, c.Entry.From, c.Entry.To, c.Entry.Why)
	}
	r.s.boundary(r)
	return err
}

func (r *replica) Postpone(ctx context.Context, run remediate.Run, token int64, due time.Time) error {
	r.s.boundary(r)
	return r.Journal.Postpone(ctx, run, token, due)
}

func (r *replica) Claim(ctx context.Context, id int64) (remediate.Run, remediate.Fence, bool, error) {
	r.s.boundary(r)
	run, f, ok, err := r.Journal.Claim(ctx, id)
	r.s.boundary(r)
	return run, f, ok, err
}

func (r *replica) Decide(ctx context.Context, edition string, book json.RawMessage,
	all []journal.Decided) ([]remediate.Run, error) {
	r.s.boundary(r)
	made, err := r.Journal.Decide(ctx, edition, book, all)
	for _, run := range made {
		r.s.say("replica %d made run %d: %s on %s, policy step %d", r.n, run.ID, run.Request.Action,
			journal.Subject(run.Request.Subject), run.Request.Step)
	}
	r.s.boundary(r)
	return made, err
}

func (r *replica) Beat(ctx context.Context) ([]journal.Carried, error) {
	r.s.boundary(r)
	return r.Journal.Beat(ctx)
}

// check holds what acts now against every limit.
func (w *sim) check(r *replica, c journal.Change) {
	if c.Entry.To != remediate.Allowed || c.Entry.From == c.Entry.To {
		return
	}
	var now remediate.Working
	var err error
	w.own(func() { now, err = r.Working(context.Background(), remediate.Run{}) })
	if err != nil {
		w.broken("working: %v", err)
		return
	}
	acting, perTarget, busy, targets := 0, make(map[string]int), make(map[string]int64), make(map[string]bool)
	for _, work := range now.Acting {
		if other := busy[work.Exclusive]; other != 0 {
			w.broken("runs %d and %d act on %s", other, work.Run, work.Exclusive)
		}
		busy[work.Exclusive] = work.Run
		if work.Action == "machine/repair" {
			targets[work.Target] = true
		}
		if work.State == remediate.Allowed {
			acting++
			perTarget[work.Target]++
		}
		if work.Run != c.Run.ID {
			continue
		}
		scopes := map[string]bool{"all": true, "policy/repair": true, "action/" + work.Action: true,
			"target/" + work.Target: true}
		for _, p := range now.Pauses {
			if scopes[p.Scope] {
				w.broken("run %d was let act while %s is paused", work.Run, p.Scope)
			}
		}
	}
	if acting > simAll || float64(len(targets)) > simBudget*4 {
		w.broken("%d runs act at once, on %d targets", acting, len(targets))
	}
	for target, n := range perTarget {
		if n > simPerTarget {
			w.broken("%d runs act at once on %s", n, target)
		}
	}
}

// asked holds a run that may go on with its step, as its fence has just said, against the demotion of its policy: it
// has been approved, or the demotion is younger than what an engine knows of it.
func (w *sim) asked(token int64) {
	var unasked int
	var err error
	w.own(func() {
		var rows *sql.Rows
		rows, err = w.store.Query(context.Background(), `select count(*) from policy_states
			where demoted > ? and demoted <= ? and not exists
			(select 1 from approvals join runs on runs.id = approvals.run where runs.fence = ?)`,
			store.Millis(w.jumped), store.Millis(w.now.Add(-simStale)), token)
		for err == nil && rows.Next() {
			err = rows.Scan(&unasked)
		}
		if err == nil {
			err = errors.Join(rows.Err(), rows.Close())
		}
	})
	switch {
	case err != nil:
		w.broken("policies that are demoted: %v", err)
	case unasked > 0:
		w.broken("the run of fence %d acts unasked, and its policy is demoted", token)
	}
}
