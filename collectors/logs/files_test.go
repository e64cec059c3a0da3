package logs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A machine is one with logs that are no containers', seen by an upkeep that is started again and again.
type machine struct {
	t    *testing.T
	root string
	logs target.HostLogs
	make func(*target.Host) collectors.Collector
	host *target.Host
	c    collectors.Collector
}

func newMachine(t *testing.T, of func(*target.Host) collectors.Collector, l target.HostLogs) *machine {
	t.Helper()
	l.State = t.TempDir()
	l.Fields = target.LogFields{Level: "level", Message: "message", Path: "path", Duration: "duration_ms", Slow: time.Second}
	m := &machine{t: t, root: t.TempDir(), logs: l, make: of}
	t.Cleanup(func() { m.host.Close() })
	return m
}

// start starts an upkeep with nothing but what is on the disk, in place of the one before.
func (m *machine) start() {
	if m.host != nil {
		m.host.Close()
	}
	m.host = target.NewHost("s", m.root, m.logs)
	m.c = m.make(m.host)
}

// collect returns what is exported, and what is said to be wrong.
func (m *machine) collect() (string, error) {
	m.t.Helper()
	w := collectors.NewWriter(m.c)
	err := m.c.Collect(m.t.Context(), w)
	return string(w.Text()), err
}

// counts compares how many lines and errors of services are exported.
func (m *machine) counts(when string, want map[string][2]int) {
	m.t.Helper()
	got, err := m.collect()
	if err != nil {
		m.t.Errorf("%s: %v", when, err)
	}
	for service, n := range want {
		lines, failed := sample(got, "upkeep_logs_lines_total", service), sample(got, "upkeep_logs_errors_total", service)
		if lines != n[0] || failed != n[1] || sample(got, "upkeep_logs_missed_files_total", service) != 0 {
			m.t.Errorf("%s: %s has %d lines and %d errors, want %v\n%s", when, service, lines, failed, n, got)
		}
	}
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) rename(from, to string) {
	m.t.Helper()
	if err := os.Rename(filepath.Join(m.root, from), filepath.Join(m.root, to)); err != nil {
		m.t.Fatal(err)
	}
}

func TestFilesPromises(t *testing.T) {
	t.Parallel()
	collectortest.HostContract(t, logs.Files)
	collectortest.HostContract(t, logs.Journal)
}

// Files are read as they were written, each line once, by the service that the configuration names; across rotation
// and restarts, and from their beginning where they appear later.
func TestFiles(t *testing.T) {
	t.Parallel()
	m := newMachine(t, logs.Files, target.HostLogs{Files: []target.HostLog{
		{Service: "nginx", Path: "/log/nginx/*.log"}, {Service: "app", Path: "/log/app.log"}, {Service: "later", Path: "/srv/*/log/x.log"},
		{Service: "second", Path: "/log/*.log"}}})
	const access = `10.0.0.1 - - [30/Nov/2026:10:00:00 +0000] "GET /users/7 HTTP/1.1" 200 12` + "\n"
	m.write("log/nginx/access.log", strings.Repeat(access, 5))
	m.write("log/app.log", "ERROR old\n")
	m.start()
	m.counts("what was there", map[string][2]int{"nginx": {0, 0}, "app": {0, 0}})
	m.write("log/nginx/access.log", access+access)
	m.write("log/nginx/error.log", "2026/11/30 10:00:00 [error] 7#7: *1 upstream timed out\n")
	m.write("log/app.log", `{"log":"it is a field","level":"error","message":"gone"}`+"\nTraceback (most recent call last):\n"+
		"  File \"a.py\", line 1, in <module>\nValueError: no\nINFO half")
	m.counts("written", map[string][2]int{"nginx": {3, 1}, "app": {4, 1}})
	m.rename("log/nginx/access.log", "log/nginx/access.log.1")
	m.write("log/nginx/access.log.1", access) // its writer does not know yet
	m.write("log/nginx/access.log", access)
	m.write("log/app.log", " of a line\n")
	m.write("srv/new/log/x.log", "WARN it has just come\n")
	m.counts("rotated", map[string][2]int{"nginx": {5, 1}, "app": {5, 2}, "later": {1, 0}, "second": {0, 0}})
	m.write("log/app.log", "ERROR while upkeep is away\n")
	m.rename("log/app.log", "log/app-20261130.log")
	m.write("log/app.log", "ERROR too\n")
	m.start()
	m.counts("started again", map[string][2]int{"nginx": {5, 1}, "app": {7, 4}, "later": {1, 0}, "second": {0, 0}})
	if err := os.RemoveAll(filepath.Join(m.root, "log/nginx")); err != nil {
		t.Fatal(err)
	}
	m.counts("removed", map[string][2]int{"nginx": {5, 1}, "app": {7, 4}})
	m.write("log/nginx/access.log", access)
	m.counts("made anew", map[string][2]int{"nginx": {6, 1}})
}

