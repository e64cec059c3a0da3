package inbox_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
)

// A world has problems, and three Alertmanagers that deliver them: each late,
// some twice, some never, and in any order.
type world struct {
	*rand.Rand
	begin    time.Time
	problems map[string][]problem
	events   []event
}

type problem struct{ start, end time.Time } // end is zero where it lasts

func (t problem) at(when time.Time) bool {
	return !when.Before(t.start) && (t.end.IsZero() || when.Before(t.end))
}

// An event is something that reaches the inbox.
type event struct {
	at    time.Time
	of    problem          // the subject of a delivery
	alert *remediate.Alert // a delivery
	list  *inbox.Listing   // or an answer
}

const (
	lag    = 20 * time.Second // of a peer behind the world
	absent = 5 * time.Minute
	span   = 2 * time.Hour

	// For a while no peer answers.
	outage    = 50 * time.Minute
	outageEnd = outage + 15*time.Minute
)

func (w *world) until(most time.Duration) time.Duration { return time.Duration(w.Int64N(int64(most))) }

func newWorld(seed uint64, begin time.Time) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), begin: begin, problems: make(map[string][]problem)}
	for n := range 4 {
		name := strconv.Itoa(n)
		for now := begin.Add(w.until(10 * time.Minute)); now.Before(begin.Add(span)); {
			t := problem{start: now, end: now.Add(time.Second + w.until(25*time.Minute))}
			if t.end.After(begin.Add(span)) {
				t.end = time.Time{}
			}
			w.problems[name] = append(w.problems[name], t)
			if t.end.IsZero() {
				break
			}
			w.tell(name, t)
			now = t.end.Add(w.until(15 * time.Minute))
		}
		for _, t := range w.problems[name] {
			if t.end.IsZero() {
				w.deliver(name, t, t.start.Add(w.until(lag)), true)
			}
		}
	}
	for asked := begin; asked.Before(begin.Add(span + 20*time.Minute)); asked = asked.Add(time.Minute) {
		w.list(asked)
	}
	slices.SortStableFunc(w.events, func(a, b event) int { return a.at.Compare(b.at) })
	return w
}

// tell lets each peer deliver the beginning, some times in between, and the end,
// unless the problem is silenced then.
func (w *world) tell(name string, t problem) {
	silenced := w.IntN(3) == 0
	for range 3 {
		w.deliver(name, t, t.start.Add(w.until(lag)), true)
		for range w.IntN(3) {
			w.deliver(name, t, t.start.Add(w.until(t.end.Sub(t.start))), true)
		}
		if !silenced {
			w.deliver(name, t, t.end.Add(w.until(lag)), false)
		}
	}
}

// deliver sends what a peer knows at a moment: lost, or soon, or late, or twice.
func (w *world) deliver(name string, t problem, known time.Time, firing bool) {
	a := w.alert(name, t, known, firing)
	for range []int{0, 1, 1, 1, 2}[w.IntN(5)] {
		delay := w.until(2 * time.Second)
		if w.IntN(4) == 0 {
			delay = w.until(8 * time.Minute)
		}
		w.events = append(w.events, event{at: known.Add(delay), of: t, alert: &a})
	}
}

// alert is what is known of a problem at a moment. Its start moves both ways.
func (w *world) alert(name string, t problem, known time.Time, firing bool) remediate.Alert {
	start := t.start
	if !t.end.IsZero() && w.IntN(3) == 0 && known.After(start) {
		start = start.Add(min(w.until(known.Sub(start)), t.end.Sub(start)))
	}
	a := remediate.Alert{Source: "alertmanager", Firing: firing, StartsAt: start,
		Labels: map[string]string{"alertname": "A", "n": name, "replica": strconv.Itoa(w.IntN(2))}}
	if !firing {
		a.EndsAt = t.end
	}
	return a
}

// list is what the peers answer; now and then one does not, and for a while none.
func (w *world) list(asked time.Time) {
	l := inbox.Listing{Source: "alertmanager", Asked: asked, Whole: true}
	down := asked.After(w.begin.Add(outage)) && asked.Before(w.begin.Add(outageEnd))
	for range 3 {
		if down || w.IntN(10) == 0 {
			l.Whole = false
			continue
		}
		sees := asked.Add(-w.until(lag))
		for _, name := range slices.Sorted(maps.Keys(w.problems)) {
			for _, t := range w.problems[name] {
				if t.at(sees) {
					l.Alerts = append(l.Alerts, w.alert(name, t, sees, true))
				}
			}
		}
	}
	w.events = append(w.events, event{at: asked.Add(w.until(5 * time.Second)), list: &l})
}

