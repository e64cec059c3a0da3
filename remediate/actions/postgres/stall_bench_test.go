package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var rate = flag.Int("rate", 400, "how many transactions a second the clients of the benchmark begin in all; half a core's work") //nolint:gochecknoglobals // a flag of the benchmark

const (
	stallRows = 3_000_000
	stallGoal = 1.0 / 15 // of the naive way's longest stall

	// stallWithin is how long the work may take beside the clients.
	stallWithin = 5 * time.Minute
)

// BenchmarkStall prints for each case how many transactions of eight clients failed,
// how long one took at most, and how long with the naive way.
func BenchmarkStall(b *testing.B) {
	w := openSite(b, stallRows, map[string]string{"max_wal_size": "8GB", "shared_buffers": "1GB"})
	for _, r := range remedies() {
		b.Run(strings.ReplaceAll(r.name, " ", "_"), func(b *testing.B) {
			for range b.N {
				var naive outcome
				if len(r.naive) > 0 {
					naive = w.run(b, r, (*databaseCopy).byHand)
				}
				r.report(b, w.run(b, r, (*databaseCopy).act), naive)
			}
		})
	}
}

// run works in a fresh copy while clients work there too.
func (w site) run(b *testing.B, r executor, work func(*databaseCopy, context.Context) error) outcome {
	b.Helper()
	t := w.databaseCopy(b, r)
	rows := t.rowsThere(b)
	l := t.begin(b, *rate)
	l.look(b)
	time.Sleep(2 * time.Second)
	others := t.others(b)
	l.mark()
	ctx, cancel := context.WithTimeout(b.Context(), stallWithin)
	defer cancel()
	began := time.Now()
	err := work(t, ctx)
	took := time.Since(began)
	if err != nil {
		b.Logf("%s: GOAL MISSED: it did not end well within %v: %v", r.name, stallWithin, err)
	}
	others()
	o := l.end(b)
	o.took = took
	t.sound(b)
	t.sameRows(b, rows)
	return o
}

func (r executor) report(b *testing.B, ours, naive outcome) {
	b.Helper()
	beside := "the usual way does not block others"
	if len(r.naive) > 0 {
		ratio := ours.worst.Seconds() / max(naive.worst.Seconds(), 1e-9)
		verdict := "goal met"
		if ratio > stallGoal {
			verdict = fmt.Sprintf("GOAL MISSED: want 1/%.0f", 1/stallGoal)
		}
		beside = fmt.Sprintf("naive %s: 1/%.1f, %s; naive took %s, failed %d of %d, clients waited for its locks for "+
			"%s", ms(naive.worst), 1/max(ratio, 1e-9), verdict,
			ms(naive.took), naive.failed, naive.done+naive.failed, ms(naive.blocked))
		b.ReportMetric(float64(naive.worst.Milliseconds()), "naive-stall-ms")
		b.ReportMetric(ratio, "stall-ratio")
	}
	b.Logf("%s: failed %d of %d, longest stall %s, before it, without anybody, %s; clients waited for its locks for "+
		"%s at most; took %s; it waited for a lock %s at most, says %s; %s",
		r.name, ours.failed, ours.done+ours.failed, ms(ours.worst), ms(ours.before), ms(ours.blocked), ms(ours.took),
		ms(ours.lock), ms(r.lock), beside)
	b.ReportMetric(float64(ours.failed), "failed")
	b.ReportMetric(float64(ours.worst.Milliseconds()), "stall-ms")
	b.ReportMetric(float64(ours.before.Milliseconds()), "none-ms")
	b.ReportMetric(float64(ours.lock.Milliseconds()), "lock-wait-ms")
	b.ReportMetric(float64(ours.blocked.Milliseconds()), "client-lock-wait-ms")
	if ours.failed > 0 {
		b.Errorf("%s: %d transactions failed: %s", r.name, ours.failed, ours.errors)
	}
	if r.lock > 0 && ours.lock > r.lock+100*time.Millisecond {
		b.Errorf("%s: it waited for a lock for %s, and says that it waits for %s", r.name, ours.lock, r.lock)
	}
}

func ms(d time.Duration) string { return d.Round(time.Millisecond).String() }
