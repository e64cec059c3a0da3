package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate/schedule"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := schedule.Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func cron(t testing.TB, text string) schedule.Cron {
	t.Helper()
	c, err := schedule.ParseCron(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is expected is written as the wall clock with its offset.
const layout = "2006-01-02 15:04 -0700"

func TestNext(t *testing.T) {
	for _, c := range []struct{ name, cron, zone, after, want string }{
		{"daily", "0 3 * * *", "Europe/Berlin", "2026-06-01 03:00", "2026-06-02 03:00 +0200"},
		{"strictly after, to the second", "0 3 * * *", "Europe/Berlin", "2026-06-01 02:59",
			"2026-06-01 03:00 +0200 / 2026-06-02 03:00 +0200"},
		{"weekly", "0 2 * * SUN", "UTC", "2026-06-01 00:00", "2026-06-07 02:00 +0000 / 2026-06-14 02:00 +0000"},
		{"first Sunday", "0 1 * * SUN#1", "UTC", "2026-05-31 00:00", "2026-06-07 01:00 +0000 / 2026-07-05 01:00 +0000"},
		{"last Sunday", "0 1 * * SUN#L", "UTC", "2026-06-01 00:00", "2026-06-28 01:00 +0000 / 2026-07-26 01:00 +0000"},
		{"last Friday by number", "0 1 * * 5#L", "UTC", "2026-06-01 00:00", "2026-06-26 01:00 +0000"},
		{"fifth Sunday", "0 0 * * SUN#5", "UTC", "2026-06-01 00:00", "2026-08-30 00:00 +0000"},
		{"last of the month", "0 0 L * *", "UTC", "2028-02-01 00:00",
			"2028-02-29 00:00 +0000 / 2028-03-31 00:00 +0000"},
		{"leap days, and none in 2100", "0 0 29 2 *", "UTC", "2096-02-29 00:00", "2104-02-29 00:00 +0000"},
		{"the rarest", "0 0 * 2 SUN#5", "UTC", "2088-02-29 00:00", "2128-02-29 00:00 +0000"},
		{"either day is enough", "0 0 13 * FRI", "UTC", "2026-06-10 00:00",
			"2026-06-12 00:00 +0000 / 2026-06-13 00:00 +0000 / 2026-06-19 00:00 +0000"},
		{"steps", "5-59/20 8-18/5 * * *", "UTC", "2026-06-01 08:45", "2026-06-01 13:05 +0000 / 2026-06-01 13:25 +0000"},
		{"over the year", "30 4 1 1 *", "UTC", "2026-01-01 04:30", "2027-01-01 04:30 +0000"},

		{"jumped over: right after, once", "30 2 * * *", "Europe/Berlin", "2026-03-28 12:00",
			"2026-03-29 03:00 +0200 / 2026-03-30 02:30 +0200"},
		{"two jumped over: once", "0,30 2 * * *", "Europe/Berlin", "2026-03-28 12:00",
			"2026-03-29 03:00 +0200 / 2026-03-30 02:00 +0200"},
		{"one jumped over and one there: once", "0 2,3 * * *", "Europe/Berlin", "2026-03-28 12:00",
			"2026-03-29 03:00 +0200 / 2026-03-30 02:00 +0200"},
		{"the last before the jump", "59 1 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 01:59 +0100"},
		{"shown twice: the first", "30 2 * * *", "Europe/Berlin", "2026-10-24 12:00",
			"2026-10-25 02:30 +0200 / 2026-10-26 02:30 +0100"},
		{"every second hour: each once", "30 */2 * * *", "Europe/Berlin", "2026-10-25 00:30",
			"2026-10-25 02:30 +0200 / 2026-10-25 04:30 +0100"},
		{"every hour follows the hands forward", "30 * * * *", "Europe/Berlin", "2026-03-29 00:30",
			"2026-03-29 01:30 +0100 / 2026-03-29 03:30 +0200"},
		{"every hour follows the hands back", "30 * * * *", "Europe/Berlin", "2026-10-25 01:30",
			"2026-10-25 02:30 +0200 / 2026-10-25 02:30 +0100 / 2026-10-25 03:30 +0100"},
		{"by hours of a rare day, back", "30 * 25 10 *", "Europe/Berlin", "2026-10-25 01:31",
			"2026-10-25 02:30 +0200 / 2026-10-25 02:30 +0100"},
		{"by hours of the rarest day", "0 * * 2 SUN#5", "Europe/Berlin", "2088-02-29 22:00",
			"2088-02-29 23:00 +0100 / 2128-02-29 00:00 +0100"},
		{"half an hour is jumped over", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03 12:00",
			"2026-10-04 02:30 +1100"},
		{"half an hour is shown twice", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04 12:00",
			"2026-04-05 01:45 +1100 / 2026-04-06 01:45 +1030"},
		{"midnight is jumped over", "0 0 * * *", "Africa/Cairo", "2026-04-23 12:00",
			"2026-04-24 01:00 +0300 / 2026-04-25 00:00 +0300"},
		{"midnight of a Sunday is jumped over", "0 0 * * SUN", "America/Sao_Paulo", "2018-10-29 00:00",
			"2018-11-04 01:00 -0200 / 2018-11-11 00:00 -0200"},
		{"a whole day is jumped over", "0 3 30 12 *", "Pacific/Apia", "2011-12-01 00:00",
			"2011-12-31 00:00 +1400 / 2012-12-30 03:00 +1400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := zone(t, c.zone)
			at, err := time.ParseInLocation("2006-01-02 15:04", c.after, z)
			if err != nil {
				t.Fatal(err)
			}
			at = at.Add(999 * time.Millisecond)
			if strings.HasSuffix(c.after, "02:59") {
				at = at.Add(59 * time.Second)
			}
			for want := range strings.SplitSeq(c.want, " / ") {
				at = cron(t, c.cron).Next(at, z)
				if got := at.Format(layout); got != want {
					t.Fatalf("%s: %s, want %s", c.cron, got, want)
				}
			}
		})
	}
}

