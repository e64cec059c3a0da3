package report

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
)

// A measure is a value of some subjects over the period, beside the period before and by day.
type measure struct {
	title, about string
	subject      string   // the heading of the first column
	by           []string // the labels of a subject
	unit         Unit
	value        string // the expression, with $range for the length of the period
	older        string // for a period whose samples are gone, at its end; "": nothing is kept longer
	has          string // a selector: where it has samples, the value counts
	low          bool   // a small value is bad
	absent       string // why there may be no data
}

// measured reads a measure.
func (b *builder) measured(ctx context.Context, m measure) (f Figure, err error) {
	f = Figure{Title: m.title, About: m.about, Columns: []Column{{m.subject, Words}, {"this period", m.unit},
		{b.before.Part(), m.unit}, {"change", m.unit}, {"worst day", m.unit}, {"data", Ratio}}}
	if b.Prometheus == nil {
		f.Note = noPrometheus
		return f, nil
	}
	expr := over(m.value, b.period)
	f.Queries = []Query{{Language: "PromQL", Text: expr, At: b.period.end}, covers(m.has)}
	if f.Coverage, err = b.coveredBoth(ctx, m.has); err != nil {
		return f, err
	}
	is, err := b.values(ctx, expr, m.by, b.period.end)
	if err != nil {
		return f, err
	}
	if len(is) == 0 && m.older != "" {
		if is, err = b.values(ctx, m.older, m.by, b.period.end); err != nil {
			return f, err
		}
		if len(is) > 0 {
			f.Queries[0].Text = m.older
			f.Note = "The samples of this period are no longer stored: the values are those of the thirty days " +
				"before " +
				"its end, which are kept for longer."
		}
	}
	was, err := b.values(ctx, over(m.value, b.before), m.by, b.before.end)
	if err != nil {
		return f, err
	}
	days, err := b.daily(ctx, b.period, over(m.value, Period{From: b.period.From, end: b.period.From.Add(day)}), m.by)
	if err != nil {
		return f, err
	}
	has, err := b.daily(ctx, b.period, hours("count by ("+list(m.by)+") ("+m.has+")"), m.by)
	if err != nil {
		return f, err
	}
	if len(is) == 0 && f.Note == "" {
		f.Note = m.absent
	}
	order := slices.SortedFunc(maps.Keys(is), func(x, y string) int {
		if m.low {
			return cmp.Or(cmp.Compare(*is[x], *is[y]), cmp.Compare(x, y))
		}
		return cmp.Or(cmp.Compare(*is[y], *is[x]), cmp.Compare(x, y))
	})
	for _, k := range order {
		f.Rows = append(f.Rows, []Cell{{Text: nameOf(k)}, value(m.unit, is[k]), value(m.unit, was[k]),
			change(m.unit, is[k], was[k]), b.worst(m, days[k]), share(b.period.shareOf(has[k]))})
	}
	f.cut(maxRows)
	f.chart(b, m, order, days)
	return f, nil
}

// worst is a cell with the worst value of a day, and its date.
func (b *builder) worst(m measure, days []*float64) Cell {
	at := -1
	for i, v := range days {
		if v != nil && (at < 0 || m.low && *v < *days[at] || !m.low && *v > *days[at]) {
			at = i
		}
	}
	if at < 0 {
		return Cell{Text: unknown}
	}
	return Cell{Text: write(m.unit, *days[at]) + " (" + b.date(at) + ")", Value: days[at]}
}

// date is that of a day of the period, as day and month.
func (b *builder) date(i int) string { return b.period.From.AddDate(0, 0, i).Format("2 Jan") }

// linesAtMost is how many lines a chart has that can be distinguished in print.
const linesAtMost = 6

func (f *Figure) chart(b *builder, m measure, order []string, days map[string][]*float64) {
	c := Chart{Kind: Lines, Title: m.title + " by day", Unit: m.unit, From: b.period.From, Days: b.period.days(),
		Gaps: f.Gaps}
	for _, k := range order {
		if len(c.Series) == linesAtMost {
			break
		}
		if days[k] != nil {
			c.Series = append(c.Series, Line{Name: nameOf(k), Values: days[k]})
		}
	}
	if len(c.Series) > 0 {
		f.Charts = append(f.Charts, c)
	}
}

func list(by []string) string { return strings.Join(by, ", ") }
