package release_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// imageMost is how large the image may be: the program and the certificates.
const imageMost = 120 << 20

// The image has the program that is released and nothing beside certificates, runs as a user without
// any right, and says of itself that it is healthy. It is run on a real engine, and writes nowhere but to its
// volume.
func TestImage(t *testing.T) {
	t.Parallel()
	dir, engine := t.TempDir(), servertest.Docker(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "tools", "release", "image.sh"),
		filepath.Join(dist(t), "upkeep-linux-"+runtime.GOARCH), filepath.Join(dir, "image"), "upkeep")
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+engine.Host, "DOCKER_CONFIG="+engine.Dir, "DOCKER_BUILDKIT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	docker := func(args ...string) string {
		t.Helper()
		out, err := engine.Run(t.Context(), nil, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var image []struct {
		Size   int64
		Config struct {
			User            string
			Entrypoint, Cmd []string
			Volumes         map[string]any
			ExposedPorts    map[string]any
			Healthcheck     struct{ Test []string }
		}
	}
	if err := json.Unmarshal([]byte(docker("image", "inspect", "upkeep")), &image); err != nil || len(image) != 1 {
		t.Fatalf("%v: %v", image, err)
	}
	if c := image[0].Config; image[0].Size > imageMost || c.User != "65532:65532" || c.Volumes["/var/lib/upkeep"] == nil ||
		!slices.Equal(c.Entrypoint, []string{"/upkeep"}) || !slices.Equal(c.Healthcheck.Test, []string{"CMD", "/upkeep", "health"}) {
		t.Errorf("%+v", image[0])
	}

	config := filepath.Join(dir, "upkeep.yaml")
	text := "data_dir: /var/lib/upkeep\nweb: {listen: '127.0.0.1:9847'}\ntargets: {host: [{name: here}]}\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	docker("run", "--detach", "--name", "upkeep", "--network", "none", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp",
		"--security-opt", "no-new-privileges", "--health-interval", "1s", "--volume", config+":/etc/upkeep/upkeep.yaml:ro",
		"upkeep")
	servertest.Eventually(t, "the container is healthy", func() error {
		is, err := engine.Run(t.Context(), nil, "inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", "upkeep")
		if err == nil && is != "running healthy" {
			log, _ := engine.Run(t.Context(), nil, "logs", "upkeep")
			err = fmt.Errorf("it is %s\n%s", is, log)
		}
		return err
	})
	if said := docker("exec", "upkeep", "/upkeep", "health", "--ready"); !strings.Contains(said, "/-/ready answers 200 OK") {
		t.Errorf("it says %s", said)
	}
	if said := docker("exec", "upkeep", "/upkeep", "journal", "verify"); !strings.Contains(said, "journal OK") {
		t.Errorf("a command in the container says %s", said)
	}
	for line := range strings.Lines(docker("top", "upkeep", "-eo", "pid,uid,args")) {
		if strings.Contains(line, "/upkeep") && strings.Fields(line)[1] != "65532" {
			t.Errorf("it runs as %s", line)
		}
	}
	docker("stop", "--time", "120", "upkeep")
	if code := docker("inspect", "--format", "{{.State.ExitCode}}", "upkeep"); code != "0" {
		t.Errorf("it ends with %s", code)
	}
}

// The compose stack is valid by the library that docker compose reads it with.
func TestComposeIsValid(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools/release/go.mod",
		"github.com/compose-spec/compose-go/v2/cmd", "docker-compose.yml")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false -mod=readonly")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "services:") {
		t.Errorf("%v\n%s", err, out)
	}
}
