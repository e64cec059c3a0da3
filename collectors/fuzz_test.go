package collectors_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/collectors"
)

// Whatever a label's value is, Prometheus reads it back as it was; what is no
// UTF-8 it reads with the replacement character in the place of each wrong byte.
func FuzzSet(f *testing.F) {
	for _, s := range []string{"", `a "b"`, `back\slash`, "new\nline", "täble; DROP", "\xff\xfe", "}", " 1\n# HELP",
		"\x00"} {
		f.Add(s, 1.5)
	}
	f.Fuzz(func(t *testing.T, value string, v float64) {
		m := &collectors.Metric{Name: "upkeep_m", Type: collectors.Gauge, Help: value, Labels: []string{"l"}}
		w := collectors.NewWriter(collectors.Collector{Metrics: []*collectors.Metric{m}})
		w.Set(m, v, value)
		text := append(m.AppendHeader(nil), w.Text()...)
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		got := families["upkeep_m"].GetMetric()
		if len(families) != 1 || len(got) != 1 {
			t.Fatalf("one sample became %d:\n%s", len(got), text)
		}
		want := strings.Map(func(r rune) rune { return r }, value) // wrong bytes become the replacement character
		if name := got[0].GetLabel()[0].GetValue(); name != want {
			t.Errorf("%q became %q", want, name)
		}
		if g := got[0].GetGauge().GetValue(); g != v && (g == g || v == v) { // NaN is no other
			t.Errorf("%v became %v", v, g)
		}
	})
}
