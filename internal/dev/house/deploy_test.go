package house_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

		CapDrop     []string          `yaml:"cap_drop"`
		SecurityOpt []string          `yaml:"security_opt"`
		ReadOnly    bool              `yaml:"read_only"`
		Pids        int               `yaml:"pids_limit"`
		Memory      string            `yaml:"mem_limit"`
		Privileged  bool              `yaml:"privileged"`
		NetworkMode string            `yaml:"network_mode"`
		Environment map[string]string `yaml:"environment"`
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
	for _, name := range []string{"upkeep", "engine", "auth-service", "user-api", "admin-api", "nginx", "postgres", "redis",
		"prometheus", "alertmanager", "grafana"} {
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
			if _, named := c.Volumes[from]; named || strings.HasPrefix(v, "${DOCKER_") { // of the engine's machine
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

// No service of the stack has more rights than it needs, none lets a client in without
// a password. The engine's socket is in the relay alone, which has no network and no port.
func TestComposeIsHardened(t *testing.T) {
	for name, s := range readCompose(t).Services {
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") ||
			!s.ReadOnly || s.Privileged || s.Pids == 0 || s.Memory == "" {
			t.Errorf("%s: %+v", name, s)
		}
		for _, v := range s.Volumes {
			if strings.Contains(v, "docker.sock") && (name != "engine" || s.NetworkMode != "none" || len(s.Ports)+len(s.Secrets) > 0) {
				t.Errorf("%s has the engine's socket: %s", name, v)
			}
			if strings.Contains(v, "DOCKER_DATA") && (name != "upkeep" || !strings.HasSuffix(v, "/containers:ro")) {
				t.Errorf("%s has the engine's files: %s", name, v)
			}
		}
		for key := range s.Environment {
			if strings.Contains(key, "ANONYMOUS") {
				t.Errorf("%s: %s", name, key)
			}
		}
	}
	script, err := os.ReadFile(filepath.Join(root, "tools", "compose", "secrets.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), "user default off") || strings.Contains(string(script), "nopass") {
		t.Error("Redis lets in who has no password")
	}
}

// exposureMost is the grade of systemd-analyze security below which a unit is "OK"; one
// without any sandbox has 9.6.
const exposureMost = 2.0

// The unit and each of its drop-ins are right, by systemd's own tools, and shut in.
func TestUnit(t *testing.T) {
	dir := filepath.Join(root, "tools", "systemd")
	text, err := os.ReadFile(filepath.Join(dir, "upkeep.service"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	unit := filepath.Join(folder, "upkeep.service")
	program := regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAllString(string(text), "ExecStart=/bin/true")
	if err := os.WriteFile(unit, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	dropIns, err := filepath.Glob(filepath.Join(dir, "*.conf"))
	if err != nil || len(dropIns) < 3 {
		t.Fatalf("drop-ins %v, %v", dropIns, err)
	}
	analyze := func(args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", append(args, unit)...).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatal("systemd-analyze is missing: make test installs it")
		}
		if err != nil || strings.Contains(string(out), unit+":") {
			t.Errorf("systemd-analyze %v: %v\n%s", args, err, out)
		}
	}
	analyze("verify")
	analyze("security", "--offline=true", fmt.Sprintf("--threshold=%.0f", exposureMost*10), "--no-pager")
	for _, dropIn := range dropIns { // a section may come again, as in a drop-in
		more, err := os.ReadFile(dropIn)
		if err == nil {
			err = os.WriteFile(unit, append([]byte(program), more...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		analyze("verify")
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
	if err := os.WriteFile(filepath.Join(here, "upkeep_prometheus_token"), []byte("token"), 0o600); err != nil {
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
		// So is the token of Prometheus, which promtool looks for.
		text = bytes.ReplaceAll(text, []byte("/run/secrets/"), []byte(here+"/"))
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
