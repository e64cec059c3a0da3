package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/guard"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/policy"
)

// A ward is the target of the tests: subjects that are sick, and a ledger of
// what was done to them.
type ward struct {
	mu       sync.Mutex
	sickness map[string]float64 // by table
	steps    int                // of a plan
	done     map[string]bool    // steps that had their effect, as a real target would know
	effects  []string           // every effect, in order
	relief   float64            // by which a step lowers the sickness
	acting   int                // applies at this moment
	most     int                // and at most at once

	measureFaults, applyFaults int // how many fail before one does not
	refuse                     error
	before                     func() // called at the beginning of Apply
	after                      func() // called after an effect
}

func newWard() *ward {
	return &ward{sickness: map[string]float64{"t": 10}, steps: 2, done: map[string]bool{}, relief: 5}
}

func (w *ward) action() remediate.Action {
	return remediate.Action{
		Name: "ward/heal", Target: "main", Lowers: "upkeep_ward_sickness", Subject: []string{"server", "table"},
		Exclusive: []string{"server", "table"}, Timeout: 2 * time.Second, Remedy: w,
	}
}

// actions are two names for the same remedy.
func (w *ward) actions() []remediate.Action {
	second := w.action()
	second.Name = "ward/operate"
	return []remediate.Action{w.action(), second}
}

func (w *ward) Plan(_ context.Context, r remediate.Request) (p remediate.Plan, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return p, w.refuse
	}
	table := r.Subject["table"]
	for i := range w.steps {
		p.Steps = append(p.Steps, remediate.Step{Do: fmt.Sprintf("heal %q %d", table, i+1), Args: map[string]string{"table": table, "sickness": fmt.Sprint(w.sickness[table])}})
	}
	return p, nil
}

func (w *ward) Apply(ctx context.Context, f remediate.Fence, s remediate.Step) error {
	w.mu.Lock()
	w.acting++
	w.most = max(w.most, w.acting)
	before := w.before
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.acting--; w.mu.Unlock() }()
	if before != nil {
		before()
	}
	if err := f.Check(ctx); err != nil {
		return err
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
		w.sickness[s.Args["table"]] -= w.relief
		if w.after != nil {
			w.after()
		}
	}
	return nil
}

func (w *ward) Measure(_ context.Context, r remediate.Request) (float64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.measureFaults > 0 {
		w.measureFaults--
		return 0, errors.New("no answer")
	}
	v, ok := w.sickness[r.Subject["table"]]
	if !ok {
		return 0, remediate.ErrGone
	}
	return v, nil
}

func (w *ward) did() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.effects)
}

// A house is an engine on a real store, over one or several lives.
type house struct {
	refreshed atomic.Value // the metric and the server that were read again last
	t         *testing.T
	ward      *ward
	store     *store.Store
	journal   *journal.Journal
	inbox     *inbox.Inbox
	mode      remediate.Mode
	second    remediate.Mode // of the second step; "": there is none
	terms     remediate.Terms
	rules     engine.Rules
	cool      time.Duration
	waker     atomic.Pointer[engine.Engine] // who is told of episodes

	shift struct {
		sync.Mutex
		by time.Duration
	}
}

func newHouse(t *testing.T) *house {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{t: t, ward: newWard(), store: s, mode: remediate.Auto}
	h.journal = journal.New(journal.Config{Store: s, Now: h.now})
	h.inbox = inbox.New(inbox.Config{Store: s, Now: h.now, Wake: func() {
		if e := h.waker.Load(); e != nil {
			e.Wake()
		}
	}})
	return h
}

// now is the time, and what the test has skipped.
func (h *house) now() time.Time {
	h.shift.Lock()
	defer h.shift.Unlock()
	return time.Now().Add(h.shift.by)
}

func (h *house) skip(d time.Duration) {
	h.shift.Lock()
	defer h.shift.Unlock()
	h.shift.by += d
}

