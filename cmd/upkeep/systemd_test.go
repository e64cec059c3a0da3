package main

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A listener takes what a service tells systemd.
type listener struct {
	path string
	mu   sync.Mutex
	all  []string
}

func listens(t *testing.T, dir string) *listener {
	t.Helper()
	l := &listener{path: filepath.Join(dir, "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: l.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // only read
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			l.mu.Lock()
			l.all = append(l.all, string(buffer[:n]))
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *listener) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "; ")
}

// heard returns how many messages have a line.
func (l *listener) heard(line string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.all {
		if strings.HasPrefix(text, line) || strings.Contains(text, "\n"+line) {
			n++
		}
	}
	return n
}

// systemd hears that upkeep is ready when it takes alerts, that it is alive, reloads and stops; a
// configuration that is refused leaves it ready.
func TestServeNotifiesSystemd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBare(t, dir, "", "")
	l := listens(t, dir)
	grant(t, dir)
	b.cmd = spawn(t, dir, "env", "NOTIFY_SOCKET="+l.path, "WATCHDOG_USEC=100000", "upkeep", "serve", "--config",
		"upkeep.yaml")
	servertest.Eventually(t, "READY=1", func() bool { return l.heard("READY=1") > 0 })
	if status, text, err := b.says("/-/ready", ""); err != nil || status != http.StatusOK {
		t.Errorf("it says that it is ready: %d %s %v", status, text, err)
	}
	servertest.Eventually(t, "WATCHDOG=1", func() bool { return l.heard("WATCHDOG=1") > 2 })
	reload := func(n int, status string) {
		t.Helper()
		if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		servertest.Eventually(t, "a reload", func() error {
			if l.heard("RELOADING=1\nMONOTONIC_USEC=") != n || l.heard("READY=1") != 1+n ||
				l.heard("READY=1\nSTATUS="+status) == 0 {
				return fmt.Errorf("it says %s", l.text())
			}
			return nil
		})
	}
	reload(1, "ready")
	write(t, filepath.Join(dir, "upkeep.yaml"), "no_such_key: S3cret\n")
	reload(2, "ready; the changed configuration was refused")
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "STOPPING=1", func() bool { return l.heard("STOPPING=1") == 1 })
	if n := l.heard("READY=1"); n != 3 {
		t.Errorf("it was ready %d times, want 3: at the start and after each reload", n)
	}
}
