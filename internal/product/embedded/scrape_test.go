package embedded_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/embedded"
)

// says waits until an answer of the API has a text in it, or has not.
func (s *stage) says(t *testing.T, path, want string, there bool) {
	t.Helper()
	var text string
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, text = ask(t, s.Prometheus(), "GET", "/api/v1/"+path, ""); strings.Contains(text, want) == there {
			return
		}
	}
	t.Fatalf("%s: %s", path, text)
}

// Scrape configurations are replaced while it runs: what is wrong is refused, and the old
// ones stay.
func TestScrapeConfigsAreReplaced(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "served_total{path=%q} 1\n", r.URL.Path)
	}))
	t.Cleanup(api.Close)
	s := begin(t, t.TempDir(), 0.1)
	scrape := func(path string) string {
		return fmt.Sprintf("- job_name: api\n  metrics_path: %s\n  static_configs: [{targets: [%q]}]\n", path,
			strings.TrimPrefix(api.URL, "http://"))
	}
	if err := s.configure(scrape("/a"), ""); err != nil {
		t.Fatal(err)
	}
	s.says(t, "query?query=served_total", `"/a"`, true)
	s.says(t, "query?query=up", `"upkeep"`, true)
	if err := s.configure(strings.Replace(scrape("/b"), "metrics_path", "metrics_pth", 1), ""); err == nil ||
		!strings.Contains(err.Error(), "metrics_pth") {
		t.Errorf("configure: %v", err)
	}
	s.says(t, "query?query=served_total", `"/a"`, true)
	if err := s.configure(scrape("/c"), ""); err != nil {
		t.Fatal(err)
	}
	s.says(t, "query?query=served_total", `"/c"`, true)
	if err := s.configure("", ""); err != nil {
		t.Fatal(err)
	}
	s.says(t, "targets", `"job":"api"`, false)
	s.says(t, "targets", `"job":"upkeep"`, true)
}

// What Prometheus does not take is said with its line, and without what may be a secret.
func TestCheckPart(t *testing.T) {
	got := embedded.CheckPart("scrape_configs",
		"- job_name: a\n- job_name: b\n  basic_auth: u:hunter2\n  scheme: https\n  honour_labels: true\n", ".")
	if len(got) != 2 || got[0].Line != 3 || got[1].Line != 5 || strings.Contains(fmt.Sprint(got), "hunter2") ||
		!strings.Contains(got[1].Text, `unknown key "honour_labels"`) {
		t.Errorf("%+v", got)
	}
	if got := embedded.CheckPart("remote_write",
		"- url: http://h/w\n- url: http://h/v\n  queue_config: {capacity: 10}\n", "."); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
