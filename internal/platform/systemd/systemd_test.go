package systemd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/systemd"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A manager takes messages as systemd does.
type manager struct {
	mu  sync.Mutex
	all []string
}

// manage listens on a socket and lets this process be a service of it, whose watchdog waits so long.
func manage(t *testing.T, socket string, watchdog time.Duration) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // only read
	m := &manager{}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.all = append(m.all, string(buffer[:n]))
			m.mu.Unlock()
		}
	}()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	return m
}

func (m *manager) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.all, "\n--\n")
}

// pings is how often it was notified that the process is alive.
func (m *manager) pings() int { return strings.Count(m.text(), "WATCHDOG=1") }

func fromEnvironment(t *testing.T, log *slog.Logger) *systemd.Service {
	t.Helper()
	s, err := systemd.FromEnvironment(log)
	if err != nil || s == nil {
		t.Fatalf("%v, %v", s, err)
	}
	return s
}

// A toggle answers nil when it is on.
type toggle struct{ on atomic.Bool }

func (s *toggle) ask(context.Context) error {
	if s.on.Load() {
		return nil
	}
	return errors.New("it is\noff")
}

// READY=1 comes when the process is ready, WATCHDOG=1 while it is alive and no longer, and
// STOPPING=1 when it stops; what stops is alive until it has ended.
func TestLife(t *testing.T) {
	m := manage(t, filepath.Join(t.TempDir(), "notify"), 20*time.Millisecond)
	var log bytes.Buffer
	s := fromEnvironment(t, slog.New(slog.NewTextHandler(&log, nil)))
	life, end := context.WithCancel(t.Context())
	stop, begin := context.WithCancel(life)
	defer begin()
	var ready, alive toggle
	alive.on.Store(true)
	var asked atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(life, stop, systemd.Process{Alive: alive.ask, Ready: func(ctx context.Context) error {
			asked.Add(1)
			return ready.ask(ctx)
		}})
	}()
	servertest.Eventually(t, "it is asked more than once", func() bool { return asked.Load() > 2 })
	if got := m.text(); strings.Contains(got, "READY") || m.pings() > 0 ||
		!strings.Contains(got, "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=starting: it is off") {
		t.Errorf("before it is ready it says %s", got)
	}
	s.Reload(func() error { return nil })
	if got := m.text(); strings.Contains(got, "READY") || strings.Contains(got, "RELOADING") {
		t.Errorf("a reload before it is ready says %s", got)
	}
	ready.on.Store(true)
	servertest.Eventually(t, "it is ready and alive", func() bool {
		return strings.Contains(m.text(), "READY=1\nSTATUS=ready") && m.pings() > 2
	})
	alive.on.Store(false)
	servertest.Eventually(t, "it is stuck", func() bool { return strings.Contains(m.text(), "STATUS=stuck: it is off") })
	before := m.pings()
	time.Sleep(200 * time.Millisecond) // ten watchdog intervals
	if got := m.pings(); got != before {
		t.Errorf("a stuck process was called alive %d times", got-before)
	}
	alive.on.Store(true)
	servertest.Eventually(t, "it is alive again", func() bool { return m.pings() > before })
	begin()
	servertest.Eventually(t, "it stops", func() bool { return strings.Contains(m.text(), "STOPPING=1") })
	alive.on.Store(false) // its loops have ended
	before = m.pings()
	servertest.Eventually(t, "it is alive while it stops", func() bool { return m.pings() > before+2 })
	end()
	<-done
	if n := strings.Count(m.text(), "READY=1"); n != 1 {
		t.Errorf("it was ready %d times:\n%s", n, m.text())
	}
	if got := log.String(); strings.Count(got, "the main loop is stuck") != 1 {
		t.Errorf("the log is\n%s", got)
	}
}

// A reload is reported with the time of its beginning by the clock that systemd compares, and its
// end says that the service is ready, whatever came of it.
func TestReload(t *testing.T) {
	m := manage(t, "@upkeep-"+strconv.Itoa(os.Getpid())+"-reload", time.Hour)
	s := fromEnvironment(t, slog.New(slog.DiscardHandler))
	life, end := context.WithCancel(t.Context())
	defer end()
	yes := func(context.Context) error { return nil }
	go s.Run(life, life, systemd.Process{Ready: yes, Alive: yes})
	servertest.Eventually(t, "it is ready", func() bool { return strings.Contains(m.text(), "READY=1") })
	var before, after unix.Timespec
	clock := func(at *unix.Timespec) {
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, at); err != nil {
			t.Error(err)
		}
	}
	clock(&before)
	s.Reload(func() error {
		clock(&after)
		servertest.Eventually(t, "it reloads", func() bool { return strings.Contains(m.text(), "RELOADING=1") })
		return errors.New("the password S3cret")
	})
	refused := "READY=1\nSTATUS=ready; the changed configuration was refused, the log says why"
	servertest.Eventually(t, "it is ready again", func() bool { return strings.Contains(m.text(), refused) })
	found := regexp.MustCompile(`RELOADING=1\nMONOTONIC_USEC=(\d+)`).FindStringSubmatch(m.text())
	if found == nil {
		t.Fatal(m.text())
	}
	if at, _ := strconv.ParseInt(found[1], 10, 64); at < before.Nano()/1000 || at > after.Nano()/1000 {
		t.Errorf("it began at %d, and that was between %d and %d", at, before.Nano()/1000, after.Nano()/1000)
	}
}

// What systemd did not start sends no messages, and what systemd says is passed to no child.
func TestEnvironment(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, tt := range []struct {
		name, socket, usec, pid string
		service                 bool
		fault                   string
	}{
		{name: "none"},
		{name: "without a watchdog", socket: "/run/x", service: true},
		{name: "the watchdog of another process", socket: "/run/x", usec: "soon", pid: "1", service: true},
		{name: "relative", socket: "run/x", fault: `NOTIFY_SOCKET is "run/x"`},
		{name: "no name", socket: "@", fault: `NOTIFY_SOCKET is "@"`},
		{name: "no number", socket: "@x", usec: "soon", fault: `WATCHDOG_USEC is "soon"`},
		{name: "too much", socket: "@x", usec: "9223372036854775807", fault: "WATCHDOG_USEC is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", tt.socket)
			t.Setenv("WATCHDOG_USEC", tt.usec)
			t.Setenv("WATCHDOG_PID", tt.pid)
			s, err := systemd.FromEnvironment(log)
			if (s != nil) != tt.service || (err != nil) != (tt.fault != "") ||
				err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%v, %v", s, err)
			}
			for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
				if value, is := os.LookupEnv(name); is {
					t.Errorf("%s is still %q", name, value)
				}
			}
		})
	}
	var none *systemd.Service
	none.Run(t.Context(), t.Context(), systemd.Process{})
	called := false
	none.Reload(func() error { called = true; return nil })
	if !called {
		t.Error("nothing was reloaded")
	}
}

// Where nothing listens the service runs on, and says so once.
func TestWithoutListener(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	var log bytes.Buffer
	s := fromEnvironment(t, slog.New(slog.NewTextHandler(&log, nil)))
	over, end := context.WithCancel(t.Context())
	end()
	yes := func(context.Context) error { return nil }
	s.Run(over, over, systemd.Process{Ready: yes, Alive: yes})
	s.Reload(func() error { return nil })
	if got := log.String(); strings.Count(got, "systemd takes no messages") != 1 {
		t.Errorf("the log is\n%s", got)
	}
}