// A record is the journal as an engine sees it, which may be made to crash.
type record interface {
	engine.Journal
	engine.Queue
	engine.Desk
}

func (h *house) engine(j record) *engine.Engine {
	e := engine.New(engine.Config{
		Journal: j, Queue: j, Desk: j, Members: h.journal, Standing: h.journal, Inbox: h.inbox, Rules: h.rules, Now: h.now, Concurrency: 4,
		Guards:  func() []remediate.Guard { return guard.All(guard.Config{Limits: guard.Limits{All: 4}}) },
		Refresh: func(metric, server string) { h.refreshed.Store(metric + " " + server) },
		Logger:  slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	h.waker.Store(e)
	match, err := labels.ParseMatchers(`alertname="Sick"`)
	if err != nil {
		h.t.Fatal(err)
	}
	h.terms.Cooldown = h.cool
	steps := []policy.Step{{Action: "ward/heal", Mode: h.mode, Terms: h.terms}}
	if h.second != "" {
		steps = append(steps, policy.Step{Action: "ward/operate", Mode: h.second, Terms: h.terms})
	}
	if err := e.Use(h.ward.actions(), []policy.Policy{{Name: "heal", Match: match, Steps: steps}}); err != nil {
		h.t.Fatal(err)
	}
	return e
}

// live runs an engine until the test ends or the returned function is called.
func (h *house) live() (e *engine.Engine, stop func()) {
	e = h.engine(h.journal)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	h.t.Cleanup(stop)
	return e, stop
}

func (h *house) alert(table string, firing bool, annotations ...string) {
	h.t.Helper()
	a := remediate.Alert{
		Source: "alertmanager", Firing: firing, StartsAt: time.UnixMilli(1000).UTC(),
		Labels:      map[string]string{"alertname": "Sick", "server": "main", "table": table, "job": "upkeep"},
		Annotations: map[string]string{"limit": "0"},
	}
	for i := 0; i < len(annotations); i += 2 {
		a.Annotations[annotations[i]] = annotations[i+1]
	}
	if err := h.inbox.Accept(h.t.Context(), []remediate.Alert{a}); err != nil {
		h.t.Fatal(err)
	}
}

// await waits until the run is in a state.
func (h *house) await(id int64, want remediate.State) remediate.Run {
	h.t.Helper()
	var run remediate.Run
	var err error
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if run, err = h.journal.Get(h.t.Context(), id); err == nil && run.State == want {
			return run
		}
		if err == nil && run.State.Final() {
			break
		}
	}
	h.t.Fatalf("run %d is %q (%s) %v, want %s\n%s", id, run.State, run.Why, err, want, h.story(id))
	return run
}

func (h *house) story(id int64) string {
	entries, err := h.journal.Entries(context.Background(), id)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "  %s → %s step %d done %v: %s %s\n", e.From, e.To, e.Step, e.Done, e.Reason, e.Why)
	}
	return b.String()
}

func (h *house) states(id int64) (all []remediate.State) {
	h.t.Helper()
	entries, err := h.journal.Entries(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Step == 0 {
			all = append(all, e.To)
		}
	}
	return all
}

func (h *house) verify() {
	h.t.Helper()
	if _, err := h.journal.Verify(h.t.Context()); err != nil {
		h.t.Error(err)
	}
}

func TestHeals(t *testing.T) {
	h := newHouse(t)
	h.live()
	h.alert("t", true)
	run := h.await(1, remediate.Cleared)
	want := []remediate.State{remediate.Received, remediate.Planned, remediate.Allowed, remediate.Applied, remediate.Cleared}
	if diff := cmp.Diff(want, h.states(1)); diff != "" {
		t.Error(diff)
	}
	if *run.Before != 10 || *run.After != 0 || run.Done != 2 || run.Request.Policy != "heal" || run.Request.By != "alert/Sick" {
		t.Errorf("%+v", run)
	}
	if diff := cmp.Diff([]string{`heal "t" 1`, `heal "t" 2`}, h.ward.did()); diff != "" {
		t.Error(diff)
	}
	if a := h.ward.action(); h.refreshed.Load() != a.Lowers+" "+a.Target {
		t.Errorf("%v was read again, want %s of %s", h.refreshed.Load(), a.Lowers, a.Target)
	}
	h.verify()
}

