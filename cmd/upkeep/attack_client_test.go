package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/config"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/portal"
)

// An impostor listens where an upkeep is expected, and keeps what it was shown.
type impostor struct {
	*httptest.Server
	mu     sync.Mutex
	tokens []string
	paths  []string
}

func newImpostor(t *testing.T, answer http.HandlerFunc) *impostor {
	t.Helper()
	i := &impostor{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.paths = append(i.paths, r.URL.Path)
		if token := r.Header.Get("Authorization"); token != "" {
			i.tokens = append(i.tokens, token)
		}
		i.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

// asOwner is a command of the user of upkeep, who gives it no token.
func asOwner(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "upkeep", args...)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "UPKEEP_") })
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A program on the port of upkeep that is not this upkeep is not sent the admin token: neither
// one that answers anything, nor one that has the true upkeep answer, nor one that it redirects to.
func TestAttackByAnImpostor(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	relay := func(w http.ResponseWriter, r *http.Request) {
		to, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+f.address+r.URL.String(), r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		to.Header = r.Header.Clone()
		res, err := plain().Do(to)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = res.Body.Close() }() // read only
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body) // the command may have hung up
	}
	const made = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for name, answer := range map[string]http.HandlerFunc{
		"one that answers anything": func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(console.Status{}) // the command may have hung up
		},
		"one that guesses": func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(portal.Proof{Proof: access.Proof("guess", r.URL.Query().Get("challenge"),
				r.Host)})
		},
		"one without an end": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, ones{}) },
		"a relay":            relay,
		"a relay that challenges as it likes": func(w http.ResponseWriter, r *http.Request) {
			r.URL.RawQuery = "challenge=" + made
			relay(w, r)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+f.address+r.URL.String(), http.StatusTemporaryRedirect)
		},
		"one that hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		i := newImpostor(t, answer)
		for _, args := range [][]string{{"status"}, {"login"}, {"pause", "all", "--why", "x"}} {
			out, err := asOwner(t, f.dir, append(args, "--url", i.URL)...)
			if err == nil || len(i.tokens) > 0 || strings.Contains(out, adminToken) {
				t.Errorf("%s, %v: it was sent %q: %v %s", name, args, i.tokens, err, out)
			}
			if name != "one that hangs up" && !strings.Contains(out, "it was not sent the admin token") {
				t.Errorf("%s, %v: %s", name, args, out)
			}
		}
		for _, path := range i.paths {
			if path != portal.ProofPath {
				t.Errorf("%s was asked for %s", name, path)
			}
		}
	}
	for _, args := range [][]string{{"status"}, {"status", "--data-dir", "data"}} {
		if out, err := asOwner(t, f.dir, append(args, "--url", "http://"+f.address)...); err != nil {
			t.Errorf("%v of the true one: %v %s", args, err, out)
		}
	}
	// A configuration of another user in the working directory does not say which upkeep is believed.
	theirs := t.TempDir()
	write(t, filepath.Join(theirs, "upkeep.yaml"), "data_dir: theirs\n")
	if err := makeToken(filepath.Join(theirs, "theirs")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(theirs, "upkeep.yaml"), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	liar := newImpostor(t, func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(portal.Proof{Proof: access.Proof(adminToken, r.URL.Query().Get("challenge"),
			r.Host)})
	})
	if out, err := asOwner(t, theirs, "status", "--url", liar.URL); err == nil || len(liar.tokens) > 0 {
		t.Errorf("a stranger's configuration: %v %s", err, out)
	}
	// A pipe in the place of the token makes no command wait.
	other := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mkfifo", filepath.Join(other, config.AdminTokenFile)).
		CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if out, err := asOwner(t, f.dir, "status", "--data-dir", other, "--url", "http://"+f.address); err == nil ||
		!strings.Contains(out, "not logged in") {
		t.Errorf("a pipe: %v %s", err, out)
	}
}

// What another server answers is no result, whatever its status: a journal is not verified by it.
func TestAttackByAnAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), "of-another-machine\n")
	for _, text := range []string{`{"error":"no such page"}`, `{}`, `null`, `[]`, `"ok"`, `{"status":"success","data":[]}`,
		`{"Entries":5}`, `{"wrong":[]}`, ``} {
		i := newImpostor(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
		for _, args := range [][]string{{"journal", "verify"}, {"journal", "replay"}, {"status"}, {"show", "1"}, {"runs"},
			{"inbox"}, {"pause", "all", "--why", "x"}, {"login"}} {
			out, err := asOwner(t, dir, append(args, "--url", i.URL, "--token-file", "token")...)
			if list := text == "[]" || text == "null"; list && (args[0] == "runs" || args[0] == "inbox") {
				continue // an empty list
			}
			if err == nil || !strings.Contains(out, strings.TrimPrefix(i.URL, "http://")) {
				t.Errorf("%s to %v: %v %s", text, args, err, out)
			}
		}
	}
}

// A proof is for this machine, and says nothing about the token to who has not got it.
func TestAttackByChallenges(t *testing.T) {
	t.Parallel()
	f := newFort(t, "")
	const challenge = "0123456789abcdefghijkl"
	ask := func(query string, change ...func(*http.Request)) (int, string) {
		return try(t, "GET", f.address, portal.ProofPath+query, "", change...)
	}
	status, text := ask("?challenge=" + challenge)
	if want := fmt.Sprintf("{%q:%q}", "proof", access.Proof(adminToken, challenge, f.address)); status != 200 ||
		strings.TrimSpace(text) != want {
		t.Errorf("%d %s, want %s", status, text, want)
	}
	if status, text := ask("?challenge=short"); status != http.StatusBadRequest {
		t.Errorf("a short challenge: %d %s", status, text)
	}
	if status, text := ask("?challenge="+challenge, with("Sec-Fetch-Site", "cross-site")); status != 403 {
		t.Errorf("from another site: %d %s", status, text)
	}
	if status, text := ask("?challenge="+challenge, with("Host", "evil.example")); status != 421 {
		t.Errorf("under another name: %d %s", status, text)
	}
}
