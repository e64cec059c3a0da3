package docker_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/docker"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func engine(t *testing.T, host string) *target.Docker {
	t.Helper()
	d, err := target.NewDocker(target.DockerConfig{Name: "s", Host: host, Root: "/",
		Logs: target.LogFields{Level: "level", Message: "message", Path: "path", Duration: "duration_ms",
			Slow: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// until asks until the answer has all expected parts.
func until(t *testing.T, c collectors.Collector, want ...string) string {
	t.Helper()
	var got, missing string
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		got, missing = collectortest.Answer(t, c), ""
		for _, w := range want {
			if !strings.Contains(got, w+"\n") {
				missing = w
			}
		}
		if missing == "" {
			return got
		}
	}
	t.Fatalf("never %s, but:\n%s", missing, got)
	return ""
}

func run(t *testing.T, d *sandbox.Docker, args ...string) string {
	t.Helper()
	out, err := d.Run(t.Context(), nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// One engine with a container in every state that matters.
func TestEngine(t *testing.T) {
	d := servertest.Docker(t)
	servertest.Image(t, d, "service:1", "./testdata/service")
	begin := func(name string, args ...string) {
		t.Helper()
		run(t, d, append([]string{"run", "--detach", "--network", "none", "--name", name}, args...)...)
	}
	begin("well", "--label", "com.docker.compose.service=api", "--label", "com.docker.compose.project=shop",
		"--log-opt", "max-size=1m", "service:1", "stay")
	begin("sick", "service:1", "sick")
	begin("ended", "service:1", "fail")
	begin("again", "--restart", "always", "service:1", "fail")
	begin("hungry", "--memory", "32m", "--memory-swap", "32m", "service:1", "eat")
	begin("elsewhere", "--log-driver", "none", "service:1", "stay")
	run(t, d, "volume", "create", "data")
	e := engine(t, d.Host)

	t.Run("containers", func(t *testing.T) {
		c := docker.Containers(e)
		got := until(t, c,
			`upkeep_docker_up{server="s"} 1`,
			`upkeep_docker_container_info{server="s",container="well",service="api",project="shop",image="service:1"} 1`,
			`upkeep_docker_container_info{server="s",container="sick",service="sick",project="",image="service:1"} 1`,
			`upkeep_docker_container_running{server="s",container="well"} 1`,
			`upkeep_docker_container_unhealthy{server="s",container="well"} 0`,
			`upkeep_docker_container_unhealthy{server="s",container="sick"} 1`,
			`upkeep_docker_container_state{server="s",container="ended",state="exited"} 1`,
			`upkeep_docker_container_exit_code{server="s",container="ended"} 3`,
			`upkeep_docker_container_oom_killed{server="s",container="well"} 0`,
		)
		// The engine itself misses some of these ends: it is what says so that counts.
		for range 20 {
			run(t, d, "wait", "hungry")
			if run(t, d, "inspect", "--format", "{{.State.OOMKilled}}", "hungry") == "true" {
				break
			}
			run(t, d, "start", "hungry")
		}
		run(t, d, "wait", "hungry")
		said := run(t, d, "inspect", "--format", "{{.State.OOMKilled}}", "hungry")
		until(t, c, `upkeep_docker_container_oom_killed{server="s",container="hungry"} `+map[string]string{"true": "1",
			"false": "0"}[said])
		// and soon more
		restarts := regexp.MustCompile(`upkeep_docker_container_restarts_total\{server="s",container="again"\} ([2-9]|[1-9]\d)`)
		for end := time.Now().Add(60 * time.Second); !restarts.MatchString(got); got = collectortest.Answer(t, c) {
			if time.Now().After(end) {
				t.Fatalf("it is never started again:\n%s", got)
			}
		}
		if !strings.Contains(got,
			`upkeep_docker_container_image_created_timestamp_seconds{server="s",container="well"} 1`) {
			t.Errorf("no age of an image:\n%s", got)
		}
		collectortest.Promises(t, docker.Containers(e))
	})
	t.Run("diskusage", func(t *testing.T) {
		c := docker.DiskUsage(e)
		got := collectortest.Answer(t, c)
		for _, want := range []string{`disk_objects{server="s",type="images"} 1`,
			`disk_objects{server="s",type="containers"} 6`, `disk_objects{server="s",type="volumes"} 1`,
			`disk_reclaimable_bytes{server="s",type="images"} 0`, `disk_used_bytes{server="s",type="volumes"} 0`} {
			if !strings.Contains(got, "upkeep_docker_"+want+"\n") {
				t.Errorf("no %s in:\n%s", want, got)
			}
		}
		collectortest.Promises(t, docker.DiskUsage(e))
	})
	t.Run("logsize", func(t *testing.T) {
		begin("talks", "service:1", "log")
		c := docker.LogSize(e)
		got := until(t, c, `upkeep_docker_log_rotated{server="s",container="well"} 1`,
			`upkeep_docker_log_rotated{server="s",container="talks"} 0`)
		path := run(t, d, "inspect", "--format", "{{.LogPath}}", "talks")
		var size int64
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if size = info.Size(); size > 900_000 {
				break
			}
		}
		if want := fmt.Sprintf(`upkeep_docker_log_size_bytes{server="s",container="talks"} %d`, size); size == 0 ||
			!strings.Contains(collectortest.Answer(t, c), want+"\n") {
			t.Errorf("no %s", want)
		}
		if strings.Contains(got, `log_size_bytes{server="s",container="elsewhere"}`) {
			t.Errorf("a container whose driver keeps no file has a size:\n%s", got)
		}
		collectortest.Promises(t, docker.LogSize(e))
	})
	t.Run("gone", func(t *testing.T) {
		if err := d.Stop(); err != nil {
			t.Fatal(err)
		}
		if got := collectortest.Answer(t, docker.Containers(e)); got != "upkeep_docker_up{server=\"s\"} 0\n" {
			t.Errorf("an engine that is down:\n%s", got)
		}
		for _, c := range []collectors.Collector{docker.DiskUsage(e), docker.LogSize(e)} {
			w := collectors.NewWriter(c)
			if err := c.Collect(t.Context(), w); err == nil || w.Samples() != 0 {
				t.Errorf("%s: %v, %d samples", c.Name, err, w.Samples())
			}
		}
	})
}

// An engine is asked in the newest version that both know, and answers that are
// none are errors.
func TestVersionsAndNonsense(t *testing.T) {
	for _, tc := range []struct{ theirs, want, body, wrong string }{
		{"1.41", "/v1.41/images/json", "[]", ""},
		{"1.60", "/v1.51/images/json", "[]", ""},
		{"1.10", "", "[]", "1.24 or later is required"},
		{"", "", "[]", "1.24 or later is required"},
		{"1.41", "/v1.41/images/json", "<html>", "invalid character"},
		{"1.41", "/v1.41/images/json", `[{"Id":`, "unexpected EOF"},
	} {
		var asked string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/_ping" {
				if tc.theirs != "" {
					w.Header().Set("API-Version", tc.theirs)
				}
				return
			}
			asked = r.URL.Path
			fmt.Fprint(w, tc.body)
		}))
		_, err := engine(t, strings.Replace(s.URL, "http://", "tcp://", 1)).ImageList(t.Context(), false)
		s.Close()
		if asked != tc.want || (err == nil) != (tc.wrong == "") || err != nil &&
			!strings.Contains(err.Error(), tc.wrong) {
			t.Errorf("an engine of %s: asked %q, %v", tc.theirs, asked, err)
		}
	}
}
