package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

func window(t testing.TB, specs ...schedule.Spec) schedule.Window {
	t.Helper()
	w := schedule.Window{Name: "test"}
	for _, s := range specs {
		i, err := schedule.ParseInterval(s)
		if err != nil {
			t.Fatal(err)
		}
		w.Intervals = append(w.Intervals, i)
	}
	return w
}

func times(from, to string) []schedule.Times { return []schedule.Times{{Start: from, End: to}} }

const berlin = "Europe/Berlin"

// The manual's windows.
func daily() schedule.Spec { return schedule.Spec{Times: times("03:00", "04:00"), Location: berlin} }

func sunday() schedule.Spec {
	return schedule.Spec{Times: times("02:00", "05:00"), Weekdays: []string{"sunday"}, Location: berlin}
}

func firstSunday() schedule.Spec {
	return schedule.Spec{Times: times("01:00", "06:00"), Weekdays: []string{"sunday"}, DaysOfMonth: []string{"1:7"},
		Location: berlin}
}

func TestWindow(t *testing.T) {
	overMidnight := []schedule.Spec{{Times: times("22:00", "24:00"), Location: berlin},
		{Times: times("00:00", "02:00"), Location: berlin}}
	for _, c := range []struct {
		name            string
		specs           []schedule.Spec
		at, next, until string // closed at at: opens at next, which closes at until
	}{
		{"daily", []schedule.Spec{daily()}, "2026-06-01 04:00", "2026-06-02 03:00 +0200", "2026-06-02 04:00 +0200"},
		{"daily, the day the clock is put forward", []schedule.Spec{daily()}, "2026-03-29 01:59",
			"2026-03-29 03:00 +0200", "2026-03-29 04:00 +0200"},
		{"Sundays", []schedule.Spec{sunday()}, "2026-06-01 00:00", "2026-06-07 02:00 +0200", "2026-06-07 05:00 +0200"},
		{"Sundays, forward: an hour less", []schedule.Spec{sunday()}, "2026-03-29 01:59", "2026-03-29 03:00 +0200",
			"2026-03-29 05:00 +0200"},
		{"Sundays, back: an hour more", []schedule.Spec{sunday()}, "2026-10-25 01:00", "2026-10-25 02:00 +0200",
			"2026-10-25 05:00 +0100"},
		{"first Sunday", []schedule.Spec{firstSunday()}, "2026-06-08 00:00", "2026-07-05 01:00 +0200",
			"2026-07-05 06:00 +0200"},
		{"over midnight", overMidnight, "2026-06-01 02:00", "2026-06-01 22:00 +0200", "2026-06-02 02:00 +0200"},
		{"never shown: the day after", []schedule.Spec{{Times: times("02:00", "03:00"), Location: berlin}},
			"2026-03-28 04:00", "2026-03-30 02:00 +0200", "2026-03-30 03:00 +0200"},
		{"shown twice: open twice", []schedule.Spec{{Times: times("01:00", "02:30"), Location: berlin}},
			"2026-10-25 02:30", "2026-10-25 02:00 +0100", "2026-10-25 02:30 +0100"},
		{"the last of March, an hour short", []schedule.Spec{{DaysOfMonth: []string{"-1"}, Location: berlin}},
			"2026-03-10 00:00", "2026-03-31 00:00 +0200", "2026-04-01 00:00 +0200"},
		{"next year", []schedule.Spec{{Months: []string{"january"}, DaysOfMonth: []string{"2"}, Location: berlin}},
			"2026-01-03 00:00", "2027-01-02 00:00 +0100", "2027-01-03 00:00 +0100"},
		{"months that meet", []schedule.Spec{{Months: []string{"5:6"}, Location: berlin},
			{Months: []string{"july"}, Location: berlin}}, "2026-01-03 00:00", "2026-05-01 00:00 +0200",
			"2026-08-01 00:00 +0200"},
		{"past", []schedule.Spec{{Years: []string{"2020:2025"}, Location: berlin}}, "2026-01-03 00:00", "", ""},
		{"too rare", []schedule.Spec{{Months: []string{"2"}, DaysOfMonth: []string{"29"}, Location: berlin}},
			"2025-01-03 00:00", "", ""},
		{"none", nil, "2026-01-03 00:00", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, z := window(t, c.specs...), zone(t, berlin)
			at, err := time.ParseInLocation("2006-01-02 15:04", c.at, z)
			if err != nil {
				t.Fatal(err)
			}
			// A moment within the minute: edges are whole minutes anyway.
			at = at.Add(30*time.Second + time.Millisecond)
			if first := at.Add(-time.Hour); text(first, z)[:16] == c.at {
				at = first
			}
			next, until := w.Next(at), time.Time{}
			if !next.IsZero() {
				until = w.Until(next)
			}
			if w.Open(at) || !w.Until(at).Equal(at) || text(next, z) != c.next || text(until, z) != c.until {
				t.Fatalf("open %v at %s, opens at %q, closes at %q; want %q and %q", w.Open(at), at, text(next, z),
					text(until, z), c.next, c.until)
			}
			if !next.IsZero() && (!w.Open(next) || w.Open(next.Add(-1)) || w.Open(until) || !w.Open(until.Add(-1)) ||
				!w.Next(next).Equal(next)) {
				t.Errorf("not open from %s to %s", next, until)
			}
		})
	}
}

