package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

func moment(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04:05", text, zone(t, berlin))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func plan(t testing.TB, name, text string, missed schedule.Missed) schedule.Schedule {
	t.Helper()
	return schedule.Schedule{
		Name: name, Cron: cron(t, text), Zone: zone(t, berlin), Missed: missed,
		Action: "postgres/vacuum", Mode: remediate.Auto, Subject: map[string]string{"server": "main"},
		Request: func(map[string]string) (remediate.Request, bool) {
			return remediate.Request{Action: "postgres/vacuum", Mode: remediate.Auto,
				Subject: map[string]string{"server": "main"}}, true
		},
	}
}

// A fixture is a store, and a scheduler on it that can be started again.
type fixture struct {
	*schedule.Scheduler
	t       testing.TB
	store   *store.Store
	journal *journal.Journal
	query   func(context.Context, string, time.Time) ([]map[string]string, error)
	woken   int
}

// open opens a store and its journal.
func open(t testing.TB, o store.Options) *fixture {
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
	return &fixture{t: t, store: s, journal: journal.New(journal.Config{Store: s})}
}

func newBench(t testing.TB, schedules ...schedule.Schedule) *fixture {
	b := open(t, store.Options{Dir: t.TempDir()})
	b.restart(schedules...)
	return b
}

func (b *fixture) restart(schedules ...schedule.Schedule) {
	b.Scheduler = schedule.NewScheduler(schedule.Config{
		Store: b.store, Journal: b.journal, Wake: func() { b.woken++ }, Logger: slog.New(slog.DiscardHandler),
		Query: func(ctx context.Context, query string, at time.Time) ([]map[string]string, error) {
			return b.query(ctx, query, at)
		},
	}, schedules)
}

func (b *fixture) at(text string) {
	b.t.Helper()
	if _, err := b.Tick(b.t.Context(), moment(b.t, text)); err != nil {
		b.t.Fatal(err)
	}
}

// outcomes reports what became of all occurrences, the oldest first.
func (b *fixture) outcomes() (all []string) {
	b.t.Helper()
	last, err := b.Last(b.t.Context(), 10000)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, o := range slices.Backward(last) {
		all = append(all, fmt.Sprintf("%s %s %s %d", o.Schedule, o.At.Format("02 15:04"), o.Outcome, len(o.Runs)))
	}
	return all
}

func (b *fixture) want(want ...string) {
	b.t.Helper()
	if got := b.outcomes(); !slices.Equal(got, want) {
		b.t.Fatalf("%q\nwant %q", got, want)
	}
}

// texts reads one column of a table, in the order in which it was written.
func texts(t testing.TB, s *store.Store, column, table string) (all []string) {
	t.Helper()
	rows, err := s.Query(t.Context(), "select "+column+" from "+table+" order by 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	return all
}

// notes reports the entries that are no transitions of a run.
func (b *fixture) notes() (all string) {
	b.t.Helper()
	entries, err := b.journal.Entries(b.t.Context(), 0)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Note != remediate.NoteDecided {
			b.t.Errorf("entry %+v", e)
		}
		all += e.Why + "\n"
	}
	return all
}

