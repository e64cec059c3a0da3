package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
)

// routes returns all methods and paths of docs/http.md, with something in the place of names.
func routes(t *testing.T) (all [][2]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| ([A-Z]+) \\| `([^`]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		path := strings.NewReplacer(":id", "1", ":name", "x", "*path", "query?query=up").Replace(m[2])
		all = append(all, [2]string{m[1], path})
	}
	if len(all) < 60 {
		t.Fatalf("docs/http.md has %d routes", len(all))
	}
	return all
}

// Faults of upkeep itself, which name files and users, are in the log and in no answer to one who has not logged in,
// whatever he asks for and shows; and no secret is in either.
func TestAttackByFaults(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	admin := filepath.Join(f.dir, "data", config.AdminTokenFile)
	if err := os.Chmod(admin, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"grafana", "view", "operate"} {
		if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	const signature = "X-Grafana-Alerting-Signature"
	shows := map[string]func(*http.Request){
		"nothing":  func(*http.Request) {},
		"a token":  with("Authorization", "Bearer guess"),
		"a form":   with("Content-Type", "application/x-www-form-urlencoded"),
		"a cookie": with("Cookie", access.Cookie+"=e30.e30; "+access.Browser+"=e30.e30"),
		"a signature": func(r *http.Request) {
			r.Header.Set(signature, strings.Repeat("0", 64))
			r.Header.Set("X-Signed-At", strconv.FormatInt(time.Now().Unix(), 10))
		},
	}
	answers := make(map[int]int)
	for what, show := range shows {
		for _, route := range append(routes(t), [2]string{"GET", portal.ProofPath + "?challenge=0123456789abcdefghijkl"},
			[2]string{"POST", "/login?once=x"}, [2]string{"GET", "/nowhere"}) {
			body := ""
			if route[0] == http.MethodPost {
				body = "name=eve&password=guess&token=x.y&answer=approve"
			}
			status, text := try(t, route[0], f.address, route[1], body, show)
			answers[status]++
			for _, secret := range []string{f.dir, "data/", "no such file", "chmod", "the-token-of-", adminToken, grafanaSecret,
				"goroutine ", ".go:", "sqlite", "open /"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s %s with %s: %q is in %d %.300s", route[0], route[1], what, secret, status, text)
				}
			}
		}
	}
	if answers[500] == 0 || answers[503] == 0 || answers[200] == 0 || answers[401] == 0 {
		t.Errorf("the faults were not met: %v", answers)
	}
	log, err := os.ReadFile(filepath.Join(f.dir, "upkeep.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, why := range []string{"the admin token could not be read", "login could not be checked", "the secret of the signature"} {
		if !strings.Contains(string(log), why) {
			t.Errorf("the log does not say %q", why)
		}
	}
	for _, secret := range []string{"the-token-of-", adminToken, grafanaSecret, "guess"} {
		if strings.Contains(string(log), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if status, _ := try(t, "GET", f.address, "/login", ""); status != http.StatusOK {
		t.Error(fmt.Sprint("the login page: ", status))
	}
}
