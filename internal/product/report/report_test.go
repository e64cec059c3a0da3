package report_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/product/report"
	"github.com/ai-micro-service/upkeep/remediate"
)

// near compares a cell with a number that was calculated in another way.
func near(t *testing.T, what string, c report.Cell, want, tolerance float64) {
	t.Helper()
	if c.Value == nil || math.Abs(*c.Value-want) > tolerance*math.Abs(want) {
		got := "none"
		if c.Value != nil {
			got = fmt.Sprint(*c.Value)
		}
		t.Errorf("%s is %s (%q), want %v", what, got, c.Text, want)
	}
}

// raw asks for one value of the raw counters, by one label.
func (f *fixture) raw(expr, label, is string, at time.Time) float64 {
	f.t.Helper()
	all, err := f.engine.Query(f.t.Context(), expr, at)
	i := slices.IndexFunc(all, func(s prom.Sample) bool { return s.Labels[label] == is })
	if err != nil || i < 0 {
		f.t.Fatalf("%s of %s: %v, %d series", expr, is, err, len(all))
	}
	return all[i].Value
}

// The figures of metrics equal those that the samples give, and those of PromQL of another form.
func TestFiguresOfMetrics(t *testing.T) {
	t.Parallel()
	f := newFixture(t, 30*time.Minute, 30)
	r := f.report("2026-08")
	const is, was = "this period", "July 2026"

	availability := figure(t, r, "Availability")
	near(t, "availability", cell(t, availability, "admin-api", is),
		mean(f.points(month(), end(), "upkeep_probe_healthy", "server", "admin-api")), 1e-9)
	near(t, "availability before", cell(t, availability, "admin-api", was),
		mean(f.points(begin(), month(), "upkeep_probe_healthy", "server", "admin-api")), 1e-9)

	rate := figure(t, r, "Error rate")
	near(t, "error rate by the samples", cell(t, rate, "user-api", is),
		mean(f.points(month(), end(), "job:http_requests_errors:rate5m", "job", "user-api"))/
			mean(f.points(month(), end(), "job:http_requests:rate5m", "job", "user-api")), 1e-9)
	near(t, "error rate by the counters", cell(t, rate, "user-api", is), f.raw(`sum by (job) (increase(`+
		`http_requests_total{status=~"5.."}[31d])) / sum by (job) (increase(http_requests_total[31d]))`, "job",
		"user-api",
		end()), 2e-3)

	const p95 = "histogram_quantile(0.95, sum by (job, le) (increase(http_request_duration_seconds_bucket[31d])))"
	near(t, "p95", cell(t, figure(t, r, "API latency, p95"), "auth-service", is), f.raw(p95, "job", "auth-service",
		end()),
		2e-3)
	near(t, "p95 before", cell(t, figure(t, r, "API latency, p95"), "auth-service", was), f.raw(p95, "job",
		"auth-service", month()), 2e-3)

	hits := f.points(month(), end(), "upkeep_redis_keyspace_hits_total", "server", "cache")
	misses := f.points(month(), end(), "upkeep_redis_keyspace_misses_total", "server", "cache")
	h, m := hits[len(hits)-1]-hits[0], misses[len(misses)-1]-misses[0]
	near(t, "hit ratio", cell(t, figure(t, r, "Hit ratio"), "cache", is), h/(h+m), 1e-6)

	f.statements(t, r)
	f.stock(t, r)
}

// statements compares those of the lists with the counters, whose process was started anew.
func (f *fixture) statements(t *testing.T, r report.Report) {
	t.Helper()
	for _, title := range []string{"The ten slowest statements", "The ten statements that took the most time",
		"The ten statements that changed most"} {
		list := figure(t, r, title)
		if len(list.Rows) != 10 || list.Hidden != 20 {
			t.Errorf("%s: %d rows, %d hidden", title, len(list.Rows), list.Hidden)
		}
		for _, row := range list.Rows {
			name := row[0].Text
			var i int
			if _, err := fmt.Sscanf(name, "SELECT * FROM orders_%d WHERE", &i); err != nil {
				t.Fatalf("%s: %q", title, name)
			}
			id := fmt.Sprint(1000 + i)
			for column, expr := range map[string]string{"calls": "upkeep_postgres_statement_calls_total[31d]",
				"total": "upkeep_postgres_statement_seconds_total[31d]"} {
				near(t, name+" "+column, cell(t, list, name, column), f.raw("increase("+expr+")", "queryid", id,
					end()), 5e-3)
			}
			near(t, name+" before", cell(t, list, name, "total in July 2026"),
				f.raw("increase(upkeep_postgres_statement_seconds_total[31d])", "queryid", id, month()), 5e-3)
			near(t, name+" mean", cell(t, list, name, "mean"), *cell(t, list, name, "total").Value /
				*cell(t, list, name, "calls").Value, 2e-3)
		}
	}
	first := figure(t, r, "The ten slowest statements").Rows[0][0].Text
	if !strings.Contains(first, "orders_25 ") { // 26 ms, three times in August
		t.Errorf("the slowest is %s", first)
	}
}

