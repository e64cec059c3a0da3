package servertest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// A Monitor is a Prometheus or an Alertmanager of a test's own, which can be
// killed and started again on the same address and data.
type Monitor struct {
	URL string

	t    testing.TB
	name string
	args []string
	log  string

	config string // file of an Alertmanager

	cmd  *exec.Cmd
	wait func() error // for its end
}

// Prometheus starts Debian's prometheus with a configuration. The other files
// are written beside it, so that it can name rule files. Further arguments are flags.
func Prometheus(t testing.TB, config string, files map[string]string, flags ...string) *Monitor {
	t.Helper()
	dir, address := t.TempDir(), address(t)
	for name, text := range files {
		put(t, filepath.Join(dir, name), text)
	}
	put(t, filepath.Join(dir, "prometheus.yml"), config)
	return monitor(t, "prometheus", dir, address, append([]string{
		"--config.file=" + filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
	}, flags...)...)
}

// Alertmanager starts Debian's prometheus-alertmanager, without peers, with a
// receiver without an integration.
func Alertmanager(t testing.TB) *Monitor {
	t.Helper()
	return AlertmanagerWith(t, "route: {receiver: none}\nreceivers: [{name: none}]\n")
}

// AlertmanagerWith starts it with a configuration.
func AlertmanagerWith(t testing.TB, config string) *Monitor {
	t.Helper()
	dir, address := t.TempDir(), address(t)
	file := filepath.Join(dir, "alertmanager.yml")
	put(t, file, config)
	m := monitor(t, "prometheus-alertmanager", dir, address,
		"--config.file="+file, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--cluster.listen-address=")
	m.config = file
	return m
}

// Reload gives an Alertmanager another configuration.
func (m *Monitor) Reload(config string) {
	m.t.Helper()
	put(m.t, m.config, config)
	res, err := http.Post(m.URL+"/-/reload", "", nil)
	if err != nil {
		m.t.Fatal(err)
	}
	_ = res.Body.Close() // nothing is in it
	if res.StatusCode != http.StatusOK {
		m.t.Fatalf("reload: %s", res.Status)
	}
}

func address(t testing.TB) string {
	t.Helper()
	port, err := sandbox.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func put(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func monitor(t testing.TB, name, dir, address string, args ...string) *Monitor {
	t.Helper()
	m := &Monitor{URL: "http://" + address, t: t, name: name, args: args, log: filepath.Join(dir, "log")}
	m.Start()
	t.Cleanup(func() {
		m.Kill()
		if t.Failed() {
			text, _ := os.ReadFile(m.log) // to be shown, where there is any
			t.Logf("%s says:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return m
}

// Start starts it and returns when it is ready.
func (m *Monitor) Start() {
	m.t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	m.cmd = exec.CommandContext(context.Background(), m.name, m.args...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if m.wait, err = sandbox.Start(m.cmd); err != nil {
		m.t.Fatalf("%s: %v (the tests need Debian's packages; make test installs them)", m.name, err)
	}
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(m.URL + "/-/ready"); err == nil {
			_ = res.Body.Close() // not read
			if res.StatusCode == http.StatusOK {
				return
			}
		}
	}
	m.t.Fatalf("%s is not ready", m.name)
}

// Kill ends it with SIGKILL, as an accident would.
func (m *Monitor) Kill() {
	if m.cmd.Process != nil {
		_ = m.cmd.Process.Kill() // it may have ended
	}
	_ = m.wait() // how it ended is in its log
}
