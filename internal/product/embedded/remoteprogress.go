package embedded

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	promconfig "github.com/prometheus/prometheus/config"
)

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

func remoteDelay() *prometheus.Desc {
	return prometheus.NewDesc("upkeep_remote_write_delay_seconds",
		"Age of the oldest sample that a remote storage of embedded.remote_write has not received; 0 when it has all.",
		[]string{"remote"}, nil)
}

func remoteRejected() *prometheus.Desc {
	return prometheus.NewDesc("upkeep_remote_write_rejected_samples_total",
		"Samples that a remote storage rejected for good, since the start of the process.", []string{"remote"}, nil)
}

// Describe implements prometheus.Collector.
func (e *Embedded) Describe(ch chan<- *prometheus.Desc) {
	ch <- remoteDelay()
	ch <- remoteRejected()
}

// Collect implements prometheus.Collector: how far behind each remote storage is.
func (e *Embedded) Collect(ch chan<- prometheus.Metric) {
	p := e.parts.Load()
	if p == nil {
		return // the storage is not open yet
	}
	w := p.prom.writer
	all, err := w.progress()
	if err != nil {
		return // mark logs it
	}
	w.mu.Lock()
	whole, begun := w.whole, w.begun
	w.mu.Unlock()
	if whole == nil {
		return
	}
	names := remoteNames(whole.RemoteWriteConfigs)
	for i, r := range whole.RemoteWriteConfigs {
		q := all[r.URL.Redacted()]
		behind := 0.0
		if q.pending > 0 || !contains(begun, r) {
			mark, _ := w.marks.get(id(r)) // none yet: nothing was stored for it before
			if arrived := max(q.sent, float64(mark)/1000); arrived > 0 {
				behind = max(0, float64(time.Now().UnixMilli())/1000-arrived)
			}
		}
		ch <- prometheus.MustNewConstMetric(remoteDelay(), prometheus.GaugeValue, behind, names[i])
		ch <- prometheus.MustNewConstMetric(remoteRejected(), prometheus.CounterValue, q.rejected, names[i])
	}
}

// remoteNames returns a name for each remote storage: its own, or its host, since a path can
// have a password. What would be there twice gets its number.
func remoteNames(all []*promconfig.RemoteWriteConfig) []string {
	names, used := make([]string, len(all)), make(map[string]bool)
	for i, r := range all {
		name := r.Name
		if name == "" {
			name = r.URL.Host
		}
		if used[name] {
			name = fmt.Sprintf("%s-%d", name, i+1)
		}
		used[name], names[i] = true, name
	}
	return names
}