// stock compares what there was on the last day.
func (f *fixture) stock(t *testing.T, r report.Report) {
	t.Helper()
	grows := figure(t, r, "What grows, and when it reaches its limit")
	near(t, "used", cell(t, grows, "filesystem", "used"), 51*(1<<30), 1e-9) // 20 GiB and half of one a day
	near(t, "time to the limit", cell(t, grows, "filesystem", "at the limit"), 58*86400, 1e-9)
	if c := cell(t, grows, "filesystem", "at the limit"); c.Text != "in 39 days to 58 days" {
		t.Errorf("%q", c.Text)
	}
	if c := cell(t, grows, "filesystem", "date"); c.Text != "2026-10-29" {
		t.Errorf("%q", c.Text)
	}
	near(t, "bloat", cell(t, figure(t, r, "Table bloat"), "main apidb public users", "bloat"), 2*63*(1<<20), 1e-9)
	advice := figure(t, r, "Advice about indexes, and its result")
	for name, want := range map[string]string{
		"orders_old_idx":     "done by run 1000 (postgres/drop_index) on 2026-08-10",
		"orders_by_hand_idx": "no longer advised, by no run of upkeep",
		"orders_still_idx":   "still advised",
		"orders_pkey":        "still advised",
	} {
		if c := cell(t, advice, "main apidb public orders "+name, "result"); c.Text != want {
			t.Errorf("%s: %q, want %q", name, c.Text, want)
		}
	}
	if c := cell(t, advice, "main apidb public users users_twin_idx", "result"); c.Text != "new" {
		t.Errorf("%q", c.Text)
	}
	backup := figure(t, r, "Newest backups")
	near(t, "newest backup", cell(t, backup, "main main", "newest"), float64(end().Unix()), 0)
	near(t, "oldest age", cell(t, backup, "main main", "oldest age in the period"), 23*3600, 1e-9)
	if c := figure(t, r, "Pending updates").Rows[0]; c[1].Text != "other" || *c[2].Value != 7 || *c[3].Value != 4 {
		t.Errorf("%v", c)
	}
	if c := figure(t, r, "Vulnerable packages").Rows[0]; c[1].Text != "high" || *c[2].Value != 1 || *c[5].Value != 3 {
		t.Errorf("%v", c)
	}
}

// Days without data are named in each figure of metrics, and so is the share of the time that is
// covered.
func TestGaps(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour, 3)
	r := f.report("2026-08")
	want := 1 - 60.0/(31*24)
	metrics := 0
	for _, s := range r.Sections {
		for _, one := range s.Figures {
			if one.Share == nil {
				continue
			}
			metrics++
			share := want
			if one.Title == "What grows, and when it reaches its limit" { // a value a day
				share = 29.0 / 31
			}
			if math.Abs(*one.Share-share) > 1e-9 || !slices.Equal(one.Gaps, []string{"2026-08-12", "2026-08-13"}) {
				t.Errorf("%s covers %v without %v, want %v", one.Title, *one.Share, one.Gaps, share)
			}
			for _, c := range one.Charts {
				if c.Kind != report.Bars && (!slices.Equal(c.Gaps, one.Gaps) || c.Series[0].Values[11] != nil ||
					c.Series[0].Values[12] != nil || c.Series[0].Values[19] == nil) {
					t.Errorf("the chart of %s", one.Title)
				}
			}
		}
	}
	if metrics != 20 {
		t.Errorf("%d figures say what they cover", metrics)
	}
	var page strings.Builder
	if err := report.Page(&page, r); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(page.String(), "No data on 2026-08-12 to 2026-08-13."); n != metrics {
		t.Errorf("the page names the days %d times", n)
	}
	if c := cell(t, figure(t, r, "Availability"), "auth-service", "data"); c.Text != "92 %" {
		t.Errorf("%q", c.Text)
	}
}

