package embedded

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promconfig "github.com/prometheus/prometheus/config"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
)

// Metrics returns the metrics of an Embedded.
func Metrics() []*metric.Family { return []*metric.Family{remoteDelay(), remoteRejected()} }

func remoteDelay() *metric.Family {
	return metric.Gauge("upkeep_remote_write_delay_seconds",
		"Age of the oldest sample that a remote storage of embedded.remote_write has not received; 0 when it has all.",
		"remote")
}

func remoteRejected() *metric.Family {
	return metric.Counter("upkeep_remote_write_rejected_samples_total",
		"Samples that a remote storage rejected for good, since the start of the process.", "remote")
}

// Describe implements prometheus.Collector.
func (e *Embedded) Describe(ch chan<- *prometheus.Desc) { metric.Describe(ch, Metrics()...) }

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
		ch <- metric.Sample(remoteDelay(), behind, names[i])
		ch <- metric.Sample(remoteRejected(), q.rejected, names[i])
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
