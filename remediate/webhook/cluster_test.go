package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/sandbox"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// A cluster is three real Alertmanagers that hardly wait for each other, so that
// each of them delivers.
type cluster struct{ urls []string }

func startCluster(t *testing.T, hook string) *cluster {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`route: {receiver: upkeep, group_by: ['...'], group_wait: 100ms, group_interval: 500ms, repeat_interval: 1h}
receivers:
  - name: upkeep
    webhook_configs: [{url: %q, send_resolved: true, http_config: {authorization: {credentials: right}}}]
`, hook+webhook.AlertmanagerPath)
	if err := os.WriteFile(filepath.Join(dir, "alertmanager.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := func() string {
		port, err := sandbox.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	var c cluster
	var peers []string
	for n := range 3 {
		web, gossip := address(), address()
		args := []string{
			"--config.file=alertmanager.yml", fmt.Sprint("--storage.path=am", n), "--web.listen-address=" + web, "--cluster.listen-address=" + gossip, "--cluster.advertise-address=" + gossip,
			"--cluster.settle-timeout=1s", "--cluster.peer-timeout=1ms", "--cluster.gossip-interval=1s",
		}
		for _, p := range peers {
			args = append(args, "--cluster.peer="+p)
		}
		peers, c.urls = append(peers, gossip), append(c.urls, "http://"+web)
		start(t, dir, fmt.Sprint("alertmanager", n, ".log"), "prometheus-alertmanager", args...)
	}
	for n, u := range c.urls {
		within(t, "three peers", func() error {
			var status struct {
				Cluster struct {
					Status string
					Peers  []any
				}
			}
			res, err := http.Get(u + "/api/v2/status")
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }() // read only
			if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
				return err
			}
			if len(status.Cluster.Peers) != 3 || status.Cluster.Status != "ready" {
				return fmt.Errorf("peer %d sees %d, and is %s", n, len(status.Cluster.Peers), status.Cluster.Status)
			}
			return nil
		})
	}
	return &c
}

// start runs a program that ends with the test.
func start(t *testing.T, dir, logName, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, logName))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v (the tests need Debian's packages; make test installs them)", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()                          // by that signal
		_ = log.Close()                         // the child had its own
		if t.Failed() {
			text, _ := os.ReadFile(log.Name()) // to be shown, where there is any
			t.Logf("%s says:\n%s", logName, text[max(0, len(text)-3000):])
		}
	})
}

// within waits until f is content.
func within(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tell posts an alert to every peer, as Prometheus does.
func (c *cluster) tell(t *testing.T, starts, ends time.Time) {
	t.Helper()
	text, err := json.Marshal([]map[string]any{{
		"labels": map[string]string{"alertname": "A", "table": "t"}, "annotations": map[string]string{"limit": "0.2"},
		"startsAt": starts, "endsAt": ends, "generatorURL": "http://p/graph?g0.expr=a+%3E+0.2",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range c.urls {
		res, err := http.Post(u+"/api/v2/alerts", "application/json", strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // nothing is in it
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
}

// Three peers of a real cluster tell of one trouble, and it is one episode, from
// its beginning to its end, whoever is asked meanwhile.
func TestThreePeers(t *testing.T) {
	d := open(t)
	var deliveries atomic.Int64
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.ServeHTTP(w, r)
		deliveries.Add(1)
	}))
	t.Cleanup(hook.Close)
	c := startCluster(t, hook.URL)
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		am := inbox.Alertmanager{URLs: c.urls, Receiver: "upkeep", Source: webhook.Alertmanager, Every: 100 * time.Millisecond, Absent: 5 * time.Minute, Logger: slog.New(slog.DiscardHandler)}
		if err := d.inbox.Watch(ctx, am); err != nil {
			t.Error(err)
		}
	})
	defer watching.Wait()
	defer stop()
	all := func(want int64) {
		t.Helper()
		within(t, "deliveries", func() error {
			if n := deliveries.Load(); n < want {
				return fmt.Errorf("%d of %d came", n, want)
			}
			return nil
		})
	}
	begun := time.Now().Truncate(time.Millisecond).UTC()
	c.tell(t, begun, begun.Add(5*time.Minute))
	all(3)
	e, err := d.inbox.Episode(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if e.Alert.Expr != "a > 0.2" || !e.Closed.IsZero() || e.Alert.Annotations["limit"] != "0.2" {
		t.Errorf("%+v", e)
	}
	c.tell(t, begun, time.Now())
	all(6)
	time.Sleep(500 * time.Millisecond) // the peers are asked some times more
	if e, err = d.inbox.Episode(t.Context(), 1); err != nil || e.Closed.IsZero() || e.Alert.EndsAt.IsZero() {
		t.Errorf("after the end: %+v, %v", e, err)
	}
	if e, err := d.inbox.Episode(t.Context(), 2); err == nil {
		t.Errorf("%d deliveries of one trouble made a second episode: %+v", deliveries.Load(), e)
	}
}
