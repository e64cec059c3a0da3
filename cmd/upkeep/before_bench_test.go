package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// noWorse is how much slower than before a start may be.
const noWorse = 1.1

// loadedFor is how long each binary is flooded before its memory is measured.
func loadedFor() time.Duration { return sized(5*time.Second, 100*time.Millisecond) }

// figures are what one binary was measured to do.
type figures struct {
	size         int64
	starts       []time.Duration
	idle, loaded int64 // bytes resident
}

// BenchmarkBefore measures the binary that make build has built beside the one of another
// commit, which make before has built: size, time from start to ready, and memory when idle and
// after a flood of deliveries. How fast the webhook is: BenchmarkWebhookProcesses.
func BenchmarkBefore(b *testing.B) {
	binaries := [2]string{built(b, "upkeep"), built(b, "upkeep-before")}
	for name, more := range map[string]string{"embedded": "", "outside": "embedded: {enabled: false}\n"} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			var all [2]contender
			for i, binary := range binaries {
				address, who := fmt.Sprintf("127.0.0.1:1986%d", i), fmt.Sprintf("upkeep%d", i)
				text := fmt.Sprintf("data_dir: %s\nweb: {listen: '%s'}\ntargets: {host: [{name: here}]}\n%s", who,
					address, more)
				if i == 0 { // a former one may not know these bounds
					text += "engine: {max_incidents: 100000000, max_incidents_per_alert: 100000000}\n"
				}
				if err := makeToken(filepath.Join(dir, who)); err != nil {
					b.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, who+".yaml"), []byte(text), 0o600); err != nil {
					b.Fatal(err)
				}
				all[i] = contender{who, [][]string{{binary, "serve", "--config", who + ".yaml"}}, []string{address},
					[]string{binary}}
			}
			for range b.N {
				var f [2]figures
				beside(b, dir, all, &f)
				report(b, f)
			}
		})
	}
}

// beside measures two contenders in turns, since the machine's own pace drifts.
func beside(b *testing.B, dir string, all [2]contender, f *[2]figures) {
	b.Helper()
	for range sized(7, 1) {
		for i, c := range all {
			stop, took := c.start(b, dir)
			stop()
			f[i].starts = append(f[i].starts, took)
		}
	}
	var stops [2]func() int64
	for i, c := range all {
		info, err := os.Stat(c.binaries[0])
		if err != nil {
			b.Fatal(err)
		}
		f[i].size = info.Size()
		stop, _ := c.start(b, dir)
		time.Sleep(settled())
		f[i].idle = stop()
	}
	for i, c := range all {
		stops[i], _ = c.start(b, dir)
	}
	var serial atomic.Int64
	for i := range all {
		floodTimed(b, all[i].ready[0], &serial, loadedFor())
		f[i].loaded = stops[i]()
	}
}

func report(b *testing.B, f [2]figures) {
	b.Helper()
	for i, suffix := range []string{"", "-before"} {
		slices.Sort(f[i].starts)
		b.ReportMetric(float64(f[i].size)/1e6, "MB-binary"+suffix)
		b.ReportMetric(float64(middle(f[i].starts).Milliseconds()), "ms-to-ready"+suffix)
		b.ReportMetric(float64(f[i].idle)/1e6, "MB-idle"+suffix)
		b.ReportMetric(float64(f[i].loaded)/1e6, "MB-loaded"+suffix)
	}
	start := middle(f[0].starts).Seconds() / middle(f[1].starts).Seconds()
	b.ReportMetric(start, "start-to-before")
	b.ReportMetric(0, "ns/op") // says nothing here
	b.Logf("start %v, before %v", f[0].starts, f[1].starts)
	if start > noWorse && !*benchShort {
		b.Errorf("start %.2f × of before, want %.1f × at most", start, noWorse)
	}
}

func middle[T any](sorted []T) T { return sorted[len(sorted)/2] }

// alertRequest is a request with an alert that was not sent before.
func alertRequest(n int64) []byte {
	body := fmt.Sprintf(`{"version":"4","groupKey":"k%d","status":"firing","receiver":"upkeep","groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://am","alerts":[{"status":"firing","labels":{"alertname":"A","severity":"warning","server":"main","database":"app","schema":"public","table":"t%d"},"annotations":{"summary":"dead rows"},"startsAt":%q,"endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p/graph?g0.expr=up","fingerprint":"f%d"}]}`, n, n, time.Now().UTC().Format(time.RFC3339), n)
	return fmt.Appendf(nil, "POST /webhook/alertmanager HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "+
		"application/json\r\nAuthorization: Bearer "+adminToken+"\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}
