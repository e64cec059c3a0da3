package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// L7: the Alertmanager of the compose stack takes alerts only from who has its password, which
// the script makes with all other secrets, and upkeep has it too.
func TestAttackOnCompose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join("..", "..")
	script, err := os.ReadFile(filepath.Join(root, "tools", "compose", "secrets.sh"))
	if err != nil {
		t.Fatal(err)
	}
	compose := filepath.Join(dir, "tools", "compose")
	if err := os.MkdirAll(compose, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(compose, "secrets.sh"), string(script))
	// The image cannot be built here: its command is run in the place of the container.
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\nwhile [ \"$1\" != upkeep ]; do shift; done\n"+
		"exec \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second changes nothing
		cmd := exec.CommandContext(t.Context(), "sh", "tools/compose/secrets.sh")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	var stack struct {
		Secrets  map[string]struct{ File string }
		Services map[string]struct{ Command any }
	}
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err == nil {
		err = yaml.Unmarshal(text, &stack)
	}
	if err != nil || len(stack.Secrets) < 8 {
		t.Fatalf("%v: %d secrets", err, len(stack.Secrets))
	}
	for name, secret := range stack.Secrets {
		if info, err := os.Stat(filepath.Join(dir, secret.File)); err != nil || info.Size() == 0 {
			t.Errorf("secret %s: %v", name, err)
		}
	}
	if command := fmt.Sprint(stack.Services["alertmanager"].Command); !strings.Contains(command,
		"--web.config.file=/run/secrets/alertmanager_web") {
		t.Errorf("alertmanager runs with %s", command)
	}
	secrets := filepath.Join(compose, "secrets")
	if info, err := os.Stat(secrets); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the secrets: %v %v", info.Mode(), err)
	}
	attackAlertmanager(t, dir, secrets)
}

func attackAlertmanager(t *testing.T, dir, secrets string) {
	t.Helper()
	address := freeAddress(t)
	write(t, filepath.Join(dir, "alertmanager.yml"), "route: {receiver: none}\nreceivers: [{name: none}]\n")
	spawn(t, dir, "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=am",
		"--cluster.listen-address=", "--web.listen-address="+address, "--web.config.file="+
			filepath.Join(secrets, "alertmanager_web"))
	password, err := os.ReadFile(filepath.Join(secrets, "alertmanager_password"))
	if err != nil {
		t.Fatal(err)
	}
	known := func(r *http.Request) { r.SetBasicAuth("upkeep", string(password)) }
	servertest.Eventually(t, "alertmanager answers", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/-/ready", nil)
		if err != nil {
			t.Fatal(err)
		}
		known(r)
		res, err := plain().Do(r)
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
	const alert = `[{"labels":{"alertname":"PostgresDeadRows"}}]`
	for name, change := range map[string]func(*http.Request){"nothing": with("X-None", "x"),
		"a guess":    func(r *http.Request) { r.SetBasicAuth("upkeep", "guess") },
		"a token":    with("Authorization", "Bearer x"),
		"the user's": known} {
		want := http.StatusUnauthorized
		if name == "the user's" {
			want = http.StatusOK
		}
		if status, _ := try(t, "POST", address, "/api/v2/alerts", alert, change, with("Content-Type",
			"application/json")); status != want {
			t.Errorf("an alert with %s: %d, want %d", name, status, want)
		}
	}
	write(t, filepath.Join(dir, "wrong"), "guess")
	for file, want := range map[string]string{filepath.Join(secrets, "alertmanager_password"): "Alertmanager 0.",
		filepath.Join(dir, "wrong"): "rejects the login"} {
		if err := os.Chmod(file, 0o600); err != nil { // it is 0644 for the containers
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "upkeep.yaml"), fmt.Sprintf("data_dir: data\ntargets: {host: [{name: here}]}\n"+
			"embedded: {enabled: false}\nalertmanager: {url: 'http://%s', user: upkeep, password_file: %q}\n", address, file))
		out, err := asOwner(t, dir, "check", "--config", "upkeep.yaml", "--connect")
		if (err == nil) != (want == "Alertmanager 0.") || !strings.Contains(out, want) || strings.Contains(out,
			string(password)) {
			t.Errorf("check --connect with %s: %v %s", filepath.Base(file), err, out)
		}
	}
}
