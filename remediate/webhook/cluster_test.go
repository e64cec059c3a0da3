package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// A cluster is three real Alertmanagers that hardly wait for each other, so that
// each of them delivers.
type cluster struct{ urls []string }

func startCluster(t *testing.T, hook, routes string) *cluster {
	t.Helper()
	dir := t.TempDir()
	config := routes + fmt.Sprintf(`
receivers:
  - name: upkeep
    webhook_configs: [{url: %q, send_resolved: true, http_config: {authorization: {credentials: right}}}]
`, hook+webhook.Alertmanager().Path)
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
			"--config.file=alertmanager.yml", fmt.Sprint("--storage.path=am", n), "--web.listen-address=" + web,
			"--cluster.listen-address=" + gossip, "--cluster.advertise-address=" + gossip,
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
	deadline := time.Now().Add(5 * time.Minute)
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
	c.post(t, map[string]any{
		"labels": map[string]string{"alertname": "A", "table": "t"}, "annotations": map[string]string{"limit": "0.2"},
		"startsAt": starts, "endsAt": ends, "generatorURL": "http://p/graph?g0.expr=a+%3E+0.2",
	})
}

func (c *cluster) post(t *testing.T, alerts ...map[string]any) {
	t.Helper()
	text, err := json.Marshal(alerts)
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

// Three peers of a real cluster deliver one alert, and it is one incident, from
// its beginning to its end, whichever peer is queried meanwhile.
func TestThreePeers(t *testing.T) {
	d := open(t)
	var deliveries atomic.Int64
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.ServeHTTP(w, r)
		deliveries.Add(1)
	}))
	t.Cleanup(hook.Close)
	c := startCluster(t, hook.URL, "route: {receiver: upkeep, group_by: ['...'], group_wait: 100ms, group_interval: "+
		"500ms, repeat_interval: 1h}")
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		am := inbox.Alertmanager{URLs: c.urls, Receiver: "upkeep", Source: webhook.Alertmanager().Name,
			Every: 100 * time.Millisecond, Absent: 5 * time.Minute, Logger: slog.New(slog.DiscardHandler)}
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
	e, err := d.inbox.Incident(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if e.Alert.Expr != "a > 0.2" || !e.Closed.IsZero() || e.Alert.Annotations["limit"] != "0.2" {
		t.Errorf("%+v", e)
	}
	c.tell(t, begun, time.Now())
	all(6)
	time.Sleep(500 * time.Millisecond) // the peers are asked some times more
	if e, err = d.inbox.Incident(t.Context(), 1); err != nil || e.Closed.IsZero() || e.Alert.EndsAt.IsZero() {
		t.Errorf("after the end: %+v, %v", e, err)
	}
	if e, err := d.inbox.Incident(t.Context(), 2); err == nil {
		t.Errorf("%d deliveries of one incident made a second incident: %+v", deliveries.Load(), e)
	}
}

// Three peers mute, inhibit, silence and hold alerts, and one of a group cannot be read:
// what has an incident is what they deliver, and a silence that one peer knows holds
// what was delivered before.
func TestThreePeersHold(t *testing.T) {
	d := open(t)
	hook := httptest.NewServer(d)
	t.Cleanup(hook.Close)
	c := startCluster(t, hook.URL, `route:
  receiver: upkeep
  group_by: [kind]
  group_wait: 1s
  group_interval: 2s
  routes:
    - {matchers: ['kind="muted"'], mute_time_intervals: [always]}
    - {matchers: ['kind="waits"'], group_wait: 10m}
inhibit_rules: [{source_matchers: ['kind="source"'], target_matchers: ['kind="inhibited"']}]
time_intervals: [{name: always, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}]
`)
	silence := func(peer int, kind string) {
		t.Helper()
		body := fmt.Sprintf(`{"matchers":[{"name":"kind","value":%q,"isRegex":false}],"startsAt":"2020-01-01T00:00:00Z","endsAt":%q,"createdBy":"ann","comment":"we move it"}`, kind, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		res, err := http.Post(c.urls[peer]+"/api/v2/silences", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // its ID is not asked for
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	silence(0, "silenced")
	am := inbox.Alertmanager{URLs: c.urls, Receiver: "upkeep", Source: webhook.Alertmanager().Name,
		Every: 100 * time.Millisecond, Absent: 5 * time.Minute, Logger: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := d.inbox.Watch(ctx, am); err != nil {
			t.Error(err)
		}
	})
	defer watching.Wait()
	defer stop()
	var all []map[string]any
	for _, kind := range []string{"source", "silenced", "muted", "waits", "inhibited", "plain"} {
		all = append(all, map[string]any{"labels": map[string]string{"alertname": "A", "kind": kind},
			"endsAt": time.Now().Add(time.Hour)})
	}
	all = append(all, map[string]any{"labels": map[string]string{"check": "legacy cron", "kind": "plain"},
		"endsAt": time.Now().Add(time.Hour)})
	for _, peer := range c.urls { // the peers tell each other of it
		within(t, "the silence", func() error {
			all, err := prom.Alertmanager{URL: peer}.Silences(t.Context())
			if err == nil && len(all) == 0 {
				err = errors.New("not found")
			}
			return err
		})
	}
	c.post(t, all...)
	kinds := func() (ids map[string]int64) {
		open, err := d.inbox.Incidents(t.Context(), 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		ids = make(map[string]int64)
		for _, e := range open {
			ids[e.Alert.Labels["kind"]] = e.ID
		}
		return ids
	}
	within(t, "what is delivered", func() error {
		if all := kinds(); all["plain"] == 0 || all["source"] == 0 {
			return fmt.Errorf("%v", all)
		}
		return nil
	})
	time.Sleep(3 * time.Second) // each peer has had its turn, and is listed
	ids := kinds()
	if len(ids) != 2 {
		t.Errorf("incidents %v, want those of plain and source", ids)
	}
	deadLetters := d.deadLetters(t) // one of each peer that did not hear of another's delivery in time
	for _, l := range deadLetters {
		if !strings.Contains(l.Error, "it has no alertname; the others were taken") ||
			!strings.Contains(string(l.Body), "legacy cron") {
			t.Errorf("dead letter %+v", l)
		}
	}
	if len(deadLetters) == 0 {
		t.Error("the alert without a name is in no dead letter")
	}
	delivery := &inbox.Delivery{Inbox: d.inbox, Alertmanager: am}
	if why, err := delivery.Held(t.Context(), ids["plain"]); err != nil || why != "" {
		t.Errorf("held: %q, %v", why, err)
	}
	silence(2, "plain")
	if why, err := delivery.Held(t.Context(), ids["plain"]); err != nil || !strings.Contains(why, "silenced by ann") {
		t.Errorf("held: %q, %v", why, err)
	}
}