func TestNextOfNothing(t *testing.T) {
	if at := (schedule.Cron{}).Next(time.Now(), time.UTC); !at.IsZero() {
		t.Errorf("no expression comes at %s", at)
	}
}

// What cannot be read is answered with the field, what is wrong and what is right.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                "0 fields; want five: minute, hour",
		"0 3 * *":         "4 fields",
		"0 0 3 * * *":     "6 fields",
		"@reboot":         `"@reboot" is no short form; there are @hourly, @daily`,
		"60 * * * *":      `minute "60": want 0 to 59`,
		"* 24 * * *":      `hour "24": want 0 to 23`,
		"* -1 * * *":      `hour "-1": a value is missing`,
		"* +1 * * *":      `hour "+1": want 0 to 23`,
		"* 1, * * *":      `hour "": a value is missing; want 0 to 23`,
		"* * 0 * *":       `day of month "0": want 1 to 31`,
		"* * * 13 *":      `month "13": want 1 to 12, or JAN to DEC`,
		"* * * JANU *":    `month "JANU": want`,
		"* * * * 8":       `day of week "8": want 0 to 7, or SUN to SAT`,
		"* * * * UNM":     `day of week "UNM": want`,
		"0 22-4 * * *":    `hour "22-4": the range goes backwards; write it as two: 22-23,0-4`,
		"0 0 * * FRI-MON": `write it as two: FRI-6,0-MON`,
		"*/0 * * * *":     `minute "*/0": step "0": want 1 to 59`,
		"*/60 * * * *":    `step "60": want 1 to 59`,
		"5/15 * * * *":    `minute "5/15": a step needs a range; write 5-59/15 or */15`,
		"0 0 * * SUN#6":   `day of week "SUN#6": #6: want #1 to #5 for the first to the fifth of the month, or #L for the last`,
		"0 0 * * SUN#":    `want #1 to #5`,
		"0 0 L#1 * *":     `day of month "L#1": want 1 to 31`,
		"0 0 31 2 *":      `it never matches: day 31 is in none of its months; L as day of month is the last one`,
		"0 0 31 4,6 *":    `it never matches`,
		"0 0 */2 * MON":   `write the days as a list`,
		"0 0 1 * */2":     `write the days as a list`,
	} {
		_, err := schedule.ParseCron(text)
		if err == nil || !strings.Contains(err.Error(), want) ||
			!strings.HasPrefix(err.Error(), fmt.Sprintf("cron %q: ", text)) {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}

// What means the same is the same and is written the same.
func TestCronString(t *testing.T) {
	for text, want := range map[string]string{
		"@daily":                    "0 0 * * *",
		"@hourly":                   "0 * * * *",
		"@midnight":                 "0 0 * * *",
		"@annually":                 "0 0 1 1 *",
		"@weekly":                   "0 0 * * SUN",
		"@monthly":                  "0 0 1 * *",
		"@Yearly":                   "0 0 1 1 *",
		"00 03 * * 7":               "0 3 * * SUN",
		"0,30 */1 1-31 JAN-DEC 0-7": "*/30 * * * *",
		"0 0 * * fri-sun":           "0 0 * * SUN,FRI,SAT",
		"0 0 * * 7-2":               "0 0 * * SUN-TUE",
		"0 0 * * 5-7/2":             "0 0 * * SUN,FRI",
		"0 0 * * */2":               "0 0 * * SUN,TUE,THU,SAT",
		"0 0 */10 * *":              "0 0 1,11,21,31 * *",
		"0 0 l,15 * *":              "0 0 15,L * *",
		"0 0 1 * SUN#L,mon#1,SUN":   "0 0 1 * SUN,MON#1",
		"0 0 1-31 * SUN":            "0 0 * * *",
		"0 0 31 2 SUN":              "0 0 31 2 SUN",
		"0 1 * 1-12/3 *":            "0 1 * */3 *",
	} {
		c := cron(t, text)
		if c.String() != want || cron(t, want) != c {
			t.Errorf("%q is written %q, want %q", text, c, want)
		}
	}
}

// A spec is an expression in words that the tests understand without the parser.
type spec struct {
	text  string
	every bool // hour: it follows the hands
	comes func(minute, hour, day int, month time.Month, weekday time.Weekday, length int) bool
}

// The manual's schedules, and those that changes of the clock hurt.
func specs() []spec {
	type m = time.Month
	type w = time.Weekday
	return []spec{
		{"0 3 * * *", false, func(mi, h, _ int, _ m, _ w, _ int) bool { return mi == 0 && h == 3 }},
		{"0 2 * * SUN", false, func(mi, h, _ int, _ m, wd w, _ int) bool { return mi == 0 && h == 2 && wd == 0 }},
		{"0 1 * * SUN#1", false, func(mi, h, d int, _ m, wd w, _ int) bool {
			return mi == 0 && h == 1 && wd == 0 &&
				d <= 7
		}},
		{"0 0 * * *", false, func(mi, h, _ int, _ m, _ w, _ int) bool { return mi == 0 && h == 0 }},
		{"30 2 * * *", false, func(mi, h, _ int, _ m, _ w, _ int) bool { return mi == 30 && h == 2 }},
		{"15,45 1-3 * * *", false, func(mi, h, _ int, _ m, _ w, _ int) bool { return mi%30 == 15 && h >= 1 && h <= 3 }},
		{"*/30 * * * *", true, func(mi, _, _ int, _ m, _ w, _ int) bool { return mi%30 == 0 }},
		{"0 * * * SUN", true, func(mi, _, _ int, _ m, wd w, _ int) bool { return mi == 0 && wd == 0 }},
		{"* 2 * * *", false, func(_, h, _ int, _ m, _ w, _ int) bool { return h == 2 }},
		{"10 */2 * * *", false, func(mi, h, _ int, _ m, _ w, _ int) bool { return mi == 10 && h%2 == 0 }},
		{"59 23 L * *", false, func(mi, h, d int, _ m, _ w, n int) bool { return mi == 59 && h == 23 && d == n }},
		{"30 1 * * SUN#L", false, func(mi, h, d int, _ m, wd w, n int) bool {
			return mi == 30 && h == 1 && wd == 0 &&
				d > n-7
		}},
		{"0 4 1,15 * FRI", false, func(mi, h, d int, _ m, wd w, _ int) bool {
			return mi == 0 && h == 4 &&
				(d == 1 || d == 15 || wd == 5)
		}},
		{"5 0 29 2 *", false, func(mi, h, d int, mo m, _ w, _ int) bool {
			return mi == 5 && h == 0 && d == 29 &&
				mo == 2
		}},
		{"0 12 1 JAN *", false, func(mi, h, d int, mo m, _ w, _ int) bool {
			return mi == 0 && h == 12 && d == 1 &&
				mo == 1
		}},
	}
}

// oracle walks real minutes and says when each of all comes. A minute that the clock
// shows for the first time brings those that it jumped over with it.
func oracle(all []spec, from, to time.Time, z *time.Location) [][]time.Time {
	came := make([][]time.Time, len(all))
	var c calendar
	seen := int64(0)
	for at := from.Unix(); at <= to.Unix(); at += 60 {
		t := time.Unix(at, 0).In(z)
		_, offset := t.Zone()
		wall := (at + int64(offset)) / 60
		if seen == 0 {
			seen = wall
			continue
		}
		now := c.hands(wall)
		for i, s := range all {
			if s.every && now.in(s) {
				came[i] = append(came[i], t)
			}
		}
		if wall <= seen {
			continue
		}
		for passed := seen + 1; passed <= wall; passed++ {
			then := now
			if passed != wall {
				then = c.hands(passed)
			}
			for i, s := range all {
				if !s.every && then.in(s) && (len(came[i]) == 0 || !came[i][len(came[i])-1].Equal(t)) {
					came[i] = append(came[i], t)
				}
			}
		}
		seen = wall
	}
	return came
}

// A face is what the clock and the calendar show.
type face struct {
	minute, hour, day int
	month             time.Month
	weekday           time.Weekday
	length            int
}

// A calendar reads the clock, and looks at the calendar once a day.
type calendar struct {
	day   int64
	today face
}

func (c *calendar) hands(wall int64) face {
	if day := wall / 1440; day != c.day || c.today.day == 0 {
		t := time.Unix(day*86400, 0).UTC()
		c.day = day
		c.today = face{day: t.Day(), month: t.Month(), weekday: t.Weekday(),
			length: time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()}
	}
	f := c.today
	f.hour, f.minute = int(wall%1440/60), int(wall%60)
	return f
}

func (f face) in(s spec) bool {
	return s.comes(f.minute, f.hour, f.day, f.month, f.weekday, f.length)
}

// Ten years, minute by minute: nothing is missed and nothing comes twice, however the
// clock is put forward and back.
func TestTenYears(t *testing.T) {
	for _, c := range []struct {
		zone  string
		first int
	}{
		{"Europe/Berlin", 2026},
		{"America/New_York", 2026},
		{"Australia/Lord_Howe", 2026},
		{"Africa/Cairo", 2007},        // four changes in 2010, none in 2011 to 2013
		{"America/Sao_Paulo", 2009},   // at midnight, until 2019
		{"Australia/Lord_Howe", 2040}, // the same in the south
		{"Europe/Berlin", 2040},       // by the zone's rule: no table reaches so far
		{"UTC", 2026},
	} {
		t.Run(fmt.Sprintf("%s from %d", c.zone, c.first), func(t *testing.T) {
			t.Parallel()
			z, first := zone(t, c.zone), c.first
			from, to := time.Date(first, 1, 1, 0, 0, 0, 0, z), time.Date(first+10, 1, 1, 0, 0, 0, 0, z)
			all, total := specs(), 0
			came := oracle(all, from, to, z)
			for i, s := range all {
				compare(t, cron(t, s.text), z, from, came[i])
				total += len(came[i])
			}
			t.Logf("%d occurrences of %d schedules", total, len(all))
		})
	}
}

func compare(t *testing.T, c schedule.Cron, z *time.Location, from time.Time, want []time.Time) {
	t.Helper()
	at := from
	for i, w := range want {
		next := c.Next(at, z)
		if !next.Equal(w) {
			t.Errorf("%s: occurrence %d after %s is %s, want %s", c, i, at, next, w)
			return
		}
		at = next
	}
}

// Expressions that were drawn at random, from moments that were, in a year of changes.
func TestRandomExpressions(t *testing.T) {
	for name, year := range map[string]int{"Europe/Berlin": 2027, "Australia/Lord_Howe": 2024, "Africa/Cairo": 2010,
		"America/Sao_Paulo": 2016, "America/New_York": 2028} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(year), 7))
			z := zone(t, name)
			all := make([]spec, 40)
			for i := range all {
				all[i] = randomSpec(r)
			}
			from, to := time.Date(year, 1, 1, 0, 0, 0, 0, z), time.Date(year+1, 1, 1, 0, 0, 0, 0, z)
			for i, want := range oracle(all, from, to, z) {
				c := cron(t, all[i].text)
				compare(t, c, z, from, want)
				for range 200 { // and from anywhere, not only from one to the next
					at := from.Add(time.Duration(r.Int64N(int64(to.Sub(from)))))
					next := slices.IndexFunc(want, func(w time.Time) bool { return w.After(at) })
					if next >= 0 && !c.Next(at, z).Equal(want[next]) {
						t.Fatalf("%s after %s: %s, want %s", all[i].text, at, c.Next(at, z), want[next])
					}
				}
			}
		})
	}
}

