package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// A workload is a PostgreSQL server whose tables fall damaged as fast as they are
// repaired, each once. Of most of them three real Alertmanagers tell, whom the test
// tells as Prometheus would; of every third the test itself tells, once. All
// deliveries pass a proxy that notes what was acknowledged, and the log of
// the server is the ledger of what was done.
type workload struct {
	dir, token string
	server     *sandbox.Postgres
	peers      []string
	proxy      *httptest.Server
	behind     atomic.Pointer[[]string] // addresses of the upkeeps behind the proxy
	turn       atomic.Int64
	client     *http.Client

	mu      sync.Mutex
	tables  []*damagedTable
	acked   map[string]int // how often a firing alert of the table was answered with 200
	refused int            // deliveries that were not
}

func newWorkload(t *testing.T) *workload {
	t.Helper()
	w := &workload{dir: t.TempDir(), token: "a word that opens", client: &http.Client{Timeout: time.Second},
		acked: make(map[string]int)}
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // data of a test
	w.server, err = servertest.StartPostgres(t.Context(),
		sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Settings: map[string]string{
			"fsync": "off", "autovacuum": "off", "max_connections": "300", "log_min_duration_statement": "0",
			// A vacuum of a small table takes its time without a load, so that many are met in the middle.
			"vacuum_cost_delay": "10ms", "vacuum_cost_limit": "20",
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	w.proxy = httptest.NewServer(http.HandlerFunc(w.deliver))
	t.Cleanup(w.proxy.Close)
	w.behind.Store(new([]string))
	w.startPeers(t)
	return w
}

// startPeers starts a cluster of three, which hardly wait for each other: each of
// them delivers what another may have delivered already.
func (w *workload) startPeers(t *testing.T) {
	t.Helper()
	write(t, filepath.Join(w.dir, "alertmanager.yml"), fmt.Sprintf(`route: {receiver: upkeep, group_by: ['...'], group_wait: 10ms, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: upkeep
    webhook_configs: [{url: %q, http_config: {authorization: {credentials: %q}}}]
`, w.proxy.URL+webhook.Alertmanager().Path, w.token))
	var gossips []string
	for n := range 3 {
		web, gossip := freeAddress(t), freeAddress(t)
		args := []string{
			"--config.file=alertmanager.yml", fmt.Sprint("--storage.path=am", n), "--web.listen-address=" + web,
			"--cluster.listen-address=" + gossip, "--cluster.advertise-address=" + gossip,
			"--cluster.settle-timeout=1s", "--cluster.peer-timeout=1ms", "--cluster.gossip-interval=1s",
		}
		for _, g := range gossips {
			args = append(args, "--cluster.peer="+g)
		}
		gossips, w.peers = append(gossips, gossip), append(w.peers, "http://"+web)
		spawn(t, w.dir, "prometheus-alertmanager", args...)
	}
	for _, peer := range w.peers {
		servertest.Eventually(t, "a cluster of three Alertmanagers", func() error {
			var status struct {
				Cluster struct {
					Status string
					Peers  []any
				}
			}
			res, err := w.client.Get(peer + "/api/v2/status")
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }() // read only
			if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
				return err
			}
			if len(status.Cluster.Peers) != 3 || status.Cluster.Status != "ready" {
				return fmt.Errorf("%s sees %d, and is %s", peer, len(status.Cluster.Peers), status.Cluster.Status)
			}
			return nil
		})
	}
}

// A delivery is what the proxy reads of a webhook's body.
type delivery struct {
	Version string  `json:"version"`
	Alerts  []alert `json:"alerts"`
}

// An alert is one as Alertmanager takes it in and as it delivers it.
type alert struct {
	Status       string            `json:"status,omitempty"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt,omitzero"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// deliver hands a delivery on to one of the upkeeps, in turn, and notes what it
// acknowledged. Who does not answer in time counts as not there.
func (w *workload) deliver(to http.ResponseWriter, r *http.Request) {
	status := http.StatusBadGateway
	defer func() { to.WriteHeader(status) }()
	body, err := io.ReadAll(r.Body)
	all := *w.behind.Load()
	if err != nil || len(all) == 0 {
		return
	}
	address := all[int(w.turn.Add(1))%len(all)]
	on, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+address+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return
	}
	on.Header = r.Header.Clone()
	res, err := w.client.Do(on)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.refused++
		return
	}
	_ = res.Body.Close() // the status says it
	status = res.StatusCode
	var d delivery
	if status != http.StatusOK || json.Unmarshal(body, &d) != nil {
		w.refused++
		return
	}
	for _, a := range d.Alerts {
		if a.Status == "firing" {
			w.acked[a.Labels["table"]]++
		}
	}
}

// keepLog makes a file for what upkeeps say, whose end is shown when the test fails.
func (w *workload) keepLog(t *testing.T) *os.File {
	t.Helper()
	log, err := os.Create(filepath.Join(w.dir, "upkeep.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = log.Close() // the children had their own
		if t.Failed() {
			text, _ := os.ReadFile(log.Name()) // to be shown, where there is any
			t.Logf("upkeep says:\n%s", text[max(0, len(text)-6000):])
		}
	})
	return log
}

// serve starts the upkeep of a folder. Who calls it ends it.
func (w *workload) serve(t *testing.T, dir string, log *os.File) *exec.Cmd {
	t.Helper()
	grant(t, dir)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "upkeep", "serve", "--config", "upkeep.yaml")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// configure writes the upkeep.yaml of an upkeep that looks after the workload. Its
// terms do not slow it down, an end that only the list of Alertmanager tells is soon believed, and of its collectors
// only one asks: what is shown here is not what they read.
func (w *workload) configure(t *testing.T, dir, address, more string) {
	t.Helper()
	var disabled []string
	for _, name := range app.Known().Collectors {
		if strings.HasPrefix(name, "postgres/") && name != "postgres/server" {
			disabled = append(disabled, name+": {disabled: true}")
		}
	}
	const terms = "mode: auto, budget: 0%, ramp: false, breaker: 0, effect: 0%, fresh: 0s, cooldown: 0s"
	write(t, filepath.Join(dir, "token"), w.token+"\n")
	write(t, filepath.Join(dir, "upkeep.yaml"), fmt.Sprintf(`data_dir: data
web: {listen: %q, token_file: token}
targets: {postgres: [{name: main, url: %q}]}
collectors: {settings: {%s}}
embedded: {enabled: false}
alertmanager: {urls: ['%s'], receiver: upkeep}
engine: {concurrency: 8, per_target: 8, reconcile_interval: 1s, resolve_after: 1m}
policies:
  - {name: dead rows, match: ['alertname="PostgresDeadRows"'], action: postgres/vacuum, %s}
  - {name: index bloat, match: ['alertname="PostgresIndexBloat"'], action: postgres/reindex, %s}
%s`, address, w.server.URL, strings.Join(disabled, ", "), strings.Join(w.peers, "', '"), terms, terms, more))
}
