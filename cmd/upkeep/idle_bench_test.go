package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// settled is how long a process runs before its memory is read: longer than the
// first garbage collections after the start.
func settled() time.Duration { return sized(20*time.Second, 0) }

// A contender is one way to watch, as processes that are started together.
type contender struct {
	name     string
	commands [][]string
	ready    []string // addresses of /-/ready
	binaries []string
}

// BenchmarkIdle measures the size of the binaries, the time from start to ready,
// and the resident memory when idle, with and without the embedded parts, beside the
// Prometheus and the Alertmanager that they take the place of. It measures what make
// build has built.
func BenchmarkIdle(b *testing.B) {
	dir := b.TempDir()
	binary := built(b, "upkeep")
	prometheus, alertmanager := found(b, "prometheus"), found(b, "prometheus-alertmanager")
	const listen = "127.0.0.1:1984"
	for name, text := range map[string]string{
		"embedded.yaml": "data_dir: embedded\nweb: {listen: '" + listen + "0'}\ntargets: {host: [{name: here}]}\n",
		"outside.yaml": "data_dir: outside\nweb: {listen: '" + listen +
			"1'}\ntargets: {host: [{name: here}]}\nembedded: {enabled: false}\n",
		"prometheus.yml":   "scrape_configs: [{job_name: self, static_configs: [{targets: ['" + listen + "2']}]}]\n",
		"alertmanager.yml": "route: {receiver: none}\nreceivers: [{name: none}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []contender{
		{"embedded", [][]string{{binary, "serve", "--config", "embedded.yaml"}}, []string{listen + "0"},
			[]string{binary}},
		{"outside", [][]string{{binary, "serve", "--config", "outside.yaml"}}, []string{listen + "1"},
			[]string{binary}},
		{"prometheus+alertmanager", [][]string{
			{prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
				"--web.listen-address=" + listen + "2"},
			{alertmanager, "--config.file=alertmanager.yml", "--storage.path=am",
				"--web.listen-address=" + listen + "3", "--cluster.listen-address="},
		}, []string{listen + "2", listen + "3"}, []string{prometheus, alertmanager}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				c.measure(b, dir)
			}
		})
	}
}

func built(b *testing.B, name string) string {
	b.Helper()
	if *benchShort {
		return found(b, "upkeep") // of these tests, also in the place of the one before
	}
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		b.Fatalf("%v: make build before makes it", err)
	}
	return path
}

func found(b *testing.B, name string) string {
	b.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		b.Fatalf("%v: tools/install-deps.sh test installs it", err)
	}
	return path
}

func (c contender) measure(b *testing.B, dir string) {
	b.Helper()
	var size int64
	for _, file := range c.binaries {
		info, err := os.Stat(file)
		if err != nil {
			b.Fatal(err)
		}
		size += info.Size()
	}
	var times []time.Duration
	for range 4 {
		stop, took := c.start(b, dir)
		stop()
		times = append(times, took)
	}
	slices.Sort(times)
	stop, _ := c.start(b, dir)
	time.Sleep(settled())
	resident := stop()
	b.ReportMetric(float64(size)/1e6, "MB-binary")
	b.ReportMetric(float64(times[len(times)/2].Milliseconds()), "ms-to-ready")
	b.ReportMetric(float64(resident)/1e6, "MB-resident")
	b.ReportMetric(0, "ns/op") // says nothing here
}

// start returns when all are ready, and how long that took. stop ends them and
// returns the memory that they had.
func (c contender) start(b *testing.B, dir string) (stop func() int64, took time.Duration) {
	b.Helper()
	began := time.Now()
	stop, _ = c.started(b, dir)
	return stop, time.Since(began)
}

// started is start, with the first process.
func (c contender) started(b *testing.B, dir string) (stop func() int64, pid int) {
	b.Helper()
	began := time.Now()
	var running []*exec.Cmd
	var waits []func() error
	for _, args := range c.commands {
		cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
		cmd.Dir = dir
		wait, err := sandbox.Start(cmd)
		if err != nil {
			b.Fatal(err)
		}
		running = append(running, cmd)
		waits = append(waits, wait)
	}
	for _, address := range c.ready {
		for {
			if res, err := http.Get("http://" + address + "/-/ready"); err == nil {
				_ = res.Body.Close() // not read
				if res.StatusCode == http.StatusOK {
					break
				}
			}
			if time.Since(began) > time.Minute {
				b.Fatalf("%s is not ready", c.name)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return func() (bytes int64) {
		for i, cmd := range running {
			bytes += resident(b, cmd.Process.Pid)
			_ = cmd.Process.Signal(syscall.SIGTERM) // it runs, as was just read
			_ = waits[i]()                          // by that signal
		}
		return bytes
	}, running[0].Process.Pid
}

func resident(b testing.TB, pid int) (bytes int64) {
	b.Helper()
	return memory(b, pid, "VmRSS")
}

// memory returns how much memory a process has, or had at most ("VmHWM").
func memory(b testing.TB, pid int, which string) (bytes int64) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, which+":"); ok {
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%d kB", &bytes); err != nil {
				b.Fatal(err)
			}
			return bytes << 10
		}
	}
	b.Fatalf("no %s of process %d", which, pid)
	return 0
}
