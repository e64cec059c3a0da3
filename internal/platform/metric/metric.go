// Package metric makes the metrics that upkeep serves about itself from their declarations: the
// name, the text and the labels of one are said once, by the package that writes it, which
// registers from the same value that it lists in its Metrics.
package metric

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/collectors"
)

// A Family is the declaration of one metric. It is the type in which collectors declare theirs.
type Family = collectors.Metric

// Gauge declares a value that goes up and down.
func Gauge(name, help string, labels ...string) *Family {
	return &Family{Name: name, Type: collectors.Gauge, Help: help, Labels: labels}
}

// Counter declares a sum that only grows.
func Counter(name, help string, labels ...string) *Family {
	return &Family{Name: name, Type: collectors.Counter, Help: help, Labels: labels}
}

// Histogram declares a distribution.
func Histogram(name, help string, labels ...string) *Family {
	return &Family{Name: name, Type: collectors.Histogram, Help: help, Labels: labels}
}

// NewGauge makes a gauge of a declaration and registers it.
func NewGauge(r prometheus.Registerer, f *Family) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: f.Name, Help: f.Help}, f.Labels)
	r.MustRegister(v)
	return v
}

// NewCounter makes a counter of a declaration and registers it; nil: its owner collects it.
func NewCounter(r prometheus.Registerer, f *Family) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help}, f.Labels)
	if r != nil {
		r.MustRegister(v)
	}
	return v
}

// NewHistogram makes a histogram of a declaration and registers it.
func NewHistogram(r prometheus.Registerer, f *Family, buckets ...float64) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.Name, Help: f.Help, Buckets: buckets}, f.Labels)
	r.MustRegister(v)
	return v
}

// Desc describes a metric whose samples are computed when they are asked for.
func Desc(f *Family) *prometheus.Desc { return prometheus.NewDesc(f.Name, f.Help, f.Labels, nil) }

// Describe sends the descriptions of metrics.
func Describe(ch chan<- *prometheus.Desc, all ...*Family) {
	for _, f := range all {
		ch <- Desc(f)
	}
}

// Sample makes one sample of a gauge or a counter.
func Sample(f *Family, v float64, labels ...string) prometheus.Metric {
	kind := prometheus.GaugeValue
	if f.Type == collectors.Counter {
		kind = prometheus.CounterValue
	}
	return prometheus.MustNewConstMetric(Desc(f), kind, v, labels...)
}

// Unknown marks a metric that could not be read: it is invalid, and never zero.
func Unknown(f *Family, err error) prometheus.Metric {
	return prometheus.NewInvalidMetric(Desc(f), err)
}
