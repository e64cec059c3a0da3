package report_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/remediate"
)

// The figures of a quarter equal those that the samples, the counters and the tables of the journal give, as those of
// a month do.
func TestFiguresOfAQuarter(t *testing.T) {
	t.Parallel()
	h := newHistory(t, time.Hour)
	april, july, october := date(4, 1), date(7, 1), date(10, 1)
	h.from, h.to = april, october
	h.fill(12)
	f := h.fixture(date(10, 2))
	for i, at := range []time.Time{april.Add(-time.Millisecond), april, july.Add(-time.Millisecond), july,
		october.Add(-time.Millisecond), october} {
		f.run(5000+i, "postgres/analyze", "p", "", remediate.Resolved, 1, at, map[string]string{"server": "main"}, 0)
	}
	r := f.report("2026-Q3")
	if r.Title != "quarter 3 of 2026" || r.Before != "quarter 2 of 2026" || !r.From.Equal(july) ||
		!r.Until.Equal(october) {
		t.Errorf("%s beside %s, from %s until %s", r.Title, r.Before, r.From, r.Until)
	}
	const is, was = "this period", "quarter 2 of 2026"

	probe := []string{"upkeep_probe_healthy", "server", "admin-api"}
	near(t, "availability", cell(t, figure(t, r, "Availability"), "admin-api", is),
		mean(f.points(july, october, probe[0], probe[1:]...)), 1e-9)
	near(t, "availability before", cell(t, figure(t, r, "Availability"), "admin-api", was),
		mean(f.points(april, july, probe[0], probe[1:]...)), 1e-9)
	errors := func(d string) string {
		return `sum by (job) (increase(http_requests_total{status=~"5.."}[` + d + `])) / sum by (job) (increase(` +
			`http_requests_total[` + d + `]))`
	}
	rate := figure(t, r, "Error rate")
	near(t, "error rate", cell(t, rate, "user-api", is), f.raw(errors("92d"), "job", "user-api", october), 2e-3)
	near(t, "error rate before", cell(t, rate, "user-api", was), f.raw(errors("91d"), "job", "user-api", july), 2e-3)
	const p95 = "histogram_quantile(0.95, sum by (job, le) (increase(http_request_duration_seconds_bucket[92d])))"
	near(t, "p95", cell(t, figure(t, r, "API latency, p95"), "auth-service", is), f.raw(p95, "job", "auth-service",
		october), 2e-3)
	list := figure(t, r, "The ten statements that took the most time")
	if len(list.Rows) != 10 || list.Hidden != 2 {
		t.Errorf("%d rows, %d hidden", len(list.Rows), list.Hidden)
	}
	for _, row := range list.Rows {
		var i int
		if _, err := fmt.Sscanf(row[0].Text, "SELECT * FROM orders_%d WHERE", &i); err != nil {
			t.Fatal(row[0].Text)
		}
		const expr = "increase(upkeep_postgres_statement_seconds_total["
		near(t, row[0].Text, cell(t, list, row[0].Text, "total"), f.raw(expr+"92d])", "queryid", fmt.Sprint(1000+i),
			october), 5e-3)
		near(t, row[0].Text+" before", cell(t, list, row[0].Text, "total in "+was), f.raw(expr+"91d])", "queryid",
			fmt.Sprint(1000+i), july), 5e-3)
	}
	steady := list.Rows[slices.IndexFunc(list.Rows, func(row []report.Cell) bool {
		return strings.Contains(row[0].Text, "orders_4 ")
	})]
	if total := *steady[5].Value; math.Abs(*steady[7].Value) > 0.01*total || total < 1 {
		t.Errorf("a statement that has not changed: %+v", steady)
	}
	used := cell(t, figure(t, r, "What grows, and when it reaches its limit"), "filesystem", "used")
	near(t, "used", used, (20+0.5*92)*(1<<30), 1e-9) // 20 GiB on 1 July and half of one a day
	near(t, "bloat", cell(t, figure(t, r, "Table bloat"), "main apidb public users", "bloat"), 2*93*(1<<20), 1e-9)

	var runs, resolved float64
	f.each("select state from runs where action = 'postgres/analyze' and changed >= "+fmt.Sprint(july.UnixMilli())+
		" and changed < "+fmt.Sprint(october.UnixMilli()), func(scan func(...any) error) error {
		var state string
		if runs++; scan(&state) == nil && state == string(remediate.Resolved) {
			resolved++
		}
		return nil
	})
	if runs != 2 {
		t.Errorf("the quarter has %v runs at its ends", runs)
	}
	near(t, "runs", cell(t, figure(t, r, "Runs that ended"), "postgres/analyze", "runs"), runs, 0)
	near(t, "resolved", cell(t, figure(t, r, "Runs that ended"), "postgres/analyze", "resolved"), resolved, 0)
	f.incidents(t, r, july, october)
	gaps := []string{"2026-08-12", "2026-08-13"}
	if one := figure(t, r, "Availability"); !slices.Equal(one.Gaps, gaps) ||
		math.Abs(*one.Share-(1-60.0/(92*24))) > 1e-9 || *one.Before != 1 {
		t.Errorf("covers %v and %v, without %v", *one.Share, *one.Before, one.Gaps)
	}
}

