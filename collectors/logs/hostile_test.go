package logs_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/docker"
	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

const liar = "4f1d00"

// lyingEngine is an engine that names a log of its choice.
func lyingEngine(t *testing.T, root, logPath string) *target.Docker {
	t.Helper()
	return engineOf(t, logPath, target.DockerConfig{Name: "s", Root: root})
}

// engineOf is an engine with one container, whose log has a path.
func engineOf(t *testing.T, logPath string, c target.DockerConfig) *target.Docker {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("API-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/containers/json"):
			_, _ = io.WriteString(w, `[{"Id":"`+liar+`","Names":["/shadow"],"State":"running"}]`)
		case strings.HasSuffix(r.URL.Path, "/containers/"+liar+"/json"):
			_ = json.NewEncoder(w).Encode(map[string]any{"Id": liar, "Name": "/shadow", "LogPath": logPath,
				"State":      map[string]any{"Status": "running", "StartedAt": "2026-03-01T12:00:00Z"},
				"HostConfig": map[string]any{"LogConfig": map[string]any{"Type": "json-file"}},
				"Config":     map[string]any{"Labels": map[string]string{}}})
		}
	}))
	t.Cleanup(s.Close)
	c.Host = strings.Replace(s.URL, "http://", "tcp://", 1)
	d, err := target.NewDocker(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// An engine, or who is between, names a file that is no log of it: nothing of it is read
// or measured, and nothing waits for a pipe.
func TestLogThatIsNone(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, liar)
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "shadow")
	if err := os.WriteFile(secret, []byte(`{"log":"root:x:0"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(own, liar+"-json.log")
	for what, tc := range map[string]struct {
		path string
		make func() error
	}{
		"/etc/shadow":     {"/etc/shadow", nil},
		"a foreign file":  {secret, nil},
		"a relative path": {liar + "/" + liar + "-json.log", nil},
		"a way around":    {own + "/../" + filepath.Base(secret), nil},
		"a device":        {"/dev/zero", nil},
		"a pipe":          {name, func() error { return syscall.Mkfifo(name, 0o600) }},
		"a link":          {name, func() error { return os.Symlink(secret, name) }},
		"another name":    {name, func() error { return os.Link(secret, name) }},
		"a folder":        {name, func() error { return os.Mkdir(name, 0o700) }},
	} {
		t.Run(what, func(t *testing.T) {
			if tc.make != nil {
				if err := tc.make(); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = os.Remove(name) }()
			}
			d := lyingEngine(t, "/", tc.path)
			for _, c := range []collectors.Collector{logs.Lines(d), docker.LogSize(d)} {
				w := collectors.NewWriter(c)
				err := c.Collect(t.Context(), w)
				if strings.Contains(string(w.Text()), "upkeep_docker_log_size_bytes") ||
					strings.Contains(string(w.Text()), `lines_total{server="s",service="shadow"} 1`) {
					t.Errorf("%s: %v\n%s", c.Name, err, w.Text())
				}
				if err == nil {
					t.Errorf("%s: no reason", c.Name)
				}
			}
			all, err := d.Containers(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			if files, err := d.LogFiles(all[0]); err == nil {
				t.Errorf("upkeep logs top reads %v", files)
			}
		})
	}
}

// Where the engine's root is mounted elsewhere, no link leads out of there.
func TestLogOutsideOfRoot(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	own := filepath.Join(outside, "c", liar)
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, liar+"-json.log"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "c"), filepath.Join(root, "c")); err != nil {
		t.Fatal(err)
	}
	d := lyingEngine(t, root, "/c/"+liar+"/"+liar+"-json.log")
	all, err := d.Containers(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if l, err := d.OpenLog(all[0]); err == nil {
		l.Close()
		t.Error("a log outside of the root is opened")
	}
}
