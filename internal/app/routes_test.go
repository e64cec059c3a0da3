package app

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/config"
)

var update = flag.Bool("update", false, "write the golden file of the routes") //nolint:gochecknoglobals // a flag

// Every route with its methods. What is asked for in another way is refused, and
// nothing is redirected: a redirect would make a GET of a POST.
func TestRoutes(t *testing.T) {
	c, err := config.Parse("test", fmt.Appendf(nil, "data_dir: %q\nweb: {listen: '127.0.0.1:0'}\ntargets: {host: [{name: here}]}\n", t.TempDir()), Known())
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), c, Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	router, _ := a.router().(*gin.Engine)
	methods := make(map[string][]string)
	for _, r := range router.Routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	var lines []string
	for path, all := range methods {
		slices.Sort(all)
		lines = append(lines, path+" "+strings.Join(all, " "))
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/routes.txt", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("testdata/routes.txt (-update writes it):\n%s", diff)
	}
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return w
	}
	for path, all := range methods {
		if strings.Contains(path, "*") {
			continue // the embedded part answers whatever is asked there
		}
		at := strings.NewReplacer(":id", "1", ":name", "x%2Fy").Replace(path)
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "BREW"} {
			if slices.Contains(all, method) {
				continue
			}
			w := ask(method, at)
			if allow := w.Header().Get("Allow"); w.Code != http.StatusMethodNotAllowed || allow == "" {
				t.Errorf("%s %s: %d, Allow: %q", method, at, w.Code, allow)
			}
		}
		if at == "/" {
			continue
		}
		for _, other := range []string{at + "/", at + "/x/y", strings.ToUpper(at)} {
			for _, method := range all {
				if w := ask(method, other); w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed || w.Header().Get("Location") != "" {
					t.Errorf("%s %s: %d, Location: %q", method, other, w.Code, w.Header().Get("Location"))
				}
			}
		}
	}
}
