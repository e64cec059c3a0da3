package logs

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pipelines are what the answers are usually had by: the ten most frequent errors,
// the most frequent paths, and how many requests took more than a second.
func pipelines() []string {
	return []string{
		`grep -F '\"level\":\"error\"' "$1" | awk -F'message\\\\":\\\\"' '{ split($2, m, "\\"); gsub(/[0-9]+/, "N", m[1]); print m[1] }' | sort | uniq -c | sort -rn | head -10`,
		`awk -F'path\\\\":\\\\"' '{ split($2, m, "\\"); print m[1] }' "$1" | sort | uniq -c | sort -rn | head -10`,
		`awk -F'duration_ms\\\\":' '$2 + 0 > 1000 { n++ } END { print n }' "$1"`,
	}
}

// write writes a log of about that size, as a web service's.
func write(b *testing.B, file string, size int64) {
	b.Helper()
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	random := rand.New(rand.NewPCG(1, 1))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for written := int64(0); written < size; {
		level, message := "info", "request completed"
		if random.IntN(50) == 0 {
			level, message = "error", fmt.Sprintf("cannot load order %d: timeout after %d ms", random.IntN(1e6),
				random.IntN(5000))
		}
		at = at.Add(time.Millisecond)
		n,
			err := fmt.Fprintf(w,
			`{"log":"{\"level\":\"%s\",\"time\":\"%s\",\"service\":\"user-api\",\"request_id\":\"%016x\",\"message\":\"%s\",\"method\":\"GET\",\"path\":\"/api/v1/users/%d/orders\",\"status\":200,\"duration_ms\":%.2f}\n","stream":"stdout","time":"%s"}`+"\n",
			level, at.Format(time.RFC3339Nano), random.Uint64(), message, random.IntN(2000), random.ExpFloat64()*120,
			at.Format(time.RFC3339Nano))
		if err != nil {
			b.Fatal(err)
		}
		written += int64(n)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

func cpu(b *testing.B, who int) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAnalyze reads 1 GB of log for all three answers, beside the pipelines, and
// then 4 GB for the memory that it takes at the most.
func BenchmarkAnalyze(b *testing.B) {
	const gigabyte = 1_000_000_000
	file := filepath.Join(b.TempDir(), "c-json.log")
	write(b, file, gigabyte)
	options := Options{Fields: names(), Slow: time.Second}
	var theirsCPU, theirsWall, oursCPU, oursWall time.Duration
	for range b.N {
		began, used := time.Now(), cpu(b, syscall.RUSAGE_CHILDREN)
		for _, p := range pipelines() {
			cmd := exec.CommandContext(b.Context(), "sh", "-c", p, "sh", file)
			cmd.Env = append(os.Environ(), "LC_ALL=C")
			if out, err := cmd.CombinedOutput(); err != nil || len(strings.TrimSpace(string(out))) == 0 {
				b.Fatalf("%s: %v\n%s", p, err, out)
			}
		}
		theirsWall += time.Since(began)
		theirsCPU += cpu(b, syscall.RUSAGE_CHILDREN) - used
		runtime.GC()
		began, used = time.Now(), cpu(b, syscall.RUSAGE_SELF)
		r, err := Analyze(b.Context(), []string{file}, options)
		if err != nil || len(r.Templates) != 1 || len(r.Endpoints) != 1 || r.Slow == 0 {
			b.Fatalf("%+v %v", r, err)
		}
		oursWall += time.Since(began)
		oursCPU += cpu(b, syscall.RUSAGE_SELF) - used
	}
	if _, err := Analyze(b.Context(), []string{file, file, file, file}, options); err != nil {
		b.Fatal(err)
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(u.Maxrss)/1024, "MB-peak-4GB")
	b.ReportMetric(oursCPU.Seconds()/float64(b.N), "s-CPU/GB")
	b.ReportMetric(oursWall.Seconds()/float64(b.N), "s-wall/GB")
	b.ReportMetric(theirsCPU.Seconds()/float64(b.N), "s-CPU/GB-grep")
	b.ReportMetric(theirsWall.Seconds()/float64(b.N), "s-wall/GB-grep")
	b.ReportMetric(oursCPU.Seconds()/theirsCPU.Seconds(), "ratio-CPU")
	b.ReportMetric(oursWall.Seconds()/theirsWall.Seconds(), "ratio-wall")
	b.ReportMetric(0, "ns/op") // says nothing here
}
