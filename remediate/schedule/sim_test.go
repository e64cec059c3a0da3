package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// A world is years of schedules on one store, kept by replicas that are restarted,
// that are away for days, whose clocks jump and whose commits break.
type world struct {
	t         *testing.T
	r         *rand.Rand
	b         *fixture
	schedules []schedule.Schedule
	replicas  [2]replica
	begin     time.Time
	now       time.Time // the true time

	became map[string]schedule.Outcome // "NAME UNIX" → what became of it
	sure   map[string]bool             // somebody was there at its time, with the right time
	counts map[string]int
}

// A replica is one process.
type replica struct {
	*schedule.Scheduler
	ahead  time.Duration // of the true time
	right  time.Time     // when its clock is put right
	asleep time.Time     // until then it is down
	broken int           // what its next commits come to: 1 nothing is kept, 2 kept and not known
}

var errCrash = errors.New("crash")

func newWorld(t *testing.T, seed uint64, schedules []schedule.Schedule) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 5)), b: open(t, store.Options{Memory: true}), schedules: schedules,
		begin:  moment(t, "2026-01-01 00:00:00"),
		became: make(map[string]schedule.Outcome), sure: make(map[string]bool), counts: make(map[string]int),
	}
	w.now = w.begin
	w.b.restart(schedules...) // to read with
	for i := range w.replicas {
		w.restart(&w.replicas[i])
	}
	w.look(&w.replicas[0])
	return w
}

func (w *world) restart(p *replica) {
	p.Scheduler = schedule.NewScheduler(schedule.Config{Store: w.b.store, Journal: w.b.journal,
		Logger: slog.New(slog.DiscardHandler)}, w.schedules)
	w.counts["restarts"]++
}

func (w *world) oneIn(n int) bool { return w.r.IntN(n) == 0 }

func (w *world) upTo(longest time.Duration) time.Duration {
	return time.Duration(w.r.Int64N(int64(longest)))
}

// fate lets something happen to a replica.
func (w *world) fate(p *replica) {
	if w.now.After(p.right) {
		p.ahead = 0
	}
	if w.oneIn(20) {
		w.restart(p)
	}
	if w.oneIn(150) {
		p.asleep = w.now.Add(w.upTo(3 * 24 * time.Hour))
		w.counts["outages"]++
	}
	if w.oneIn(150) {
		p.ahead, p.right = w.upTo(4*24*time.Hour)-2*24*time.Hour, w.now.Add(w.upTo(2*24*time.Hour))
		w.counts["jumps"]++
	}
	if w.oneIn(20) {
		p.broken = 1 + w.r.IntN(2)
	}
}

// step goes to about when the next occurrence comes, and lets everybody look.
func (w *world) step() {
	next := w.now.Add(24 * time.Hour)
	for _, c := range w.schedules {
		if at := c.Cron.Next(w.now, c.Zone); at.Before(next) {
			next = at
		}
	}
	if w.oneIn(10) {
		next = w.now.Add(w.upTo(next.Sub(w.now)))
	} else {
		next = next.Add(w.upTo(20 * time.Second))
	}
	w.now = next
	if w.oneIn(400) {
		for i := range w.replicas { // all at once
			w.replicas[i].asleep = w.now.Add(w.upTo(3 * 24 * time.Hour))
		}
	}
	for _, i := range w.r.Perm(len(w.replicas)) {
		p := &w.replicas[i]
		if w.fate(p); !p.asleep.After(w.now) {
			w.look(p)
		}
	}
}

// look is one Tick. A replica whose commit broke is started again and looks again.
func (w *world) look(p *replica) {
	for {
		at := w.now.Add(p.ahead)
		w.b.store.Intercept(func(before bool) error {
			if p.broken == 1 && before || p.broken == 2 && !before {
				p.broken = 0
				w.counts["crashes"]++
				return errCrash
			}
			return nil
		})
		_, err := p.Tick(w.t.Context(), at)
		if err == nil {
			break
		}
		if !errors.Is(err, errCrash) {
			w.t.Fatal(err)
		}
		w.restart(p)
		w.now = w.now.Add(w.upTo(20 * time.Second))
	}
	if p.ahead != 0 {
		return
	}
	for _, c := range w.schedules {
		if at := c.Cron.Next(w.now.Add(-4*time.Minute), c.Zone); at.After(w.begin) && !at.After(w.now) {
			w.sure[key(c.Name, at)] = true
		}
	}
}

func key(name string, at time.Time) string { return fmt.Sprintf("%s %d", name, at.Unix()) }

