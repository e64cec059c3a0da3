package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

// schedules are one for each kind of entry of the calendar; one of them has a hostile name.
func schedules(t *testing.T) (all []schedule.Schedule) {
	t.Helper()
	for _, s := range [][]string{{"nightly", "30 2 * * *", "Europe/Berlin"}, {"early", "30 1 * * *", "America/New_York"},
		{"watch", "* * * * *", "UTC"}, {"often", "0 */6 * * *", "UTC"}, {hostile, "0 12 1 * *", "UTC"}} {
		one := schedule.Schedule{Name: s[0], Missed: schedule.Late, Action: "bed/reindex", Mode: remediate.Auto,
			Subject: map[string]string{"server": "cache", "table": s[0]},
			Request: func(map[string]string) (remediate.Request, bool) {
				return remediate.Request{Action: "bed/reindex", Subject: map[string]string{"server": "cache", "table": s[0]},
					Mode: remediate.Observe}, true
			}}
		var err error
		if one.Cron, err = schedule.ParseCron(s[1]); err == nil {
			one.Zone, err = schedule.Zone(s[2])
		}
		if err != nil {
			t.Fatal(err)
		}
		switch s[0] {
		case "nightly":
			one.Windows = []string{"night"}
		case "early":
			one.Subject, one.Query, one.Mode = map[string]string{"server": "main"}, "upkeep_up{job=\"<b>\"}", remediate.Ask
		case hostile:
			one.Windows = []string{"night"}
		}
		all = append(all, one)
	}
	return all
}

// night is a window of each night.
func night(t *testing.T) schedule.Window {
	t.Helper()
	i, err := schedule.ParseInterval(schedule.Spec{Times: []schedule.Times{{Start: "02:00", End: "04:00"}},
		Location: "Europe/Berlin"})
	if err != nil {
		t.Fatal(err)
	}
	return schedule.Window{Name: "night", Intervals: []schedule.Interval{i}}
}

// The calendar has the times of each zone, of the days on which clocks change too; windows, pauses that are known,
// and what became of what came last. What comes each minute is one line.
func TestCalendarPage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		now  string
		days []string
	}{
		{"2026-10-20T12:00:00Z", []string{"Saturday, 24 October 2026", "Open: night from 02:00 to 04:00 CEST", "01:30 EDT",
			"(05:30 UTC)", "Sunday, 25 October 2026", "Open: night from 02:00 to 04:00 CET", "02:30 CEST", "(00:30 UTC)",
			"in window night", "Monday, 26 October 2026", "02:30 CET", "(01:30 UTC)", "Sunday, 1 November 2026",
			"01:30 EDT", "(05:30 UTC)", "waits for window night, which opens 2 November 01:00 UTC", "Monday, 2 November 2026", "01:30 EST",
			"(06:30 UTC)"}},
		{"2027-03-10T12:00:00Z", []string{"Saturday, 13 March 2027", "01:30 EST", "(06:30 UTC)", "Monday, 15 March 2027",
			"01:30 EDT", "(05:30 UTC)", "Saturday, 27 March 2027", "02:30 CET", "(01:30 UTC)", "Sunday, 28 March 2027",
			"Open: night from 03:00 to 04:00 CEST", "03:00 CEST", "(01:00 UTC)", "Monday, 29 March 2027", "02:30 CEST", "(00:30 UTC)"}},
	} {
		t.Run(c.now, func(t *testing.T) {
			t.Parallel()
			now, err := time.Parse(time.RFC3339, c.now)
			if err != nil {
				t.Fatal(err)
			}
			f := openViews(t, figures{})
			at := now
			f.clock.Store(&at)
			f.scheduler.Use(schedules(t))
			if err := f.journal.SetPause(t.Context(), remediate.Pause{Scope: "target/main", Reason: "it " + hostile,
				By: "user/ann"}); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first only notes since when each counts
				if _, err := f.scheduler.Tick(t.Context(), now); err != nil {
					t.Fatal(err)
				}
				now = now.Add(time.Minute)
				at := now
				f.clock.Store(&at)
			}
			text, _ := f.unzipped(t, "/calendar")
			last := 0
			for _, want := range append([]string{"Schedules", "nightly", "30 2 * * *", "Europe/Berlin", "each series of",
				"every minute, 1,440 a day", "in time", "/runs/", "Not listed each time: watch (every minute, 1,440 a day)",
				"00:00 UTC</time>, <time", "06:00 UTC</time>, <time"}, append(c.days, `href="/calendar?from=`)...) {
				i := strings.Index(text[last:], want)
				if i < 0 {
					t.Fatalf("no %q after %d in\n%s", want, last, text)
				}
				last += i
			}
			for _, want := range []string{"target/main is paused by user/ann: it t&#34;", "&lt;script&gt;"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %s in %s", want, text)
				}
			}
			if strings.Contains(text, "<script>alert") || strings.Contains(text, "<b>") {
				t.Error("a name is not escaped")
			}
			if n := strings.Count(text, "<time "); n > 200 {
				t.Errorf("%d times", n)
			}
			_, next, _ := strings.Cut(text, `href="/calendar?from=`)
			next, _, _ = strings.Cut(next, `"`)
			if text, _ := f.unzipped(t, "/calendar?from="+next); !strings.Contains(text, "From now") ||
				!strings.Contains(text, "often") {
				t.Error(text)
			}
		})
	}
}

// An address that no link has is refused, and a calendar without schedules says so.
func TestCalendarWithoutSchedules(t *testing.T) {
	t.Parallel()
	c := openViews(t, figures{})
	if text, _ := c.unzipped(t, "/calendar"); !strings.Contains(text, "The configuration has no schedule") ||
		!strings.Contains(text, "night from") {
		t.Error(text)
	}
	for _, from := range []string{"then", "2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"} {
		if status, text, _ := asAdmin(t, c.page.URL+"/calendar?from="+from); status != http.StatusBadRequest ||
			!strings.Contains(text, fmt.Sprintf("from &#34;%s", from)) {
			t.Errorf("%s: %d %s", from, status, text)
		}
	}
}