func date(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }

// A month that is not over is beside as many days of the one before: ten days took no less time than a month only since
// they are fewer.
func TestMonthThatIsNotOver(t *testing.T) {
	t.Parallel()
	h := newHistory(t, time.Hour)
	h.fill(3)
	f := h.fixture(time.Date(2026, 8, 11, 15, 0, 0, 0, time.UTC))
	r := f.report("2026-08")
	const was = "the first 10 days of July 2026"
	list := figure(t, r, "The ten statements that took the most time")
	for _, row := range list.Rows {
		var i int
		if _, err := fmt.Sscanf(row[0].Text, "SELECT * FROM orders_%d WHERE", &i); err != nil {
			t.Fatal(row[0].Text)
		}
		near(t, row[0].Text, cell(t, list, row[0].Text, "total in "+was), f.raw(
			"increase(upkeep_postgres_statement_seconds_total[10d])", "queryid", fmt.Sprint(1000+i), date(7, 11)), 2e-2)
	}
	near(t, "availability before", cell(t, figure(t, r, "Availability"), "admin-api", was),
		mean(f.points(begin(), date(7, 11), "upkeep_probe_healthy", "server", "admin-api")), 1e-9)
	bloat := figure(t, r, "Table bloat") // what there was at one moment is that of the end of the month before
	near(t, "bloat before", cell(t, bloat, "main apidb public users", "at the end of July 2026"), 2*32*(1<<20), 1e-9)
	var page strings.Builder
	if err := report.Page(&page, r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "Covers 100 % of the first 10 days of August 2026.") {
		t.Error("the page covers a month that is not over")
	}
}

