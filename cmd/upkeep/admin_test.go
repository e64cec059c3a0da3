package main

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// adminToken is the admin token of every upkeep that the tests start.
const adminToken = "the-admin-token-of-the-tests"

// granted runs the tests with that token: the commands that they run have it in the environment,
// and their requests to this machine in the header.
type granted struct{ *testing.M }

// Run runs the tests.
func (g granted) Run() int {
	if err := os.Setenv("UPKEEP_TOKEN", adminToken); err != nil {
		panic(err)
	}
	http.DefaultTransport = bearer{http.DefaultTransport}
	return g.M.Run()
}

// bearer shows the token where a request shows nothing else.
type bearer struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if ip := net.ParseIP(r.URL.Hostname()); ip != nil && ip.IsLoopback() && r.Header.Get("Authorization") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+adminToken)
	}
	return b.RoundTripper.RoundTrip(r)
}

// grant puts the token into the data_dir of an upkeep that starts in a folder.
func grant(t testing.TB, dir string) {
	t.Helper()
	if err := makeToken(filepath.Join(dir, "data")); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// makeToken writes the token into a data_dir where it has none.
func makeToken(data string) error {
	if _, err := os.Stat(filepath.Join(data, config.AdminTokenFile)); err == nil {
		return nil // of a start before
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(data, config.AdminTokenFile), []byte(adminToken+"\n"), 0o600)
}
