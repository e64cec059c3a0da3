package latency_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/logs/latency"
)

// A quantile lies in the bucket that has it, and quantiles are in order; without a request
// the quantile is 0.
func TestQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	bounds := latency.Bounds()
	if got := (latency.Histogram{}).Quantile(0.5); got != 0 {
		t.Errorf("of nothing: %s", got)
	}
	for n := range 200 {
		var h latency.Histogram
		times := make([]float64, 1+random.IntN(50))
		for i := range times {
			times[i] = math.Exp(random.Float64()*12 - 2) // milliseconds, up to 22 s
			h.Add(times[i])
		}
		last := time.Duration(0)
		for _, q := range []float64{0.01, 0.5, 0.95, 0.99, 1} {
			got := h.Quantile(q)
			within := 0 // took that long at most, by the buckets
			for _, ms := range times {
				if i := latency.BucketOf(ms); i < len(bounds) && bounds[i] <= got.Seconds()+1e-9 || ms/1000 <= got.Seconds() {
					within++
				}
			}
			over := 0 // are in a bucket that begins behind it
			for _, ms := range times {
				if i := latency.BucketOf(ms); i > 0 && bounds[i-1] >= got.Seconds()+1e-9 {
					over++
				}
			}
			if got < last || float64(over) > (1-q)*float64(len(times))+1e-9 && got.Seconds() < bounds[len(bounds)-1] {
				t.Fatalf("case %d: %v of %v is %s after %s; %d are within, %d beyond", n, q, times, got, last, within, over)
			}
			last = got
		}
	}
	for ms, want := range map[float64]int{0: 0, 5: 0, math.Nextafter(5, 6): 1, 10000: 10, math.Nextafter(10000, 1e9): 11,
		math.MaxFloat64: 11} {
		if got := latency.BucketOf(ms); got != want || got < len(bounds) && ms > bounds[got]*1000 {
			t.Errorf("%v ms are in bucket %d, want %d", ms, got, want)
		}
	}
}
