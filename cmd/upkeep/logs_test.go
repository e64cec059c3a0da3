package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func upkeep(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := command()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

// logLine is one line of a log file, of that age.
func logLine(age time.Duration, inner string) string {
	quoted, _ := json.Marshal(inner + "\n") // a string can be
	return fmt.Sprintf(`{"log":%s,"stream":"stdout","time":"%s"}`+"\n", quoted,
		time.Now().Add(-age).UTC().Format(time.RFC3339Nano))
}

func TestLogsTop(t *testing.T) {
	dir := t.TempDir()
	var old bytes.Buffer
	z := gzip.NewWriter(&old)
	if _, err := z.Write([]byte(logLine(30*24*time.Hour, `{"level":"error","message":"long ago 1"}`) +
		logLine(48*time.Hour, `{"level":"error","message":"user 7 is gone"}`))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	now := logLine(time.Hour, `{"level":"error","message":"user 8 is gone"}`) + logLine(time.Hour,
		`{"level":"info","path":"/users/1","duration_ms":1500}`) + logLine(time.Hour,
		`{"level":"info","path":"/users/2","duration_ms":20}`)
	file, rotated := filepath.Join(dir, "log"), filepath.Join(dir, "log.1.gz")
	for name, text := range map[string][]byte{file: []byte(now), rotated: old.Bytes()} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := upkeep(t, "logs", "top", file, rotated)
	for _, want := range []string{"logs: 4 lines, 2 errors, 2 requests, 1 slow", "2  user <n> is gone", "2  /users/:id",
		"1  /users/:id"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("no %q in, %v:\n%s", want, err, out)
		}
	}
	if strings.Contains(out, "long ago") {
		t.Errorf("a month is more than a week:\n%s", out)
	}
	if out, err := upkeep(t, "logs", "top", "--since", "0s", "--json", file, rotated); err != nil ||
		!strings.Contains(out, `"name": "long ago <n>"`) {
		t.Errorf("%v:\n%s", err, out)
	}
	for _, args := range [][]string{{"--since", "week", file}, {"--top", "0", file}, {filepath.Join(dir, "gone")},
		{"--config", filepath.Join(dir, "gone.yaml")}} {
		if out, err := upkeep(t, append([]string{"logs", "top"}, args...)...); err == nil {
			t.Errorf("%v is no error:\n%s", args, out)
		}
	}
}

// The engines of the configuration are asked where the logs are.
func TestLogsTopOfContainers(t *testing.T) {
	d := servertest.Docker(t)
	servertest.Image(t, d, "service:1", "../../collectors/docker/testdata/service")
	for _, args := range [][]string{{"--name", "users-1", "--label", "com.docker.compose.service=users", "service:1",
		"log"}, {"--name", "quiet", "service:1", "stay"}} {
		if _, err := d.Run(t.Context(), nil, append([]string{"run", "--detach", "--network", "none"},
			args...)...); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "upkeep.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "targets: {docker: [{name: here, host: %q}]}\n", d.Host),
		0o600); err != nil {
		t.Fatal(err)
	}
	var out string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var err error
		if out, err = upkeep(t, "logs", "top", "--config", file, "--service", "users", "--json"); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		if strings.Contains(out, `"lines": 201`) {
			break
		}
	}
	var got map[string]*logs.Report
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) != 1 || got["here/users"] == nil ||
		got["here/users"].Errors != 101 {
		t.Errorf("%v:\n%s", err, out)
	}
}