// read takes what the store holds. What has run stays so, whatever the clocks do.
func (w *world) read() {
	w.t.Helper()
	last, err := w.b.Last(w.t.Context(), 100000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range last {
		k := key(o.Schedule, o.At)
		if was := w.became[k]; was != "" && was != o.Outcome && was != schedule.Skipped {
			w.t.Fatalf("%s at %s was %s and is %s", o.Schedule, o.At, was, o.Outcome)
		}
		if w.became[k] = o.Outcome; (o.Outcome == schedule.Skipped) != (len(o.Runs) == 0) {
			w.t.Fatalf("%+v", o)
		}
	}
}

// judge compares all that was with what the expressions say.
func (w *world) judge() {
	w.read()
	runs := make(map[string]int)
	for _, k := range texts(w.t, w.b.store, "key", "runs") {
		parts := strings.Split(k, "/") // schedule/NAME/TIME/SUBJECT
		at, err := time.Parse(time.RFC3339, parts[2])
		if err != nil {
			w.t.Fatal(err)
		}
		runs[key(parts[1], at)]++
	}
	made := 0
	for _, c := range w.schedules {
		// What a clock that was ahead has written lies behind the end, too.
		for at := c.Cron.Next(w.begin.AddDate(0, 0, -3),
			c.Zone); at.Before(w.now.AddDate(0, 0, 3)); at = c.Cron.Next(at, c.Zone) {
			k := key(c.Name, at)
			outcome, known := w.became[k]
			inside := at.After(w.begin) && at.Before(w.now.Add(-4*24*time.Hour))
			switch {
			case !known && inside:
				w.t.Errorf("%s at %s was missed", c.Name, at)
			case w.sure[k] && runs[k] != 1:
				w.t.Errorf("%s at %s: somebody was there, and it was %s with %d runs", c.Name, at, outcome, runs[k])
			case known && outcome == schedule.Skipped && runs[k] != 0, known && outcome != schedule.Skipped &&
				runs[k] != 1:
				w.t.Errorf("%s at %s was %s with %d runs", c.Name, at, outcome, runs[k])
			}
			w.counts[string(outcome)]++
			made += runs[k]
			delete(w.became, k)
		}
	}
	total := 0
	for _, n := range runs {
		total += n
	}
	if len(w.became) > 0 || total != made {
		w.t.Errorf("%d occurrences and %d runs at times that no expression has", len(w.became), total-made)
	}
	if _, err := w.b.journal.Verify(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	if w.counts["run"] == 0 || w.counts["late"] == 0 || w.counts["skipped"] == 0 || w.counts["crashes"] == 0 {
		w.t.Errorf("too little has happened: %v", w.counts)
	}
	w.t.Logf("%d sure to run, %v", len(w.sure), w.counts)
}

// Ten years of the manual's schedules, with twenty changes of the clock, and months
// of one that comes every half hour: none is missed and none is doubled.
func TestYearsOfReplicas(t *testing.T) {
	decade := []schedule.Schedule{
		plan(t, "daily", "0 3 * * *", schedule.Late), plan(t, "weekly", "0 2 * * SUN", schedule.Late),
		plan(t, "monthly", "0 1 * * SUN#1", schedule.Late),
		plan(t, "jumped-over", "30 2 * * *", schedule.Skip), plan(t, "yearly", "0 12 29 2 *", schedule.Late),
	}
	often := []schedule.Schedule{plan(t, "often", "*/30 * * * *", schedule.Late),
		plan(t, "hourly", "15 * * * *", schedule.Skip), plan(t, "daily", "0 3 * * *", schedule.Skip)}
	for name, c := range map[string]struct {
		schedules []schedule.Schedule
		end       string
	}{
		"ten years":                {decade, "2036-01-01 00:00:00"},
		"ten months of half hours": {often, "2026-11-15 00:00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, c.schedules)
			end := moment(t, c.end)
			for n := 0; w.now.Before(end); n++ {
				if w.step(); n%200 == 0 {
					w.read()
				}
			}
			w.judge()
		})
	}
}

// Two processes on one PostgreSQL, both at once: one run each time.
func TestTwoAtOnce(t *testing.T) {
	url, _ := servertest.Database(t)
	c := plan(t, "often", "* * * * *", schedule.Late)
	var both [2]*fixture
	for i := range both {
		both[i] = open(t, store.Options{Postgres: url})
		both[i].journal = journal.New(journal.Config{Store: both[i].store, Shared: true, Name: fmt.Sprint(i)})
		both[i].restart(c)
	}
	begin := moment(t, "2026-06-01 00:00:00")
	const minutes = 60
	for n := range minutes + 1 {
		var wg sync.WaitGroup
		for _, b := range both {
			wg.Go(func() {
				if _, err := b.Tick(context.WithoutCancel(t.Context()),
					begin.Add(time.Duration(n)*time.Minute)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if runs := texts(t, both[0].store, "key", "runs"); len(runs) != minutes {
		t.Errorf("%d runs of %d occurrences", len(runs), minutes)
	}
	if woken := both[0].woken + both[1].woken; woken != minutes {
		t.Errorf("woken %d times", woken)
	}
	t.Logf("one was first %d times, the other %d times", both[0].woken, both[1].woken)
}