// Sums are not compared with those of a month of which a part is no longer stored, or of which a statement was exported
// for a part only; means are.
func TestSumsOfAPartAreNotCompared(t *testing.T) {
	t.Parallel()
	h := newHistory(t, time.Hour)
	h.from = date(7, 20)
	h.fill(3)
	r := h.fixture(date(9, 3)).report("2026-08")
	list := figure(t, r, "The ten statements that took the most time")
	if row := list.Rows[0]; row[6].Text != "not comparable" || row[6].Value != nil || row[7].Value != nil ||
		row[4].Value == nil {
		t.Errorf("%+v", row)
	}
	if !strings.Contains(list.Note, "Total times are not compared: the data cover 39 % of July 2026.") {
		t.Error(list.Note)
	}
	if changed := figure(t, r, "The ten statements that changed most"); len(changed.Rows) > 0 || changed.Hidden > 0 {
		t.Errorf("%+v", changed.Rows)
	}
	if rate := figure(t, r, "Error rate"); rate.Before == nil || math.Abs(*rate.Before-12.0/31) > 0.01 {
		t.Errorf("%+v", rate.Coverage)
	}
	var page strings.Builder
	if err := report.Page(&page, r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "of August 2026, and 39 % of July 2026.") {
		t.Error("the page does not say what is known of the month before")
	}

	h = newHistory(t, time.Hour)
	h.fill(3)
	id := []string{"server", "main", "database", "apidb", "user", "app", "queryid", "77"}
	late := func(v float64) func(time.Time) float64 { return after(date(7, 28), h.counter(steady(v), time.Time{})) }
	h.series(late(1), "upkeep_postgres_statement_calls_total", id...)
	h.series(late(50), "upkeep_postgres_statement_seconds_total", id...)
	r = h.fixture(date(9, 3)).report("2026-08")
	row := figure(t, r, "The ten statements that took the most time").Rows[0]
	if !strings.Contains(row[0].Text, "queryid 77") || row[7].Value != nil || row[6].Text != "not comparable" {
		t.Errorf("%+v", row)
	}
	for _, row := range figure(t, r, "The ten statements that changed most").Rows {
		if strings.Contains(row[0].Text, "queryid 77") {
			t.Errorf("%+v", row)
		}
	}
}

// Two replicas export the same counters, and an upkeep that has moved goes on with them: they are counted once.
func TestReplicasAreCountedOnce(t *testing.T) {
	t.Parallel()
	h := newHistory(t, time.Hour)
	h.fill(1)
	for _, moved := range []bool{false, true} {
		id := []string{"server", "main", "database", "apidb", "user", "app", "queryid", fmt.Sprintf("9%v", moved)}
		for i, instance := range []string{"a:9847", "b:9847"} {
			part := func(f func(time.Time) float64) func(time.Time) float64 { return f }
			if moved && i == 0 {
				part = func(f func(time.Time) float64) func(time.Time) float64 { return before(date(8, 16), f) }
			} else if moved {
				part = func(f func(time.Time) float64) func(time.Time) float64 { return after(date(8, 16), f) }
			}
			l := append([]string{"instance", instance}, id...)
			h.series(part(h.counter(steady(2), time.Time{})), "upkeep_postgres_statement_calls_total", l...)
			h.series(part(h.counter(steady(6), time.Time{})), "upkeep_postgres_statement_seconds_total", l...)
		}
	}
	list := figure(t, h.fixture(date(9, 3)).report("2026-08"), "The ten statements that took the most time")
	for _, moved := range []bool{false, true} {
		name := fmt.Sprintf("(text not exported, queryid 9%v)", moved)
		near(t, name+" calls", cell(t, list, name, "calls"), 2*(31*24-60), 1e-2)
		near(t, name+" total", cell(t, list, name, "total"), 6*(31*24-60), 1e-2)
	}
}

// A review is known of a month of which there are samples, runs or incidents.
func TestKnown(t *testing.T) {
	t.Parallel()
	h := newHistory(t, time.Hour)
	h.fill(1)
	f := h.fixture(date(9, 3))
	known := func(c report.Config, month string) bool {
		p, err := report.Month(month, date(9, 3))
		if err != nil {
			t.Fatal(err)
		}
		is, err := report.Known(t.Context(), c, p)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	without := f.config
	without.Prometheus = nil
	if !known(f.config, "2026-08") || known(f.config, "2026-05") || !known(without, "2026-08") ||
		known(without, "2026-05") {
		t.Error("with a journal")
	}
	f.write("delete from runs")
	f.write("delete from incidents")
	if !known(f.config, "2026-08") || known(f.config, "2026-05") || known(without, "2026-08") {
		t.Error("without a journal")
	}
	broken := f.config
	broken.Prometheus = &failing{err: fmt.Errorf("away")}
	p, _ := report.Month("2026-08", date(9, 3))
	if _, err := report.Known(t.Context(), broken, p); err == nil {
		t.Error("a Prometheus that does not answer knows of nothing")
	}
}
