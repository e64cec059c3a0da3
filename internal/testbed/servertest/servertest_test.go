package servertest_test

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func TestServers(t *testing.T) {
	url, name := servertest.Database(t)
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var got string
	if err := c.QueryRow(t.Context(), "select current_database()").Scan(&got); err != nil || got != name {
		t.Errorf("current_database() is %q, want %q (%v)", got, name, err)
	}
	r := servertest.Redis(t)
	status, err := os.ReadFile("/proc/" + strconv.Itoa(r.PID()) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(status), "\nUid:\t0\t") {
		t.Error("Redis runs as root")
	}
}

// A program ends with us, and not with a thread that ends before.
func TestThreadsEndAlone(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "infinity")
	wait, err := sandbox.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		var all sync.WaitGroup
		for range 8 {
			all.Go(runtime.LockOSThread) // never unlocked: the thread ends
		}
		all.Wait()
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("it ended before: %v, %v", err, wait())
	}
	if err := wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("it ended by %v, want the signal that it was sent", err)
	}
}
