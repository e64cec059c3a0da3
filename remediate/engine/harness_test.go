package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// A harness is an engine on a real store, over one or several lives.
type harness struct {
	refreshed atomic.Value // the metric and the server that were read again last
	t         *testing.T
	machine   *machine
	actions   func() []remediate.Action // nil: the machine's
	slots     int                       // runs that act at once; 4 at least
	alone     bool                      // no other replica works on the store
	store     *store.Store
	journal   *journal.Journal
	inbox     *inbox.Inbox
	mode      remediate.Mode
	second    remediate.Mode // of the second step, or ""
	first     *float64       // limit of the first step's own
	terms     remediate.Terms
	rules     engine.Rules
	silences  engine.Silences
	guards    guard.Config
	hold      time.Duration     // of the policy
	with      map[string]string // parameters of the second step
	expr      string            // of the alerts
	cool      time.Duration
	deaf      bool                          // the engine is not woken for incidents
	waker     atomic.Pointer[engine.Engine] // is woken for incidents

	shift struct {
		sync.Mutex
		by time.Duration
	}
}

// lease is how long the other processes wait for a heartbeat.
const lease = 5 * time.Second

// newHarness returns a harness on a file.
func newHarness(t *testing.T) *harness {
	t.Helper()
	return houseOn(t, store.Options{Dir: t.TempDir()})
}

// bubble runs a test in a harness whose time passes only while everybody waits.
func bubble(t *testing.T, test func(t *testing.T, h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, houseOn(t, store.Options{Memory: true})) })
}

// pass lets time pass in a bubble, and everything happen that is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func houseOn(t *testing.T, o store.Options) *harness {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &harness{t: t, machine: newMachine(), store: s, mode: remediate.Auto,
		guards: guard.Config{Limits: guard.Limits{All: 4}}}
	h.journal = journal.New(journal.Config{Store: s, Now: h.now, Lease: lease})
	h.inbox = inbox.New(inbox.Config{Store: s, Now: h.now, FlapWindow: 10 * time.Minute,
		Limits: inbox.Limits{All: 1 << 20, PerAlert: 1 << 20}, Wake: func() {
			if e := h.waker.Load(); e != nil && !h.deaf {
				e.Wake()
			}
		}})
	return h
}

// now is the time, and what the test has skipped.
func (h *harness) now() time.Time {
	h.shift.Lock()
	defer h.shift.Unlock()
	return time.Now().Add(h.shift.by)
}

func (h *harness) skip(d time.Duration) {
	h.shift.Lock()
	defer h.shift.Unlock()
	h.shift.by += d
}

func (h *harness) engine(j engine.Journal) *engine.Engine {
	e := engine.New(engine.Config{
		Journal: j, Inbox: h.inbox, Rules: h.rules, Silences: h.silences, Now: h.now, Concurrency: max(h.slots, 4),
		Alone:   h.alone,
		Guards:  func() []remediate.Guard { return guard.All(h.guards) },
		Refresh: func(metric, server string) { h.refreshed.Store(metric + " " + server) },
		Logger:  slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	h.waker.Store(e)
	actions := h.actions
	if actions == nil {
		actions = h.machine.actions
	}
	if err := e.Use(actions(), h.policies()); err != nil {
		h.t.Fatal(err)
	}
	return e
}

// policies are one: to repair, and to rebuild where that has not helped.
func (h *harness) policies() []policy.Policy {
	match, err := labels.ParseMatchers(`alertname="Damaged"`)
	if err != nil {
		h.t.Fatal(err)
	}
	h.terms.Cooldown = h.cool
	steps := []policy.Step{{Action: "machine/repair", Mode: h.mode, Limit: h.first, Terms: h.terms}}
	if h.second != "" {
		steps = append(steps, policy.Step{Action: "machine/rebuild", Mode: h.second, Terms: h.terms, With: h.with})
	}
	return []policy.Policy{{Name: "repair", Match: match, Hold: h.hold, Steps: steps}}
}

// live runs an engine until the test ends or the returned function is called.
func (h *harness) live() (e *engine.Engine, stop func()) {
	return h.liveOn(h.journal)
}

func (h *harness) liveOn(j engine.Journal) (e *engine.Engine, stop func()) {
	e = h.engine(j)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = e.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	h.t.Cleanup(stop)
	return e, stop
}

func (h *harness) alert(table string, firing bool, annotations ...string) {
	h.t.Helper()
	a := remediate.Alert{
		Source: "alertmanager", Firing: firing, StartsAt: time.UnixMilli(1000).UTC(), Expr: h.expr,
		Labels:      map[string]string{"alertname": "Damaged", "server": "main", "table": table, "job": "upkeep"},
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
func (h *harness) await(id int64, want remediate.State) remediate.Run {
	h.t.Helper()
	var run remediate.Run
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if run, err = h.journal.Get(h.t.Context(), id); err == nil && run.State == want {
			return run
		}
		if err == nil && run.State.Ended() {
			break
		}
	}
	h.t.Fatalf("run %d is %q (%s) %v, want %s\n%s", id, run.State, run.Why, err, want, h.story(id))
	return run
}

func (h *harness) story(id int64) string {
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

func (h *harness) states(id int64) (all []remediate.State) {
	h.t.Helper()
	entries, err := h.journal.Entries(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Step == 0 && e.Note == "" {
			all = append(all, e.To)
		}
	}
	return all
}

// is checks the state of a run now.
func (h *harness) is(id int64, want remediate.State) remediate.Run {
	h.t.Helper()
	run, err := h.journal.Get(h.t.Context(), id)
	if err != nil || run.State != want {
		h.t.Fatalf("run %d is %q (%s) %v, want %s\n%s", id, run.State, run.Why, err, want, h.story(id))
	}
	return run
}

// runs checks how many runs there are.
func (h *harness) runs(want int) {
	h.t.Helper()
	if runs, err := h.journal.Recent(h.t.Context(), 0, 1000); len(runs) != want || err != nil {
		h.t.Errorf("%d runs, want %d: %+v %v", len(runs), want, runs, err)
	}
}

// notifications are the sent notifications of one kind.
func (h *harness) notifications(kind remediate.NotificationKind) (all []remediate.Notification) {
	h.t.Helper()
	rows, err := h.store.Query(h.t.Context(), "select notification from notifications order by id")
	if err != nil {
		h.t.Fatal(err)
	}
	for rows.Next() {
		var n remediate.Notification
		var text []byte
		if err := errors.Join(rows.Scan(&text), json.Unmarshal(text, &n)); err != nil {
			h.t.Error(err)
		}
		if n.Kind == kind {
			all = append(all, n)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		h.t.Error(err)
	}
	return all
}

// notes are the entries of a run that are no transitions; of run 0 those that
// concern no run.
func (h *harness) notes(run int64) (all []remediate.Note) {
	h.t.Helper()
	entries, err := h.journal.Entries(h.t.Context(), run)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Note != "" {
			all = append(all, e.Note)
		}
	}
	return all
}

func (h *harness) verify() {
	h.t.Helper()
	if _, err := h.journal.Verify(h.t.Context()); err != nil {
		h.t.Error(err)
	}
}
