package house_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// compose is what the tests read of docker-compose.yml.
type compose struct {
	Services map[string]struct {
		Image   string   `yaml:"image"`
		Build   string   `yaml:"build"`
		Volumes []string `yaml:"volumes"`
		Ports   []string `yaml:"ports"`
		Secrets []string `yaml:"secrets"`
	} `yaml:"services"`
	Secrets map[string]struct {
		File string `yaml:"file"`
	} `yaml:"secrets"`
	Volumes map[string]any `yaml:"volumes"`
}

func readCompose(t *testing.T) (c compose) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err == nil {
		err = yaml.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What the stack mounts is there, its ports are open on this machine only, and
// each secret is made by the script.
func TestCompose(t *testing.T) {
	c := readCompose(t)
	for _, name := range []string{"upkeep", "postgres", "redis", "prometheus", "alertmanager", "grafana"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("there is no service %s", name)
		}
	}
	script, err := os.ReadFile(filepath.Join(root, "tools", "compose", "secrets.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to everybody", name, p)
			}
		}
		for _, secret := range s.Secrets {
			if f := c.Secrets[secret].File; f != "./tools/compose/secrets/"+secret ||
				!strings.Contains(string(script), secret) {
				t.Errorf("%s: secret %s is in %q, and not made by the script", name, secret, f)
			}
		}
	}
}

// The configuration in the README is valid as it is.
func TestReadmeConfigurations(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```yaml\n")
	if len(blocks) < 3 {
		t.Fatalf("README.md has %d configurations, want two at least", len(blocks)-1)
	}
	for _, block := range blocks[1:] {
		block, _, _ = strings.Cut(block, "```")
		if _, err := config.Parse("README.md", []byte(block), app.Known()); err != nil {
			t.Errorf("%v\n%s", err, block)
		}
	}
}

// The configurations of the stack are right, by the programs that read them.
func TestComposeConfigurations(t *testing.T) {
	dir := filepath.Join(root, "tools", "compose")
	if _, err := config.Load(filepath.Join(dir, "upkeep.yaml"), app.Known()); err != nil {
		t.Error(err)
	}
	// The rules and secrets are mounted beside them; here they are put there.
	here := t.TempDir()
	if err := os.CopyFS(filepath.Join(here, "rules"), os.DirFS(filepath.Join(root, "alerts"))); err != nil {
		t.Fatal(err)
	}
	for name, check := range map[string][]string{
		"prometheus.yml":   {"promtool", "check", "config"},
		"alertmanager.yml": {"amtool", "check-config"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(here, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), check[0], append(check[1:], file)...).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatalf("%s is missing: make test installs it", check[0])
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
