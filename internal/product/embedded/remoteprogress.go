package embedded

import (
	dto "github.com/prometheus/client_model/go"
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
