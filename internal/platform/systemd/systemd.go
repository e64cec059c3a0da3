// Package systemd tells systemd the state of this process, by the protocol of sd_notify(3):
// that it is ready, reloads its configuration or stops, and that its main loop goes on. A process
// that systemd has not started sends no messages.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// askEvery is how often a process that starts is asked whether it is ready.
	askEvery = 100 * time.Millisecond

	// extendEvery is how often systemd is asked for more time to start, and extendBy for how much. A
	// start that replays the log of the embedded Prometheus can take longer than systemd's 90 s.
	extendEvery = 10 * time.Second
	extendBy    = time.Minute

	// sendIn is how long a message may wait for systemd to read those before it.
	sendIn = time.Second
)

// A Service is this process as a service of systemd. A nil one is a process that systemd did not
// start, or that it does not listen to: its methods do nothing.
type Service struct {
	socket   string
	watchdog time.Duration // within which systemd wants to hear; 0: it does not watch
	log      *slog.Logger
	ready    atomic.Bool
	silent   atomic.Bool // the last message was not taken, which was logged
}

// FromEnvironment returns the service that systemd says this process is, or nil. It removes from
// the environment what systemd says, which is for this process alone.
func FromEnvironment(log *slog.Logger) (*Service, error) {
	socket, every, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if socket == "" {
		return nil, nil
	}
	if len(socket) < 2 || socket[0] != '/' && socket[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET is %q; want an absolute path, or @ and a name", socket)
	}
	s := &Service{socket: socket, log: log}
	if every == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s, nil
	}
	usec, err := strconv.ParseInt(every, 10, 64)
	if err != nil || usec <= 0 || usec > int64(24*time.Hour/time.Microsecond) {
		return nil, fmt.Errorf("WATCHDOG_USEC is %q; want microseconds, a day at most", every)
	}
	s.watchdog = time.Duration(usec) * time.Microsecond
	return s, nil
}

// send sends a message of lines like READY=1. A service runs on where systemd does not take it: the
// first that is not taken is logged.
func (s *Service) send(lines ...string) {
	err := s.write(strings.Join(lines, "\n"))
	if failed := err != nil; s.silent.Swap(failed) != failed && failed {
		s.log.Warn("systemd takes no messages", "err", err)
	}
}

func (s *Service) write(text string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	err = conn.SetWriteDeadline(time.Now().Add(sendIn))
	if err == nil {
		_, err = conn.Write([]byte(text))
	}
	return errors.Join(err, conn.Close())
}

// status is a line for people, shown by systemctl status.
func status(text string) string {
	return "STATUS=" + strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "�")
}

// A Process answers what systemd wants to know. Its errors are shown to every user of the machine.
type Process struct {
	Ready func(context.Context) error // nil: it does its work, or can do it as soon as what it needs is there
	Alive func(context.Context) error // nil: its main loop goes on
}

// Run tells systemd that the process is ready once it is, then within each watchdog interval
// that it is alive, as long as it is, and that it stops when stop is done. It returns when life is
// done: a process that stops is alive until it has ended, since what it finishes first takes its time.
func (s *Service) Run(life, stop context.Context, p Process) {
	if s == nil {
		return
	}
	s.start(stop, p)
	s.watch(stop, p)
	s.send("STOPPING=1", status("stopping"))
	s.watch(life, Process{Alive: func(context.Context) error { return nil }})
}

// start waits until the process is ready.
func (s *Service) start(stop context.Context, p Process) {
	again := time.NewTicker(askEvery)
	defer again.Stop()
	var asked time.Time
	for {
		err := p.Ready(stop)
		if err == nil {
			s.ready.Store(true)
			s.send("READY=1", status("ready"))
			return
		}
		if time.Since(asked) > extendEvery && stop.Err() == nil {
			asked = time.Now()
			s.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extendBy.Microseconds()), status("starting: "+err.Error()))
		}
		select {
		case <-stop.Done():
			return
		case <-again.C:
		}
	}
}

// watch tells systemd twice in each watchdog interval that the process is alive.
func (s *Service) watch(ctx context.Context, p Process) {
	if s.watchdog == 0 {
		<-ctx.Done()
		return
	}
	again := time.NewTicker(s.watchdog / 2)
	defer again.Stop()
	stuck := false
	for {
		err := p.Alive(ctx)
		switch {
		case err == nil:
			s.send("WATCHDOG=1")
		case !stuck && ctx.Err() == nil:
			s.log.Error("the main loop is stuck; systemd will restart the service", "err", err)
			s.send(status("stuck: " + err.Error()))
		}
		stuck = err != nil
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// Reload reports a reload to systemd while it runs, and how it ended. A service that is not ready yet
// reports none: the end of a reload would say that it is.
func (s *Service) Reload(reload func() error) {
	if s == nil || !s.ready.Load() {
		_ = reload() // logged there
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		s.log.Warn("the clock cannot be read", "err", err)
	}
	s.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/int64(time.Microsecond)))
	text := "ready"
	if err := reload(); err != nil {
		text = "ready; the changed configuration was refused, the log says why"
	}
	s.send("READY=1", status(text))
}
