package report

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/platform/visible"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

// A builder reads the figures of one period.
type builder struct {
	Config
	period, before Period

	ran     Coverage       // by the days on which upkeep was scraped
	ranBy   Query          // how that is known
	outcome journal.Review // what the journal says of the period
	fired   inbox.Review   // what fired in it

	costs   []statement // of the statements; nil before they are read
	costsOf *Figure     // with how they were read
}

// A statement is what one cost in this period and in the one before.
type statement struct {
	labels           map[string]string
	calls, seconds   float64
	callsBefore      *float64
	secondsBefore    *float64
	covered          *float64
	coveredBefore    *float64
	stretch          float64 // how many times as many days are known of this period as of the one before
	text             string
	mean, meanBefore *float64
}

// noPrometheus is what a figure of metrics says without one.
const noPrometheus = "no Prometheus is configured: set embedded.enabled or prometheus.url"

// instant asks for a vector at a moment, and drops what is no number.
func (b *builder) instant(ctx context.Context, expr string, at time.Time) ([]prom.Sample, error) {
	if b.Prometheus == nil {
		return nil, nil
	}
	all, err := b.Prometheus.Query(ctx, expr, at)
	return slices.DeleteFunc(all, func(s prom.Sample) bool { return math.IsNaN(s.Value) || math.IsInf(s.Value, 0) }),
		err
}

// values asks for a vector at a moment, by the labels of its subjects.
func (b *builder) values(ctx context.Context, expr string, by []string, at time.Time) (map[string]*float64, error) {
	all, err := b.instant(ctx, expr, at)
	values := make(map[string]*float64, len(all))
	for _, s := range all {
		values[keyOf(s.Labels, by)] = new(s.Value)
	}
	return values, err
}

// daily asks for the value of each day of a period, at its end. A day without a value is nil.
func (b *builder) daily(ctx context.Context, of Period, expr string, by []string) (map[string][]*float64, error) {
	values := make(map[string][]*float64)
	if b.Prometheus == nil {
		return values, nil
	}
	all, err := b.Prometheus.Range(ctx, expr, of.From.Add(day), of.end, day)
	for _, s := range all {
		days := make([]*float64, of.days())
		for _, p := range s.Points {
			i := int(p.At.Sub(of.From)/day) - 1
			if i >= 0 && i < len(days) && !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
				days[i] = new(p.Value)
			}
		}
		values[keyOf(s.Labels, by)] = days
	}
	return values, err
}

// hours is how the coverage of a vector is read: the share of the hours of each day at whose end it
// has a value.
func hours(has string) string { return "count_over_time((" + has + ")[1d:1h]) / 24" }

// covers is the query for the coverage of a figure.
func covers(selector string) Query {
	return Query{Language: "PromQL", Text: hours("count(" + selector + ")"), Step: "1d", About: "coverage"}
}

// succeeded selects the collections that succeeded: one series is enough for all that a collector
// writes.
func succeeded(collector string) string {
	return `upkeep_collector_success{collector="` + collector + `"} == 1`
}

// covered reads the coverage of a selector in the period.
func (b *builder) covered(ctx context.Context, selector string) (Coverage, error) {
	return b.coveredIn(ctx, b.period, selector)
}

func (b *builder) coveredIn(ctx context.Context, of Period, selector string) (Coverage, error) {
	days, err := b.daily(ctx, of, covers(selector).Text, nil)
	if err != nil || b.Prometheus == nil {
		return Coverage{}, err
	}
	return of.coverage(days[keyOf(nil, nil)]), nil
}

// coveredBoth reads the coverage of a selector in the period and in the one before.
func (b *builder) coveredBoth(ctx context.Context, selector string) (c Coverage, err error) {
	if c, err = b.covered(ctx, selector); err != nil {
		return c, err
	}
	was, err := b.coveredIn(ctx, b.before, selector)
	c.Before = was.Share
	return c, err
}

// coverage sums up the shares of the days.
func (p Period) coverage(days []*float64) Coverage {
	var c Coverage
	sum := 0.0
	for i := range p.days() {
		if i < len(days) && days[i] != nil && *days[i] > 0 {
			sum += min(*days[i], 1) // before Prometheus 3 both ends of a range count
			continue
		}
		c.Gaps = append(c.Gaps, p.From.Add(time.Duration(i)*day).Format(time.DateOnly))
	}
	c.Share = new(sum / float64(p.days()))
	return c
}

// shareOf returns the mean of the shares of days.
func (p Period) shareOf(days []*float64) *float64 {
	if days == nil {
		return nil
	}
	return p.coverage(days).Share
}

// alike is how much less of one period than of the other may be covered where sums of them are compared: months
// differ by a tenth.
const alike = 0.85

// stretch returns how many times as many days are known of this period as of the one before; ok is false where that
// is too different to compare sums.
func (b *builder) stretch(is, was *float64) (times float64, ok bool) {
	if is == nil || was == nil {
		return 0, false
	}
	x, y := *is*float64(b.period.days()), *was*float64(b.before.days())
	return x / y, y > 0 && min(x, y) >= alike*max(x, y)
}

// change returns by how much the total time differs from what it was in the period before, in as many days.
func (s statement) change() *float64 {
	if s.secondsBefore == nil {
		return nil
	}
	return new(s.seconds - *s.secondsBefore*s.stretch)
}

// keyOf joins the values of labels.
func keyOf(labels map[string]string, by []string) string {
	var k strings.Builder
	for _, name := range by {
		k.WriteString(labels[name])
		k.WriteByte(0)
	}
	return k.String()
}

// nameOf writes the labels of a key for people.
func nameOf(key string) string {
	var parts []string
	for part := range strings.SplitSeq(strings.TrimSuffix(key, "\x00"), "\x00") {
		if part != "" {
			parts = append(parts, visible.Text(part))
		}
	}
	return strings.Join(parts, " ")
}

// over writes the length of a period into an expression.
func over(expr string, p Period) string { return strings.ReplaceAll(expr, "$range", p.lasts()) }

// maxRows is how many rows a table has: what is further down is looked at on a dashboard.
const maxRows = 20

// cut leaves out what is beyond the length of a table.
func (f *Figure) cut(most int) {
	if len(f.Rows) > most {
		f.Hidden = len(f.Rows) - most
		f.Rows = f.Rows[:most]
	}
}

// shown returns a figure that says so where it has no row, and no list that is null in JSON.
func (f Figure) shown() Figure {
	if f.Queries == nil {
		f.Queries = []Query{}
	}
	if f.Gaps == nil {
		f.Gaps = []string{}
	}
	if f.Columns == nil {
		f.Columns = []Column{}
	}
	if f.Rows == nil {
		f.Rows = [][]Cell{}
	}
	f.Fault = visible.Text(f.Fault)
	return f
}

// unread returns a figure that could not be read: a part of its rows would be taken for all of them.
func (f Figure) unread(err error) Figure {
	return Figure{Title: f.Title, About: f.About, Queries: f.Queries, Columns: f.Columns, Fault: err.Error(),
		asOfNow: f.asOfNow}
}

// part returns one of the values of a key.
func part(key string, i int) string {
	parts := strings.Split(key, "\x00")
	if i >= len(parts) {
		return ""
	}
	return parts[i]
}
