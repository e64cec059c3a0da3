package report_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/report"
)

// A leaving Prometheus goes away after a number of answers; one that is partial answers some of its questions by a part.
type leaving struct {
	report.Prometheus
	left    int64 // answers before it goes away
	partial int64 // of how many answers one is a part only; 0: none
	asked   atomic.Int64
	series  atomic.Int64 // that were answered over a time
}

func (l *leaving) ask() error {
	n := l.asked.Add(1)
	if n > l.left {
		return errors.New("connection refused")
	}
	if l.partial > 0 && n%l.partial == 0 {
		return fmt.Errorf("prometheus: %w", &prom.AnswerError{Err: errors.New("the answer may be incomplete: store b: down")})
	}
	return nil
}

// Query implements report.Prometheus.
func (l *leaving) Query(ctx context.Context, expr string, at time.Time) ([]prom.Sample, error) {
	if err := l.ask(); err != nil {
		return nil, err
	}
	return l.Prometheus.Query(ctx, expr, at)
}

// Range implements report.Prometheus.
func (l *leaving) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]prom.Series, error) {
	if err := l.ask(); err != nil {
		return nil, err
	}
	all, err := l.Prometheus.Range(ctx, expr, from, to, step)
	l.series.Add(int64(len(all)))
	return all, err
}

