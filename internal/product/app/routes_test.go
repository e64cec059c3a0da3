package app

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/remediate"
)

var update = flag.Bool("update", false, "write the golden file of the routes") //nolint:gochecknoglobals // a flag

// Every route with its methods. What is asked for in another way is refused, and
// nothing is redirected: a redirect would make a GET of a POST.
func TestRoutes(t *testing.T) {
	c, err := config.Parse("test", fmt.Appendf(nil, "data_dir: %q\nweb: {listen: '127.0.0.1:0'}\ntargets: {host: "+
		"[{name: here}]}\n", t.TempDir()), Known())
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), c, Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.close() })
	router, _ := a.router().(*gin.Engine)
	token, err := a.AdminToken()
	if err != nil {
		t.Fatal(err)
	}
	methods := make(map[string][]string)
	for _, r := range router.Routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer "+token)
		router.ServeHTTP(w, r)
		if to := w.Header().Get("Location"); to != "" {
			t.Errorf("%s %s is redirected to %s", method, path, to)
		}
		return w
	}
	var lines []string
	for path, all := range methods {
		slices.Sort(all)
		line := path + " " + strings.Join(all, " ")
		if !strings.Contains(path, "*") { // the embedded part answers whatever is asked there
			line += answered(ask, path, all)
		}
		lines = append(lines, line)
	}
	for _, unknown := range []string{"/unknown", "/api", "/api/upkeep/v1", "/api/upkeep/v2/runs", "/webhook", "/-",
		"//", "/metrics%2F", "/..%2fmetrics", "/api/v1/query/", "/api/v1//query", "/api/v1/", "/api/v2/alerts/",
		"/api/v2//alerts", "/api/v2/../v1/query"} {
		lines = append(lines, fmt.Sprintf("%s unknown: GET %d, POST %d", unknown, ask(http.MethodGet, unknown).Code,
			ask(http.MethodPost, unknown).Code))
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
	documented(t, a.routes())
}

// documented compares docs/http.md with the table of routes.
func documented(t *testing.T, routes []web.Route) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# HTTP\n\nEvery route with what it needs. It is written from the table of routes, and a test tries " +
		"every cell. [access.md](access.md)\nsays how to log in, and what a role is for.\n\n| method | path | needs |")
	for _, role := range access.Roles() {
		b.WriteString(" " + role.String() + " |")
	}
	b.WriteString(" body | for |\n|" + strings.Repeat(" --- |", len(access.Roles())+5) + "\n")
	var lines []string
	for _, r := range routes {
		for _, method := range r.Methods {
			line := fmt.Sprintf("| %s | `%s` | %s |", method, r.Path, r.Needs())
			for _, role := range access.Roles() {
				if r.Open || r.Grants(role) {
					line += " yes |"
				} else {
					line += " – |"
				}
			}
			body := "–"
			if r.Body > 0 {
				body = remediate.Quantity("_bytes", float64(r.Body))
			}
			lines = append(lines, line+" "+body+" | "+r.Doc+" |")
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(pathOf(a), pathOf(b)) })
	b.WriteString(strings.Join(lines, "\n") + "\n\n" + "HEAD needs what GET needs. A dash below *body*: 64 KiB. A request without a login is answered 401, one whose role " +
		"is too small 403, one under a foreign host name\n421, one from another site's page 403. A path that does not exist is 404 for those who have " +
		"logged in and 401 for all others.\n")
	file := "../../../docs/http.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/http.md is old (-update writes it):\n%s", diff)
	}
}

// pathOf is what a line is sorted by: its path, and then its method.
func pathOf(line string) string {
	cells := strings.Split(line, "|")
	return cells[2] + cells[1]
}

// answered says what a path answers that is asked for in another way than it takes: the
// statuses of other methods, with a slash too many, with more behind it, in capitals.
func answered(ask func(method, path string) *httptest.ResponseRecorder, path string, methods []string) string {
	at := strings.NewReplacer(":id", "1", ":name", "x%2Fy").Replace(path)
	var others []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, "BREW"} {
		if slices.Contains(methods, method) {
			continue
		}
		status := strconv.Itoa(ask(method, at).Code)
		if allow := ask(method, at).Header().Get("Allow"); allow == "" {
			status += " without Allow"
		}
		others = append(others, status)
	}
	line := "; another method " + distinct(others)
	if at == "/" {
		return line
	}
	for _, way := range [][2]string{{"slash", at + "/"}, {"below", at + "/x/y"}, {"capitals", strings.ToUpper(at)}} {
		var statuses []string
		for _, method := range methods {
			statuses = append(statuses, strconv.Itoa(ask(method, way[1]).Code))
		}
		line += ", " + way[0] + " " + distinct(statuses)
	}
	return line
}

func distinct(all []string) string {
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "/")
}