// Each of these is an end that the journal explains, and in none of them more is
// done than it says.
func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		name    string
		set     func(h *house)
		state   remediate.State
		says    string
		effects int
	}{
		{"not enough", func(h *house) { h.ward.relief = 1 }, remediate.Uncleared, "from 10 to 8, limit 0", 2},
		{"gone", func(h *house) { delete(h.ward.sickness, "t") }, remediate.Declined, "not there", 0},
		{"an empty plan", func(h *house) { h.ward.steps = 0 }, remediate.Declined, "nothing to do", 0},
		{"refused by the action", func(h *house) { h.ward.refuse = remediate.Refuse(remediate.ReasonUnfit, "a view") }, remediate.Declined, "a view", 0},
		{"only observed", func(h *house) { h.mode = remediate.Observe }, remediate.Declined, "only observes", 0},
		{"no measure", func(h *house) { h.ward.sickness["t"] = math.NaN() }, remediate.Failed, "NaN is no measure", 0},
		{"a look fails once", func(h *house) { h.ward.measureFaults = 1 }, remediate.Cleared, "limit 0", 2},
		{"a step fails once", func(h *house) { h.ward.applyFaults = 1 }, remediate.Cleared, "limit 0", 2},
		{"a step fails always", func(h *house) { h.ward.applyFaults = math.MaxInt }, remediate.Failed, "the connection was lost", 0},
		{"a step takes too long", func(h *house) { h.ward.before = func() { time.Sleep(2100 * time.Millisecond) } }, remediate.Failed, "longer than 2s", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			test.set(h)
			h.live()
			h.alert("t", true)
			if test.state == remediate.Failed || strings.HasSuffix(test.name, "once") {
				go h.hasten() // backoff is for the wall clock; here is none
			}
			run := h.await(1, test.state)
			if !strings.Contains(run.Why, test.says) {
				t.Errorf("why: %q, want something with %q", run.Why, test.says)
			}
			if got := len(h.ward.did()); got != test.effects {
				t.Errorf("%d effects, want %d", got, test.effects)
			}
			h.verify()
		})
	}
}

// hasten makes the time pass faster while the test lasts.
func (h *house) hasten() {
	for h.t.Context().Err() == nil {
		time.Sleep(100 * time.Millisecond)
		h.skip(10 * time.Second)
	}
}

func TestWrongRequests(t *testing.T) {
	limit := 0.0
	good := func() remediate.Request {
		return remediate.Request{Key: "k", Action: "ward/heal", Subject: map[string]string{"server": "main", "table": "t"}, Limit: &limit, Mode: remediate.Auto, By: "user/ann"}
	}
	for _, test := range []struct {
		name   string
		spoil  func(r *remediate.Request)
		reason string
	}{
		{"unknown action", func(r *remediate.Request) { r.Action = "ward/kill" }, remediate.ReasonAction},
		{"unknown target", func(r *remediate.Request) { r.Subject["server"] = "other" }, remediate.ReasonAction},
		{"no target", func(r *remediate.Request) { delete(r.Subject, "server") }, remediate.ReasonSubject},
		{"missing label", func(r *remediate.Request) { delete(r.Subject, "table") }, remediate.ReasonSubject},
		{"empty label", func(r *remediate.Request) { r.Subject["table"] = "" }, remediate.ReasonSubject},
		{"a label too many", func(r *remediate.Request) { r.Subject["schema"] = "public" }, remediate.ReasonSubject},
		{"a zero byte", func(r *remediate.Request) { r.Subject["table"] = "a\x00b" }, remediate.ReasonSubject},
		{"no UTF-8", func(r *remediate.Request) { r.Subject["table"] = "a\xffb" }, remediate.ReasonSubject},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			e := h.engine(h.journal)
			r := good()
			test.spoil(&r)
			_, err := e.Request(t.Context(), r)
			if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != test.reason {
				t.Errorf("Request: %v, want a refusal %q", err, test.reason)
			}
			if runs, err := h.journal.Recent(t.Context(), 10); len(runs) != 0 || err != nil {
				t.Errorf("a run was made: %+v %v", runs, err)
			}
		})
	}
}

