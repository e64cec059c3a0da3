package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A sink keeps what a service writes.
type sink struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(b)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

func get(t *testing.T, method, address string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // is read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// run starts a service on servers of the test, and returns its address. Its end is awaited.
func run(t *testing.T, role, database, cache string, out io.Writer) (address string) {
	t.Helper()
	o := options{role: role, postgres: database, redis: cache, pace: time.Millisecond}
	s, err := newService(t.Context(), o, out)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = "http://" + listener.Addr().String()
	o.visit = address
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, listener, o) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("%s ends with %v", role, err)
		}
		s.close()
	})
	return address
}

// Each role writes the manual's lines, JSON and plain, exports the manual's metrics, answers each kind of its visits,
// and starts again on the tables that it has made.
func TestRoles(t *testing.T) {
	t.Parallel()
	database, _ := servertest.Database(t)
	cache := servertest.Redis(t).URL
	object := regexp.MustCompile(`(?m)^\{.*\}$`)
	for name, want := range map[string][]string{
		"auth-service": {`"level":"info"`, `"level":"warning"`, "/session/", "/login/unknown", "/refresh/"},
		"user-api":     {`"level":"info"`, `"level":"warning"`, "/search/", "/users/999999"},
		"admin-api": {`"level":"error"`, "division by zero", " ERROR mailer: ", " INFO mailer: ", "DELETE /documents/",
			"GET /logs/"},
	} {
		t.Run(name, func(t *testing.T) {
			var out sink
			address := run(t, name, database, cache, &out)
			servertest.Eventually(t, name+" has been visited", func() bool {
				for _, part := range append(want, "INFO "+name+" listens on ") {
					if !strings.Contains(out.String(), part) {
						return false
					}
				}
				return true
			})
			for _, line := range object.FindAllString(out.String(), -1) {
				var said map[string]any
				if err := json.Unmarshal([]byte(line), &said); err != nil || said["message"] == "" || said["path"] == "" ||
					said["level"] == "" || said["duration_ms"] == nil {
					t.Fatalf("%v: %s", err, line)
				}
				if said["level"] == "error" && !strings.Contains(line, "division by zero") {
					t.Errorf("it fails: %s", line)
				}
			}
			if status, body := get(t, http.MethodGet, address+"/metrics"); status != http.StatusOK ||
				!strings.Contains(body, `http_requests_total{status="200"} `) ||
				!strings.Contains(body, `http_request_duration_seconds_bucket{le="1"} `) {
				t.Errorf("%d\n%s", status, body)
			}
			if status, _ := get(t, http.MethodPut, address+"/nothing/1"); status != http.StatusNotFound {
				t.Errorf("a page that is not there is %d", status)
			}
			if err := command(t.Context(), []string{"health", "--url", address + "/health"}, io.Discard); err != nil {
				t.Error(err)
			}
			if err := command(t.Context(), []string{"health", "--url", address + "/nothing"}, io.Discard); err == nil {
				t.Error("a service that is not healthy is said to be")
			}
			run(t, name, database, cache, io.Discard)
		})
	}
}

// What is wrong with the arguments is said before anything is asked.
func TestArguments(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"usage: ":          {},
		"usage: tour":      {"dance"},
		`-role is "x"`:     {"serve", "--role", "x"},
		"-pace is 0s":      {"serve", "--role", "user-api", "--pace", "0s"},
		"no such file":     {"serve", "--role", "user-api", "--redis", "redis://h", "--postgres-password-file", secret + "x"},
		"flag provided":    {"relay", "--nope"},
		"invalid URL":      {"serve", "--role", "user-api", "--redis", "http://h"},
		"connection refus": {"health", "--url", "http://127.0.0.1:1/health"},
	} {
		if err := command(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
	if got, err := password(secret); got != "s3cret" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}
