// Package collectors says what a collector is: a named question put to one
// target, and the metrics that answer it. The questions themselves live in the
// packages below this one, one file each; package scrape asks them.
package collectors

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrNoData says that a target answered and has nothing to measure, which is
// neither a fault nor a zero.
var ErrNoData = errors.New("nothing to read")

// A Collector is one question about one target.
type Collector struct {
	// Name is "domain/subject". It is the configuration key, the value of the
	// collector label, and the heading in docs/metrics.md.
	Name string

	// Target is the name of the target that is asked.
	Target string

	// Doc is the reference text. Its first sentence is the summary; then come
	// what it reads, the rights it needs and what it costs.
	Doc string

	// Metrics lists everything Collect may write. Writing anything else is an
	// error, so the list can be trusted by the docs, the rules and the dashboards.
	Metrics []*Metric

	// Every is how often the answer is worth asking for, and Timeout how long
	// one answer may take. Both are greater than zero.
	Every, Timeout time.Duration

	// Limit is how many subjects (tables, statements, endpoints) are exported one by
	// one; 0 where their number is bounded by itself. The largest are, and of the
	// others the sum where a sum means something.
	Limit int

	// Collect asks once. It returns when ctx is done, and writes nothing that it
	// did not read: a value that is not known is left out, never zero. Where it
	// asks several databases and one fails, it writes what the others answered
	// and returns the error.
	Collect func(ctx context.Context, w *Writer) error
}

// Type tells a gauge from a counter.
type Type string

// The metric types that a collector may write.
const (
	Gauge     Type = "gauge"
	Counter   Type = "counter"
	Histogram Type = "histogram"
)

// Other is the value of a label for the sum of all subjects beyond the limit.
const Other = "other"

// A Metric describes one metric family.
type Metric struct {
	Name   string   // in base units, with its suffix
	Type   Type     // gauge, counter or histogram
	Help   string   // one sentence: what it means
	Labels []string // in the order in which values are given

	NoPanel string // why no shipped rule or panel reads the metric; "" where one does
}

// AdHoc is the reason of metrics that people query when a panel is not enough.
const AdHoc = "for questions that a person asks"

// WithoutPanel sets why no shipped rule or panel reads the metric, and returns the metric.
func (m *Metric) WithoutPanel(why string) *Metric {
	m.NoPanel = why
	return m
}

// Largest splits subjects into the n that size says are largest, in that order,
// and the rest; n of 0 keeps all as they are. It orders all in place.
func Largest[T any](all []T, n int, size func(T) float64) (kept, rest []T) {
	if n <= 0 || len(all) <= n {
		return all, nil
	}
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(size(b), size(a)) })
	return all[:n], all[n:]
}

// AppendHeader appends the HELP and TYPE lines of the family to text.
func (m *Metric) AppendHeader(text []byte) []byte {
	text = append(text, "# HELP "...)
	text = append(text, m.Name...)
	text = append(text, ' ')
	text = append(text, strings.NewReplacer("\\", `\\`, "\n", `\n`).Replace(m.Help)...)
	text = append(text, "\n# TYPE "...)
	text = append(text, m.Name...)
	text = append(text, ' ')
	text = append(text, m.Type...)
	return append(text, '\n')
}

// A Writer takes the samples of one collection. It keeps them as exposition
// text, one buffer for each metric, so a sample costs no allocation of its own.
type Writer struct {
	metrics []*Metric
	text    [][]byte // text[i] holds the samples of metrics[i]
	samples int
	limit   int
	cut     int
	down    error
	notes   []error
}

// NewWriter returns a Writer that accepts the metrics of c and no others.
func NewWriter(c Collector) *Writer {
	return &Writer{metrics: c.Metrics, text: make([][]byte, len(c.Metrics)), limit: c.Limit}
}

// Limit returns how many subjects may be exported one by one; 0 is all.
func (w *Writer) Limit() int { return w.limit }

// Cut says how many subjects were beyond the limit.
func (w *Writer) Cut(subjects int) { w.cut += subjects }

// Down says why the target does not answer, where that is what the collector reports and no
// fault of its own.
func (w *Writer) Down(why error) { w.down = why }

// Why returns what Down was given, or nil.
func (w *Writer) Why() error { return w.down }

// Note says what is odd in the configuration of the target, where that is no fault: it may be meant so.
func (w *Writer) Note(what error) { w.notes = append(w.notes, what) }