// A log is found while nothing collects, and what was rotated away and removed since is counted.
func TestFilesBetweenCollections(t *testing.T) {
	t.Parallel()
	m := newMachine(t, logs.Files, target.HostLogs{Files: []target.HostLog{{Service: "app", Path: "/log/*.log"}}})
	m.write("log/a.log", "")
	m.start()
	m.counts("at first", map[string][2]int{"app": {0, 0}})
	m.write("log/b.log", "ERROR one\n")
	state := filepath.Join(m.logs.State, "files.json")
	servertest.Eventually(t, "the new log is known", func() bool {
		text, _ := os.ReadFile(state) // it is there
		return strings.Contains(string(text), "/log/b.log")
	})
	if err := os.Remove(filepath.Join(m.root, "log/b.log")); err != nil {
		t.Fatal(err)
	}
	m.counts("removed", map[string][2]int{"app": {1, 1}})
}

// What cannot be read is named, and costs its own figures alone; what is configured later is read from then on.
func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	m := newMachine(t, logs.Files, target.HostLogs{Files: []target.HostLog{{Service: "good", Path: "/log/*.log"}}})
	m.write("etc/shadow", "ERROR secret\n")
	m.write("log/a.log", "")
	if err := errors.Join(os.Symlink("/etc/shadow", filepath.Join(m.root, "log/link.log")),
		syscall.Mkfifo(filepath.Join(m.root, "log/pipe.log"), 0o600),
		os.Link(filepath.Join(m.root, "etc/shadow"), filepath.Join(m.root, "log/second.log"))); err != nil {
		t.Fatal(err)
	}
	m.start()
	if _, err := m.collect(); err == nil {
		t.Error("nothing is said of a link, a pipe and a file with two names")
	}
	m.write("log/a.log", "ERROR a\n")
	m.write("log/b.log", "ERROR b\n")
	got, err := m.collect()
	for _, name := range []string{`"/log/link.log"`, `"/log/pipe.log"`, `"/log/second.log"`} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if sample(got, "upkeep_logs_errors_total", "good") != 2 || strings.Contains(got, "secret") {
		t.Error(got)
	}
	m.logs.Files = []target.HostLog{{Service: "renamed", Path: "/log/a.log"}, {Service: "new", Path: "/etc/a.log"}}
	m.write("etc/a.log", "ERROR before\n")
	m.start()
	m.counts("configured anew", map[string][2]int{"renamed": {0, 0}, "new": {0, 0}})
	m.write("etc/a.log", "ERROR after\n")
	m.write("log/a.log", "ERROR after\n")
	m.write("log/b.log", "ERROR after\n")
	m.counts("written", map[string][2]int{"renamed": {1, 1}, "new": {1, 1}})
	if got, _ := m.collect(); strings.Contains(got, `service="good"`) {
		t.Errorf("what is not configured any more is exported:\n%s", got)
	}
}