// What comes with an alert is declined in the journal, with its reason.
func TestWrongAlerts(t *testing.T) {
	for name, limit := range map[string]string{"no limit": "", "no number": "much", "not a number": "NaN", "no end": "+Inf"} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.live()
			h.alert("t", true, "limit", limit)
			run := h.await(1, remediate.Declined)
			if !strings.Contains(run.Why, "limit") || len(h.ward.did()) != 0 {
				t.Errorf("%s, effects %v", run.Why, h.ward.did())
			}
		})
	}
}

// Somebody asks by hand and names no limit: it helped when it did not get worse.
func TestRequestWithoutLimit(t *testing.T) {
	h := newHouse(t)
	e, _ := h.live()
	r := remediate.Request{Key: "user/1", Action: "ward/heal", Subject: map[string]string{"server": "main", "table": "t"}, Mode: remediate.Auto, By: "user/ann"}
	run, err := e.Request(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	h.await(run.ID, remediate.Cleared)
	again, err := e.Request(t.Context(), r)
	if err != nil || again.ID != run.ID {
		t.Errorf("the same request made another run: %d %v", again.ID, err)
	}
}

func TestPreviewChangesNothing(t *testing.T) {
	h := newHouse(t)
	e := h.engine(h.journal)
	limit := 0.0
	if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "r", By: "b"}); err != nil {
		t.Fatal(err)
	}
	p, err := e.Preview(t.Context(), remediate.Request{Action: "ward/heal", Subject: map[string]string{"server": "main", "table": "t"}, Limit: &limit, Mode: remediate.Auto})
	if err != nil || len(p.Plan.Steps) != 2 || *p.Before != 10 || len(p.Refusals) != 1 || p.Refusals[0].Reason != "pause" {
		t.Errorf("Preview: %+v %v", p, err)
	}
	if runs, err := h.journal.Recent(t.Context(), 10); len(runs) != 0 || err != nil || len(h.ward.did()) != 0 {
		t.Errorf("the preview left something: %v %v %v", runs, h.ward.did(), err)
	}
}

func TestPauseHoldsAndEnds(t *testing.T) {
	h := newHouse(t)
	if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "target/main", Reason: "move", By: "ann"}); err != nil {
		t.Fatal(err)
	}
	h.live()
	h.alert("t", true)
	run := h.await(1, remediate.Waiting)
	if !strings.Contains(run.Why, "paused by ann") || len(h.ward.did()) != 0 {
		t.Errorf("%s, effects %v", run.Why, h.ward.did())
	}
	if _, err := h.journal.EndPause(t.Context(), "target/main", "ann"); err != nil {
		t.Fatal(err)
	}
	h.skip(time.Minute)
	h.await(1, remediate.Cleared)
}

// The measure is within its limit, and the alert fires: whichever of them is late,
// nothing is done until it is known.
func TestWithinLimit(t *testing.T) {
	h := newHouse(t)
	h.ward.sickness["t"], h.ward.sickness["u"] = 0, 0
	h.live()
	h.alert("t", true)
	h.alert("u", true)
	for id := range 2 {
		if run := h.await(int64(id+1), remediate.Waiting); !strings.Contains(run.Why, "within its limit") {
			t.Error(run.Why)
		}
	}
	h.alert("u", false)
	if run := h.await(2, remediate.Declined); !strings.Contains(run.Why, "the episode is over") {
		t.Error(run.Why)
	}
	h.ward.mu.Lock()
	h.ward.sickness["t"] = 10
	h.ward.mu.Unlock()
	h.skip(time.Minute)
	h.await(1, remediate.Cleared)
	if got := len(h.ward.did()); got != 2 {
		t.Errorf("%d effects, want those on one subject", got)
	}
}

