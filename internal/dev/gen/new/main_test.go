package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/dev/tree"
)

// What the scaffold writes passes the suite of its package as it is, but for the samples that
// its author writes by -update: in domains with and without a suite, and by names of two words.
func TestScaffoldPassesItsSuite(t *testing.T) {
	root := t.TempDir()
	if err := tree.Copy(t.Context(), "../../../..", root); err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{
		"collector postgres/scaffolded_rows", "collector redis/scaffolded_keys", "collector host/scaffolded",
		"collector backup/scaffolded",
		"collector logs/scaffolded", "action postgres/scaffold_it", "action redis/scaffold", "action docker/scaffold",
	} {
		if err := run(root, strings.Fields(unit)); err != nil {
			t.Fatalf("%s: %v", unit, err)
		}
	}
	command := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath -tags=nomsgpack") // so that it shares what is built
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go %q: %v\n%s", args, err, out)
		}
	}
	command("test", "-vet=off", "-count=1", "-run", "TestScaffolded", "./collectors/postgres", "./collectors/redis",
		"-update")
	command("test", "-vet=off", "-count=1", "-run", "TestScaffolded", "./collectors/host", "./collectors/backup")
	// The author of an action begins with what is wrong: it has nothing that passes. It compiles.
	command("vet", "./collectors/logs", "./remediate/actions/postgres", "./remediate/actions/redis",
		"./remediate/actions/docker")
}

func TestWrongNames(t *testing.T) {
	for _, args := range [][]string{nil, {"collector"}, {"guard", "postgres/x"}, {"collector", "postgres"},
		{"collector", "postgres/../x"}, {"collector", "postgres/x_"}, {"collector", "Postgres/X"},
		{"action", "oracle/x"}} {
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
	if err := os.WriteFile(filepath.Join(root, "internal", "platform", "target", "redis.go"),
		[]byte("package target\n\ntype Redis struct{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(root, []string{"collector", "redis/keys"}); err != nil {
		t.Fatal(err)
	}
	if err := run(root, []string{"collector", "redis/keys"}); err == nil ||
		!strings.Contains(err.Error(), "exists already") {
		t.Errorf("run twice: %v", err)
	}
}
