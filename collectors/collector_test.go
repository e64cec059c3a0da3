package collectors_test

import (
	"testing"

	"github.com/ai-micro-service/upkeep/collectors"
)

func TestSetDoesNotAllocate(t *testing.T) {
	m := &collectors.Metric{Name: "m_bytes", Labels: []string{"a", "b"}}
	w := collectors.NewWriter(collectors.Collector{Metrics: []*collectors.Metric{m}})
	a, b := string([]byte("x")), string([]byte("ü"))
	w.Set(m, 1, a, b)
	if n := testing.AllocsPerRun(1000, func() { w.Reset(); w.Set(m, 1, a, b) }); n != 0 {
		t.Errorf("Set allocates %v times", n)
	}
	if got, want := string(w.Text()), "m_bytes{a=\"x\",b=\"ü\"} 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSetEscapes(t *testing.T) {
	m := &collectors.Metric{Name: "m", Labels: []string{"a"}}
	for _, tc := range []struct{ name, value, want string }{
		{"quote", `a"b`, `m{a="a\"b"} 1`},
		{"backslash", `a\b`, `m{a="a\\b"} 1`},
		{"newline", "a\nb", `m{a="a\nb"} 1`},
		{"tab is kept", "a\tb", "m{a=\"a\tb\"} 1"},
		{"no UTF-8", "a\xffb", "m{a=\"a\uFFFDb\"} 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := collectors.NewWriter(collectors.Collector{Metrics: []*collectors.Metric{m}})
			w.Set(m, 1, tc.value)
			if got := string(w.Text()); got != tc.want+"\n" {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	declared := &collectors.Metric{Name: "m", Labels: []string{"a"}}
	w := collectors.NewWriter(collectors.Collector{Metrics: []*collectors.Metric{declared}})
	for name, call := range map[string]func(){
		"an undeclared metric": func() { w.Set(&collectors.Metric{Name: "m"}, 1) },
		"a missing label":      func() { w.Set(declared, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was accepted")
				}
			}()
			call()
		})
	}
}

func BenchmarkSet(b *testing.B) {
	m := &collectors.Metric{Name: "upkeep_postgres_table_dead_ratio",
		Labels: []string{"server", "database", "schema", "table"}}
	w := collectors.NewWriter(collectors.Collector{Metrics: []*collectors.Metric{m}})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10000 == 0 {
			w.Reset()
		}
		w.Set(m, 0.25, "main", "admindb", "public", "logs")
	}
}