// text writes a figure to compare it; how much of the time is covered may be unknown to one of the journal.
func text(t *testing.T, f report.Figure) string {
	t.Helper()
	for _, q := range f.Queries {
		if q.Language == "SQL" {
			f.Coverage = report.Coverage{Gaps: []string{}}
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Whenever Prometheus goes away while a report is made, and whichever of its answers is a part only, a figure is the one
// of the whole report or says why it was not read, and then has no row, chart or coverage that could be taken for it.
func TestPrometheusGoesAwayMidway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour, 3)
	counted := &leaving{Prometheus: f.engine, left: math.MaxInt64}
	f.config.Prometheus = counted
	whole := f.report("2026-08")
	if n, of, why := whole.Unread(); n > 0 || of < 20 || why != "" {
		t.Fatalf("%d of %d figures are not read: %s", n, of, why)
	}
	p, err := report.Month("2026-08", f.config.Now())
	if err != nil {
		t.Fatal(err)
	}
	compare := func(from *leaving) (unread int) {
		t.Helper()
		f.config.Prometheus = from
		r, err := report.Make(t.Context(), f.config, p)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range r.Sections {
			for j, one := range s.Figures {
				want := whole.Sections[i].Figures[j]
				switch {
				case one.Fault == "" && text(t, one) != text(t, want):
					t.Errorf("away after %d, a part each %d: %s differs\n%s\n%s", from.left, from.partial, one.Title,
						text(t, one), text(t, want))
				case one.Fault != "" && (len(one.Rows) > 0 || len(one.Charts) > 0 || one.Share != nil || one.Note != "" ||
					one.Hidden > 0):
					t.Errorf("away after %d, a part each %d: %s is not read and has %d rows, %d charts, %v %q", from.left,
						from.partial, one.Title, len(one.Rows), len(one.Charts), one.Share, one.Note)
				case one.Fault != "":
					unread++
				}
			}
		}
		if n, _, why := r.Unread(); n != unread || n > 0 && why == "" {
			t.Errorf("%d are not read (%s), %d say so", n, why, unread)
		}
		return unread
	}
	all := counted.asked.Load()
	for left := int64(0); left < all; left += 9 {
		if compare(&leaving{Prometheus: f.engine, left: left}) == 0 {
			t.Errorf("away after %d of %d answers, and all is read", left, all)
		}
	}
	for _, each := range []int64{7, 23} {
		from := &leaving{Prometheus: f.engine, left: math.MaxInt64, partial: each}
		if n := compare(from); n == 0 || n > int(all/each)+2 {
			t.Errorf("of %d answers each %d is a part, and %d figures are not read", all, each, n)
		}
	}
}

// Ten thousand tables are a number below the table, not pages of it, and their days are not read to draw four charts.
func TestTenThousandTables(t *testing.T) {
	t.Parallel()
	const tables = 10_000
	h := newHistory(t, time.Hour)
	h.from = month()
	h.fill(1)
	late, midnight := end().Add(-2*time.Hour), func(at time.Time) bool { return at.Hour() == 0 }
	for i := range tables {
		l := []string{"resource", "table", "server", "main", "database", fmt.Sprint("db", i%20), "schema", "public",
			"table", fmt.Sprint("t", i)}
		size := func(at time.Time) float64 { return float64(i) * at.Sub(begin()).Hours() }
		h.series(after(late, size), "upkeep:capacity_used:max1d", l...)
		h.series(after(late, steady(24*float64(i))), "upkeep:capacity_growth_per_day:median28d", l...)
		h.series(func(at time.Time) float64 {
			if !midnight(at) {
				return math.NaN()
			}
			return size(at)
		}, "upkeep:capacity_used:day", l...)
	}
	f := h.fixture(date(9, 3))
	counted := &leaving{Prometheus: f.engine, left: math.MaxInt64}
	f.config.Prometheus = counted
	r := f.report("2026-08")
	grows := figure(t, r, "What grows, and when it reaches its limit")
	if len(grows.Rows) != 20 || grows.Hidden != tables+2-20 || grows.Rows[0][0].Text != "filesystem" {
		t.Errorf("%d rows, %d more, first %v", len(grows.Rows), grows.Hidden, grows.Rows[0])
	}
	if n := counted.series.Load(); n > 1000 {
		t.Errorf("%d series were read over the month", n)
	}
	var page strings.Builder
	if err := report.Page(&page, r); err != nil || page.Len() > 400_000 {
		t.Errorf("%v, %d bytes", err, page.Len())
	}
}

// Months are of UTC, whatever the clock of the machine says: that in which a clock is put back is no hour longer, and
// begins when it does in UTC.
func TestMonthsOfAnotherClock(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin") // until 25 October it is two hours ahead, then one
	if err != nil {
		t.Fatal(err)
	}
	h := newHistory(t, time.Hour)
	h.from, h.to = date(9, 1), date(11, 1)
	h.fill(2)
	f := h.fixture(date(11, 3))
	want := f.report("2026-10")
	f.config.Now = func() time.Time { return date(11, 3).In(berlin) }
	got := f.report("2026-10")
	for i, s := range want.Sections {
		for j := range s.Figures {
			if is, was := text(t, got.Sections[i].Figures[j]), text(t, s.Figures[j]); is != was {
				t.Errorf("by another clock:\n%s\n%s", is, was)
			}
		}
	}
	if !got.From.Equal(date(10, 1)) || !got.Until.Equal(date(11, 1)) || *figure(t, got, "Availability").Share != 1 {
		t.Errorf("from %s until %s: %v", got.From, got.Until, figure(t, got, "Availability").Coverage)
	}
	for at, name := range map[time.Time]string{
		time.Date(2026, 11, 1, 0, 30, 0, 0, berlin): "2026-09", // 23:30 on 31 October
		time.Date(2026, 11, 1, 1, 30, 0, 0, berlin): "2026-10",
		time.Date(2026, 4, 1, 1, 30, 0, 0, berlin):  "2026-02", // 23:30 on 31 March, in summer time
		time.Date(2026, 4, 1, 2, 30, 0, 0, berlin):  "2026-03",
	} {
		if p, err := report.Month("", at); err != nil || p.Name != name {
			t.Errorf("at %s the last month is %s, want %s: %v", at, p.Name, name, err)
		}
	}
}

// A database that was renamed within the month, and a server that has another name in the configuration since, are shown
// by both names, each with what is known of it and the share of the time that this covers; nothing is added up or
// compared over the change, and what is gone does not grow.
func TestRenamedMidway(t *testing.T) {
	t.Parallel()
	h := newHistory(t, time.Hour)
	h.fill(1)
	mid := date(8, 17)
	for i, server := range []string{"main", "primary"} { // the server is renamed, and so is its database
		part := before
		if i == 1 {
			part = after
		}
		id := []string{"server", server, "database", fmt.Sprint("renamed", i), "user", "app", "queryid", "71"}
		h.series(part(mid, h.counter(steady(2), time.Time{})), "upkeep_postgres_statement_calls_total", id...)
		h.series(part(mid, h.counter(steady(60), time.Time{})), "upkeep_postgres_statement_seconds_total", id...)
		h.series(part(mid, steady(1)), "upkeep_collector_success", "collector", "postgres/statements", "server",
			"renamed "+server)
		h.series(part(mid, steady(1)), "upkeep_probe_healthy", "server", "probe of "+server)
		used := []string{"resource", "database", "server", server, "database", fmt.Sprint("renamed", i)}
		h.series(part(mid, steady(1<<30)), "upkeep:capacity_used:max1d", used...)
		h.series(part(mid, steady(1<<20)), "upkeep:capacity_growth_per_day:median28d", used...)
	}
	for database, f := range map[string]func(time.Time) float64{"apidb": steady(1), "dropped": before(mid, steady(1))} {
		h.series(f, "upkeep_postgres_database_size_bytes", "server", "main", "database", database)
	}
	h.series(before(mid, steady(1<<20)), "upkeep_postgres_index_unused_bytes", "server", "main", "database", "dropped",
		"schema", "public", "table", "orders", "index", "orders_old_idx")
	r := h.fixture(date(9, 3)).report("2026-08")
	advice := figure(t, r, "Advice about indexes, and its result")
	for index, want := range map[string]string{"main dropped public orders orders_old_idx": "its database is gone",
		"main apidb public orders orders_old_idx": "done by run 1000"} {
		if c := cell(t, advice, index, "result"); !strings.HasPrefix(c.Text, want) {
			t.Errorf("%s: %q, want %q", index, c.Text, want)
		}
	}
	list := figure(t, r, "The ten statements that took the most time")
	for i, hoursOf := range []float64{15*24 - 12, 16*24 - 48} {
		row := list.Rows[i]
		if i == 0 && !strings.Contains(row[1].Text, "renamed1") {
			t.Errorf("the first is %v", row)
		}
		near(t, row[1].Text, row[5], 60*hoursOf, 2e-2)
		if row[7].Value != nil {
			t.Errorf("%s is compared: %v", row[1].Text, row)
		}
	}
	available := figure(t, r, "Availability")
	near(t, "of the old name", cell(t, available, "probe of main", "data"), (16*24-48)/(31*24.), 2e-2)
	near(t, "of the new name", cell(t, available, "probe of primary", "data"), (15*24-12)/(31*24.), 2e-2)
	var names []string
	for _, row := range figure(t, r, "What grows, and when it reaches its limit").Rows {
		names = append(names, row[1].Text)
	}
	if all := strings.Join(names, ", "); strings.Contains(all, "renamed0") || !strings.Contains(all, "primary renamed1") {
		t.Errorf("what grows: %s", all)
	}
}
