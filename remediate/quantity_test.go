package remediate_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

func TestQuantity(t *testing.T) {
	for _, tc := range []struct {
		metric string
		v      float64
		want   string
	}{
		{"upkeep_postgres_table_dead_ratio", 0.5, "50 %"},
		{"upkeep_postgres_index_bloat_ratio", 0.6543, "65.4 %"},
		{"upkeep_redis_snapshot_age_seconds", 0.25, "250ms"},
		{"upkeep_redis_snapshot_age_seconds", 90061, "25h1m1s"},
		{"upkeep_postgres_index_advice_age_seconds", remediate.Never.Seconds(), "never"},
		{"upkeep_postgres_index_advice_age_seconds", remediate.Never.Seconds() - 1, "87599h59m59s"},
		{"upkeep_postgres_table_dead_rows", remediate.Never.Seconds(), "315360000"},
		{"upkeep_postgres_index_bloat_bytes", 1 << 20, "1 MiB"},
		{"upkeep_postgres_index_bloat_bytes", 12, "12 B"},
		{"upkeep_postgres_table_dead_rows", 1000000, "1000000"},
		{"upkeep_postgres_index_bloat_bytes", 0, "0 B"},
		{"upkeep_postgres_index_bloat_bytes", 1000, "1000 B"},
		{"upkeep_postgres_index_bloat_bytes", 1023, "1023 B"},
		{"upkeep_postgres_index_bloat_bytes", 1024, "1 KiB"},
		{"upkeep_postgres_index_bloat_bytes", 1023.7 * (1 << 20), "1024 MiB"},
		{"upkeep_postgres_index_bloat_bytes", -2048, "-2 KiB"},
		{"upkeep_postgres_index_bloat_bytes", 5 << 50, "5 PiB"},
		{"upkeep_redis_memory_fragmentation_ratio", 9.994, "999 %"},
		{"upkeep_redis_memory_fragmentation_ratio", 9.996, "1000 %"},
		{"upkeep_redis_memory_fragmentation_ratio", 12.34, "1234 %"},
		{"upkeep_redis_memory_fragmentation_ratio", math.Inf(1), "+Inf %"},
		{"upkeep_redis_snapshot_age_seconds", 0, "0s"},
		{"upkeep_redis_snapshot_age_seconds", -90, "-1m30s"},
		{"upkeep_redis_snapshot_age_seconds", 1e10, "10000000000 s"},
		{"upkeep_redis_snapshot_age_seconds", math.NaN(), "NaN s"},
		{"upkeep_redis_snapshot_age_seconds", math.Inf(1), "+Inf s"},
	} {
		t.Run(tc.metric, func(t *testing.T) {
			if got := remediate.Quantity(tc.metric, tc.v); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A quantity that is larger is not written as a smaller one, has its unit, and no exponent where people read it.
func TestQuantityGrows(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 2))
	for metric, least := range map[string]float64{"a_ratio": 0, "a_seconds": 0.51, "a_bytes": 0} { // that is shown
		for range 5000 {
			v := math.Pow(10, r.Float64()*12-2)
			text, more := remediate.Quantity(metric, v), remediate.Quantity(metric, v*1.02)
			if strings.Contains(text, "e+") {
				t.Errorf("%s of %v is %q", metric, v, text)
			}
			if is, then := valueOf(t, text), valueOf(t, more); is > then || math.Abs(is-v) > max(v/100, least) {
				t.Errorf("%s of %v is %q, and of a fiftieth more %q", metric, v, text, more)
			}
		}
	}
}

// valueOf reads a quantity as a person does.
func valueOf(t *testing.T, text string) float64 {
	t.Helper()
	number, unit, ok := strings.Cut(text, " ")
	if !ok {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d.Seconds()
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatal(err)
	}
	switch unit {
	case "%":
		return v / 100
	case "s":
		return v
	}
	return v * math.Pow(1024, float64(strings.Index("BKMGTPE", unit[:1])))
}
