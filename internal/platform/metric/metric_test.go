package metric_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
)

// own collects samples that are computed when they are asked for.
type own struct {
	declared []*metric.Family
	samples  []prometheus.Metric
}

func (o own) Describe(ch chan<- *prometheus.Desc) { metric.Describe(ch, o.declared...) }
func (o own) Collect(ch chan<- prometheus.Metric) {
	for _, s := range o.samples {
		ch <- s
	}
}

// families returns what a registry serves, by name.
func families(t *testing.T, r *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*dto.MetricFamily)
	for _, f := range all {
		byName[f.GetName()] = f
	}
	return byName
}

// A metric is served under the name, with the text, the labels and the type of its declaration, whichever way it is
// made.
func TestServedAsDeclared(t *testing.T) {
	t.Parallel()
	gauge := metric.Gauge("upkeep_a", "Text of a.", "x", "y")
	counter := metric.Counter("upkeep_b_total", "Text of b.")
	histogram := metric.Histogram("upkeep_c_seconds", "Text of c.", "x")
	up, down := metric.Gauge("upkeep_d", "Text of d.", "x"), metric.Counter("upkeep_e_total", "Text of e.")
	r := prometheus.NewRegistry()
	metric.NewGauge(r, gauge).WithLabelValues("1", "2").Set(7)
	metric.NewCounter(r, counter).WithLabelValues().Add(8)
	metric.NewHistogram(r, histogram, 1, 2).WithLabelValues("3").Observe(1.5)
	r.MustRegister(own{[]*metric.Family{up, down}, []prometheus.Metric{metric.Sample(up, 9, "4"), metric.Sample(down,
		10)}})
	served := families(t, r)
	for _, c := range []struct {
		is    *metric.Family
		kind  dto.MetricType
		value float64
	}{{gauge, dto.MetricType_GAUGE, 7}, {counter, dto.MetricType_COUNTER, 8}, {histogram, dto.MetricType_HISTOGRAM,
		1.5},
		{up, dto.MetricType_GAUGE, 9}, {down, dto.MetricType_COUNTER, 10}} {
		f := served[c.is.Name]
		if f.GetHelp() != c.is.Help || f.GetType() != c.kind || len(f.GetMetric()) != 1 {
			t.Errorf("%s: %v", c.is.Name, f)
			continue
		}
		m := f.GetMetric()[0]
		if v := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum(); v != c.value {
			t.Errorf("%s is %v, want %v", c.is.Name, v, c.value)
		}
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetName())
		}
		if strings.Join(labels, " ") != strings.Join(c.is.Labels, " ") {
			t.Errorf("%s has the labels %q, want %q", c.is.Name, labels, c.is.Labels)
		}
	}
	if n := len(served["upkeep_c_seconds"].GetMetric()[0].GetHistogram().GetBucket()); n != 2 {
		t.Errorf("the histogram has %d buckets, want those that were given", n)
	}
}

// A metric that could not be read is served as an error that says why, and never as zero.
func TestUnknownIsNotZero(t *testing.T) {
	t.Parallel()
	f := metric.Gauge("upkeep_a", "Text.")
	r := prometheus.NewRegistry()
	r.MustRegister(own{[]*metric.Family{f}, []prometheus.Metric{metric.Unknown(f, errors.New("the store is away"))}})
	all, err := r.Gather()
	if err == nil || !strings.Contains(err.Error(), "the store is away") {
		t.Errorf("Gather: %v", err)
	}
	for _, one := range all {
		if len(one.GetMetric()) > 0 {
			t.Errorf("it is served as %v", one)
		}
	}
}

// A counter that its owner collects is not registered, and a name is registered once.
func TestRegistered(t *testing.T) {
	t.Parallel()
	f := metric.Counter("upkeep_a_total", "Text.")
	metric.NewCounter(nil, f).WithLabelValues().Inc()
	r := prometheus.NewRegistry()
	metric.NewCounter(r, f)
	defer func() {
		if recover() == nil {
			t.Error("one name is registered twice")
		}
	}()
	metric.NewGauge(r, metric.Gauge("upkeep_a_total", "Another."))
}