// randomSpec draws sets, and writes them as text.
func randomSpec(r *rand.Rand) spec {
	draw := func(first, last int) (text string, in func(int) bool) {
		if r.IntN(3) == 0 {
			return "*", func(int) bool { return true }
		}
		var values []int
		var words []string
		for range 1 + r.IntN(4) {
			v := first + r.IntN(last-first+1)
			values, words = append(values, v), append(words, fmt.Sprint(v))
		}
		return strings.Join(words, ","), func(v int) bool { return slices.Contains(values, v) }
	}
	minutes, inMinutes := draw(0, 59)
	hours, inHours := draw(0, 3) // where the clocks are changed
	if r.IntN(4) == 0 {
		hours, inHours = draw(0, 23)
	}
	days, inDays := draw(1, 28)
	months, inMonths := draw(1, 12)
	weekdays, inWeekdays := draw(0, 6)
	s := spec{text: strings.Join([]string{minutes, hours, days, months, weekdays}, " "), every: hours == "*"}
	s.comes = func(mi, h, d int, mo time.Month, wd time.Weekday, _ int) bool {
		day := inDays(d) && inWeekdays(int(wd))
		if days != "*" && weekdays != "*" {
			day = inDays(d) || inWeekdays(int(wd))
		}
		return inMinutes(mi) && inHours(h) && inMonths(int(mo)) && day
	}
	return s
}

