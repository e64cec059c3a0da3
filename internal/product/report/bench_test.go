package report_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/report"
)

// The report of a month beside the one before, of 62 generated days with a sample a minute of some
// 500 series.
func BenchmarkReport(b *testing.B) {
	f := newFixture(b, time.Minute, 80)
	for i := range 200 { // of other tables
		f.series(steady(float64(i)), "upkeep_postgres_table_bloat_bytes", "server", "main", "database", "apidb",
			"schema",
			"public", "table", fmt.Sprintf("table_%d", i), "method", "estimate")
	}
	p, err := report.Month("2026-08", f.config.Now())
	if err != nil {
		b.Fatal(err)
	}
	spent := processor(b)
	for b.Loop() {
		r, err := report.Make(b.Context(), f.config, p)
		if err != nil {
			b.Fatal(err)
		}
		var page strings.Builder
		if err := report.Page(&page, r); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(page.Len())/1000, "kB")
		b.ReportMetric(float64(len(f.kept)), "series")
	}
	b.ReportMetric((processor(b)-spent).Seconds()/float64(b.N), "cpu-s/op")
}

// processor is how long the process has used processors.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