// What its run cleared and what fires again later are two troubles, even when
// nobody told of the end of the first.
func TestFiresAnew(t *testing.T) {
	h := newHouse(t)
	h.live()
	h.alert("t", true)
	h.await(1, remediate.Cleared)
	h.alert("t", true)
	if open, err := h.inbox.Episodes(t.Context()); err != nil || len(open) != 1 || open[0].ID != 1 {
		t.Fatalf("the late repetition of an alert opened another episode: %+v %v", open, err)
	}
	h.ward.mu.Lock()
	h.ward.sickness["t"], h.ward.done = 10, map[string]bool{}
	h.ward.mu.Unlock()
	a := remediate.Alert{Source: "alertmanager", Firing: true, StartsAt: h.now().Add(time.Second), Labels: map[string]string{"alertname": "Sick", "server": "main", "table": "t", "job": "upkeep"}, Annotations: map[string]string{"limit": "0"}}
	if err := h.inbox.Accept(t.Context(), []remediate.Alert{a}); err != nil {
		t.Fatal(err)
	}
	h.await(2, remediate.Cleared)
}

// A trouble that comes back before its alert could end is one too: an alert that
// still fires a quarter of an hour after the clearing is looked at anew.
func TestFiresOn(t *testing.T) {
	h := newHouse(t)
	h.live()
	h.alert("t", true)
	h.await(1, remediate.Cleared)
	h.ward.mu.Lock()
	h.ward.sickness["t"], h.ward.done = 10, map[string]bool{}
	h.ward.mu.Unlock()
	h.skip(14 * time.Minute)
	h.alert("t", true)
	if open, err := h.inbox.Episodes(t.Context()); err != nil || len(open) != 1 || open[0].ID != 1 {
		t.Fatalf("too early: %+v %v", open, err)
	}
	h.skip(2 * time.Minute)
	h.alert("t", true)
	h.await(2, remediate.Cleared)
}

func TestEpisodeEndsWhileWaiting(t *testing.T) {
	h := newHouse(t)
	if err := h.journal.SetPause(t.Context(), remediate.Pause{Scope: "all", Reason: "move", By: "ann"}); err != nil {
		t.Fatal(err)
	}
	h.live()
	h.alert("t", true)
	h.await(1, remediate.Waiting)
	h.alert("t", false)
	if run := h.await(1, remediate.Declined); !strings.Contains(run.Why, "the episode is over") {
		t.Error(run.Why)
	}
	if len(h.ward.did()) != 0 {
		t.Errorf("effects %v", h.ward.did())
	}
}

func TestCooldown(t *testing.T) {
	h := newHouse(t)
	h.cool = time.Hour
	e, _ := h.live()
	h.alert("t", true)
	h.await(1, remediate.Cleared)
	h.alert("t", false)
	h.ward.mu.Lock()
	h.ward.sickness["t"], h.ward.done = 10, map[string]bool{}
	h.ward.mu.Unlock()
	h.skip(time.Minute)
	a := remediate.Alert{Source: "alertmanager", Firing: true, StartsAt: time.UnixMilli(99_000), Labels: map[string]string{"alertname": "Sick", "server": "main", "table": "t"}, Annotations: map[string]string{"limit": "0"}}
	if err := h.inbox.Accept(t.Context(), []remediate.Alert{a}); err != nil {
		t.Fatal(err)
	}
	e.Wake()
	run := h.await(2, remediate.Waiting)
	if left := run.Due.Sub(h.now()); left < 50*time.Minute || left > time.Hour {
		t.Errorf("due in %s, want a little less than an hour", left)
	}
	h.skip(time.Hour)
	h.await(2, remediate.Cleared)
}

