package alerts_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// BenchmarkStatementRules evaluates what records the counters of statements, which are scraped each 15 seconds: those of
// 250 statements, 500 series, and those of 5,000.
func BenchmarkStatementRules(b *testing.B) {
	for _, statements := range []int{250, 5000} {
		b.Run(fmt.Sprint(statements), func(b *testing.B) {
			s := stageOf(b, "postgres.rules.yaml", "postgres-recorded")
			a := s.db.Appender(b.Context())
			for i := range statements {
				for _, counter := range []string{"seconds", "calls"} {
					l := labels.FromStrings("__name__", "upkeep_postgres_statement_"+counter+"_total", "job", "upkeep",
						"instance", "one:9847", "server", fmt.Sprint(i/100), "database", "app", "user", "app", "queryid",
						fmt.Sprint(i))
					for at := range 80 { // twenty minutes
						if _, err := a.Append(0, l, hour(0).Add(time.Duration(at)*15*time.Second).UnixMilli(),
							float64(at/4*i)); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			if err := a.Commit(); err != nil {
				b.Fatal(err)
			}
			at, worked := hour(0).Add(15*time.Minute), []float64(nil)
			for b.Loop() {
				before := processors(b)
				s.groups[0].Eval(b.Context(), at)
				worked = append(worked, float64((processors(b)-before).Microseconds())/1000)
				at = at.Add(time.Millisecond) // a sample is stored once
			}
			for _, r := range s.groups[0].Rules() {
				if err := r.LastError(); err != nil {
					b.Fatal(err)
				}
			}
			middle := quantile(0.5, worked)
			b.ReportMetric(middle, "cpu-ms")
			if statements == 250 && middle > 50 {
				b.Errorf("an evaluation takes %.1f ms of a processor, 50 at most", middle)
			}
		})
	}
}
