package retention

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/internal/platform/metric"
	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// Metrics returns the metrics of a Sweeper.
func Metrics() []*metric.Family { return []*metric.Family{size(), age(), overdue()} }

func size() *metric.Family {
	return metric.Gauge("upkeep_store_size_bytes",
		"Disk space of the store: the SQLite file with its log, or the tables and indexes in PostgreSQL.")
}

func age() *metric.Family {
	return metric.Gauge("upkeep_store_age_seconds",
		"Age of the oldest journal entry, without those that are kept because their run or incident has not ended.")
}

func overdue() *metric.Family {
	return metric.Gauge("upkeep_store_overdue_seconds",
		"By how much the oldest journal entry is older than store.retention, without those that are kept because "+
			"their run or incident has not ended; 0 if it is younger.")
}

// Describe and Collect make the Sweeper a prometheus.Collector of the store's size and age.
func (s *Sweeper) Describe(ch chan<- *prometheus.Desc) { metric.Describe(ch, Metrics()...) }

// Collect writes the samples. What cannot be read is an invalid metric, never zero.
func (s *Sweeper) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a scrape waits no longer
	defer cancel()
	if bytes, err := s.c.Store.Size(ctx); err != nil {
		ch <- metric.Unknown(size(), err)
	} else {
		ch <- metric.Sample(size(), float64(bytes))
	}
	oldest := store.Time(s.oldest.Load())
	if oldest.IsZero() { // nothing was deleted yet
		var err error
		if oldest, err = s.c.Journal.Oldest(ctx); err != nil {
			ch <- metric.Unknown(age(), err)
			ch <- metric.Unknown(overdue(), err)
			return
		}
	}
	var is time.Duration
	if !oldest.IsZero() {
		is = max(s.c.Now().Sub(oldest), 0)
	}
	ch <- metric.Sample(age(), is.Seconds())
	ch <- metric.Sample(overdue(), max(is-s.c.Keep, 0).Seconds())
}