func TestOccurrences(t *testing.T) {
	const late, skip = schedule.Late, schedule.Skip
	cases := map[string]struct {
		missed schedule.Missed
		do     func(*testing.T, *fixture)
		want   []string
	}{
		"at its time, once": {late, func(_ *testing.T, b *fixture) {
			b.at("2026-06-01 02:59:59")
			b.at("2026-06-01 03:00:00")
			b.at("2026-06-01 03:00:00")
			b.at("2026-06-01 12:00:00")
		}, []string{"a 01 03:00 run 1"}},
		"none of before it was first seen": {late, func(_ *testing.T, b *fixture) {
			b.at("2026-06-01 03:00:01")
		}, nil},
		"a restart is no miss": {skip, func(t *testing.T, b *fixture) {
			b.at("2026-06-01 02:00:00")
			b.restart(plan(t, "a", "0 3 * * *", schedule.Skip))
			b.at("2026-06-01 03:05:00")
		}, []string{"a 01 03:00 run 1"}},
		"missed: late": {late, func(t *testing.T, b *fixture) {
			b.at("2026-06-01 02:00:00")
			b.restart(plan(t, "a", "0 3 * * *", schedule.Late))
			b.at("2026-06-03 12:00:00")
			b.at("2026-06-04 03:00:00")
		}, []string{"a 01 03:00 skipped 0", "a 02 03:00 skipped 0", "a 03 03:00 late 1", "a 04 03:00 run 1"}},
		"missed: skipped": {skip, func(t *testing.T, b *fixture) {
			b.at("2026-06-01 02:00:00")
			b.restart(plan(t, "a", "0 3 * * *", schedule.Skip))
			b.at("2026-06-02 12:00:00")
			b.at("2026-06-03 03:00:00")
		}, []string{"a 01 03:00 skipped 0", "a 02 03:00 skipped 0", "a 03 03:00 run 1"}},
		"another expression replays nothing": {late, func(t *testing.T, b *fixture) {
			b.at("2026-06-01 04:00:00")
			b.restart(plan(t, "a", "0 * * * *", schedule.Late))
			b.at("2026-06-03 12:30:00")
			b.at("2026-06-03 13:00:00")
		}, []string{"a 03 13:00 run 1"}},
		"the same in other words is the same": {late, func(t *testing.T, b *fixture) {
			b.at("2026-06-01 01:00:00")
			b.restart(plan(t, "a", "00 3 1-31 JAN-DEC *", schedule.Late))
			b.at("2026-06-01 12:30:00")
		}, []string{"a 01 03:00 late 1"}},
		"one that was not asked for meanwhile replays nothing": {late, func(t *testing.T, b *fixture) {
			b.at("2026-06-01 01:00:00")
			b.restart()
			b.at("2026-06-01 02:00:00")
			b.restart(plan(t, "a", "0 3 * * *", schedule.Late))
			b.at("2026-06-09 12:30:00")
		}, nil},
		"replaced while it runs": {late, func(t *testing.T, b *fixture) {
			b.at("2026-06-01 01:00:00")
			b.Use([]schedule.Schedule{plan(t, "a", "0 2 * * *", schedule.Late),
				plan(t, "b", "30 2 * * *", schedule.Late)})
			b.at("2026-06-01 02:10:00") // both count from here
			b.at("2026-06-01 02:30:00")
			b.at("2026-06-02 02:00:00")
		}, []string{"b 01 02:30 run 1", "a 02 02:00 run 1"}},
		"the clock is put back: not again": {late, func(_ *testing.T, b *fixture) {
			b.at("2026-06-01 02:00:00")
			b.at("2026-06-01 03:00:00")
			b.at("2026-06-01 01:00:00")
			b.at("2026-06-01 03:00:00")
			b.at("2026-06-01 03:01:00")
		}, []string{"a 01 03:00 run 1"}},
		"the clock was days ahead: each when it comes": {late, func(_ *testing.T, b *fixture) {
			b.at("2026-06-01 02:00:00")
			b.at("2026-06-04 12:00:00") // three days too early
			b.at("2026-06-01 02:01:00")
			b.at("2026-06-01 03:00:10")
			b.at("2026-06-02 03:00:10")
			b.at("2026-06-04 03:00:10") // this one was run then
			b.at("2026-06-05 03:00:10")
		}, []string{"a 01 03:00 run 1", "a 02 03:00 run 1", "a 03 03:00 skipped 0", "a 04 03:00 late 1",
			"a 05 03:00 run 1"}},
		"the clock was ahead when it was first seen": {late, func(_ *testing.T, b *fixture) {
			b.at("2030-01-01 00:00:00")
			b.at("2026-06-01 02:00:00")
			b.at("2026-06-01 03:00:00")
		}, []string{"a 01 03:00 run 1"}},
		"the clock was ahead, and it was started again": {late, func(t *testing.T, b *fixture) {
			b.at("2030-01-01 00:00:00")
			b.restart(plan(t, "a", "0 3 * * *", schedule.Late))
			b.at("2026-06-01 02:00:00")
			b.at("2026-06-01 03:00:00")
		}, []string{"a 01 03:00 run 1"}},
	}
	both(t, func(t *testing.T, b *fixture) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				b.t, b.woken = t, 0
				b.empty()
				b.restart(plan(t, "a", "0 3 * * *", c.missed))
				c.do(t, b)
				b.want(c.want...)
				made := 0
				for _, line := range c.want {
					made += int(line[len(line)-1] - '0')
				}
				if runs := texts(t, b.store, "key", "runs"); len(runs) != made || b.woken != made {
					t.Errorf("runs %q, woken %d times", runs, b.woken)
				}
				if _, err := b.journal.Verify(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// both runs a test on each database.
func both(t *testing.T, test func(*testing.T, *fixture)) {
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, store.Options{Dir: t.TempDir()})) })
	t.Run("postgres", func(t *testing.T) {
		url, _ := servertest.Database(t)
		test(t, open(t, store.Options{Postgres: url}))
	})
}

