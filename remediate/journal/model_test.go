package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// Whatever three processes do in whatever order, a run has one owner, a fence that only
// grows, no state but by a transition, and an entry for each thing that was allowed.
func TestJournalIsItsModel(t *testing.T) {
	both(t, func(t *testing.T, open func() *fixture) {
		d := open()
		seeds, steps := 6, 300
		if d.store.Shared() {
			seeds, steps = 1, 200
		}
		for seed := range seeds {
			m := newModel(t, d, uint64(seed))
			for range steps {
				m.step()
			}
			m.verify()
			if !d.store.Shared() {
				d = openStore(t, store.Options{Memory: true})
			}
		}
	})
}

// A modelRun is what the model knows of a run.
type modelRun struct {
	run    remediate.Run
	owner  int // index of the process and 1; 0 for none
	token  int64
	cancel string
}

// A model is what a journal must be, in maps.
type model struct {
	*fixture
	t       *testing.T
	random  *rand.Rand
	seed    uint64
	what    string // is being done
	all     []*journal.Journal
	expires []time.Time // of each process; zero once it was buried
	judges  []time.Time // before which it buries no other
	fences  []remediate.Fence
	of      []int // the process and 1 that a fence was given to
	on      []int64
	runs    map[int64]*modelRun
	keys    map[string]int64
	entries int64
	last    int64 // token
}

func newModel(t *testing.T, d *fixture, seed uint64) *model {
	m := &model{fixture: d, t: t, random: rand.New(rand.NewPCG(seed, 7)), seed: seed, runs: make(map[int64]*modelRun),
		keys: make(map[string]int64)}
	for _, name := range []string{"a", "b", "c"} {
		j := journal.New(journal.Config{Store: d.store, Name: name, Lease: time.Hour, Shared: true,
			Now: func() time.Time { return d.now }})
		if err := j.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.all, m.expires, m.judges = append(m.all, j), append(m.expires, m.leases().Add(time.Hour)),
			append(m.judges, time.Time{})
	}
	if err := d.Leave(t.Context()); err != nil { // the fixture's own takes no part
		t.Fatal(err)
	}
	return m
}

func (m *model) failed(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d, %s: %s", m.seed, m.what, fmt.Sprintf(format, args...))
}

func (m *model) step() {
	m.what = ""
	switch n := m.random.IntN(100); {
	case n < 12:
		m.create()
	case n < 32:
		m.claim()
	case n < 70:
		m.append()
	case n < 76:
		m.release()
	case n < 82:
		m.stop()
	case n < 90:
		m.beat()
	default:
		by := time.Duration(1+m.random.IntN(25)) * time.Minute
		if m.store.Shared() {
			by = 40 * time.Minute // however long the test takes, no lease is just about to end
		}
		m.passes(m.t, by)
		if m.store.Shared() { // the server's clock cannot be moved
			for i := range m.expires {
				if !m.expires[i].IsZero() {
					m.expires[i] = m.expires[i].Add(-by)
				}
			}
		}
	}
	m.held()
}

// leases is the time by the clock of leases.
func (m *model) leases() time.Time {
	if m.store.Shared() {
		return time.UnixMilli(1_700_000_000_000).UTC()
	}
	return m.now
}

func (m *model) create() {
	key := fmt.Sprint(m.random.IntN(40))
	m.what = "create " + key
	run, made, err := m.all[m.random.IntN(3)].Create(m.t.Context(), remediate.Request{Key: key, Action: "a/b",
		Subject: map[string]string{"server": key}}, "why")
	id, known := m.keys[key]
	if err != nil || made == known || known && run.ID != id {
		m.failed("%v %v, it is run %d, known %v as %d", made, err, run.ID, known, id)
	}
	if made {
		m.entries++
		m.keys[key], m.runs[run.ID] = run.ID, &modelRun{run: run}
	}
}

// any returns a run, or nil when no run exists.
func (m *model) any() *modelRun {
	if len(m.runs) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(m.runs))
	return m.runs[ids[m.random.IntN(len(ids))]]
}

func (m *model) claim() {
	r, i := m.any(), m.random.IntN(3)
	if r == nil {
		return
	}
	m.what = fmt.Sprintf("%d claims %d", i, r.run.ID)
	got, f, ok, err := m.all[i].Claim(m.t.Context(), r.run.ID)
	want := r.owner == 0 && !r.run.State.Ended() && !m.expires[i].IsZero()
	if err != nil || ok != want {
		m.failed("%v %v, want %v: %s of %d", ok, err, want, r.run.State, r.owner)
	}
	if !ok {
		return
	}
	if f.Token <= m.last || got.State != r.run.State || got.Cancel != r.cancel {
		m.failed("token %d after %d, the run is %s (%s), cancelled %q, want %q", f.Token, m.last, got.State, got.Why,
			got.Cancel, r.cancel)
	}
	r.owner, r.token, m.last, r.run = i+1, f.Token, f.Token, got
	m.fences, m.of, m.on = append(m.fences, f), append(m.of, i+1), append(m.on, r.run.ID)
}

