package report

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
)

const (
	statementSeconds = "upkeep_postgres_statement_seconds_total"
	statementCalls   = "upkeep_postgres_statement_calls_total"

	// top is how many statements a list has, and textLimit how many letters of one are shown.
	top, textLimit = 10, 160

	// most is how many statements are looked at for a list: of some, less is known of one period than of the other.
	most = 5 * top

	// rareCalls is below how many calls a mean says nothing of a statement.
	rareCalls = 2
)

func statementLabels() []string { return []string{"server", "database", "user", "queryid"} }

// costQuery sums up a counter. It reads a value an hour: a server has a hundred statements, and a
// month of each has 180,000 samples. Replicas of upkeep, and an upkeep that has moved, export the same counter.
func costQuery(counter string, p Period) string {
	return over("increase(max by ("+list(statementLabels())+") ("+counter+`{queryid!="other"})[$range:1h])`, p)
}

const statementText = "last_over_time(upkeep_postgres_statement_info[$range:1h])"

// statements reads what the statements cost. The three figures of them are read one after the
// other, so that the first keeps it for the others.
func (b *builder) statements(ctx context.Context, f *Figure) ([]statement, error) {
	if b.Prometheus == nil {
		f.Note = noPrometheus
		return nil, nil
	}
	if b.costs == nil {
		of := new(Figure)
		all, err := b.readStatements(ctx, of)
		if err != nil {
			return nil, err
		}
		b.costs, b.costsOf = append([]statement{}, all...), of
	}
	f.Queries, f.Coverage, f.Note = b.costsOf.Queries, b.costsOf.Coverage, b.costsOf.Note
	return slices.Clone(b.costs), nil
}