// What parses is written so that it parses to the same, and comes some day.
func FuzzParseCron(f *testing.F) {
	for _, s := range specs() {
		f.Add(s.text)
	}
	for _, text := range []string{"@daily", "0 0 L,15 JAN-MAR/2 MON#1,5#L", "*/7 22-23,0-4 1-31 * SUN", "5/15 * * * *",
		"0 0 31 2 *", "0 0 */2 * 7-2"} {
		f.Add(text)
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := schedule.ParseCron(text)
		if err != nil {
			if c != (schedule.Cron{}) {
				t.Errorf("%q: an error and an expression", text)
			}
			return
		}
		again, err := schedule.ParseCron(c.String())
		if err != nil || again != c {
			t.Errorf("%q is written %q: %v", text, c, err)
		}
		if at := c.Next(start, time.UTC); !at.After(start) {
			t.Errorf("%q comes at %s", text, at)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	z := zone(b, "Europe/Berlin")
	for _, text := range []string{"0 3 * * *", "*/30 * * * *", "0 1 * * SUN#1", "0 0 1 1 *", "0 0 29 2 *", "0 * 29 2 *",
		"* 2 25 10 *"} {
		b.Run(strings.ReplaceAll(text, " ", "_"), func(b *testing.B) {
			c := cron(b, text)
			at := time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC) // while hours are shown again
			for b.Loop() {
				c.Next(at, z)
			}
		})
	}
}

func ExampleCron_Next() {
	first, err := schedule.ParseCron("0 1 * * SUN#1")
	if err != nil {
		fmt.Println(err)
		return
	}
	at := time.Date(2026, 6, 10, 0, 0, 0, 0, time.UTC)
	for range 3 {
		at = first.Next(at, time.UTC)
		fmt.Println(at.Format(time.RFC1123))
	}
	// Output:
	// Sun, 05 Jul 2026 01:00:00 UTC
	// Sun, 02 Aug 2026 01:00:00 UTC
	// Sun, 06 Sep 2026 01:00:00 UTC
}
