package check_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/check"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// example copies an example into a folder, with the files that it names: those beside it are its own, and the others
// have a secret.
func example(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	named := regexp.MustCompile(`/etc/(?:upkeep|prometheus|alertmanager)[-/\w.]*`)
	from := filepath.Join("..", "..", "..", "docs", "examples", name)
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "upkeep-password")
	cert, key := certificate(t)
	put := func(path, text string, mode os.FileMode) {
		t.Helper()
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(text), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(program, "#!/bin/sh\necho secret\n", 0o700)
	for _, e := range entries {
		if !slices.Contains([]string{"upkeep.yaml", "web.yml", "prometheus.yml", "alertmanager.yml"}, e.Name()) {
			continue // a manifest, which internal/dev/house tests
		}
		text, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range named.FindAllString(string(text), -1) {
			if _, err := os.Stat(dir + path); err == nil || strings.HasSuffix(path, "/") {
				continue
			}
			switch filepath.Ext(path) {
			case ".crt":
				put(dir+path, cert, 0o600)
			case ".key":
				put(dir+path, key, 0o600)
			default:
				put(dir+path, "https://hooks.example.com/secret\n", 0o600)
			}
		}
		moved := named.ReplaceAllStringFunc(string(text), func(path string) string { return dir + path })
		moved = strings.ReplaceAll(moved, "/usr/local/bin/upkeep-password", program)
		moved = strings.ReplaceAll(moved, "/var/lib/upkeep", filepath.Join(dir, "data"))
		put(filepath.Join(dir, "etc", "upkeep", e.Name()), moved, 0o600)
	}
	return filepath.Join(dir, "etc", "upkeep")
}

// Each example passes upkeep check, with the warnings that are said of it here and no others; what it has
// for Prometheus and Alertmanager is right by promtool and amtool.
func TestExamples(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join("..", "..", "..", "docs", "examples"))
	if err != nil {
		t.Fatal(err)
	}
	warnings := map[string][]string{
		"one-server": {"no backup is at"},
		"team":       nil,
		"replicas":   nil,
		"kubernetes": nil,
	}
	var seen []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		seen = append(seen, e.Name())
		t.Run(e.Name(), func(t *testing.T) {
			t.Parallel()
			dir := example(t, e.Name())
			c, source, err := config.Read(filepath.Join(dir, "upkeep.yaml"), app.Known())
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Private(); err != nil {
				t.Error(err)
			}
			found, err := check.Config(c, source)
			if err != nil {
				t.Fatal(err)
			}
			left := slices.Clone(warnings[e.Name()])
			for _, f := range found {
				n := slices.IndexFunc(left, func(text string) bool { return strings.Contains(f.Text, text) })
				if !f.Warning || n < 0 {
					t.Error(f)
					continue
				}
				left = slices.Delete(left, n, n+1)
			}
			if len(left) > 0 {
				t.Errorf("not warned of %q", left)
			}
			for file, program := range map[string][]string{"prometheus.yml": {"promtool", "check", "config"},
				"alertmanager.yml": {"amtool", "check-config"}} {
				path := filepath.Join(dir, file)
				if _, err := os.Stat(path); err != nil {
					continue
				}
				if out, err := exec.CommandContext(t.Context(), program[0], append(program[1:], path)...).CombinedOutput(); err != nil {
					t.Errorf("%s: %v\n%s", file, err, out)
				}
			}
		})
	}
	for name := range warnings {
		if !slices.Contains(seen, name) {
			t.Errorf("there is no example %s", name)
		}
	}
}
