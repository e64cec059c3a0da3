package report

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

const (
	capacityDay = "upkeep:capacity_used:day"

	// ahead is how many days the charts look ahead, and bandsAtMost how many charts there are.
	ahead, bandsAtMost = 60, 4
)

// kept asks for what is stored longer than the samples, where a period is older than these.
type kept struct{ Prometheus }

// Query implements forecast.Asker.
func (k kept) Query(ctx context.Context, expr string, at time.Time) ([]prom.Sample, error) {
	expr = strings.ReplaceAll(expr, "upkeep:capacity_used:max1d", capacityDay)
	return k.Prometheus.Query(ctx, strings.ReplaceAll(expr, "[2h]", "[25h]"), at)
}

// growth shows what grows, as upkeep forecast showed it at the end of the period.
func (b *builder) growth(ctx context.Context) (f Figure, err error) {
	f = Figure{Title: "What grows, and when it reaches its limit", About: "At the end of the period. The growth " +
		"is the " +
		"median of the weekly changes of four weeks; the two times are at the pace of the fastest weeks and at " +
		"the median. " +
		"Without a trend there is no growth and no time.",
		Columns: []Column{{"resource", Words}, {"on", Words}, {"used", Words}, {"limit", Words}, {"growth a day",
			Words},
			{"at the limit", Words}, {"date", Words}, {"days of 28", Number}}}
	if b.Prometheus == nil {
		f.Note = noPrometheus
		return f, nil
	}
	f.Queries = []Query{
		{Language: "PromQL", Text: "last_over_time(upkeep:capacity_used:max1d[2h])", At: b.period.end, About: "used"},
		{Language: "PromQL", Text: "last_over_time(upkeep:capacity_growth_per_day:median28d[2h])", At: b.period.end,
			About: "growth"},
		{Language: "PromQL", Text: "last_over_time(upkeep:capacity_seconds_to_limit:likely[2h])", At: b.period.end,
			About: "time to the limit"},
		{Language: "PromQL", Text: "clamp_max(count(count_over_time(" + capacityDay + "[1d])), 1)", Step: "1d",
			About: "coverage"},
	}
	days, err := b.daily(ctx, b.period, f.Queries[3].Text, nil)
	if err != nil {
		return f, err
	}
	f.Coverage = b.period.coverage(days[keyOf(nil, nil)])
	rows, err := forecast.Read(ctx, b.Prometheus, "", b.period.end)
	if err == nil && len(rows) == 0 {
		rows, err = forecast.Read(ctx, kept{b.Prometheus}, "", b.period.end)
	}
	if err != nil {
		return f, err
	}
	f.resources(b, rows)
	return f, f.bands(ctx, b, rows)
}

// resources writes a row for each resource that has a limit or grows.
func (f *Figure) resources(b *builder, rows []forecast.Row) {
	for _, r := range rows {
		if r.Growth == nil && r.Limit == nil {
			continue
		}
		u := unitOf(r)
		at, date := Cell{Text: "no trend"}, Cell{Text: "–"}
		switch {
		case r.Likely != nil && *r.Likely > farAway:
			at = Cell{Text: "in over 3 years", Value: r.Likely}
		case r.Likely != nil:
			at = Cell{Text: "in " + inDays(*r.Likely), Value: r.Likely}
			if r.Soon != nil && inDays(*r.Soon) != inDays(*r.Likely) {
				at.Text = "in " + inDays(*r.Soon) + " to " + inDays(*r.Likely)
			}
			date = Cell{Text: b.period.end.Add(time.Duration(*r.Likely) * time.Second).Format(time.DateOnly)}
		case r.Growth != nil && r.Limit == nil:
			at = Cell{Text: "no limit"}
		case r.Growth != nil:
			at = Cell{Text: "shrinks"}
		}
		limit, grows := Cell{Text: "–"}, Cell{Text: "no trend"}
		if r.Limit != nil {
			limit = value(u, r.Limit)
		}
		if r.Growth != nil {
			grows = value(u, r.Growth)
		}
		f.Rows = append(f.Rows, []Cell{words(r.Resource), words(r.Name()), value(u, &r.Used), limit, grows, at, date,
			count(int64(min(r.Days, 28)))})
	}
	f.Note = "Nothing is recorded: the rules of alerts/capacity.rules.yaml are needed, and a day."
	if len(f.Rows) > 0 {
		f.Note = ""
	}
	f.cut(maxRows)
}

// farAway is up to when a forecast is written as days: beyond that it says little.
const farAway = 3 * 365 * 86400

func inDays(seconds float64) string { return fmt.Sprintf("%.0f days", seconds/86400) }

func unitOf(r forecast.Row) Unit {
	switch r.Unit {
	case "bytes":
		return Bytes
	case "ratio":
		return Ratio
	}
	return Number
}

// bands draws those that reach a limit first: what was used each day, and between which lines it
// is expected to grow.
func (f *Figure) bands(ctx context.Context, b *builder, rows []forecast.Row) error {
	for _, r := range rows {
		if len(f.Charts) == bandsAtMost {
			break
		}
		if r.Limit == nil || r.Growth == nil || *r.Growth <= 0 || r.Likely == nil || *r.Likely > farAway {
			continue
		}
		all, err := b.Prometheus.Range(ctx, "last_over_time("+selecting(capacityDay, r)+"[1d])", b.period.From.Add(day),
			b.period.end, day)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(s prom.Series) bool { return about(s.Labels, r) })
		if i < 0 {
			continue
		}
		used := make([]*float64, b.period.days())
		for _, p := range all[i].Points {
			if at := int(p.At.Sub(b.period.From)/day) - 1; at >= 0 && at < len(used) {
				used[at] = new(p.Value)
			}
		}
		fast := *r.Growth
		if r.Fast != nil {
			fast = max(fast, *r.Fast)
		}
		f.Charts = append(f.Charts, Chart{Kind: Band, Title: visible.Text(r.Resource + " of " + r.Name()),
			Unit: unitOf(r),
			From: b.period.From, Days: b.period.days() + ahead, Known: b.period.days(), Gaps: f.Gaps, Limit: r.Limit,
			Start: &r.Used, Slow: *r.Growth, Fast: fast, Series: []Line{{Name: "used", Values: used}}})
	}
	return nil
}

// selecting selects the series of a row: there may be ten thousand tables, and four of all are drawn.
func selecting(series string, r forecast.Row) string {
	matchers := []string{fmt.Sprintf("resource=%q", r.Resource)}
	for _, name := range slices.Sorted(maps.Keys(r.Subject)) {
		matchers = append(matchers, fmt.Sprintf("%s=%q", name, r.Subject[name]))
	}
	return series + "{" + strings.Join(matchers, ",") + "}"
}

// about reports whether a series is of the subject of a row.
func about(labels map[string]string, r forecast.Row) bool {
	labels = maps.Clone(labels)
	resource := labels["resource"]
	for _, name := range []string{"__name__", "resource", "job", "instance"} {
		delete(labels, name)
	}
	return resource == r.Resource && maps.Equal(labels, r.Subject)
}