// delivered reports whether a problem was delivered as firing, at least four minutes before
// its end.
func (w *world) delivered(name string, t problem) bool {
	return slices.ContainsFunc(w.events, func(e event) bool {
		return e.alert != nil && e.alert.Firing && e.alert.Labels["n"] == name && e.of == t &&
			(t.end.IsZero() || e.at.Before(t.end.Add(-4*time.Minute)))
	})
}

// Whatever order three peers tell it in: an incident for each problem at most,
// never two at once, none that ends while its problem lasts, none that is missed
// though it was delivered, and in the end those are open that last.
func TestThreePeersInAnyOrder(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			d := openWith(t, store.Options{Memory: true})
			w := newWorld(seed, at(0))
			d.now = w.begin.Add(-time.Hour)
			d.Inbox = inbox.New(inbox.Config{Store: d.store, Now: func() time.Time { return d.now }})
			before := make(map[string]bool)
			known := make(map[string]problem) // the newest problem delivered to the inbox
			for _, e := range w.events {
				d.now = e.at
				w.happen(t, d, e)
				if e.alert != nil && e.alert.Firing && e.of.start.After(known[e.alert.Labels["n"]].start) {
					known[e.alert.Labels["n"]] = e.of
				}
				open := make(map[string]bool)
				for _, e := range d.open(t) {
					n := e.Alert.Labels["n"]
					if open[n] {
						t.Fatalf("at %s two incidents of %s are open", d.now, n)
					}
					open[n] = true
				}
				for n := range before {
					if known := known[n]; !open[n] && !known.start.IsZero() && known.at(d.now) {
						t.Fatalf("at %s the incident of %s ended, and its problem lasts from %s until %s", d.now, n,
							known.start, known.end)
					}
				}
				before = open
			}
			w.judge(t, d)
		})
	}
}

func (w *world) happen(t *testing.T, d *fixture, e event) {
	t.Helper()
	var err error
	if e.alert != nil {
		err = d.Accept(t.Context(), []remediate.Alert{*e.alert})
	} else {
		err = d.Reconcile(t.Context(), *e.list, absent)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) judge(t *testing.T, d *fixture) {
	t.Helper()
	incidents := make(map[string][]remediate.Incident)
	for id := int64(1); ; id++ {
		e, err := d.Incident(t.Context(), id)
		if err != nil {
			break // there are no more
		}
		incidents[e.Alert.Labels["n"]] = append(incidents[e.Alert.Labels["n"]], e)
	}
	for name, all := range w.problems {
		last := all[len(all)-1]
		got := slices.ContainsFunc(incidents[name], func(e remediate.Incident) bool { return e.Closed.IsZero() })
		if want := last.end.IsZero(); got != want && (got || w.delivered(name, last)) {
			t.Errorf("%s: open in the end: %t, want %t\n%s", name, got, want, story(all, incidents[name]))
		}
		for n, e := range incidents[name] {
			if n >= len(all) || all[n].start.After(e.Opened) {
				t.Errorf("%s: incident %d is one too many\n%s", name, e.ID, story(all, incidents[name]))
			}
		}
		for _, tr := range all {
			asked := tr.start.Before(w.begin.Add(outage-4*time.Minute)) ||
				tr.end.After(w.begin.Add(outageEnd+4*time.Minute))
			if tr.end.IsZero() || tr.end.Sub(tr.start) < 4*time.Minute || !asked || !w.delivered(name, tr) {
				continue // it may be too short to be found where its deliveries were late
			}
			if !slices.ContainsFunc(incidents[name], func(e remediate.Incident) bool {
				return e.Opened.Before(tr.end) && (e.Closed.IsZero() || e.Closed.After(tr.start))
			}) {
				t.Errorf("%s: missed the problem from %s to %s\n%s", name, tr.start, tr.end, story(all, incidents[name]))
			}
		}
	}
}

// story lays problems and incidents beside each other.
func story(problems []problem, incidents []remediate.Incident) (text string) {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, t := range problems {
		lines = append(lines, line{t.start, "problem until " + t.end.Format(time.TimeOnly)})
	}
	for _, e := range incidents {
		lines = append(lines, line{e.Opened, fmt.Sprintf("    incident %d until %s: %s", e.ID,
			e.Closed.Format(time.TimeOnly), cmp.Or(e.Why, "open"))})
	}
	slices.SortFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	for _, l := range lines {
		text += l.at.Format(time.TimeOnly) + " " + l.text + "\n"
	}
	return text
}
