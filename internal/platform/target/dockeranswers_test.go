package target_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// An engine answers each path with a status and a text; what it is asked is noted.
type engine struct {
	*target.Docker
	mu      sync.Mutex
	version string
	status  int
	body    map[string]string // by the end of the path
	asked   []string
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{version: "1.41", status: http.StatusOK, body: make(map[string]string)}
	s := httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(s.Close)
	var err error
	if e.Docker, err = target.NewDocker(target.DockerConfig{Name: "e", Root: "/",
		Host: strings.Replace(s.URL, "http://", "tcp://", 1)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func (e *engine) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, r.Method+" "+r.URL.Path)
	w.Header().Set("API-Version", e.version)
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/_ping") {
		return
	}
	for end, body := range e.body {
		if strings.HasSuffix(r.URL.Path, end) {
			w.WriteHeader(e.status)
			_, _ = io.WriteString(w, body)
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"message":"no such thing"}`)
}

func (e *engine) answers(status int, end, body string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status, e.body = status, map[string]string{end: body}
}

func (e *engine) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.asked
	e.asked = nil
	return all
}

// An answer that is no success is an error with its status and what the engine said; what is
// not there is known by Gone alone.
func TestDockerErrors(t *testing.T) {
	e := newEngine(t)
	for _, test := range []struct {
		status int
		body   string
		want   string
	}{
		{404, `{"message":"no such container"}`, "404 no such container"},
		{409, `{"message":"in use"}`, "409 in use"},
		{500, `<html>`, "500 "},
		{403, ``, "403 "},
		{500, `{"message":` + `"` + strings.Repeat("x", 2<<20) + `"}`, "500 "},
	} {
		e.answers(test.status, "/containers/a/restart", test.body)
		err := e.Changes().RestartContainer(t.Context(), "a", 1)
		var said *target.DockerError
		if !errors.As(err, &said) || said.Status != test.status || !strings.HasSuffix(err.Error(), test.want) ||
			target.Gone(err) != (test.status == 404) {
			t.Errorf("%d %.40s: %v, gone: %v", test.status, test.body, err, target.Gone(err))
		}
	}
	if target.Gone(nil) || target.Gone(context.Canceled) ||
		!target.Gone(fmt.Errorf("x: %w", &target.DockerError{Status: 404})) {
		t.Error("Gone is not by the status")
	}
	e.answers(200, "/images/json", `[{"Id":`)
	if _, err := e.ImageList(t.Context(), true); err == nil || !strings.HasPrefix(err.Error(), "docker: ") {
		t.Errorf("half an answer: %v", err)
	}
}

// A name that would be another path, or none, is asked about nowhere.
func TestDockerNames(t *testing.T) {
	e := newEngine(t)
	for _, name := range []string{"", "..", "a/../b", "a b", "a?x=1", "a#", "%2e", "sha256:", "sha256:../x", ".a", "größe",
		"a\n", "a:b"} {
		err := e.Changes().RestartContainer(t.Context(), name, 1)
		errRemove := e.Changes().RemoveImage(t.Context(), name)
		_, errTagged := e.ImageTagged(t.Context(), name)
		for _, err := range []error{err, errRemove, errTagged} {
			if err == nil || !strings.Contains(err.Error(), "is no name or ID") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if asked := e.heard(); len(asked) > 0 {
		t.Errorf("it was asked %q", asked)
	}
	e.answers(200, "/restart", "")
	for _, name := range []string{"a", "a.b-c_9", "0", strings.Repeat("f", 64)} {
		if err := e.Changes().RestartContainer(t.Context(), name, 1); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The version of the API is agreed upon once, and anew after a fault: another engine may be
// there. One that is too old, or says none, is not asked.
func TestDockerVersions(t *testing.T) {
	e := newEngine(t)
	e.answers(200, "/version", `{"Version":"20.10.24"}`)
	for range 2 {
		if v, err := e.Version(t.Context()); v != "20.10.24" || err != nil {
			t.Errorf("%q %v", v, err)
		}
	}
	if asked := fmt.Sprint(e.heard()); asked != "[HEAD /_ping GET /v1.41/version GET /v1.41/version]" {
		t.Errorf("asked %s", asked)
	}
	e.answers(500, "/version", `{}`)
	if _, err := e.Version(t.Context()); err == nil {
		t.Error("a fault is no error")
	}
	e.mu.Lock()
	e.version = "1.40"
	e.mu.Unlock()
	e.answers(200, "/version", `{"Version":"19"}`)
	e.heard()
	if v, err := e.Version(t.Context()); v != "19" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	if asked := fmt.Sprint(e.heard()); asked != "[HEAD /_ping GET /v1.40/version]" {
		t.Errorf("asked %s", asked)
	}
	for version, want := range map[string]bool{"1.39": true, "1.40": true, "1.41": false} {
		if got, err := e.Supports(t.Context(), version); got != want || err != nil {
			t.Errorf("supports %s: %v %v", version, got, err)
		}
	}
	for _, version := range []string{"", "1.23"} {
		old := newEngine(t)
		old.version = version
		if _, err := old.Version(t.Context()); err == nil || !strings.Contains(err.Error(), "1.24 or later is required") {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// Who asks without patience gets the reason, and the next one an answer.
func TestDockerCancelled(t *testing.T) {
	e := newEngine(t)
	e.answers(200, "/version", `{"Version":"1"}`)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Version(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if n%2 == 0 {
				cancel()
			}
			defer cancel()
			if _, err := e.Version(ctx); (err != nil) != (n%2 == 0) {
				t.Errorf("question %d: %v", n, err)
			}
		})
	}
	all.Wait()
	if _, err := new(target.Docker).Version(t.Context()); err == nil {
		t.Error("an engine without a configuration answers")
	}
	new(target.Docker).Close()
}

// A container is what the engine says of it: its service, whether its log has a limit, and
// times that it does not have are zero; one that goes away meanwhile is left out.
func TestContainers(t *testing.T) {
	e := newEngine(t)
	inspect := func(name, labels, driver, options, state string) string {
		return `{"Id":"1","Name":"/` + name + `","Image":"sha256:1","Created":"2026-01-02T03:04:05Z","LogPath":"/l",` +
			`"State":` + state + `,"HostConfig":{"LogConfig":{"Type":"` + driver + `","Config":{` + options + `}}},` +
			`"Config":{"Image":"i","Labels":{` + labels + `}}}`
	}
	const running = `{"Status":"running","StartedAt":"2026-01-02T03:04:05.5Z","FinishedAt":"0001-01-01T00:00:00Z",` +
		`"Health":{"Status":"none"}}`
	e.body = map[string]string{
		"/containers/json": `[{"Id":"gone"},{"Id":"b"},{"Id":"a"},{"Id":"c"}]`,
		"/containers/b/json": inspect("b", `"com.docker.compose.service":"web","com.docker.compose.project":"shop"`,
			"json-file", `"max-size":"10m"`, running),
		"/containers/a/json": inspect("a", ``, "json-file", `"max-size":"-1"`,
			`{"Status":"exited","StartedAt":"","Health":{"Status":"unhealthy"},"OOMKilled":true,"ExitCode":137}`),
		"/containers/c/json": inspect("c", ``, "local", ``, `{"Status":"created"}`),
	}
	all, err := e.Containers(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v %v", all, err)
	}
	a, b, c := all[0], all[1], all[2]
	if a.Name != "a" || a.Service != "a" || a.Project != "" || a.LogRotated || a.Health != "unhealthy" || !a.OOMKilled ||
		a.ExitCode != 137 || !a.Started.IsZero() {
		t.Errorf("a: %+v", a)
	}
	if b.Service != "web" || b.Project != "shop" || !b.LogRotated || b.Health != "" || b.State != "running" ||
		!b.Started.Equal(time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC)) || !b.Finished.IsZero() {
		t.Errorf("b: %+v", b)
	}
	if c.Service != "c" || !c.LogRotated {
		t.Errorf("c: %+v", c)
	}
	e.body["/containers/c/json"] = `{"Id":"c","Name":"/c"}`
	if all, err = e.Containers(t.Context()); err == nil || len(all) != 2 ||
		!strings.Contains(err.Error(), "container c has no state") {
		t.Errorf("half a description: %d containers, %v", len(all), err)
	}
}

// A proxy that hides who the engine is leaves it unknown; any other fault is one.
func TestWhoTheEngineIs(t *testing.T) {
	e := newEngine(t)
	for _, test := range []struct {
		status   int
		body, id string
		ok       bool
	}{
		{200, `{"ID":"E1","SystemTime":"2026-01-02T03:04:05Z"}`, "E1", true},
		{200, `{"ID":"E1"}`, "E1", true},
		{200, `{"ID":"E1","SystemTime":"today"}`, "E1", false},
		{403, ``, "", true},
		{405, ``, "", true},
		{401, ``, "", false},
		{500, ``, "", false},
	} {
		e.answers(test.status, "/info", test.body)
		got, err := e.Engine(t.Context())
		if got.ID != test.id || (err == nil) != test.ok ||
			got.Time.IsZero() == (test.ok && strings.Contains(test.body, "System")) {
			t.Errorf("%d %s: %+v %v", test.status, test.body, got, err)
		}
	}
}