func text(at time.Time, z *time.Location) string {
	if at.IsZero() {
		return ""
	}
	return at.In(z).Format(layout)
}

func TestAlwaysOpen(t *testing.T) {
	w := window(t, schedule.Spec{Times: times("00:00", "12:00")}, schedule.Spec{Times: times("12:00", "24:00")})
	if end := w.Until(time.Now()); !end.IsZero() {
		t.Errorf("it closes at %s", end)
	}
}

// randomInterval draws an interval in a syntax that Alertmanager reads too.
func randomInterval(r *rand.Rand, zone string) schedule.Spec {
	s := schedule.Spec{Location: zone}
	span := func(first, last int) string {
		a := first + r.IntN(last-first+1)
		return fmt.Sprintf("%d:%d", a, a+r.IntN(last-a+1))
	}
	for range r.IntN(3) {
		from := r.IntN(1440)
		to := from + 1 + r.IntN(1440-from)
		s.Times = append(s.Times, schedule.Times{Start: fmt.Sprintf("%02d:%02d", from/60, from%60),
			End: fmt.Sprintf("%02d:%02d", to/60, to%60)})
	}
	for range r.IntN(3) {
		s.Weekdays = append(s.Weekdays, strings.ToLower(time.Weekday(r.IntN(7)).String()))
	}
	for range r.IntN(3) {
		s.DaysOfMonth = append(s.DaysOfMonth, span(1, 28))
	}
	if r.IntN(3) == 0 {
		s.DaysOfMonth = append(s.DaysOfMonth, fmt.Sprintf("-%d:-1", 1+r.IntN(9)))
	}
	if r.IntN(3) == 0 {
		s.Months = append(s.Months, span(1, 12), strings.ToLower(time.Month(1+r.IntN(12)).String()))
	}
	if r.IntN(8) == 0 || len(s.Times)+len(s.Weekdays)+len(s.DaysOfMonth)+len(s.Months) == 0 {
		s.Years = append(s.Years, "2020:2050")
	}
	return s
}

// theirs reads the same with Alertmanager's own library.
func theirs(t *testing.T, s schedule.Spec) (i timeinterval.TimeInterval) {
	t.Helper()
	body := map[string]any{"weekdays": s.Weekdays, "days_of_month": s.DaysOfMonth, "months": s.Months, "years": s.Years,
		"location": s.Location}
	var spans []map[string]string
	for _, x := range s.Times {
		spans = append(spans, map[string]string{"start_time": x.Start, "end_time": x.End})
	}
	body["times"] = spans
	for key, v := range body {
		if list, ok := v.([]string); ok && len(list) == 0 || key == "times" && len(spans) == 0 {
			delete(body, key)
		}
	}
	doc, err := yaml.Marshal(body)
	if err == nil {
		err = yaml.Unmarshal(doc, &i)
	}
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return i
}