// The figures of the journal equal those that its tables give.
func TestFiguresOfTheJournal(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour, 1)
	r := f.report("2026-08")
	type sums struct{ runs, acted, resolved, refused int64 }
	of := make(map[string]*sums)
	f.each("select action, state, begun, changed from runs", func(scan func(...any) error) error {
		var action, state string
		var begun, changed int64
		if err := scan(&action, &state, &begun, &changed); err != nil {
			return err
		}
		at := time.UnixMilli(changed).UTC()
		if at.Month() != time.August || at.Year() != 2026 || state == string(remediate.AwaitingApproval) {
			return nil
		}
		if of[action] == nil {
			of[action] = &sums{}
		}
		s := of[action]
		s.runs++
		s.acted += min(begun, 1)
		if state == string(remediate.Resolved) {
			s.resolved++
		}
		if state == string(remediate.StateRefused) {
			s.refused++
		}
		return nil
	})
	outcomes := figure(t, r, "Runs that ended")
	if len(outcomes.Rows) != len(of) {
		t.Errorf("%d actions, want %d", len(outcomes.Rows), len(of))
	}
	for action, want := range of {
		near(t, action+" runs", cell(t, outcomes, action, "runs"), float64(want.runs), 0)
		near(t, action+" acted", cell(t, outcomes, action, "changed something"), float64(want.acted), 0)
		near(t, action+" resolved", cell(t, outcomes, action, "resolved"), float64(want.resolved), 0)
	}
	refused := slices.IndexFunc(figure(t, r, "What was not done").Rows, func(row []report.Cell) bool {
		return row[2].Text == "refused"
	})
	near(t, "refused", figure(t, r, "What was not done").Rows[refused][4], float64(of["postgres/vacuum"].refused), 0)
	f.incidents(t, r, month(), end())
	again := figure(t, r, "Repeat offenders")
	near(t, "again", cell(t, again, "PostgresIndexBloat", "incidents"), 5, 0)
	near(t, "runs on it", cell(t, again, "PostgresIndexBloat", "runs that acted"), 1, 0)
	near(t, "which helped", cell(t, again, "PostgresIndexBloat", "resolved"), 0, 0)
	waits := figure(t, r, "Plans that await approval")
	if len(waits.Rows) != 1 || waits.Rows[0][0].Text != "1001" {
		t.Errorf("%v", waits.Rows)
	}
	if by := figure(t, r, "What only a person can do"); len(by.Rows) != 1 || !strings.Contains(by.Rows[0][0].Text,
		"script") {
		t.Errorf("%v", by.Rows)
	}
}

// each calls a function with each row of a query.
func (f *fixture) each(query string, do func(scan func(...any) error) error) {
	f.t.Helper()
	rows, err := f.store.Query(f.t.Context(), query)
	if err != nil {
		f.t.Fatal(err)
	}
	for rows.Next() {
		if err := do(rows.Scan); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		f.t.Fatal(err)
	}
}

// incidents compares what fired.
func (f *fixture) incidents(t *testing.T, r report.Report, begin, end time.Time) {
	t.Helper()
	firing, number := make(map[string]time.Duration), make(map[string]int)
	f.each("select name, opened, closed from incidents", func(scan func(...any) error) error {
		var name string
		var opened, closed int64
		if err := scan(&name, &opened, &closed); err != nil {
			return err
		}
		from, to := store.Time(opened), store.Time(closed)
		if to.IsZero() || to.After(end) {
			to = end
		}
		if from.Before(begin) {
			from = begin
		}
		if !to.Before(from) && from.Before(end) && to.After(begin) {
			firing[name] += to.Sub(from)
			number[name]++
		}
		return nil
	})
	fired := figure(t, r, "Alerts that fired")
	for _, name := range []string{"PostgresDeadRows", "PostgresIndexBloat"} {
		near(t, name, cell(t, fired, name, "incidents"), float64(number[name]), 0)
		near(t, name+" firing", cell(t, fired, name, "time firing"), firing[name].Seconds(), 0)
	}
	if len(fired.Rows) != 3 || fired.Rows[0][2].Text != "1" { // the one that is open
		t.Errorf("%v", fired.Rows)
	}
}

