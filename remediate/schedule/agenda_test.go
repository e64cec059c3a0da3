package schedule_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/remediate/journal"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

func named(t *testing.T, name, cron, zone string) (c schedule.Schedule) {
	t.Helper()
	var err error
	if c.Cron, err = schedule.ParseCron(cron); err == nil {
		c.Zone, err = schedule.Zone(zone)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Name, c.Missed = name, schedule.Skip
	return c
}

// An agenda has the times of the days on which clocks are put forward and back as the clocks show them: each once.
func TestAgendaAcrossChangesOfTheClock(t *testing.T) {
	const form = "01-02 15:04 MST"
	for _, c := range []struct {
		zone, cron, from string
		want             []string
	}{
		{"Europe/Berlin", "30 2 * * *", "2026-10-23T12:00:00Z",
			[]string{"10-24 02:30 CEST", "10-25 02:30 CEST", "10-26 02:30 CET"}},
		{"Europe/Berlin", "30 2 * * *", "2027-03-26T12:00:00Z",
			[]string{"03-27 02:30 CET", "03-28 03:00 CEST", "03-29 02:30 CEST"}},
		{"America/New_York", "30 1 * * *", "2026-10-30T12:00:00Z",
			[]string{"10-31 01:30 EDT", "11-01 01:30 EDT", "11-02 01:30 EST"}},
		{"America/New_York", "30 2 * * *", "2027-03-12T12:00:00Z",
			[]string{"03-13 02:30 EST", "03-14 03:00 EDT", "03-15 02:30 EDT"}},
	} {
		s := schedule.NewScheduler(schedule.Config{}, []schedule.Schedule{named(t, "s", c.cron, c.zone)})
		from, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range s.Agenda(from, from.Add(72*time.Hour), 10).Coming {
			got = append(got, o.At.Format(form))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s in %s: %v, want %v", c.cron, c.zone, got, c.want)
		}
	}
}

// An agenda lists those of one moment together, says where it ends, and goes on there; what comes often is one line.
func TestAgendaIsBounded(t *testing.T) {
	const utc = "UTC"
	s := schedule.NewScheduler(schedule.Config{}, []schedule.Schedule{named(t, "a", "0 3 * * *", utc),
		named(t, "b", "0 3 * * *", utc), named(t, "c", "0 */6 * * *", utc), named(t, "minute", "* * * * *", utc),
		named(t, "five", "2-59/5 * * * *", utc), named(t, "uneven", "0,20 * * * *", utc),
		named(t, "hour", "7 * * * *", utc), named(t, "day", "*/10 8-17 * * MON-FRI", utc)})
	from := time.Date(2026, 11, 30, 2, 0, 0, 0, time.UTC)
	a := s.Agenda(from, from.AddDate(0, 0, 30), 50)
	var often []string
	for _, f := range a.Often {
		often = append(often, fmt.Sprintf("%s %d %s", f.Schedule, f.PerDay, f.Every))
	}
	want := []string{"minute 1440 1m0s", "five 288 5m0s", "uneven 48 0s", "hour 24 1h0m0s", "day 60 0s"}
	if !slices.Equal(often, want) {
		t.Errorf("often: %v, want %v", often, want)
	}
	seen := make(map[string]bool)
	parts := 0
	for at := from; !at.IsZero(); parts++ {
		part := s.Agenda(at, from.AddDate(0, 0, 30), 50)
		if len(part.Coming) > 50 || len(part.Coming) == 0 {
			t.Fatalf("a part of %d", len(part.Coming))
		}
		for n, o := range part.Coming {
			key := o.Schedule + " " + o.At.String()
			if seen[key] || n > 0 && o.At.Before(part.Coming[n-1].At) {
				t.Errorf("twice, or not in order: %s", key)
			}
			seen[key] = true
		}
		at = part.More
	}
	if len(seen) != 2*30+4*30 || parts != 4 {
		t.Errorf("%d occurrences in %d parts, want 180 in 4", len(seen), parts)
	}
	if part := s.Agenda(from, from.AddDate(0, 0, 2), 1); len(part.Coming) != 1 || part.Coming[0].Schedule != "a" {
		t.Errorf("more at one moment than there is room for: %+v", part.Coming)
	}
}

// A window opens as its clock shows it, and is open already at the beginning.
func TestWindowSpans(t *testing.T) {
	w := window(t, schedule.Spec{Times: times("01:00", "03:30"), Location: berlin})
	from := time.Date(2026, 10, 23, 23, 30, 0, 0, time.UTC) // 01:30 there
	var got []string
	for _, s := range w.Spans(from, from.AddDate(0, 0, 3), 10) {
		got = append(got, fmt.Sprintf("%s for %s", s.From.In(w.Zone()).Format("02 15:04 MST"), s.To.Sub(s.From)))
	}
	want := []string{"24 01:30 CEST for 2h0m0s", "25 01:00 CEST for 3h30m0s", "26 01:00 CET for 2h30m0s"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if all := w.Spans(from, from.AddDate(1, 0, 0), 5); len(all) != 5 {
		t.Errorf("%d spans", len(all))
	}
	always := window(t, schedule.Spec{Times: times("00:00", "24:00")})
	if all := always.Spans(from, from.AddDate(0, 0, 3), 5); len(all) != 1 || !all[0].To.IsZero() {
		t.Errorf("always open: %+v", all)
	}
	if zone := (schedule.Window{}).Zone(); zone != time.UTC {
		t.Error(zone)
	}
}

// The last occurrences of a schedule are read by the primary key, however many there are.
func TestKeepings(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	now := time.Date(2026, 11, 30, 2, 30, 0, 0, time.UTC)
	keeper := schedule.NewScheduler(schedule.Config{Store: s, Journal: journal.New(journal.Config{Store: s}),
		Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)},
		[]schedule.Schedule{named(t, "a", "0 3 * * *", berlin), named(t, "b", "0 4 * * *", "UTC"), named(t, "c", "0 4 * * *", "UTC")})
	for range 3 {
		if _, err := keeper.Tick(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		now = now.AddDate(0, 0, 1)
	}
	all, err := keeper.Keepings(t.Context(), 2, 1)
	if err != nil || len(all) != 2 || keeper.Count() != 3 || len(all[0].Last) != 1 || len(all[1].Last) != 1 {
		t.Fatalf("%+v %v", all, err)
	}
	if a := all[0]; a.Last[0].At.Format(time.RFC3339) != "2026-12-02T03:00:00+01:00" ||
		a.At.Format(time.RFC3339) != "2026-12-04T03:00:00+01:00" || a.Last[0].Outcome != schedule.Skipped {
		t.Errorf("%+v", a)
	}
	rows, err := s.Query(t.Context(), "explain query plan select runs from occurrences "+schedule.OfSchedule, "a", 1)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for rows.Next() {
		var id, parent, unused int64
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	if plan := strings.Join(steps, "\n"); !strings.Contains(plan, "INDEX sqlite_autoindex_occurrences_1 (schedule=?") ||
		strings.Contains(plan, "TEMP B-TREE") {
		t.Errorf("the primary key is not chosen: %s", plan)
	}
}