// What is decided by the plan is decided again when the right to act is there.
func TestPlanHasChanged(t *testing.T) {
	h := newHouse(t)
	changed := &changing{Journal: h.journal, ward: h.ward}
	e := h.engine(changed)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = e.Run(ctx) }()
	h.alert("t", true)
	h.await(1, remediate.Uncleared) // 20 - 2×5
	want := []remediate.State{
		remediate.Received, remediate.Planned, remediate.Allowed, remediate.Received,
		remediate.Planned, remediate.Allowed, remediate.Applied, remediate.Uncleared,
	}
	if diff := cmp.Diff(want, h.states(1)); diff != "" {
		t.Error(diff)
	}
}

// changing makes the patient sicker once, between the plan and the deed.
type changing struct {
	*journal.Journal
	ward *ward
	once sync.Once
}

func (c *changing) Append(ctx context.Context, change journal.Change) error {
	if change.Entry.To == remediate.Allowed {
		c.once.Do(func() {
			c.ward.mu.Lock()
			defer c.ward.mu.Unlock()
			c.ward.sickness["t"] = 20
		})
	}
	return c.Journal.Append(ctx, change)
}

// A crash after any write, and after any effect: the next life comes to the same
// end, and each effect is there once.
func TestCrashAnywhere(t *testing.T) {
	for n := 1; ; n++ {
		h := newHouse(t)
		h.alert("t", true)
		ctx, cancel := context.WithCancel(t.Context())
		c := &crashing{Journal: h.journal, left: n, crash: cancel}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = h.engine(c).Run(ctx) }()
		whole := make(chan struct{})
		go func() {
			defer close(whole)
			for ctx.Err() == nil {
				if run, err := h.journal.Get(context.Background(), 1); err == nil && run.State.Final() {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}()
		<-whole
		crashed := ctx.Err() != nil
		cancel()
		<-ended
		h.live()
		h.await(1, remediate.Cleared)
		if diff := cmp.Diff([]string{`heal "t" 1`, `heal "t" 2`}, h.ward.did()); diff != "" {
			t.Errorf("crash after write %d: %s\n%s", n, diff, h.story(1))
		}
		h.verify()
		if !crashed {
			if n < 9 { // created, planned, allowed, leased, 2×(begun, done), applied
				t.Errorf("a whole run took %d writes: the crashes were none", n-1)
			}
			return
		}
	}
}

// crashing crashes after a number of writes, which are durable.
type crashing struct {
	*journal.Journal
	mu    sync.Mutex
	left  int
	crash func()
}

func (c *crashing) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		c.crash()
	}
}

func (c *crashing) Decide(ctx context.Context, edition string, book json.RawMessage, all []journal.Decided) ([]remediate.Run, error) {
	defer c.count()
	return c.Journal.Decide(ctx, edition, book, all)
}

func (c *crashing) Append(ctx context.Context, change journal.Change) error {
	defer c.count()
	return c.Journal.Append(ctx, change)
}

func (c *crashing) Claim(ctx context.Context, id int64) (remediate.Run, remediate.Fence, bool, error) {
	defer c.count()
	return c.Journal.Claim(ctx, id)
}

// A crash between an effect and the entry that says so.
func TestCrashAfterEffect(t *testing.T) {
	for n := 1; n <= 2; n++ {
		h := newHouse(t)
		_, stop := h.live()
		effects := 0
		h.ward.after = func() {
			if effects++; effects == n {
				go stop()
				time.Sleep(50 * time.Millisecond) // the context is done before Apply returns
			}
		}
		h.alert("t", true)
		for end := time.Now().Add(10 * time.Second); len(h.ward.did()) < n && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		stop()
		run, err := h.journal.Get(t.Context(), 1)
		if err != nil || run.State != remediate.Allowed || run.Begun != n || run.Done != n-1 {
			t.Fatalf("after the crash: %+v %v", run, err)
		}
		h.live()
		h.await(1, remediate.Cleared)
		if got := h.ward.did(); len(got) != 2 {
			t.Errorf("crash after effect %d: %v", n, got)
		}
		h.verify()
	}
}