// What upkeep knows nothing of is shown as that, and never as zero.
func TestNoData(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour, 1)
	f.config.Prometheus = nil
	r := f.report("2026-08")
	if a := figure(t, r, "Availability"); len(a.Rows) > 0 || a.Share != nil || !strings.Contains(a.Note,
		"no Prometheus") {
		t.Errorf("%+v", a)
	}
	if len(figure(t, r, "Runs that ended").Rows) == 0 {
		t.Error("the journal is not shown")
	}
	p, err := report.Month("2025-01", f.config.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.config.Prometheus = f.engine // what waits for people now is nothing of that month
	if _, err = report.Make(t.Context(), f.config, p); !errors.Is(err, report.ErrNoData) ||
		!strings.Contains(err.Error(), "choose a later period") {
		t.Errorf("before any data: %v", err)
	}
}

// A Prometheus that does not answer is asked once, not by each figure; one that refuses a query is asked on.
func TestPrometheusDoesNotAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour, 1)
	silent := &failing{err: context.DeadlineExceeded}
	read := func(from report.Prometheus) report.Report {
		f.config.Prometheus = from
		p, err := report.Month("2026-08", f.config.Now())
		if err != nil {
			t.Fatal(err)
		}
		r, err := report.Make(t.Context(), f.config, p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := read(silent)
	if a := figure(t, r, "Availability"); !strings.Contains(a.Fault, "did not answer before: context deadline exceeded") ||
		len(a.Rows) > 0 || a.Share != nil {
		t.Errorf("%+v", a)
	}
	if len(figure(t, r, "Runs that ended").Rows) == 0 {
		t.Error("the journal is not shown")
	}
	if n := silent.asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	refusing := &failing{err: &prom.StatusError{Status: 422}}
	read(refusing)
	if n := refusing.asked.Load(); n < 10 {
		t.Errorf("one that answers was asked %d times", n)
	}
}

// A failing Prometheus answers each query by an error.
type failing struct {
	err   error
	asked atomic.Int64
}

// Query implements report.Prometheus.
func (f *failing) Query(context.Context, string, time.Time) ([]prom.Sample, error) {
	f.asked.Add(1)
	return nil, f.err
}

// Range implements report.Prometheus.
func (f *failing) Range(context.Context, string, time.Time, time.Time, time.Duration) ([]prom.Series, error) {
	f.asked.Add(1)
	return nil, f.err
}

// Names are only shown, in each format: they are no markup, no link, no line of their own, and turn no
// text around.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	f := newFixture(t, time.Hour, 1)
	f.series(steady(1), "upkeep_probe_healthy", "server", hostile)
	f.series(steady(1), "upkeep_postgres_statement_info", "server", "main", "queryid", "1000", "query", hostile)
	r := f.report("2026-08")
	var page, text strings.Builder
	if err := errors.Join(report.Page(&page, r), report.Markdown(&text, r)); err != nil {
		t.Fatal(err)
	}
	object, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]string{"html": page.String(), "md": text.String()} {
		for _, bad := range []string{"<script", "\u202e", "\n# h", "](https:", "|`x`"} {
			if strings.Contains(shown, bad) && !(name == "html" && (bad == "](https:" || bad == "|`x`")) {
				t.Errorf("%s has %q in it", name, bad)
			}
		}
		if !strings.Contains(shown, "&lt;script&gt;") || !strings.Contains(shown, `u202e`) {
			t.Errorf("%s does not show the name", name)
		}
	}
	if strings.Contains(string(object), "\u202e") || !strings.Contains(string(object), `\\u202e`) {
		t.Error("json turns the text around")
	}
	for line := range strings.Lines(text.String()) { // a cell more would be a column more
		if strings.HasPrefix(line, "| ") && strings.Contains(line, "script") && strings.Count(strings.ReplaceAll(line,
			`\|`, ""), "|") != 7 && strings.Contains(line, "100 %") && strings.Contains(line, "1 Aug") {
			t.Error(line)
		}
	}
}
