package logs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A container that logs after upkeep has begun to listen, beside one that logged
// before.
func TestLines(t *testing.T) {
	d := servertest.Docker(t)
	servertest.Image(t, d, "service:1", "../docker/testdata/service")
	begin := func(name, service string) {
		t.Helper()
		if _, err := d.Run(t.Context(), nil, "run", "--detach", "--network", "none", "--name", name, "--label",
			"com.docker.compose.service="+service, "service:1", "log"); err != nil {
			t.Fatal(err)
		}
	}
	engine, err := target.NewDocker(target.DockerConfig{Name: "s", Host: d.Host, Root: "/",
		Logs: target.LogFields{Level: "level", Message: "message", Path: "path", Duration: "duration_ms",
			Slow: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	c := logs.Lines(engine)
	begin("old", "before")
	time.Sleep(time.Second) // it says all at once
	if got := collectortest.Answer(t, c); strings.Contains(got, `lines_total{server="s",service="before"} 2`) {
		t.Errorf("what was written before counts:\n%s", got)
	}
	begin("new", "users")
	var got, missing string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		got, missing = collectortest.Answer(t, c), ""
		for _, want := range []string{
			`upkeep_logs_lines_total{server="s",service="users"} 201`,
			`upkeep_logs_errors_total{server="s",service="users"} 101`,
			`upkeep_logs_plain_lines_total{server="s",service="users"} 1`,
			`upkeep_logs_error_messages_total{server="s",service="users",template="user <n> is gone"} 100`,
			`upkeep_logs_requests_total{server="s",service="users",endpoint="/api/users/:id"} 100`,
			`upkeep_logs_slow_requests_total{server="s",service="users"} 33`,
			`upkeep_logs_request_duration_seconds_count{server="s",service="users"} 100`,
			`upkeep_logs_request_duration_seconds_bucket{server="s",service="users",le="1"} 67`,
		} {
			if !strings.Contains(got, want+"\n") {
				missing = want
			}
		}
		if missing == "" {
			break
		}
	}
	if missing != "" {
		t.Errorf("never %s, but:\n%s", missing, got)
	}
	collectortest.Promises(t, logs.Lines(engine))
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err == nil || w.Samples() != 0 {
		t.Errorf("an engine that is down: %v, %d samples", err, w.Samples())
	}
}