// A year minute by minute: what is open is what Alertmanager holds for open, and it
// opens and closes when that walk finds that it does. Alertmanager counts the days of a
// month in hours, and so is a day short in months whose clock is put forward: those are
// left out here, and are in TestWindow.
func TestWindowsLikeAlertmanager(t *testing.T) {
	for name, year := range map[string]int{"Europe/Berlin": 2027, "Australia/Lord_Howe": 2024, "Africa/Cairo": 2010,
		"America/Sao_Paulo": 2016, "America/New_York": 2044} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(year), 3))
			z := zone(t, name)
			for range 5 {
				one, two := randomInterval(r, name), randomInterval(r, name)
				w := window(t, one, two)
				yearOf(t, z, year, w, []timeinterval.TimeInterval{theirs(t, one), theirs(t, two)})
			}
		})
	}
}

func yearOf(t *testing.T, z *time.Location, year int, w schedule.Window, want []timeinterval.TimeInterval) {
	t.Helper()
	at, end := time.Date(year, 1, 1, 0, 0, 0, 0, z), time.Date(year+1, 1, 1, 0, 0, 0, 0, z)
	open, changes := w.Open(at), 0
	expected := next(w, at, open)
	for ; at.Before(end); at = at.Add(time.Minute) {
		now := w.Open(at)
		if now != open {
			if !at.Equal(expected) {
				t.Fatalf("%+v: open is %v from %s on, foreseen for %s", w, now, at, expected)
			}
			open, expected, changes = now, next(w, at, now), changes+1
		}
		if at.Minute()%7 == 0 && !short(at) && now != (want[0].ContainsTime(at) || want[1].ContainsTime(at)) {
			t.Fatalf("%+v at %s: open is %v, Alertmanager says %v", w, at, now, !now)
		}
	}
	if expected.Before(end) && !expected.IsZero() {
		t.Fatalf("%+v: a change foreseen for %s did not come", w, expected)
	}
}

func next(w schedule.Window, at time.Time, open bool) time.Time {
	if open {
		return w.Until(at)
	}
	return w.Next(at)
}

// short reports whether the month has an hour less than its days.
func short(at time.Time) bool {
	first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, at.Location())
	return first.AddDate(0, 1, 0).Sub(first)%(24*time.Hour) != 0
}

func TestIntervalErrors(t *testing.T) {
	for want, s := range map[string]schedule.Spec{
		`time zone "Europe/Atlantis" is not known on this machine: want a name like Europe/Berlin`: {Location: "Europe/Atlantis"},
		`time zone "../../etc/passwd" is not known`:                                                {Location: "../../etc/passwd"},
		`start_time "3:00": want 00:00 to 24:00`:                                                   {Times: times("3:00", "04:00")},
		`end_time "24:01": want 00:00 to 24:00`:                                                    {Times: times("03:00", "24:01")},
		`end_time "": want`:                                                                        {Times: times("03:00", "")},
		`what goes over midnight is two: 22:00 to 24:00 and 00:00 to 02:00`:                        {Times: times("22:00", "02:00")},
		`weekdays "sun": want sunday to saturday`:                                                  {Weekdays: []string{"sun"}},
		`weekdays "friday:monday": friday comes after monday`:                                      {Weekdays: []string{"friday:monday"}},
		`days_of_month "0": want 1 to 31, -31 to -1 from the end`:                                  {DaysOfMonth: []string{"0"}},
		`days_of_month "1-7": want 1 to 31`:                                                        {DaysOfMonth: []string{"1-7"}},
		`days_of_month "-1:-3": -1 comes after -3`:                                                 {DaysOfMonth: []string{"-1:-3"}},
		`months "jan": want january to december, 1 to 12`:                                          {Months: []string{"jan"}},
		`years "26": want a year like 2030`:                                                        {Years: []string{"26"}},
		`the interval is empty and would always be open`:                                           {Location: "UTC"},
	} {
		if _, err := schedule.ParseInterval(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v\nwant %s", s, err, want)
		}
	}
}

func BenchmarkWindowNext(b *testing.B) {
	at := time.Date(2026, 6, 8, 0, 0, 0, 0, time.UTC)
	for name, s := range map[string]schedule.Spec{
		"daily": daily(), "first-sunday": firstSunday(),
		"yearly": {Months: []string{"may"}, DaysOfMonth: []string{"1"}, Location: berlin},
	} {
		b.Run(name, func(b *testing.B) {
			w := window(b, s)
			for b.Loop() {
				w.Next(at)
			}
		})
	}
}
