package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/ai-micro-service/upkeep/alerts"
)

const seconds, callsOf = "upkeep_postgres_statement_seconds_total", "upkeep_postgres_statement_calls_total"

// counted are the samples of a counter, as they were scraped: stale where it ended.
type counted struct {
	at    []time.Time
	v     []float64
	stale []bool
}

// spentBegin is of no round minute.
func spentBegin() time.Time { return time.Date(2026, 11, 2, 0, 0, 7, 0, time.UTC) }

const (
	spentDays   = 4
	spentScrape = time.Minute
	lookback    = 5 * time.Minute
)

// random makes the history of a counter. By chance it begins late, ends early, is reset, is away for up to a day, is
// not scraped for a while, and grows by bursts.
func random(r *rand.Rand) (c counted) {
	steps := int(spentDays * 24 * time.Hour / spentScrape)
	v, perStep := 1000*r.Float64(), r.Float64()
	from, to := 0, steps
	if r.Float64() < 0.3 {
		from = r.IntN(steps)
	}
	if r.Float64() < 0.2 {
		to = from + r.IntN(steps-from)
	}
	away, chance := 0, r.Float64()*8/float64(steps) // of what happens: some have none of it
	if r.Float64() < 0.3 {
		chance = 0
	}
	for i := from; i < to; i++ {
		at := spentBegin().Add(time.Duration(i) * spentScrape)
		switch v += perStep * r.Float64(); {
		case r.Float64() < chance: // the process begins anew, with what it counted until then or not
			v *= 0.5 * r.Float64() * r.Float64()
		case r.Float64() < chance:
			v += 500 * perStep
		case away == 0 && r.Float64() < chance/2:
			if away = 1 + r.IntN(24*60); r.Float64() < 0.5 { // it has left the list, or nothing was scraped
				c.at, c.v, c.stale = append(c.at, at), append(c.v, math.NaN()), append(c.stale, true)
			}
		}
		if away > 0 {
			away--
			continue
		}
		c.at, c.v, c.stale = append(c.at, at), append(c.v, v), append(c.stale, false)
	}
	if n := len(c.at); n > 0 && to < steps {
		c.stale[n-1] = true
	}
	return c
}

// seen is what a loop over all samples of a range says: by how much the counter grew, how many moments there are around
// which a sample each five minutes says less.
type seen struct {
	grew       float64
	moments    int
	edge       float64 // what counters have at once when they are reset in the first or the last five minutes
	samples    int
	lasted     time.Duration
	atBothEnds bool
}

func (c counted) in(from, to time.Time) (s seen) {
	last, before, begun := math.NaN(), time.Time{}, time.Time{}
	live := false // at the begin of the range
	for i, at := range c.at {
		if at.After(to) {
			break
		}
		if !at.After(from) {
			if live = !c.stale[i] && from.Sub(at) < lookback; i > 0 && live && c.v[i] < c.v[i-1] {
				s.moments++ // just before the range
			}
			last, before = math.NaN(), at
			if live {
				last = c.v[i]
			}
			continue
		}
		if c.stale[i] {
			s.moments++
			continue
		}
		if begun.IsZero() {
			begun = at
		}
		s.samples++
		s.lasted = at.Sub(begun)
		if math.IsNaN(last) {
			s.moments++ // the first one: it is not known what it counted before
		} else {
			d := c.v[i] - last
			if d < 0 {
				if d, s.moments = c.v[i], s.moments+1; at.Sub(from) < lookback || to.Sub(at) < lookback {
					s.edge += d
				}
			}
			if at.Sub(before) > 2*spentScrape {
				s.moments++
			}
			s.grew += d
		}
		last, before = c.v[i], at
	}
	n := len(c.at)
	for n > 0 && c.at[n-1].After(to) {
		n--
	}
	s.atBothEnds = live && n > 0 && !c.stale[n-1] && to.Sub(c.at[n-1]) < lookback
	return s
}

// step is the most that a counter grows by between two samples that are recorded, without a gap.
func (c counted) step() (most float64) {
	for i := range c.at {
		sum := 0.0
		for j := i + 1; j < len(c.at) && c.at[j].Sub(c.at[i]) <= 2*lookback; j++ {
			if d := c.v[j] - c.v[j-1]; d > 0 {
				sum += d
			}
		}
		most = max(most, sum)
	}
	return most
}

// A month is a storage with statements and what the rules record of them.
type month struct {
	t       testing.TB
	db      *teststorage.TestStorage
	engine  *promql.Engine
	records map[string]string
}

func newMonth(t testing.TB) *month {
	t.Helper()
	frugal := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: 5 * time.Minute, LookbackDelta: lookback,
		Parser: parser.NewParser(parser.Options{})}) // as many as a viewer has
	m := &month{t: t, engine: frugal, records: make(map[string]string), db: teststorage.New(t, func(o *tsdb.Options) {
		o.MinBlockDuration, o.MaxBlockDuration = (1000 * 24 * time.Hour).Milliseconds(), (1000 * 24 * time.Hour).Milliseconds()
	})}
	rules, err := alerts.Recording(alerts.Files())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if strings.HasPrefix(r.Name, sparse("upkeep_")) {
			if m.records[r.Name] = r.Expr; r.Interval != "5m" {
				t.Errorf("%s is recorded each %q", r.Name, r.Interval)
			}
		}
	}
	if len(m.records) != 2 {
		t.Fatalf("%d counters are recorded", len(m.records))
	}
	return m
}

