// Package latency counts how long requests took.
package latency

import "time"

// Bounds are the ends of the buckets of a request's duration, in seconds.
func Bounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

// Buckets is len(Bounds()) and one beyond them.
const Buckets = 12

// A Histogram counts durations.
type Histogram struct {
	Counts [Buckets]uint64
	Sum    float64 // in seconds
}

// Add counts a duration in milliseconds.
func (h *Histogram) Add(ms float64) {
	h.Counts[BucketOf(ms)]++
	h.Sum += ms / 1000
}

// Merge adds what another has counted.
func (h *Histogram) Merge(o Histogram) {
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
	h.Sum += o.Sum
}

// BucketOf returns the bucket of a duration in milliseconds.
func BucketOf(ms float64) int {
	switch {
	case ms <= 5:
		return 0
	case ms <= 10:
		return 1
	case ms <= 25:
		return 2
	case ms <= 50:
		return 3
	case ms <= 100:
		return 4
	case ms <= 250:
		return 5
	case ms <= 500:
		return 6
	case ms <= 1000:
		return 7
	case ms <= 2500:
		return 8
	case ms <= 5000:
		return 9
	case ms <= 10000:
		return 10
	}
	return 11
}

// Quantile returns how long a share of the requests took at most, taken to be
// spread evenly within a bucket; beyond the last bucket its beginning.
func (h Histogram) Quantile(q float64) time.Duration {
	var all uint64
	for _, n := range h.Counts {
		all += n
	}
	if all == 0 {
		return 0
	}
	bounds, rank, lower := Bounds(), q*float64(all), 0.0
	for i, n := range h.Counts {
		if i == len(bounds) {
			break
		}
		if float64(n) >= rank {
			return time.Duration((lower + (bounds[i]-lower)*rank/float64(n)) * float64(time.Second))
		}
		rank, lower = rank-float64(n), bounds[i]
	}
	return time.Duration(lower * float64(time.Second))
}
