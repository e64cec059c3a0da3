package main

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var benchShort = flag.Bool("bench.short", false, "run benchmarks once and small: their figures say nothing") //nolint:gochecknoglobals // flag of the tests

// sized returns how much a benchmark does: all, or, where it is only to run, a part.
func sized[T any](all, part T) T {
	if *benchShort {
		return part
	}
	return all
}

// Each benchmark runs, once and small, with the exporters that it needs: one that is never run rots.
func TestBenchmarksRun(t *testing.T) {
	t.Parallel()
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Those without parts run once to find out that they have none, and print no line.
	out, err := exec.CommandContext(t.Context(), me, "-test.run=^$", "-test.benchtime=1x", "-bench.short",
		"-test.bench=.*/^(tables=100|redis|clients=.*|embedded|outside|prometheus.*)$").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"PostgresExporter/tables=100", "RedisExporter/clients=50", "Hour/redis",
		"Before/outside", "Idle/prometheus+alertmanager", "Streams/outside"} {
		if !strings.Contains(string(out), "\nBenchmark"+want) {
			t.Errorf("%s did not run:\n%s", want, out)
		}
	}
}