// Noted returns what Note was given, in one error, or nil.
func (w *Writer) Noted() error { return errors.Join(w.notes...) }

// Beyond returns how many subjects were beyond the limit.
func (w *Writer) Beyond() int { return w.cut }

// Set writes one sample. It panics if m was not declared or the number of label
// values is wrong: both are mistakes in the collector, and its test finds them.
func (w *Writer) Set(m *Metric, v float64, values ...string) {
	at := w.place(m, len(values))
	text := appendName(w.text[at], m, "", values)
	if len(values) > 0 {
		text = append(text, '}')
	}
	w.text[at] = appendValue(text, v)
	w.samples++
}

// SetHistogram writes one histogram: bounds are the upper ends of the buckets,
// counts how many observations fell into each of them and, last, beyond all.
func (w *Writer) SetHistogram(m *Metric, bounds []float64, counts []uint64, sum float64, values ...string) {
	at := w.place(m, len(values))
	if len(counts) != len(bounds)+1 {
		panic("collectors: " + m.Name + ": one count for each bucket and one beyond them was expected")
	}
	text, n := w.text[at], uint64(0)
	for i, c := range counts {
		n += c
		text = appendName(text, m, "_bucket", values)
		text = append(text, "{,"[min(len(values), 1)])
		text = append(text, `le="`...)
		if i < len(bounds) {
			text = strconv.AppendFloat(text, bounds[i], 'g', -1, 64)
		} else {
			text = append(text, "+Inf"...)
		}
		text = append(text, `"}`...)
		text = appendValue(text, float64(n))
	}
	for _, total := range []struct {
		suffix string
		v      float64
	}{{"_sum", sum}, {"_count", float64(n)}} {
		text = appendName(text, m, total.suffix, values)
		if len(values) > 0 {
			text = append(text, '}')
		}
		text = appendValue(text, total.v)
	}
	w.text[at] = text
	w.samples += len(counts) + 2
}

// place returns where the samples of a metric go.
func (w *Writer) place(m *Metric, values int) int {
	for i := range w.metrics {
		if w.metrics[i] == m {
			if values != len(m.Labels) {
				panic("collectors: " + m.Name + ": wrong number of label values")
			}
			return i
		}
	}
	panic("collectors: " + m.Name + " is not declared: add it to the Metrics of its collector")
}

// appendName appends the name and the labels of a sample, without the brace at their end.
func appendName(text []byte, m *Metric, suffix string, values []string) []byte {
	text = append(text, m.Name...)
	text = append(text, suffix...)
	for i, l := range m.Labels {
		text = append(text, "{,"[min(i, 1)])
		text = append(text, l...)
		text = append(text, '=', '"')
		text = appendEscaped(text, values[i])
		text = append(text, '"')
	}
	return text
}

func appendValue(text []byte, v float64) []byte {
	text = append(text, ' ')
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		text = strconv.AppendInt(text, int64(v), 10)
	} else {
		text = strconv.AppendFloat(text, v, 'g', -1, 64)
	}
	return append(text, '\n')
}

// appendEscaped appends a label value as the exposition format wants it: three
// characters are escaped, and what is no UTF-8 becomes the replacement character.
func appendEscaped(text []byte, s string) []byte {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] < utf8.RuneSelf && s[i] != '\\' && s[i] != '"' && s[i] != '\n'
	}
	if plain {
		return append(text, s...)
	}
	for _, r := range s {
		switch r {
		case '\\':
			text = append(text, `\\`...)
		case '"':
			text = append(text, `\"`...)
		case '\n':
			text = append(text, `\n`...)
		default:
			text = utf8.AppendRune(text, r)
		}
	}
	return text
}

// Family returns the samples of the i-th declared metric. They stay valid until Reset.
func (w *Writer) Family(i int) []byte { return w.text[i] }

// Samples returns how many samples were written.
func (w *Writer) Samples() int { return w.samples }

// Text returns everything that was written, in the order of the declared metrics.
func (w *Writer) Text() []byte {
	var all []byte
	for _, t := range w.text {
		all = append(all, t...)
	}
	return all
}

// Reset forgets what was written and keeps the buffers.
func (w *Writer) Reset() {
	for i := range w.text {
		w.text[i] = w.text[i][:0]
	}
	w.samples, w.cut, w.down, w.notes = 0, 0, nil, nil
}