// Two runs on one subject never act at once, whoever asks for them.
func TestOneAtATimeOnASubject(t *testing.T) {
	h := newHouse(t)
	h.ward.sickness["t"], h.ward.before = 1000, func() { time.Sleep(20 * time.Millisecond) }
	e, _ := h.live()
	limit := 999.0
	for i := range 6 {
		_, err := e.Request(t.Context(), remediate.Request{Key: fmt.Sprint(i), Action: "ward/heal", Subject: map[string]string{"server": "main", "table": "t"}, Limit: &limit, Mode: remediate.Auto})
		if err != nil {
			t.Fatal(err)
		}
	}
	go h.hasten()
	for i := range 6 {
		h.await(int64(i+1), remediate.Cleared)
	}
	if h.ward.most != 1 {
		t.Errorf("%d acted at once", h.ward.most)
	}
}

// Many troubles at once: as many act as may, and each subject once.
func TestManyEpisodes(t *testing.T) {
	const n = 200
	h := newHouse(t)
	h.ward.steps, h.ward.relief, h.ward.before = 1, 10, func() { time.Sleep(time.Millisecond) }
	for i := range n {
		h.ward.sickness[fmt.Sprint("t", i)] = 10
	}
	e, _ := h.live()
	for i := range n {
		h.alert(fmt.Sprint("t", i), true)
	}
	e.Wake()
	for i := range n {
		h.await(int64(i+1), remediate.Cleared)
	}
	effects := h.ward.did()
	slices.Sort(effects)
	if got := len(slices.Compact(effects)); got != n || len(h.ward.did()) != n {
		t.Errorf("%d effects, %d of them different, want %d", len(h.ward.did()), got, n)
	}
	if h.ward.most > 4 || h.ward.most < 2 {
		t.Errorf("%d acted at once, want 2 to 4", h.ward.most)
	}
	h.verify()
}

// One episode that cannot be written does not hold up the others.
func TestNamesThatHurt(t *testing.T) {
	h := newHouse(t)
	hostile := "täble\"; DROP TABLE x; --\\ '\n{{ .Labels }} $1 %s"
	h.ward.sickness[hostile] = 10
	h.live()
	h.alert(hostile, true)
	run := h.await(1, remediate.Cleared)
	if run.Request.Subject["table"] != hostile || h.ward.sickness[hostile] != 0 {
		t.Errorf("%+v %v", run.Request, h.ward.sickness)
	}
	h.verify()
}

func BenchmarkAlertToAction(b *testing.B) {
	s, err := store.Open(b.Context(), store.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	h := &house{ward: newWard(), store: s, journal: journal.New(journal.Config{Store: s}), inbox: inbox.New(inbox.Config{Store: s}), mode: remediate.Auto}
	acted := make(chan struct{})
	h.ward.steps, h.ward.relief = 1, 10
	h.ward.before = func() { acted <- struct{}{} }
	for i := range b.N {
		h.ward.sickness[fmt.Sprint(i)] = 10
	}
	e := h.engine(h.journal)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go func() { _ = e.Run(ctx) }()
	b.ResetTimer()
	for i := range b.N {
		a := remediate.Alert{Source: "alertmanager", Firing: true, Labels: map[string]string{"alertname": "Sick", "server": "main", "table": fmt.Sprint(i)}, Annotations: map[string]string{"limit": "0"}}
		if err := h.inbox.Accept(ctx, []remediate.Alert{a}); err != nil {
			b.Fatal(err)
		}
		e.Wake()
		<-acted
	}
}