// statementOf returns the labels of a counter of a statement.
func statementOf(metric string, i int, instance string) labels.Labels {
	return labels.FromStrings("__name__", metric, "job", "upkeep", "instance", instance, "server", "main", "database",
		"app", "user", "app", "queryid", strconv.Itoa(i))
}

// write stores a counter.
func (m *month) write(l labels.Labels, c counted) {
	m.t.Helper()
	a, ref := m.db.Appender(m.t.Context()), storage.SeriesRef(0)
	for i, at := range c.at {
		v := c.v[i]
		if c.stale[i] {
			v = math.Float64frombits(value.StaleNaN)
		}
		var err error
		if ref, err = a.Append(ref, l, at.UnixMilli(), v); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := a.Commit(); err != nil {
		m.t.Fatal(err)
	}
}

// record evaluates the rules each five minutes, as the server does: what is gone ends.
func (m *month) record(from, to time.Time) {
	m.t.Helper()
	for name, expr := range m.records {
		last := make(map[string]labels.Labels)
		for at := from.Add(lookback); !at.After(to); at = at.Add(lookback) {
			v, err := one(m.t.Context(), m.engine, m.db, expr, at)
			if err != nil {
				m.t.Fatal(err)
			}
			a, there := m.db.Appender(m.t.Context()), make(map[string]labels.Labels)
			put := func(l labels.Labels, v float64) {
				if _, err := a.Append(0, l, at.UnixMilli(), v); err != nil {
					m.t.Fatal(err)
				}
			}
			for _, s := range v {
				b := labels.NewBuilder(s.Metric)
				l := b.Set(labels.MetricName, name).Labels()
				there[l.String()] = l
				put(l, s.F)
			}
			for key, l := range last {
				if there[key].IsEmpty() {
					put(l, math.Float64frombits(value.StaleNaN))
				}
			}
			if err := a.Commit(); err != nil {
				m.t.Fatal(err)
			}
			last = there
		}
	}
}

// ask evaluates what a board asks, with all of each variable, by the number of the statement.
func (m *month) ask(expr string, over time.Duration, at time.Time) map[string]float64 {
	m.t.Helper()
	q := question{target: query{Expr: expr}, span: over, scrape: spentScrape, width: 24, values: map[string]string{
		"job": ".+", "instance": ".+", "postgres": ".*", "database": ".*", "queryid": ".*", "leave_out": "upkeep"}}
	v, err := one(m.t.Context(), m.engine, m.db, q.expr(), at)
	if err != nil {
		m.t.Fatal(err)
	}
	all := make(map[string]float64, len(v))
	for _, s := range v {
		all[s.Metric.Get("queryid")] = s.F
	}
	return all
}

// What tables say that a statement took in a range, and in the range before, is what its samples say: exactly where it
// was there at both ends and was not reset, otherwise but for the moments around which a sample each five minutes says
// less.
func TestSpentIsWhatTheSamplesSay(t *testing.T) {
	t.Parallel()
	const histories = 40
	m, r := newMonth(t), rand.New(rand.NewPCG(4**panelSeed, 16))
	all := make([]counted, histories)
	for i := range all {
		all[i] = random(r)
		m.write(statementOf(seconds, i, "one:9847"), all[i])
	}
	end := spentBegin().Add(spentDays * 24 * time.Hour)
	m.record(spentBegin().Truncate(lookback), end)
	exact, near, worst := 0, 0, 0.0
	compare := func(what string, over time.Duration, i int, got float64, there bool, s seen) {
		t.Helper()
		if !there {
			if s.samples > 1 && s.lasted > 2*lookback {
				t.Errorf("seed %d, %s of %d: nothing, the samples say %v", *panelSeed, what, i, s.grew)
			}
			return
		}
		if s.atBothEnds && s.moments == 0 {
			if exact++; math.Abs(got-s.grew) > 1e-6*math.Abs(s.grew)+1e-9 {
				t.Errorf("seed %d, %s of %d: %v, the samples say %v", *panelSeed, what, i, got, s.grew)
			}
			return
		}
		// Increase extends what it sees towards both ends of the range, by up to a mean distance of its samples.
		extended := s.grew * math.Max(float64(2*lookback)/float64(over), 6/float64(max(s.samples, 1)))
		near++
		off := math.Abs(got-s.grew) / (all[i].step()*float64(s.moments+2) + extended + s.edge)
		if worst = max(worst, off); off > 1 {
			t.Errorf("seed %d, %s of %d: %v, the samples say %v; %d moments", *panelSeed, what, i, got, s.grew, s.moments)
		}
	}
	for _, over := range []time.Duration{5 * time.Minute, time.Hour, 7 * time.Hour, 30 * time.Hour, 48 * time.Hour} {
		for range 8 {
			at := end.Add(-time.Duration(r.Int64N(int64(spentDays*24*time.Hour - 2*over + time.Minute))))
			now := m.ask(statements.spent(seconds), over, at)
			before := m.ask(statements.spentBefore(seconds), over, at)
			for i, c := range all {
				v, there := now[strconv.Itoa(i)]
				compare(fmt.Sprintf("the last %s at %s", over, at), over, i, v, there, c.in(at.Add(-over), at))
				v, there = before[strconv.Itoa(i)]
				compare(fmt.Sprintf("%s before at %s", over, at), over, i, v, there, c.in(at.Add(-2*over), at.Add(-over)))
			}
		}
	}
	t.Logf("%d exact, %d near, at most %.2f of what may be", exact, near, worst)
	if exact < 500 || near < 300 {
		t.Error("too few were compared")
	}
}

// Before anything was recorded, as after an upgrade, a statement that was not reset has its whole month; one that was
// seen for the first time some minutes ago has what it took since.
func TestSpentWithoutWhatIsRecorded(t *testing.T) {
	t.Parallel()
	m := newMonth(t)
	end := spentBegin().Add(30 * 24 * time.Hour)
	var old, young counted
	for at := spentBegin(); !at.After(end); at = at.Add(spentScrape) {
		v := at.Sub(spentBegin()).Seconds()
		old.at, old.v, old.stale = append(old.at, at), append(old.v, v), append(old.stale, false)
		if end.Sub(at) < 4*time.Minute {
			young.at, young.v, young.stale = append(young.at, at), append(young.v, v), append(young.stale, false)
		}
	}
	m.write(statementOf(seconds, 1, "one:9847"), old)
	m.write(statementOf(seconds, 2, "one:9847"), young)
	got := m.ask(statements.spent(seconds), 29*24*time.Hour, end)
	if got["1"] != 29*86400 || got["2"] < 180 || got["2"] > 240 {
		t.Errorf("%v", got)
	}
}

// BenchmarkStatementsOfAMonth asks for the tables of statements over thirty days, with 200 statements that are scraped
// each 15 seconds, as they were asked before and as they are.
func BenchmarkStatementsOfAMonth(b *testing.B) {
	const statementsOf, scrape = 200, 15 * time.Second
	m := newMonth(b)
	end := spentBegin().Add(31 * 24 * time.Hour)
	for i := range statementsOf {
		for _, metric := range []string{seconds, callsOf} {
			var c, recorded counted
			r, v := rand.New(rand.NewPCG(uint64(i), 30)), 0.0
			for n, at := 0, spentBegin(); !at.After(end); n, at = n+1, at.Add(scrape) {
				if n%4 == 0 { // the collector reads once a minute
					v += math.Floor(r.Float64() * float64(1+i))
				}
				if n == 12345 {
					v = 0
				}
				c.at, c.v, c.stale = append(c.at, at), append(c.v, v), append(c.stale, false)
				if n%20 == 19 {
					recorded.at, recorded.v = append(recorded.at, at), append(recorded.v, v)
					recorded.stale = append(recorded.stale, false)
				}
			}
			m.write(statementOf(metric, i, "one:9847"), c)
			m.write(statementOf(sparse(metric), i, "one:9847"), recorded)
		}
	}
	m.write(statementOf("upkeep_postgres_statement_info", 0, "one:9847"), counted{[]time.Time{end}, []float64{1},
		[]bool{false}})
	begin := spentBegin().UnixMilli() // a head of a month is not what a server has
	if err := m.db.CompactHead(tsdb.NewRangeHead(m.db.Head(), begin, end.UnixMilli())); err != nil {
		b.Fatal(err)
	}
	boards, err := all()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, board := range boards {
			for _, p := range board.shown() {
				for i, q := range p.Targets {
					if !strings.Contains(q.Expr, sparse("upkeep_")) || strings.Contains(q.Expr, "${__range_ms}") {
						continue
					}
					began, spent := time.Now(), processorTime(b)
					if n := len(m.ask(q.Expr, 30*24*time.Hour, end)); n < 10 {
						b.Fatalf("%s, %s: %d rows", board.UID, p.Title, n)
					}
					b.Logf("%s, %q, column %d: %.2f s of a processor, %.2f s; %d bytes", board.UID, p.Title, i,
						(processorTime(b) - spent).Seconds(), time.Since(began).Seconds(), len(q.Expr))
				}
			}
		}
	}
	for name, expr := range map[string]string{"was": once("increase(" + statements.raw(seconds) + "[$__range])"),
		"is": statements.spent(seconds)} {
		spent := processorTime(b)
		m.ask(expr, 30*24*time.Hour, end)
		b.ReportMetric((processorTime(b) - spent).Seconds(), name+"-cpu-s")
	}
}

// processorTime is how long this process has used processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
