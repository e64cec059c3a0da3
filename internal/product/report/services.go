package report

import "context"

// availability is the share of the probes and scrapes that succeeded.
func (b *builder) availability(ctx context.Context) (Figure, error) {
	return b.measured(ctx, measure{
		title: "Availability",
		about: "Share of the health checks that succeeded. A time without data counts neither way.",
		unit:  Ratio, subject: "service", by: []string{"server"}, low: true,
		value: "avg by (server) (avg_over_time(upkeep_probe_healthy[$range]))", has: "upkeep_probe_healthy",
		absent: "No health check has data: targets.probe names the services to check.",
	})
}

func (b *builder) errorRate(ctx context.Context) (Figure, error) {
	return b.measured(ctx, measure{
		title: "Error rate",
		about: "Share of the HTTP requests that were answered with a status of 5xx.",
		unit:  Ratio, subject: "service (job)", by: []string{"job"},
		value: "avg_over_time(job:http_requests_errors:rate5m[$range]) / " +
			"(avg_over_time(job:http_requests:rate5m[$range]) > 0)",
		older: "last_over_time(job:http_requests_errors:ratio_rate30d[1d])", has: "job:http_requests:rate5m",
		absent: "No request was counted: a job with http_requests_total is needed, and the rules of " +
			"alerts/http.rules.yaml.",
	})
}

func (b *builder) latency(ctx context.Context) (Figure, error) {
	return b.measured(ctx, measure{
		title: "API latency, p95",
		about: "95 % of the requests took less. The value is interpolated within the buckets of the histogram.",
		unit:  Seconds, subject: "service (job)", by: []string{"job"},
		value: "histogram_quantile(0.95, avg_over_time(job_le:http_request_duration_seconds_bucket:rate5m[$range]))",
		older: "last_over_time(job:http_request_duration_seconds:p95_rate30d[1d])",
		has:   "job_le:http_request_duration_seconds_bucket:rate5m",
		absent: "No latency was measured: a job with http_request_duration_seconds is needed, and the rules of " +
			"alerts/http.rules.yaml.",
	})
}

func (b *builder) hitRatio(ctx context.Context) (Figure, error) {
	const hits, misses = "upkeep_redis_keyspace_hits_total", "upkeep_redis_keyspace_misses_total"
	return b.measured(ctx, measure{
		title: "Hit ratio",
		about: "Share of the reads that found their key.",
		unit:  Ratio, subject: "server", by: []string{"server"}, low: true,
		value: "sum by (server) (increase(" + hits + "[$range])) / (sum by (server) (increase(" + hits +
			"[$range])) + " +
			"sum by (server) (increase(" + misses + "[$range])) > 0)",
		has: hits, absent: "No Redis server has data: targets.redis names the servers.",
	})
}
