package embedded

import (
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// midnight is that of the first of many days.
func midnight() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// samplesOf opens a storage of samples to which the past can be written.
func samplesOf(t testing.TB, dir string) *tsdb.DB {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.RetentionDuration, o.MinBlockDuration, o.MaxBlockDuration = 0, (30 * day).Milliseconds(), (30 * day).Milliseconds()
	db, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func openDailyOf(t testing.TB, dir string, from *tsdb.DB) *daily {
	t.Helper()
	d, err := openDaily(Config{Dir: dir, DailyRetention: 400 * day, Logger: slog.New(slog.DiscardHandler)}, from)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fill writes hourly samples of a day: the value is the hour since the beginning.
func fill(t testing.TB, db *tsdb.DB, names []string, series, at int, skip func(hour int) bool) {
	t.Helper()
	a := db.Appender(t.Context())
	for hour := at * 24; hour < (at+1)*24; hour++ {
		if skip(hour) {
			continue
		}
		for _, name := range names {
			for i := range series {
				v := float64(hour)
				if name == "upkeep:capacity_used:day" && hour%24 > 0 {
					if hour%24 > 1 {
						continue
					}
					v = math.Float64frombits(value.StaleNaN) // it is recorded once, and then marked as ended
				}
				l := labels.FromStrings("__name__", name, "server", fmt.Sprint(i))
				if _, err := a.Append(0, l, midnight().Add(time.Duration(hour)*time.Hour+5*time.Minute).UnixMilli(), v); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
}

// daysOf returns the values of a series at the ends of days.
func daysOf(t testing.TB, l longer, expr string, days int) map[int]float64 {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: lookback,
		Parser: promqlParser()})
	q, err := engine.NewRangeQuery(t.Context(), l, nil, expr, midnight().Add(day), midnight().Add(time.Duration(days)*day), day)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	m, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatal(err)
	}
	if len(m) > 1 {
		t.Fatalf("%d series of %s", len(m), expr)
	}
	all := make(map[int]float64)
	for _, s := range m {
		for _, p := range s.Floats {
			all[int(time.UnixMilli(p.T).Sub(midnight())/day)-1] = p.F
		}
	}
	return all
}

// What has ended is kept, once, whatever was killed between; and is there when the samples are gone.
func TestDailyValuesOutliveTheSamples(t *testing.T) {
	dir := t.TempDir()
	db := samplesOf(t, filepath.Join(dir, "tsdb"))
	names := []string{"upkeep:capacity_used:day", "upkeep:capacity_limit", "upkeep:capacity_used:max1h", "other"}
	const days = 120
	d := openDailyOf(t, dir, db)
	away := func(hour int) bool { return hour >= 50*24 && hour < 53*24 } // nothing ran for three days
	for at := range days {
		fill(t, db, names, 1, at, away)
		switch {
		case at == 30: // it is stopped and started again
			if err := d.close(); err != nil {
				t.Fatal(err)
			}
			d = openDailyOf(t, dir, db)
		case at > 60 && at < 70: // and the days that nothing kept are made up for
			continue
		}
		for range 2 { // twice is once
			if err := d.keep(t.Context(), midnight().Add(time.Duration(at+1)*day+lateDay)); err != nil {
				t.Fatal(err)
			}
		}
		if at == days-1 { // the day that has not ended is not kept
			continue
		}
		if last := d.last(); !last.Equal(midnight().Add(time.Duration(at)*day)) && !(at >= 50 && at < 53) {
			t.Fatalf("after day %d the last one is %s", at, last)
		}
	}
	check := func(what string, l longer) {
		t.Helper()
		for name, want := range map[string]int{"upkeep:capacity_used:day": 0, "upkeep:capacity_limit": 23} {
			got := daysOf(t, l, "last_over_time("+name+"[1d])", days)
			for at := range days {
				v, there := got[at]
				if gone := at >= 50 && at < 53; there == gone || there && v != float64(at*24+want) {
					t.Errorf("%s: %s of day %d is %v (%v)", what, name, at, v, there)
				}
			}
		}
	}
	check("beside the samples", longer{db, d.db})
	empty := samplesOf(t, t.TempDir())
	defer func() { _ = empty.Close() }()
	if first, _ := empty.StartTime(); first < midnight().UnixMilli() {
		t.Fatalf("an empty storage begins at %d", first)
	}
	if err := errorsOf(d.close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	d = openDailyOf(t, dir, empty) // the samples are gone
	defer func() { _ = d.close() }()
	check("without the samples", longer{empty, d.db})
	for _, name := range []string{"upkeep:capacity_used:max1h", "other"} {
		if got := daysOf(t, longer{empty, d.db}, "last_over_time("+name+"[1d])", days); len(got) > 0 {
			t.Errorf("%s is kept: %v", name, got)
		}
	}
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// A process that is killed while it stores a day leaves a part of what it was writing: any. Each day is then
// there whole or not at all, and the next process stores what is missing, once.
func TestDailyValuesOfAKilledProcess(t *testing.T) {
	const days, series = 20, 30
	dir := t.TempDir()
	db := samplesOf(t, filepath.Join(dir, "tsdb"))
	defer func() { _ = db.Close() }()
	d := openDailyOf(t, dir, db)
	defer func() { _ = d.close() }()
	for at := range days {
		fill(t, db, []string{"upkeep:capacity_limit"}, series, at, func(hour int) bool { return hour%24 > 0 })
		if err := d.keep(t.Context(), midnight().Add(time.Duration(at+1)*day+lateDay)); err != nil {
			t.Fatal(err)
		}
	}
	random, cut := rand.New(rand.NewPCG(16, 1)), 0
	for try := range 40 {
		killed := t.TempDir()
		if err := os.CopyFS(filepath.Join(killed, "daily"), os.DirFS(filepath.Join(dir, "daily"))); err != nil {
			t.Fatal(err)
		}
		logs, err := filepath.Glob(filepath.Join(killed, "daily", "wal", "0*"))
		if err != nil || len(logs) == 0 {
			t.Fatal(logs, err)
		}
		info, err := os.Stat(logs[len(logs)-1])
		if err != nil {
			t.Fatal(err)
		}
		size := random.Int64N(info.Size())
		if err := os.Truncate(logs[len(logs)-1], size); err != nil {
			t.Fatal(err)
		}
		d := openDailyOf(t, killed, db)
		whole := wholeDays(t, d.db, days, series)
		if whole < days {
			cut++
		}
		if err := d.keep(t.Context(), midnight().Add(days*day+lateDay)); err != nil {
			t.Fatal(err)
		}
		if n := wholeDays(t, d.db, days, series); n != days {
			t.Errorf("try %d, the log ends at byte %d: %d days were there, and %d after the next start", try, size, whole, n)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
	}
	if cut < 20 {
		t.Errorf("only %d of 40 kills lost a day", cut)
	}
}

// wholeDays returns how many days are stored, from the first on: with all series, each once.
func wholeDays(t *testing.T, db *tsdb.DB, days, series int) (whole int) {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	found := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchNotEqual, "server", ""))
	samples := make([]int, days)
	for found.Next() {
		it := found.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			at, v := it.At()
			number := int(time.UnixMilli(at).Sub(midnight()) / day)
			samples[number]++
			if v != float64(number*24) {
				t.Errorf("day %d has %v, want %d", number, v, number*24)
			}
		}
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	for number, n := range samples {
		if n != 0 && (n != series || whole < number) {
			t.Errorf("day %d has %d of %d series, and %d days before it are whole", number, n, series, whole)
		}
		if n == series {
			whole++
		}
	}
	return whole
}

// Where samples and daily values overlap, a value is there once.
func TestDailyValuesAndSamplesMerge(t *testing.T) {
	dir := t.TempDir()
	db := samplesOf(t, filepath.Join(dir, "tsdb"))
	defer func() { _ = db.Close() }()
	for at := range 10 {
		fill(t, db, []string{"upkeep:capacity_limit"}, 1, at, func(int) bool { return false })
	}
	d := openDailyOf(t, dir, db)
	defer func() { _ = d.close() }()
	if err := d.keep(t.Context(), midnight().Add(10*day+lateDay)); err != nil {
		t.Fatal(err)
	}
	newer := samplesOf(t, t.TempDir()) // which begins on the sixth day
	defer func() { _ = newer.Close() }()
	for at := 5; at < 12; at++ {
		fill(t, newer, []string{"upkeep:capacity_limit"}, 1, at, func(int) bool { return false })
	}
	got := daysOf(t, longer{newer, d.db}, "count_over_time(upkeep:capacity_limit[1d])", 12)
	for at := range 12 {
		want := 24.0
		if at < 5 {
			want = 1
		}
		if got[at] != want {
			t.Errorf("day %d has %v samples, want %v", at, got[at], want)
		}
	}
}

// What 400 days of 500 resources take on disk.
func BenchmarkDailySize(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		db := samplesOf(b, filepath.Join(dir, "tsdb"))
		d := openDailyOf(b, dir, db)
		names := []string{"upkeep:capacity_used:day", "upkeep:capacity_limit", "upkeep:capacity_growth_per_day:median28d",
			"upkeep:capacity_growth_per_day:p90_28d", "upkeep:capacity_seconds_to_limit:likely",
			"upkeep:capacity_seconds_to_limit:soon"}
		for at := range 400 {
			fill(b, db, names, 500, at, func(hour int) bool { return hour%24 > 0 })
			if err := d.keep(b.Context(), midnight().Add(time.Duration(at+1)*day+lateDay)); err != nil {
				b.Fatal(err)
			}
		}
		if err := errorsOf(d.close(), db.Close()); err != nil {
			b.Fatal(err)
		}
		size := int64(0)
		err := filepath.WalkDir(filepath.Join(dir, "daily"), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			size += info.Size()
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/(1<<20), "MiB")
	}
}
