package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The scaffold's output is written into the tree and compiles there, tests too.
func TestScaffoldCompiles(t *testing.T) {
	const root = "../../../.."
	overlay := make(map[string]string)
	var packages []string
	for _, args := range [][]string{{"collector", "postgres/scaffolded"}, {"collector", "redis/scaffolded"}, {"collector", "host/scaffolded"}, {"action", "postgres/scaffold"}, {"action", "redis/scaffold"}} {
		u, err := parse(root, args)
		if err != nil {
			t.Fatal(err)
		}
		files, err := u.files()
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			written := filepath.Join(t.TempDir(), filepath.Base(name))
			if err := os.WriteFile(written, text, 0o600); err != nil {
				t.Fatal(err)
			}
			there, err := filepath.Abs(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			overlay[there] = written
			if strings.HasSuffix(name, "_test.go") {
				packages = append(packages, "./"+filepath.Dir(name))
			}
		}
	}
	var b strings.Builder
	b.WriteString(`{"Replace": {`)
	sep := ""
	for there, written := range overlay {
		b.WriteString(sep + `"` + there + `": "` + written + `"`)
		sep = ", "
	}
	b.WriteString("}}")
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	// Compiling the tests compiles all; -vet=off, as vet knows no overlay.
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-overlay", file, "-vet=off", "-count=1", "-run", "^$"}, packages...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestWrongNames(t *testing.T) {
	for _, args := range [][]string{nil, {"collector"}, {"guard", "postgres/x"}, {"collector", "postgres"}, {"collector", "postgres/../x"}, {"collector", "Postgres/X"}, {"action", "oracle/x"}} {
		if _, err := parse("../../../..", args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

func TestOverwritesNothing(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "internal", "platform", "target"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "internal", "platform", "target", "redis.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(root, []string{"collector", "redis/keys"}); err != nil {
		t.Fatal(err)
	}
	if err := run(root, []string{"collector", "redis/keys"}); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("run twice: %v", err)
	}
}
