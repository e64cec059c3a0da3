package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// idleLimit is the resident memory of an upkeep that has nothing to do and runs no
// Prometheus and no Alertmanager, though they are linked into it.
const idleLimit = 45e6

// There is one build. Where the embedded parts are turned off they cost no memory to
// notification.
func TestIdleOutside(t *testing.T) {
	dir := t.TempDir()
	// It is copied, as an installation does: the linker leaves its file in the page cache in large pieces, and a
	// page of one that is read has the whole piece mapped, which counts as resident.
	linked, binary := filepath.Join(dir, "linked"), filepath.Join(dir, "upkeep")
	for _, args := range [][]string{
		{"go", "build", "-trimpath", "-tags", "nomsgpack", "-ldflags", "-s -w", "-o", linked, "."},
		{"cp", linked, binary},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	port, err := sandbox.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	file := filepath.Join(dir, "upkeep.yaml")
	text := fmt.Sprintf("data_dir: data\nweb: {listen: '%s'}\ntargets: {host: [{name: here}]}\nembedded: {enabled: "+
		"false}\n", address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	grant(t, dir)
	var log strings.Builder
	serve := exec.CommandContext(t.Context(), binary, "serve", "--config", file)
	serve.Dir, serve.Stderr = dir, &log
	wait, err := sandbox.Start(serve)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = serve.Process.Signal(syscall.SIGTERM) // it runs
		if err := wait(); err != nil {
			t.Errorf("%v\n%s", err, &log)
		}
	}()
	collected := func() bool {
		res, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer func() { _ = res.Body.Close() }() // was read
		text, err := io.ReadAll(res.Body)
		return err == nil && strings.Contains(string(text), `upkeep_collector_success{`)
	}
	for end := time.Now().Add(5 * time.Minute); !collected(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was collected within a minute")
		}
	}
	// It is small when it was started for a while, and stays so.
	small, had := 0, int64(0)
	for end := time.Now().Add(2 * time.Minute); small < 20; time.Sleep(100 * time.Millisecond) {
		if had = resident(t, serve.Process.Pid); had > idleLimit {
			small = 0
		} else {
			small++
		}
		if time.Now().After(end) {
			t.Fatalf("%.1f MB resident, want %.0f at most", float64(had)/1e6, idleLimit/1e6)
		}
	}
	t.Logf("%.1f MB resident", float64(had)/1e6)
}
