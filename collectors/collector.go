// Package collectors says what a collector is: a named question put to one
// target, and the metrics that answer it. The questions themselves live in the
// packages below this one, one file each; package scrape asks them.
package collectors

import (
	"context"
	"errors"
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
	Gauge   Type = "gauge"
	Counter Type = "counter"
)

// A Metric describes one metric family.
type Metric struct {
	Name   string   // in base units, with its suffix
	Type   Type     // gauge or counter
	Help   string   // one sentence: what it means
	Labels []string // in the order in which values are given
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
}

// NewWriter returns a Writer that accepts the metrics of c and no others.
func NewWriter(c Collector) *Writer {
	return &Writer{metrics: c.Metrics, text: make([][]byte, len(c.Metrics))}
}

// Set writes one sample. It panics if m was not declared or the number of label
// values is wrong: both are mistakes in the collector, and its test finds them.
func (w *Writer) Set(m *Metric, v float64, values ...string) {
	at := -1
	for i := range w.metrics {
		if w.metrics[i] == m {
			at = i
		}
	}
	if at < 0 {
		panic("collectors: " + m.Name + " is not declared")
	}
	if len(values) != len(m.Labels) {
		panic("collectors: " + m.Name + ": wrong number of label values")
	}
	text := append(w.text[at], m.Name...)
	for i, l := range m.Labels {
		text = append(text, "{,"[min(i, 1)])
		text = append(text, l...)
		text = append(text, '=', '"')
		text = appendEscaped(text, values[i])
		text = append(text, '"')
	}
	if len(values) > 0 {
		text = append(text, '}')
	}
	text = append(text, ' ')
	text = strconv.AppendFloat(text, v, 'g', -1, 64)
	w.text[at] = append(text, '\n')
	w.samples++
}

// appendEscaped appends a label value as the exposition format wants it: three
// characters are escaped, and what is no UTF-8 becomes the replacement character.
func appendEscaped(text []byte, s string) []byte {
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
	w.samples = 0
}
