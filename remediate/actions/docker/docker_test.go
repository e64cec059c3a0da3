package docker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/docker"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

// TestMain also carries out the steps whose process is to be killed.
func TestMain(m *testing.M) {
	actiontest.Main(m, func(action, child string) (remediate.Action, error) {
		host, logArchive, _ := strings.Cut(child, " ")
		d, err := target.NewDocker(target.DockerConfig{Name: "engine", Host: host, Root: "/", LogArchive: logArchive})
		if err != nil {
			return remediate.Action{}, err
		}
		for _, a := range actions(d) {
			if a.Name == action {
				return a, nil
			}
		}
		return remediate.Action{}, fmt.Errorf("no action %q", action)
	})
}

// actions are all of the package.
func actions(d *target.Docker) []remediate.Action {
	return []remediate.Action{docker.Prune(d), docker.PruneLogs(d)}
}

func engine(t *testing.T, host string) *target.Docker {
	t.Helper()
	d, err := target.NewDocker(target.DockerConfig{Name: "engine", Host: host, Root: "/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func run(t *testing.T, d *sandbox.Docker, args ...string) string {
	t.Helper()
	out, err := d.Run(t.Context(), nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func held(context.Context) error { return nil }

func refuses(t *testing.T, err error, reason, says string) {
	t.Helper()
	r, refused := remediate.Refused(err)
	if !refused || r.Reason != reason || !strings.Contains(r.Detail, says) {
		t.Errorf("%v, want the refusal %q with %q", err, reason, says)
	}
}
