package redis_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
)

// redisImage makes an image of the installed server and the libraries that it needs.
func redisImage(t *testing.T, d *sandbox.Docker) {
	t.Helper()
	server, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := exec.CommandContext(t.Context(), "ldd", server).Output()
	if err != nil {
		t.Fatalf("ldd: %v", err)
	}
	files := make(map[string][]byte)
	for _, path := range append(regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1), server) {
		name := strings.TrimPrefix(path, "/")
		if path == server {
			name = "redis-server"
		}
		if files[name], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	image, err := sandbox.Tar(files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Run(t.Context(), image, "import", "-", "redis:1"); err != nil {
		t.Fatal(err)
	}
}

func engineOf(t *testing.T, host string) *target.Docker {
	t.Helper()
	e, err := target.NewDocker(target.DockerConfig{Name: "engine", Host: host, Root: "/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// A server in a container, without save points and append-only file, is restarted
// by its engine, and only when it is that container's.
func TestRestartInDocker(t *testing.T) {
	d := servertest.Docker(t)
	redisImage(t, d)
	data, err := os.MkdirTemp("/tmp", "upkeep") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(data) })
	begin := func(name string, args ...string) {
		t.Helper()
		run := []string{"run", "--detach", "--network", "none", "--volume", data + ":/data", "--name", name, "redis:1",
			"/redis-server", "--port", "0", "--save", "", "--dir", "/data", "--unixsocket", "/data/" + name}
		if _, err := d.Run(t.Context(), nil, append(run, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	begin("cache", "--requirepass", secret)
	by := target.Restart{Docker: engineOf(t, d.Host), Container: "cache"}
	socket := "unix://" + filepath.Join(data, "cache")
	r := as(t, socket, secret, by)
	for end := time.Now().Add(2 * time.Minute); r.Client.Ping(t.Context()).
		Err() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server in the container does not answer")
		}
	}
	populate(t, r, 1000)
	plan, err := redis.Restart(r).Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if facts := strings.Join(plan.Facts, "; "); !strings.Contains(facts, "docker restart cache gives it 10s to stop") ||
		!strings.Contains(facts, "the disk of the server's folder has") {
		t.Errorf("the plan says %q", facts)
	}

	t.Run("a proxy that lets only GET through", func(t *testing.T) {
		shy := as(t, socket, secret, target.Restart{Docker: engineOf(t, servertest.ReadOnly(t, d)), Container: "cache"})
		refuses(t, apply(t, redis.Restart(shy), &plan.Steps[0]), remediate.ReasonPrivilege,
			"let POST /containers/cache/restart through")
		do(t, r, "set", "k", "v") // is not held
	})
	t.Run("no such container", func(t *testing.T) {
		for _, name := range []string{"missing", "../cache", "cache/json?x=", "a b"} {
			_, err := redis.Restart(as(t, socket, secret, target.Restart{Docker: by.Docker, Container: name})).
				Plan(t.Context(), remediate.Request{})
			if err == nil {
				t.Errorf("a container %q is there", name)
			}
		}
		_, err := redis.Restart(as(t, socket, secret, target.Restart{Docker: by.Docker, Container: "missing"})).
			Plan(t.Context(), remediate.Request{})
		refuses(t, err, remediate.ReasonUnfit, `no container "missing"`)
	})
	t.Run("another container", func(t *testing.T) {
		time.Sleep(3 * time.Second) // starts within two seconds cannot be distinguished
		begin("other")
		_, err := redis.Restart(as(t, socket, secret, target.Restart{Docker: by.Docker, Container: "other"})).
			Plan(t.Context(), remediate.Request{})
		refuses(t, err, remediate.ReasonUnfit, "it is another")
	})
	t.Run("restarted", func(t *testing.T) {
		was := info(t, r, "run_id")
		if err := apply(t, redis.Restart(r), &plan.Steps[0]); err != nil {
			t.Fatal(err)
		}
		if got := do(t, r, "dbsize"); got != "1001" || info(t, r, "run_id") == was {
			t.Errorf("%s keys are there, want 1001 of another process", got)
		}
		started, err := d.Run(t.Context(), nil, "inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}",
			"cache")
		if err := apply(t, redis.Restart(r), &plan.Steps[0]); err != nil {
			t.Fatal(err)
		}
		again, err2 := d.Run(t.Context(), nil, "inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}", "cache")
		if err != nil || err2 != nil || started != again {
			t.Errorf("a second time it was restarted again: %s, %s (%v, %v)", started, again, err, err2)
		}
	})
	t.Run("what outlives it", func(t *testing.T) { outlivesDocker(t, d) })
	t.Run("with another append-only file than it was started with", func(t *testing.T) {
		do(t, r, "config", "set", "appendonly", "yes")
		for info(t, r, "aof_rewrite_in_progress")+info(t, r, "aof_rewrite_scheduled") != "00" {
			time.Sleep(10 * time.Millisecond)
		}
		_, err := redis.Restart(r).Plan(t.Context(), remediate.Request{})
		refuses(t, err, remediate.ReasonUnfit, "its command line has no")
	})
}

// Containers of one docker compose up are started together, each with a server on the same
// port: its address shows which of them answers.
func TestRestartOfTheContainerBesideIt(t *testing.T) {
	d := servertest.Docker(t)
	redisImage(t, d)
	if _, err := d.Run(t.Context(), nil, "network", "create", "beside"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := d.Run(context.WithoutCancel(t.Context()), nil, "rm", "--force", "one", "two"); err != nil {
			t.Error(err)
		}
		if _, err := d.Run(context.WithoutCancel(t.Context()), nil, "network", "rm", "beside"); err != nil {
			t.Error(err)
		}
	})
	at := make(map[string]string)
	for _, name := range []string{"one", "two"} {
		if _, err := d.Run(t.Context(), nil, "run", "--detach", "--network", "beside", "--volume", "/data", "--name",
			name, "redis:1", "/redis-server", "--save", "", "--dir", "/data", "--requirepass", secret); err != nil {
			t.Fatal(err)
		}
		address, err := d.Run(t.Context(), nil, "inspect", "--format", "{{.NetworkSettings.Networks.beside.IPAddress}}",
			name)
		if err != nil {
			t.Fatal(err)
		}
		at[name] = "redis://" + address + ":6379"
	}
	by := engineOf(t, d.Host)
	r := as(t, at["two"], secret, target.Restart{Docker: by, Container: "one"}) // which was started a moment before
	answers(t, r)
	_, err := redis.Restart(r).Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, "the server answers at "+strings.TrimSuffix(strings.TrimPrefix(at["two"],
		"redis://"), ":6379")+": it is another")
	r = as(t, at["one"], secret, target.Restart{Docker: by, Container: "one"})
	populate(t, r, keysThere)
	step := plannedRestart(t, r)
	if err := apply(t, redis.Restart(r), &step); err != nil {
		t.Errorf("Apply: %v", err)
	}
	if got := do(t, r, "dbsize"); got != fmt.Sprint(keysThere) {
		t.Errorf("%s keys are there, want %d", got, keysThere)
	}
}
