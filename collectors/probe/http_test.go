package probe_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/probe"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

func answer(t *testing.T, p target.Probe, within time.Duration) string {
	t.Helper()
	p.Name = "s"
	c := probe.HTTP(&p)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	w := collectors.NewWriter(c)
	if err := c.Collect(ctx, w); err != nil {
		t.Fatal(err)
	}
	return string(w.Text())
}

// unhealthy is the answer of a service that does not answer.
func unhealthy(phase, reason string) string {
	return fmt.Sprintf("upkeep_probe_healthy{server=\"s\"} 0\nupkeep_probe_failure{server=\"s\",phase=%q,reason=%q} 1\n",
		phase, reason)
}

func TestHTTP(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/teapot":
			w.WriteHeader(http.StatusTeapot)
		case "/elsewhere":
			http.Redirect(w, r, "/health", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/hangs":
			<-r.Context().Done()
		case "/drops":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half")
		}
	}))
	defer s.Close()
	for _, tc := range []struct {
		path   string
		status int
		want   []string
	}{
		{"/health", 0, []string{"healthy{server=\"s\"} 1", "http_status{server=\"s\"} 200",
			"redirects{server=\"s\"} 0"}},
		{"/teapot", 0, []string{"healthy{server=\"s\"} 0", "http_status{server=\"s\"} 418"}},
		{"/teapot", 418, []string{"healthy{server=\"s\"} 1"}},
		{"/health", 418, []string{"healthy{server=\"s\"} 0"}},
		{"/elsewhere", 0, []string{"healthy{server=\"s\"} 1", "redirects{server=\"s\"} 1"}},
		{"/round", 0, []string{"healthy{server=\"s\"} 0"}},
		{"/hangs", 0, []string{"healthy{server=\"s\"} 0"}},
		{"/drops", 0, []string{"healthy{server=\"s\"} 0"}},
	} {
		got := answer(t, target.Probe{URL: s.URL + tc.path, Status: tc.status}, 600*time.Millisecond)
		for _, want := range tc.want {
			if !strings.Contains(got, "upkeep_probe_"+want+"\n") {
				t.Errorf("%s: no %s in:\n%s", tc.path, want, got)
			}
		}
		if strings.Contains(got, "healthy{server=\"s\"} 0") && strings.Contains(got, "tls") {
			t.Errorf("%s: a certificate without TLS:\n%s", tc.path, got)
		}
	}
	collectortest.Promises(t, probe.HTTP(&target.Probe{Name: "s", URL: s.URL}))
	s.Close()
	if got := answer(t, target.Probe{URL: s.URL}, time.Second); got != unhealthy("connect", "refused") {
		t.Errorf("no listener:\n%s", got)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	s.Config.ErrorLog = nil
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("upkeep_probe_tls_expiry_timestamp_seconds{server=\"s\"} %d\n", s.Certificate().NotAfter.Unix())
	if got := answer(t, target.Probe{URL: s.URL, Status: 404, CAFile: ca}, time.Second); !strings.Contains(got, want) ||
		!strings.Contains(got, "healthy{server=\"s\"} 1") {
		t.Errorf("no %s in:\n%s", want, got)
	}
	if got := answer(t, target.Probe{URL: s.URL, Status: 404},
		time.Second); got != unhealthy("tls", "untrusted")+want {
		t.Errorf("an untrusted certificate:\n%s", got)
	}
	c := probe.HTTP(&target.Probe{Name: "s", URL: s.URL, CAFile: filepath.Join(t.TempDir(), "gone")})
	if err := c.Collect(t.Context(), collectors.NewWriter(c)); err == nil {
		t.Error("a file of certificates that is gone is no error")
	}
}

// A service without HTTP is unhealthy, and no more.
func TestNonsense(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // ends what follows
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("220 mail\r\n"))
			_ = c.Close()
		}
	}()
	if got := answer(t, target.Probe{URL: "http://" + l.Addr().String()},
		time.Second); got != unhealthy("response", "protocol") {
		t.Errorf("got:\n%s", got)
	}
}
