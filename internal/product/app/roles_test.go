package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// withTokens returns an upkeep with a token of each role, which is the name of the role. It is
// not served: its router is asked.
func withTokens(t *testing.T, more string) (*App, http.Handler) {
	t.Helper()
	dir := t.TempDir()
	var tokens []string
	for _, role := range access.Roles() {
		file := filepath.Join(dir, role.String())
		if err := os.WriteFile(file, []byte("token-of-"+role.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, fmt.Sprintf("{name: %s-token, role: %s, file: %q}", role, role, file))
	}
	c, err := config.Parse("test", fmt.Appendf(nil, "data_dir: %q\nweb: {listen: '127.0.0.1:0', tokens: [%s]%s}\n"+
		"targets: {host: [{name: here}]}\n", filepath.Join(dir, "data"), strings.Join(tokens, ", "), more), Known())
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), c, Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	a.console.Farewell() // a stream of events ends at once
	return a, a.router()
}

// request asks a router with the token of a role; None: with nothing.
func request(t *testing.T, router http.Handler, method, path string, role access.Role,
	change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
	r.Host = "localhost"
	if role != access.None {
		r.Header.Set("Authorization", "Bearer token-of-"+role.String())
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	router.ServeHTTP(w, r)
	return w
}

// impatient gives up soon: the Prometheus that some routes ask does not run here.
func impatient(r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 200*time.Millisecond)
	context.AfterFunc(ctx, cancel)
	*r = *r.WithContext(ctx)
}

// Every route with every method and every role: without a login 401, with a role that is too
// small 403, and with the role neither.
func TestRoles(t *testing.T) {
	a, router := withTokens(t, "")
	paths := strings.NewReplacer(":id", "1", ":name", "x", "*path", "labels")
	cells := 0
	for _, route := range a.routes() {
		if route.Path == "/-/reload" {
			route.Handler = nil // it has no file to read
		}
		for _, method := range route.All() {
			for _, role := range append(access.Roles(), access.None) {
				path := paths.Replace(route.Path)
				if strings.HasSuffix(path, "/report") {
					path += "?month=x" // a month would wait for the Prometheus, which does not run
				}
				got := request(t, router, method, path, role, impatient).Code
				want, said := "neither 401 nor 403", got != 401 && got != 403
				switch {
				case route.Open && route.Path == "/login" && method == "POST": // with nothing in it
					want, said = "401", got == 401
				case route.Open:
				case route.Proof != "": // what is no link is refused by its page
					want, said = "what the page says", true
				case role == access.None:
					want, said = "401", got == 401
				case !route.Grants(role):
					want, said = "403", got == 403
				}
				if cells++; !said {
					t.Errorf("%s %s as %s: %d, want %s", method, route.Path, role, got, want)
				}
			}
		}
	}
	if cells < 200 {
		t.Errorf("only %d cells were tried", cells)
	}
}

// What the roles are for, by hand: a mistake in the table is not a mistake in the test.
func TestMatrix(t *testing.T) {
	_, router := withTokens(t, "")
	const api = "/api/upkeep/v1"
	for path, roles := range map[string]string{
		"GET /":                               "view operate approve admin",
		"GET /metrics":                        "view operate approve admin",
		"GET " + api + "/status":              "view operate approve admin",
		"GET /api/v1/labels":                  "view operate approve admin",
		"GET /api/v2/alerts":                  "view operate approve admin",
		"GET /runs/1":                         "view operate approve admin",
		"GET /events":                         "view operate approve admin",
		"GET /look":                           "view operate approve admin",
		"GET " + api + "/look":                "view operate approve admin",
		"POST /look/plan":                     "operate approve admin",
		"POST /runs/1/cancel":                 "operate approve admin",
		"POST /runs/1/retry":                  "operate approve admin",
		"POST /pause":                         "operate approve admin",
		"POST /resume":                        "operate approve admin",
		"POST /runs/1/answer":                 "approve admin",
		"POST /webhook/alertmanager":          "deliver admin",
		"POST /webhook/grafana":               "deliver admin",
		"POST /api/v2/alerts":                 "deliver operate approve admin",
		"POST /api/v2/silences":               "operate approve admin",
		"DELETE /api/v2/silence/1":            "operate approve admin",
		"GET " + api + "/dead_letters":        "operate approve admin",
		"GET " + api + "/journal/verify":      "operate approve admin",
		"GET " + api + "/journal/replay":      "operate approve admin",
		"POST " + api + "/plans":              "operate approve admin",
		"POST " + api + "/runs":               "operate approve admin",
		"POST " + api + "/runs/1/cancel":      "operate approve admin",
		"POST " + api + "/pauses":             "operate approve admin",
		"DELETE " + api + "/pauses":           "operate approve admin",
		"POST " + api + "/runs/1/approve":     "approve admin",
		"POST " + api + "/runs/1/reject":      "approve admin",
		"POST " + api + "/policies/x/promote": "approve admin",
		"POST /-/reload":                      "admin",
		"GET /nothing":                        "deliver view operate approve admin",
	} {
		method, at, _ := strings.Cut(path, " ")
		var let []string
		for _, role := range access.Roles() {
			if code := request(t, router, method, at, role).Code; code != 401 && code != 403 {
				let = append(let, role.String())
			}
		}
		if got := strings.Join(let, " "); got != roles {
			t.Errorf("%s lets in %s, want %s", path, got, roles)
		}
		if code := request(t, router, method, at, access.None).Code; code != 401 {
			t.Errorf("%s answers a stranger %d", path, code)
		}
	}
}

// /metrics is open where the configuration says so, and nothing else is.
func TestMetricsOpen(t *testing.T) {
	_, router := withTokens(t, ", metrics_open: true")
	if code := request(t, router, "GET", "/metrics", access.None).Code; code != 200 {
		t.Errorf("/metrics: %d", code)
	}
	if code := request(t, router, "GET", "/api/v1/labels", access.None).Code; code != 401 {
		t.Errorf("/api/v1: %d", code)
	}
}

// The token of this machine is made once, for its owner only, and one that others could read is
// not accepted.
func TestAdminToken(t *testing.T) {
	a, router := withTokens(t, "")
	file := filepath.Join(a.start.DataDir, config.AdminTokenFile)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	text, err := a.AdminToken()
	if err != nil || len(text) < 40 {
		t.Fatalf("%d letters, %v", len(text), err)
	}
	if err := makeToken(file); err != nil {
		t.Fatal(err)
	}
	if again, err := a.AdminToken(); err != nil || again != text {
		t.Errorf("it was made anew: %v", err)
	}
	as := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+text) }
	if code := request(t, router, "POST", "/-/reload", access.None, as).Code; code == 401 || code == 403 {
		t.Errorf("the token of this machine: %d", code)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AdminToken(); err == nil || !strings.Contains(err.Error(), "chmod 600 "+file) {
		t.Errorf("others can read it: %v", err)
	}
}
