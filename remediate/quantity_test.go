package remediate_test

import (
	"testing"

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
	} {
		t.Run(tc.metric, func(t *testing.T) {
			if got := remediate.Quantity(tc.metric, tc.v); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
