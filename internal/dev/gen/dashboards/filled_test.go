package main

import (
	"context"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// A filled is a storage for Prometheus' engine whose samples are computed when they are read:
// 450 days of a sample each 15 seconds of a thousand series are too much to write for each test.
// TestFilledIsWhatPrometheusReads compares it with a storage that is written.
type filled struct {
	scrape time.Duration
	series map[string][]*made // by the name of their metric
}

// made is one series.
type made struct {
	name  labels.Labels
	every int64 // between its samples, in milliseconds
	phase int64 // of its samples
	value func(at int64) float64
}

// The samples are of the 450 days before this moment, which is of no round minute.
func filledEnd() time.Time { return time.Date(2026, 11, 30, 3, 17, 23, 0, time.UTC) }

const filledDays = 450

func filledBegin() int64 { return filledEnd().Add(-filledDays * 24 * time.Hour).UnixMilli() }

func (f *filled) add(name labels.Labels, every time.Duration, value func(at int64) float64) {
	m := &made{name: name, every: every.Milliseconds(), value: value}
	if name.Get("job") == "upkeep" || name.Get("instance") != "" { // what is scraped; a rule's samples are at round times
		m.phase = int64(hash(name.Get("instance")) % uint64(m.every))
	}
	metric := name.Get(labels.MetricName)
	f.series[metric] = append(f.series[metric], m)
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// Querier implements storage.Queryable.
func (f *filled) Querier(mint, maxt int64) (storage.Querier, error) {
	return &filledQuerier{f, max(mint, filledBegin()), min(maxt, filledEnd().UnixMilli())}, nil
}

type filledQuerier struct {
	f          *filled
	mint, maxt int64
}

func (q *filledQuerier) matching(matchers []*labels.Matcher) (all []*made) {
	var metric string
	for _, m := range matchers {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
			metric = m.Value
		}
	}
	for _, s := range q.f.series[metric] {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.name.Get(m.Name)) }) {
			all = append(all, s)
		}
	}
	return all
}

// Select implements storage.Querier.
func (q *filledQuerier) Select(_ context.Context, _ bool, hints *storage.SelectHints,
	matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	var all []storage.Series
	for _, s := range q.matching(matchers) {
		all = append(all, &storage.SeriesEntry{Lset: s.name,
			SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
				return storage.NewListSeriesIterator(s.in(mint, maxt))
			}})
	}
	slices.SortFunc(all, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return &madeSet{all: all, at: -1}
}

// LabelValues implements storage.LabelQuerier.
func (q *filledQuerier) LabelValues(_ context.Context, name string, _ *storage.LabelHints,
	matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var values []string
	for _, s := range q.matching(matchers) {
		if v := s.name.Get(name); v != "" {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil, nil
}

// LabelNames implements storage.LabelQuerier.
func (q *filledQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string,
	annotations.Annotations, error) {
	return nil, nil, nil
}

// Close implements storage.LabelQuerier.
func (q *filledQuerier) Close() error { return nil }

type madeSet struct {
	all []storage.Series
	at  int
}

func (s *madeSet) Next() bool                        { s.at++; return s.at < len(s.all) }
func (s *madeSet) At() storage.Series                { return s.all[s.at] }
func (s *madeSet) Err() error                        { return nil }
func (s *madeSet) Warnings() annotations.Annotations { return nil }

// A madeSamples are the samples of a series from one moment on, computed one by one; the last that was
// asked for is the one that it is.
type madeSamples struct {
	s        *made
	first, t int64
	n        int
}

// in returns the samples of a series within bounds.
func (s *made) in(mint, maxt int64) *madeSamples {
	first := s.phase + (mint-s.phase+s.every-1)/s.every*s.every
	return &madeSamples{s: s, first: first, n: int(max(0, (maxt-first+s.every)/s.every))}
}

// Get implements storage.Samples.
func (m *madeSamples) Get(i int) chunks.Sample { m.t = m.first + int64(i)*m.s.every; return m }

// Len implements storage.Samples.
func (m *madeSamples) Len() int { return m.n }

func (m *madeSamples) T() int64                      { return m.t }
func (m *madeSamples) ST() int64                     { return 0 }
func (m *madeSamples) F() float64                    { return m.s.value(m.t) }
func (m *madeSamples) H() *histogram.Histogram       { return nil }
func (m *madeSamples) FH() *histogram.FloatHistogram { return nil }
func (m *madeSamples) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (m *madeSamples) Copy() chunks.Sample           { c := *m; return &c }

// What values are made of: time since the begin, in seconds, and days to the end.
func sinceBegin(at int64) float64 { return float64(at-filledBegin()) / 1000 }
func days(at int64) float64       { return float64(at-filledEnd().UnixMilli()) / 86_400_000 }

func constant(v float64) func(int64) float64 { return func(int64) float64 { return v } }

// growing is a value at the end that was smaller before.
func growing(v, aDay float64) func(int64) float64 {
	return func(at int64) float64 { return v * math.Exp(aDay*days(at)) }
}

// counting counts n a second.
func counting(n float64) func(int64) float64 {
	return func(at int64) float64 { return n * sinceBegin(at) }
}

// waving is a value that goes up and down by a share over a day.
func waving(v, share float64) func(int64) float64 {
	return func(at int64) float64 {
		_, day := math.Modf(days(at) + filledDays)
		return v * (1 + share*(4*math.Abs(day-0.5)-1))
	}
}

// again is the moment at which something was last done that is done at each interval.
func again(every time.Duration) func(int64) float64 {
	return func(at int64) float64 { return float64(at / every.Milliseconds() * every.Milliseconds() / 1000) }
}

// one evaluates an expression at a moment.
func one(ctx context.Context, e *promql.Engine, q storage.Queryable, expr string, at time.Time) (promql.Vector, error) {
	asked, err := e.NewInstantQuery(ctx, q, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer asked.Close()
	r := asked.Exec(ctx)
	if r.Err != nil {
		return nil, r.Err
	}
	if v, ok := r.Value.(promql.Vector); ok {
		return slices.Clone(v), nil
	}
	v, err := r.Scalar()
	return promql.Vector{{T: v.T, F: v.V}}, err
}

// is reports whether a name begins with one of the prefixes.
func is(name string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}
