package embedded

import (
	"context"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	// flushDeadline is how long the end waits for samples that are being sent.
	flushDeadline = 5 * time.Second

	// remember is how often it is written down up to when all samples have arrived.
	remember = time.Second
)

func newWriter(c Config, db *tsdb.DB, scraper func() (*scrape.Manager, error)) *writer {
	w := &writer{log: c.Logger.With("part", "remote_write"), db: db, dir: c.Dir, scraper: scraper, cancel: func() {},
		marks: readMarks(filepath.Join(c.Dir, "remote_write.json"))}
	w.write(db)
	db.SetWriteNotified(w)
	return w
}

func (w *writer) write(to storage.AppendableV2) { w.sink.Store(&to) }

// AppenderV2 implements storage.AppendableV2.
func (w *writer) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return (*w.sink.Load()).AppenderV2(ctx)
}

// Notify implements the notification of the storage's log: there is more in it.
func (w *writer) Notify() {
	if q := w.notify.Load(); q != nil {
		q.Notify()
	}
}

// Get implements remote.ReadyScrapeManager.
func (w *writer) Get() (*scrape.Manager, error) { return w.scraper() }

// use writes to the remote storages of a configuration from now on. Queues whose
// configuration has not changed go on. One call at a time: it waits for what the call
// before has begun.
func (w *writer) use(c *promconfig.Config) {
	w.cancel()
	w.group.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(c.RemoteWriteConfigs) == 0 && w.queues == nil {
		return
	}
	if w.queues == nil {
		w.metrics = prometheus.NewRegistry()
		w.queues = remote.NewStorage(w.log, w.metrics, w.db.StartTime, filepath.Join(w.dir, "tsdb"), flushDeadline, w,
			false)
		w.notify.Store(w.queues)
		w.write(storage.NewFanout(w.log, w.db, w.queues))
	}
	running := w.begun
	w.whole, w.begun = c, nil
	var fresh []*promconfig.RemoteWriteConfig
	for _, r := range c.RemoteWriteConfigs {
		if contains(running, r) {
			w.begun = append(w.begun, r)
			continue
		}
		fresh = append(fresh, r)
	}
	if err := w.apply(); err != nil {
		w.log.Error("remote_write is not applied", "err", hush(err))
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	for _, r := range fresh {
		w.group.Go(func() { w.begin(ctx, r) })
	}
	w.group.Go(func() { w.follow(ctx) })
}

// follow writes down up to when all samples have arrived, until ctx is done.
func (w *writer) follow(ctx context.Context) {
	tick := time.NewTicker(remember)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mark()
	}
}

// mark writes down where the queues are that have nothing left to send.
func (w *writer) mark() {
	w.mu.Lock()
	begun := w.begun
	w.mu.Unlock()
	if len(begun) == 0 {
		return
	}
	all, err := w.progress()
	if err != nil {
		w.log.Warn("the progress of remote_write is unknown", "err", err)
		return
	}
	for _, r := range begun {
		if p := all[r.URL.Redacted()]; p.pending == 0 && p.sent > 0 {
			w.marks.set(id(r), int64(p.sent*1000))
		}
	}
	if err := w.marks.write(); err != nil {
		w.log.Warn("the progress of remote_write is not stored", "err", err)
	}
}

// close sends what is left and ends the queues.
func (w *writer) close() error {
	w.cancel()
	w.group.Wait()
	w.mu.Lock()
	queues := w.queues
	w.mu.Unlock()
	if queues == nil {
		return nil
	}
	w.write(w.db)
	w.notify.Store(nil)
	return queues.Close()
}

// A progress is how far the queue to one remote storage is.
type progress struct {
	pending  float64 // samples that wait to be sent
	sent     float64 // the time of the newest sample that was sent, in seconds; 0 before the first
	rejected float64 // samples that the remote storage did not accept, since the queue was started
}

// progress returns how far the queues are, by URL without its password. Prometheus keeps it
// in metrics alone.
func (w *writer) progress() (map[string]progress, error) {
	w.mu.Lock()
	metrics := w.metrics
	w.mu.Unlock()
	all := make(map[string]progress)
	if metrics == nil {
		return all, nil
	}
	families, err := metrics.Gather()
	if err != nil {
		return nil, err
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			url := label(m, "url")
			p := all[url]
			p.add(f.GetName(), m)
			all[url] = p
		}
	}
	return all, nil
}

func (p *progress) add(name string, m *dto.Metric) {
	switch name {
	case "prometheus_remote_storage_samples_pending", "prometheus_remote_storage_histograms_pending":
		p.pending += m.GetGauge().GetValue()
	case "prometheus_remote_storage_samples_failed_total", "prometheus_remote_storage_histograms_failed_total":
		p.rejected += m.GetCounter().GetValue()
	case "prometheus_remote_storage_queue_highest_sent_timestamp_seconds":
		if v := m.GetGauge().GetValue(); p.sent == 0 || v < p.sent {
			p.sent = v
		}
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
