package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
)

// marks say for each remote storage up to when all samples have arrived there, in
// milliseconds. They are in a file.
type marks struct {
	path    string
	mu      sync.Mutex
	all     map[string]int64
	written map[string]int64
}

func readMarks(path string) *marks {
	m := &marks{path: path, all: make(map[string]int64)}
	if text, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(text, &m.all) // where it does not parse, queues begin now
	}
	return m
}

func (m *marks) get(id string) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.all[id]
	return at, ok
}

func (m *marks) set(id string, at int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[id] = max(m.all[id], at)
}

// write replaces the file where something has changed.
func (m *marks) write() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if maps.Equal(m.all, m.written) {
		return nil
	}
	text, err := json.Marshal(m.all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(m.path+".part", text, 0o600); err != nil {
		return err
	}
	m.written = maps.Clone(m.all)
	return os.Rename(m.path+".part", m.path)
}

// slack is by how much a sample may be older than others that were stored before it: an
// answer to a scrape may take that long.
func (w *writer) slack() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := time.Second
	for _, s := range w.whole.ScrapeConfigs {
		longest = max(longest, time.Duration(s.ScrapeTimeout))
	}
	return longest
}

// A writer is what scrapes and rules write to: the storage and, where there are remote
// ones, Prometheus' own queues to them, which follow the storage's log.
//
// A queue begins at the moment at which it is started, so what a killed process had not
// sent would never arrive. The writer keeps in a file up to when all has arrived, and
// sends what the storage has from then on before it starts the queue.
type writer struct {
	log     *slog.Logger
	db      *tsdb.DB
	dir     string
	scraper func() (*scrape.Manager, error)
	marks   *marks

	mu      sync.Mutex
	queues  *remote.Storage // nil where nothing is written elsewhere
	metrics *prometheus.Registry
	begun   []*promconfig.RemoteWriteConfig // whose queues run
	whole   *promconfig.Config
	cancel  context.CancelFunc // of what is sent before
	group   sync.WaitGroup

	sink   atomic.Pointer[storage.AppendableV2]
	notify atomic.Pointer[remote.Storage]
}

func contains(all []*promconfig.RemoteWriteConfig, r *promconfig.RemoteWriteConfig) bool {
	for _, other := range all {
		if id(other) == id(r) {
			return true
		}
	}
	return false
}

// id tells one remote storage from another over restarts.
func id(r *promconfig.RemoteWriteConfig) string {
	sum := sha256.Sum256([]byte(r.Name + "\n" + r.URL.String()))
	return hex.EncodeToString(sum[:8])
}

// apply starts and stops queues so that those of begun run. The caller holds mu.
func (w *writer) apply() error {
	c := *w.whole
	c.RemoteWriteConfigs = w.begun
	return w.queues.ApplyConfig(&c)
}

// start starts the queue of one remote storage.
func (w *writer) start(r *promconfig.RemoteWriteConfig) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = append(w.begun, r)
	return w.apply()
}