func (b *builder) readStatements(ctx context.Context, f *Figure) (all []statement, err error) {
	by := statementLabels()
	f.Queries = []Query{
		{Language: "PromQL", Text: costQuery(statementSeconds, b.period), At: b.period.end, About: "time"},
		{Language: "PromQL", Text: costQuery(statementCalls, b.period), At: b.period.end, About: "calls"},
		covers(succeeded("postgres/statements")),
	}
	if f.Coverage, err = b.coveredBoth(ctx, succeeded("postgres/statements")); err != nil {
		return nil, err
	}
	seconds, err := b.instant(ctx, f.Queries[0].Text, b.period.end)
	if err != nil {
		return nil, err
	}
	values := make([]map[string]*float64, 3)
	for i, q := range []struct {
		expr string
		of   Period
	}{{costQuery(statementCalls, b.period), b.period}, {costQuery(statementSeconds, b.before), b.before},
		{costQuery(statementCalls, b.before), b.before}} {
		if values[i], err = b.values(ctx, q.expr, by, q.of.end); err != nil {
			return nil, err
		}
	}
	texts, err := b.texts(ctx)
	if err != nil {
		return nil, err
	}
	stretch, whole := b.stretch(f.Share, f.Before)
	if !whole && f.Before != nil {
		f.Note = "Total times are not compared: the data cover " + percent(*f.Before) + " of " + b.before.Part() + "."
	}
	for _, s := range seconds {
		if one, ok := newStatement(s, values); ok {
			if one.stretch = stretch; !whole {
				one.secondsBefore = nil
			}
			one.text = texts[keyOf(s.Labels, []string{"server", "queryid"})]
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		f.Note = "No statement has data: the extension pg_stat_statements is needed."
	}
	return all, nil
}

// exported reads for which part of both periods the statements of a list were exported. Total times are
// compared where the parts are alike.
func (b *builder) exported(ctx context.Context, all []statement) error {
	ids := make([]string, len(all))
	for i, s := range all {
		ids[i] = regexp.QuoteMeta(s.labels["queryid"])
	}
	by := statementLabels()
	expr := hours(fmt.Sprintf("count by (%s) (%s{queryid=~%q})", list(by), statementCalls,
		strings.Join(ids, "|")))
	has, err := b.daily(ctx, b.period, expr, by)
	if err != nil {
		return err
	}
	had, err := b.daily(ctx, b.before, expr, by)
	for i := range all {
		s := &all[i]
		k := keyOf(s.labels, by)
		s.covered, s.coveredBefore = b.period.shareOf(has[k]), b.before.shareOf(had[k])
		var alike bool
		if s.stretch, alike = b.stretch(s.covered, s.coveredBefore); !alike {
			s.secondsBefore = nil
		}
	}
	return err
}

// newStatement joins what was read of one statement; ok is false where it was not called.
func newStatement(s prom.Sample, values []map[string]*float64) (one statement, ok bool) {
	k := keyOf(s.Labels, statementLabels())
	calls := values[0][k]
	if calls == nil || *calls < 0.5 {
		return one, false
	}
	one = statement{labels: s.Labels, calls: *calls, seconds: s.Value, secondsBefore: values[1][k],
		callsBefore: values[2][k], mean: new(s.Value / *calls)}
	if c := one.callsBefore; c == nil || *c < 0.5 || one.secondsBefore == nil {
		one.callsBefore, one.secondsBefore = nil, nil
	} else {
		one.meanBefore = new(*one.secondsBefore / *c)
	}
	return one, true
}

// texts reads the texts of the statements, which have no literals in them.
func (b *builder) texts(ctx context.Context) (map[string]string, error) {
	all, err := b.instant(ctx, over(statementText, b.period), b.period.end)
	texts := make(map[string]string, len(all))
	for _, s := range all {
		texts[keyOf(s.Labels, []string{"server", "queryid"})] = s.Labels["query"]
	}
	return texts, err
}

func statementColumns(before Period) []Column {
	return []Column{{"statement", Words}, {"on", Words}, {"calls", Number}, {"mean", Seconds},
		{"mean in " + before.Part(), Seconds}, {"total", Seconds}, {"total in " + before.Part(), Seconds},
		{"change", Seconds}, {"data", Ratio}}
}

func (f *Figure) statements(all []statement) {
	bars := Chart{Kind: Bars, Title: f.Title + ": total time, this period and the one before", Unit: Seconds}
	for i, s := range all {
		was, change := value(Seconds, s.secondsBefore), Cell{Text: "nothing to compare"}
		if d := s.change(); d != nil {
			change = difference(Seconds, *d)
		} else if s.meanBefore != nil {
			was, change = Cell{Text: "not comparable"}, Cell{Text: "–"}
		}
		f.Rows = append(f.Rows, []Cell{{Text: s.name()},
			{Text: nameOf(keyOf(s.labels, []string{"server", "database", "user"}))},
			value(Number, new(math.Round(s.calls))), value(Seconds, s.mean), value(Seconds, s.meanBefore),
			value(Seconds, &s.seconds), was, change, share(s.covered)})
		bars.Series = append(bars.Series, Line{Name: write(Number, float64(i+1)) + ". " + shorten(s.name(), 60),
			Values: []*float64{&all[i].seconds, s.secondsBefore}})
	}
	if len(all) > 0 {
		f.Charts = append(f.Charts, bars)
	}
}

// name is the text of a statement, or its number where upkeep does not know the text.
func (s statement) name() string {
	if s.text == "" {
		return "(text not exported, queryid " + visible.Text(s.labels["queryid"]) + ")"
	}
	return shorten(visible.Text(strings.Join(strings.Fields(s.text), " ")), textLimit)
}

func (b *builder) slowest(ctx context.Context) (Figure, error) {
	return b.ranked(ctx, Figure{Title: "The ten slowest statements",
		About: "By their mean time, of those that were called twice or more."},
		func(s statement) float64 {
			if s.calls < rareCalls {
				return math.Inf(-1)
			}
			return *s.mean
		})
}

func (b *builder) costliest(ctx context.Context) (Figure, error) {
	return b.ranked(ctx, Figure{Title: "The ten statements that took the most time",
		About: "By the time of all their calls together."}, func(s statement) float64 { return s.seconds })
}

func (b *builder) changed(ctx context.Context) (Figure, error) {
	return b.ranked(ctx, Figure{Title: "The ten statements that changed most",
		About: "By the change of their total time; only what was called in both periods. The change is beside as " +
			"many days of the period before: a longer month is no change."},
		func(s statement) float64 {
			d := s.change()
			if d == nil {
				return math.Inf(-1)
			}
			return math.Abs(*d)
		})
}

// ranked shows the first ten statements by a rank; what has none is left out.
func (b *builder) ranked(ctx context.Context, f Figure, rank func(statement) float64) (Figure, error) {
	f.Columns = statementColumns(b.before)
	all, err := b.statements(ctx, &f)
	if err != nil {
		return f, err
	}
	all = slices.DeleteFunc(all, func(s statement) bool { return math.IsInf(rank(s), -1) })
	slices.SortFunc(all, func(x, y statement) int {
		return cmp.Or(cmp.Compare(rank(y), rank(x)),
			cmp.Compare(keyOf(x.labels, statementLabels()), keyOf(y.labels, statementLabels())))
	})
	if len(all) == 0 && f.Note == "" {
		f.Note = "No statement was called in both periods."
	}
	found := len(all)
	if all = all[:min(found, most)]; len(all) > 0 {
		if err := b.exported(ctx, all); err != nil {
			return f, err
		}
	}
	shown := slices.DeleteFunc(slices.Clone(all), func(s statement) bool { return math.IsInf(rank(s), -1) })
	slices.SortStableFunc(shown, func(x, y statement) int { return cmp.Compare(rank(y), rank(x)) })
	shown = shown[:min(len(shown), top)]
	f.Hidden = found - len(shown)
	f.statements(shown)
	return f, nil
}