// empty makes the store as good as new.
func (b *fixture) empty() {
	b.t.Helper()
	for _, table := range []string{"calendars", "occurrences", "entries", "runs"} {
		err := b.store.Write(b.t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("delete from " + table)
			return err
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestSkippedIsInTheJournal(t *testing.T) {
	b := newBench(t, plan(t, "nightly", "0 3 * * *", schedule.Late))
	b.at("2026-06-01 02:00:00")
	b.at("2026-06-03 12:00:00")
	want := `schedule "nightly": 2 occurrences from 2026-06-01 03:00 CEST to 2026-06-02 03:00 CEST are skipped: missed, and a newer one has come`
	if got := b.notes(); !strings.Contains(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// A schedule of each minute that was away for a year does not write half a million rows.
func TestAwayForAYear(t *testing.T) {
	b := newBench(t, plan(t, "often", "* * * * *", schedule.Late))
	b.at("2026-06-01 00:00:00")
	began := time.Now()
	b.at("2027-06-01 00:00:30")
	all := b.outcomes()
	if len(all) < 100 || len(all) > 202 || all[len(all)-1] != "often 01 00:00 run 1" {
		t.Errorf("%d rows, the last %q", len(all), all[len(all)-1])
	}
	want := "525599 occurrences from 2026-06-01 00:01 CEST to 2027-05-31 23:59 CEST are skipped"
	if got := b.notes(); !strings.Contains(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
	t.Logf("a year of minutes in %s", time.Since(began))
}

// What is old is forgotten, and no clock brings it back.
func TestForgotten(t *testing.T) {
	b := newBench(t, plan(t, "often", "* * * * *", schedule.Late))
	at := moment(t, "2026-06-01 00:00:00")
	for range 1010 {
		if _, err := b.Tick(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Minute)
	}
	if n := len(b.outcomes()); n != 1000 {
		t.Errorf("%d occurrences are kept", n)
	}
	b.restart(plan(t, "often", "* * * * *", schedule.Late))
	b.at("2026-06-01 00:05:00")
	b.at("2026-06-01 00:06:00")
	if n := len(texts(t, b.store, "key", "runs")); n != 1009 {
		t.Errorf("%d runs", n)
	}
}

func TestQuery(t *testing.T) {
	c := plan(t, "q", "0 3 * * *", schedule.Skip)
	c.Query = "bloat > 0.3"
	c.Request = func(labels map[string]string) (r remediate.Request, ok bool) {
		r.Subject = map[string]string{"server": "main", "table": labels["table"]}
		r.Terms.Windows = []string{"night"}
		return r, labels["server"] == "main"
	}
	b := newBench(t, c)
	b.query = func(_ context.Context, query string, at time.Time) ([]map[string]string, error) {
		if query != c.Query || !at.Equal(moment(t, "2026-06-01 03:00:02")) {
			t.Errorf("asked %q at %s", query, at)
		}
		return []map[string]string{
			{"server": "main", "table": "b", "job": "x"},
			{"server": "main", "table": "b", "job": "y"},            // the same
			{"server": "other", "table": "a"},                       // not the schedule's
			{"server": "main", "table": `a",server="x`, "job": "x"}, // hurts
		}, nil
	}
	b.at("2026-06-01 00:00:00")
	b.at("2026-06-01 03:00:02")
	b.want("q 01 03:00 run 2")
	want := []string{
		`schedule/q/2026-06-01T01:00:00Z/server="main",table="a\",server=\"x"`,
		`schedule/q/2026-06-01T01:00:00Z/server="main",table="b"`,
	}
	if got := texts(t, b.store, "key", "runs"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, text := range texts(t, b.store, "request", "runs") {
		for _, part := range []string{`"windows":["night"]`, `"schedule":"q"`, `"by":"schedule/q"`} {
			if !strings.Contains(text, part) {
				t.Errorf("no %s in %s", part, text)
			}
		}
	}
}

func TestQueryWithoutSubjects(t *testing.T) {
	c := plan(t, "q", "0 3 * * *", schedule.Skip)
	c.Query = "bloat > 0.3"
	b := newBench(t, c)
	b.query = func(context.Context, string, time.Time) ([]map[string]string, error) { return nil, nil }
	b.at("2026-06-01 00:00:00")
	b.at("2026-06-01 03:00:00")
	b.at("2026-06-01 03:01:00")
	b.want("q 01 03:00 run 0")
	if got := b.notes(); !strings.Contains(got, "its query returned no series") {
		t.Error(got)
	}
}

// A query that cannot be asked is asked again while that makes sense, and keeps no
// other schedule waiting.
func TestQueryFails(t *testing.T) {
	skip, late := plan(t, "skip", "0 3 * * *", schedule.Skip), plan(t, "late", "0 3 * * *", schedule.Late)
	skip.Query, late.Query = "bloat", "bloat"
	b := newBench(t, skip, late, plan(t, "plain", "0 3 * * *", schedule.Skip))
	var answer []map[string]string
	fault := errors.New("connection refused")
	b.query = func(context.Context, string, time.Time) ([]map[string]string, error) { return answer, fault }
	b.at("2026-06-01 00:00:00")
	_, err := b.Tick(t.Context(), moment(t, "2026-06-01 03:00:00"))
	if err == nil || !strings.Contains(err.Error(), "schedule skip: its query: connection refused\nschedule late: "+
		"its query") {
		t.Errorf("error %v", err)
	}
	b.at("2026-06-01 03:00:15") // the same error is not logged again
	b.want("plain 01 03:00 run 1")
	b.at("2026-06-01 03:05:01")
	b.want("skip 01 03:00 skipped 0", "plain 01 03:00 run 1")
	if got := b.notes(); !strings.Contains(got, "missed: its query: connection refused") {
		t.Error(got)
	}
	answer, fault = []map[string]string{{}}, nil
	b.at("2026-06-01 05:00:00")
	b.want("skip 01 03:00 skipped 0", "plain 01 03:00 run 1", "late 01 03:00 late 1")

	answer = slices.Repeat(answer, 1001)
	for i := range answer {
		answer[i] = map[string]string{"table": fmt.Sprint(i)}
	}
	late.Request = func(labels map[string]string) (remediate.Request, bool) {
		return remediate.Request{Subject: labels}, true
	}
	b.restart(late)
	if _, err := b.Tick(t.Context(), moment(t, "2026-06-02 03:00:00")); err == nil ||
		!strings.Contains(err.Error(), "1001 subjects, more than the maximum of 1000") {
		t.Errorf("error %v", err)
	}
}

func TestComing(t *testing.T) {
	b := newBench(t, plan(t, "daily", "0 3 * * *", schedule.Late), plan(t, "first", "0 1 * * SUN#1", schedule.Late))
	b.Now = func() time.Time { return moment(t, "2026-06-05 12:00:00") }
	var got []string
	for _, c := range b.Coming(4) {
		got = append(got, c.Schedule+" "+c.At.Format("02 15:04 MST")+" "+c.Zone+" "+c.Cron)
	}
	want := []string{
		"daily 06 03:00 CEST Europe/Berlin 0 3 * * *", "first 07 01:00 CEST Europe/Berlin 0 1 * * SUN#1",
		"daily 07 03:00 CEST Europe/Berlin 0 3 * * *", "daily 08 03:00 CEST Europe/Berlin 0 3 * * *",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if n := len(b.Coming(1000)); n != 1000 {
		t.Errorf("%d", n)
	}
}

func TestLast(t *testing.T) {
	b := newBench(t, plan(t, "gone", "0 3 * * *", schedule.Late))
	b.at("2026-06-01 00:00:00")
	b.at("2026-06-01 03:00:00")
	b.restart(plan(t, "new", "0 4 * * *", schedule.Late))
	b.at("2026-06-01 03:30:00")
	b.at("2026-06-01 04:00:00")
	b.want("gone 01 01:00 run 1", "new 01 04:00 run 1") // the zone of the first is unknown
	if last, err := b.Last(t.Context(), 1); err != nil || len(last) != 1 || last[0].Schedule != "new" {
		t.Errorf("%v %v", last, err)
	}
}

// Run wakes up at the time of the next occurrence and ends with its context.
func TestRun(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	begin := moment(t, "2026-06-01 02:59:59").Add(500 * time.Millisecond)
	b.Now = func() time.Time { return begin.Add(time.Since(start)) }
	made := make(chan time.Time, 10)
	b.Wake = func() { made <- b.Now() }
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	b.Use([]schedule.Schedule{plan(t, "a", "0 3 * * *", schedule.Late)}) // noticed while it sleeps
	select {
	case at := <-made:
		if late := at.Sub(moment(t, "2026-06-01 03:00:00")); late < 0 || late > time.Minute {
			t.Errorf("made %s after its time", late)
		}
	case <-time.After(5 * time.Minute):
		t.Error("nothing was made")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if keys := maps.Collect(slices.All(texts(t, b.store, "key", "runs"))); len(keys) != 1 {
		t.Errorf("%v", keys)
	}
}

// A query that is not answered is a metric from its first try on, until one is answered
// or the query is another; before, the metrics are there and zero.
func TestQueryThatFailsIsAMetric(t *testing.T) {
	c := plan(t, "s", "0 3 * * *", schedule.Late)
	c.Query = "q"
	b := newBench(t, c)
	read := func() (failing, failures float64) {
		t.Helper()
		r := prometheus.NewRegistry()
		r.MustRegister(b.Scheduler)
		families, err := r.Gather()
		if err != nil || len(families) != 2 {
			t.Fatalf("%v %v", families, err)
		}
		return families[0].GetMetric()[0].GetGauge().GetValue(), families[1].GetMetric()[0].GetCounter().GetValue()
	}
	want := func(failing, failures float64) {
		t.Helper()
		if gotFailing, gotFailures := read(); gotFailing != failing || gotFailures != failures {
			t.Errorf("failing %v, failures %v; want %v, %v", gotFailing, gotFailures, failing, failures)
		}
	}
	b.query = func(context.Context, string, time.Time) ([]map[string]string, error) { return nil, errors.New("away") }
	b.at("2026-03-01 02:00:00")
	want(0, 0)
	if _, err := b.Tick(t.Context(), moment(t, "2026-03-01 03:00:00")); err == nil {
		t.Error("a query that is not answered is no error")
	}
	want(1, 1)
	b.at("2026-03-01 03:01:00")
	want(1, 2)
	b.Use([]schedule.Schedule{c})
	want(1, 2)
	other := c
	other.Query = "r"
	b.Use([]schedule.Schedule{other})
	want(0, 2)
	b.at("2026-03-01 03:02:00")
	want(1, 3)
	b.query = func(context.Context, string, time.Time) ([]map[string]string, error) { return nil, nil }
	b.at("2026-03-01 03:03:00")
	want(0, 3)
}