func (m *model) append() {
	r, i := m.any(), m.random.IntN(3)
	if r == nil {
		return
	}
	if r.owner > 0 && m.random.IntN(4) > 0 { // mostly by who may
		i = r.owner - 1
	}
	token := r.token - int64(m.random.IntN(5)/4)
	states := remediate.States()
	to := states[m.random.IntN(len(states))]
	if next := remediate.Transitions()[r.run.State]; len(next) > 0 && m.random.IntN(4) > 0 {
		to = next[m.random.IntN(len(next))]
	}
	m.what = fmt.Sprintf("%d appends %s to %d", i, to, r.run.ID)
	leave := m.random.IntN(3) == 0
	next := r.run
	next.State, next.Due = to, m.now
	err := m.all[i].Append(m.t.Context(), journal.Change{Run: next, Fence: token, Leave: leave,
		Entry: remediate.Entry{Run: r.run.ID, At: m.now, From: r.run.State, To: to}})
	valid := to == r.run.State || slices.Contains(remediate.Transitions()[r.run.State], to)
	mine := r.owner == i+1 && token == r.token
	switch {
	case valid && !mine:
		if !errors.Is(err, remediate.ErrFenced) {
			m.failed("%v, want that the fence has passed on", err)
		}
	case (err == nil) != valid:
		m.failed("%v, valid is %v", err, valid)
	case valid:
		m.entries++
		r.run = next
		if leave || to.Ended() {
			r.owner = 0
		}
	}
}

func (m *model) release() {
	r, i := m.any(), m.random.IntN(3)
	if r == nil {
		return
	}
	m.what = fmt.Sprintf("%d releases %d", i, r.run.ID)
	if err := m.all[i].Release(m.t.Context(), r.run.ID, r.token); err != nil {
		m.failed("%v", err)
	}
	if r.owner == i+1 {
		r.owner = 0
	}
}

func (m *model) stop() {
	r := m.any()
	if r == nil {
		return
	}
	m.what = fmt.Sprintf("cancel %d", r.run.ID)
	err := m.all[0].Cancel(m.t.Context(), r.run.ID, "ann", m.what)
	_, late := errors.AsType[*journal.StaleError](err)
	switch {
	case r.run.State.Ended() || r.run.State == remediate.Applied:
		if !late {
			m.failed("%v, want that it is too late for %s", err, r.run.State)
		}
	case err != nil:
		m.failed("%v", err)
	case r.cancel == "":
		r.cancel = "ann: " + m.what
		m.entries++
	}
}

func (m *model) beat() {
	i := m.random.IntN(3)
	m.what = fmt.Sprintf("%d beats", i)
	mine, err := m.all[i].Beat(m.t.Context())
	if m.expires[i].IsZero() {
		if !errors.Is(err, remediate.ErrFenced) {
			m.failed("%v, want that it was found dead", err)
		}
		if err := m.all[i].Join(m.t.Context()); err != nil {
			m.failed("join: %v", err)
		}
		m.expires[i] = m.leases().Add(time.Hour)
		return
	}
	now := m.leases()
	if m.expires[i].Before(now) {
		m.judges[i] = now.Add(time.Hour)
	}
	m.expires[i] = now.Add(time.Hour)
	for k := range m.expires {
		if k != i && !m.expires[k].IsZero() && m.expires[k].Before(now) && !now.Before(m.judges[i]) {
			m.expires[k] = time.Time{}
			m.lost(k + 1)
		}
	}
	var want []int64
	for id, r := range m.runs {
		if r.owner == i+1 {
			want = append(want, id)
		}
	}
	var got []int64
	for _, c := range mine {
		got = append(got, c.Run)
	}
	slices.Sort(want)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		m.failed("it carries %v (%v), want %v", got, err, want)
	}
}

// lost frees what a process carried that was found dead: an entry says so.
func (m *model) lost(owner int) {
	for _, r := range m.runs {
		if r.owner == owner {
			r.owner = 0
			m.entries++
		}
	}
}

// held compares one fence that was given with who has the right now.
func (m *model) held() {
	if len(m.fences) == 0 {
		return
	}
	n := max(0, len(m.fences)-1-m.random.IntN(4))
	f, r, i := m.fences[n], m.runs[m.on[n]], m.of[n]
	want := r.owner == i && r.token == f.Token && m.expires[i-1].After(m.leases())
	if err := f.Held(m.t.Context()); (err == nil) != want || err != nil && !errors.Is(err, remediate.ErrFenced) {
		m.failed("fence %d of run %d: %v, want that it is held: %v", f.Token, r.run.ID, err, want)
	}
}

// verify compares what is stored with the model, and the chain with itself.
func (m *model) verify() {
	m.what = "at the end"
	for id, r := range m.runs {
		got, err := m.Get(m.t.Context(), id)
		if err != nil || got.State != r.run.State || got.Cancel != r.cancel {
			m.failed("run %d is %s, cancelled %q (%v), want %s, %q", id, got.State, got.Cancel, err, r.run.State,
				r.cancel)
		}
	}
	if n, err := m.Verify(m.t.Context()); err != nil || n.Entries != m.entries {
		m.failed("Verify: %+v %v, want %d", n, err, m.entries)
	}
}
