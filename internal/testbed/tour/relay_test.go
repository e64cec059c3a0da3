package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// The relay passes on what upkeep reads about the containers of the project. What changes something, shows files or
// belongs to others never reaches the engine, and no environment is shown.
func TestRelay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	engine, socket := filepath.Join(dir, "engine.sock"), filepath.Join(dir, "relay.sock")
	var mu sync.Mutex
	var asked []string
	listener, err := net.Listen("unix", engine)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // it is said with the rest
		mu.Lock()
		asked = append(asked, fmt.Sprintf("%s %s %s%s", r.Method, r.URL, body, r.Header.Get("X-Registry-Auth")))
		mu.Unlock()
		w.Header().Set("API-Version", "1.41")
		project := "upkeep"
		if strings.Contains(r.URL.Path, "other") {
			project = "shop"
		}
		_, _ = fmt.Fprintf(w, `{"Id":"1","Config":{"Env":["PASSWORD=s3cret"],"Labels":{%q:%q}}}`, projectLabel, project)
	}), ReadHeaderTimeout: headerWithin}
	go func() { _ = server.Serve(listener) }() // its end is the test's
	t.Cleanup(func() { _ = server.Close() })

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- listenAndRelay(ctx, engine, socket, "upkeep") }()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial}}
	ask := func(method, path string) (status int, body string, err error) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://docker"+path, strings.NewReader("body"))
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("X-Registry-Auth", "token")
		res, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer func() { _ = res.Body.Close() }() // is read
		text, err := io.ReadAll(res.Body)
		return res.StatusCode, string(text), err
	}
	servertest.Eventually(t, "the relay answers", func() error {
		_, _, err := ask(http.MethodGet, "/_ping")
		return err
	})
	const filter = "?all=1&filters=%7B%22label%22%3A%5B%22com.docker.compose.project%3Dupkeep%22%5D%7D"
	for path, reaches := range map[string]string{
		"/v1.41/containers/json?all=1&filters=%7B%7D": "/v1.41/containers/json" + filter,
		"/containers/json":                            "/containers/json" + filter,
		"/v1.41/containers/mine/json?size=1":          "/v1.41/containers/mine/json",
		"/v1.41/containers/other/json":                "/v1.41/containers/other/json",
		"/v1.41/images/json?all=1":                    "/v1.41/images/json",
		"/version":                                    "/version",
	} {
		mu.Lock()
		asked = nil
		mu.Unlock()
		status, body, err := ask(http.MethodGet, path)
		mu.Lock()
		if err != nil || len(asked) != 1 || asked[0] != "GET "+reaches+" " {
			t.Errorf("%s: %v, the engine is asked %q", path, err, asked)
		}
		mu.Unlock()
		if strings.Contains(path, "mine") && (status != http.StatusOK || strings.Contains(body, "s3cret") ||
			!strings.Contains(body, `"com.docker.compose.project":"upkeep"`)) {
			t.Errorf("one of ours: %d %s", status, body)
		}
		if strings.Contains(path, "other") && (status != http.StatusNotFound || strings.Contains(body, "s3cret")) {
			t.Errorf("one of others: %d %s", status, body)
		}
	}
	mu.Lock()
	asked = nil
	mu.Unlock()
	for _, refused := range []string{
		// what changes something
		"POST /v1.41/containers/create", "POST /v1.41/containers/mine/restart", "POST /v1.41/containers/mine/exec",
		"POST /v1.41/exec/1/start", "POST /v1.41/build", "POST /v1.41/images/create?fromImage=x", "POST /_ping",
		"POST /v1.41/containers/json", "POST /v1.41/containers/mine/json", "PUT /v1.41/containers/mine/archive?path=/",
		"DELETE /containers/mine", "DELETE /containers/mine/json", "PATCH /containers/mine/json", "OPTIONS /containers/json",
		"HEAD /containers/mine/json",
		// files, lines and processes of containers, and what the engine has besides
		"GET /v1.41/containers/mine/logs", "GET /v1.41/containers/mine/archive?path=/", "GET /v1.41/containers/mine/top",
		"GET /v1.41/containers/mine/attach/ws", "GET /v1.41/containers/mine/export", "GET /v1.41/exec/1/json",
		"GET /system/df", "GET /info", "GET /events", "GET /secrets", "GET /volumes", "GET /images/x/json", "GET /",
		// other ways to write a path
		"GET /v1.41/containers/../secrets/json", "GET /v1.41/containers/%2e%2e/json", "GET /v1.41/containers/a%2Fb/json",
		"GET /v1.41/containers/%6Dine/json", "GET /v1.41//containers/json", "GET //containers/json",
		"GET /v1.41/containers/json/", "GET /v1.41/containers/mine/json%00", "GET /v1.41/containers/mine/json%0A",
		"GET /v1.41/containers/mine/../other/json", "GET /containers/mine/logs/json", "GET /v1.41/v1.41/containers/json",
		"GET /V1.41/containers/json", "GET /v1/containers/json",
	} {
		method, path, _ := strings.Cut(refused, " ")
		status, body, err := ask(method, path)
		if err != nil || status != http.StatusForbidden || method != http.MethodHead && !strings.Contains(body, "relay") {
			t.Errorf("%s: %v %d %s", refused, err, status, body)
		}
	}
	mu.Lock()
	if len(asked) > 0 {
		t.Errorf("the engine is asked %q", asked)
	}
	mu.Unlock()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}
