package probe_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/probe"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// services are real ones, healthy and not.
type services struct {
	plain, secure    *httptest.Server
	ca               string // file of the certificates of all that are secure
	old, early, asks *httptest.Server
	asks13, may13    *httptest.Server // TLS 1.3: a client certificate is required, or would be taken
	mail, shut       net.Listener
	bye, drips       net.Listener // one greets and closes, one never comes to an end
}

func serve(t *testing.T) (s services) {
	t.Helper()
	mux := http.NewServeMux()
	say := func(path string, f http.HandlerFunc) { mux.HandleFunc(path, f) }
	say("/health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"UP","token":"s3cret"}`)
	})
	say("/down", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"DOWN"}`) })
	say("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/login", http.StatusMovedPermanently)
	})
	say("/login", func(http.ResponseWriter, *http.Request) {})
	say("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	say("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	say("/drops", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	})
	say("/stops", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush() //nolint:forcetypeassert // of net/http
		<-r.Context().Done()
	})
	s.plain = httptest.NewServer(mux)
	s.secure = httptest.NewUnstartedServer(mux)
	var all []byte
	for _, one := range []struct {
		server    **httptest.Server
		from, end time.Duration
		asks      tls.ClientAuthType
		most      uint16 // with 1.3 a refusal comes when the client's handshake is over
	}{{&s.secure, -time.Hour, 24 * time.Hour, 0, tls.VersionTLS12}, {&s.old, -48 * time.Hour, -24 * time.Hour, 0, tls.VersionTLS12},
		{&s.early, 24 * time.Hour, 48 * time.Hour, 0, tls.VersionTLS12},
		{&s.asks, -time.Hour, time.Hour, tls.RequireAnyClientCert, tls.VersionTLS12},
		{&s.asks13, -time.Hour, time.Hour, tls.RequireAnyClientCert, tls.VersionTLS13},
		{&s.may13, -time.Hour, time.Hour, tls.RequestClientCert, tls.VersionTLS13}} {
		if *one.server == nil {
			*one.server = httptest.NewUnstartedServer(mux)
		}
		cert, text := certificate(t, time.Now().Add(one.from), time.Now().Add(one.end))
		all = append(all, text...)
		u := *one.server
		u.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: one.asks, MaxVersion: one.most} //nolint:gosec // of TLS 1.2 at least
		u.Config.ErrorLog = log.New(io.Discard, "", 0)
		u.StartTLS()
		t.Cleanup(u.Close)
	}
	t.Cleanup(s.plain.Close)
	s.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.ca, all, 0o600); err != nil {
		t.Fatal(err)
	}
	s.mail = listen(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 mail.exa")
		_, _ = io.WriteString(c, "mple ESMTP\r\n")
		_, _ = io.Copy(io.Discard, c) // until it is closed
	})
	s.bye = listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n") })
	s.drips = listen(t, func(c net.Conn) {
		for err := error(nil); err == nil; time.Sleep(20 * time.Millisecond) {
			_, err = io.WriteString(c, "2")
		}
	})
	s.shut = listen(t, func(c net.Conn) {
		_ = c.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it listens on TCP
		_, _ = io.Copy(io.Discard, c)     // what is not read is reset
	})
	return s
}

func listen(t *testing.T, talk func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				talk(c)
				_ = c.Close()
			}()
		}
	}()
	return l
}

func certificate(t *testing.T, from, end time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(from.Unix()), Subject: pkix.Name{CommonName: "x"},
		NotBefore: from, NotAfter: end, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// Why a service is unhealthy is a label, and why in words is what the log and the status say.
func TestWhy(t *testing.T) {
	t.Parallel()
	s := serve(t)
	gone := listen(t, func(net.Conn) {})
	_ = gone.Close()
	http, https := s.plain.URL, s.secure.URL
	address := func(l net.Listener, scheme string) string { return scheme + "://" + l.Addr().String() }
	named := func(u string) string { return strings.Replace(u, "127.0.0.1", "localhost", 1) }
	other := func(u, scheme string) string { return scheme + u[strings.Index(u, "://"):] }
	for name, tc := range map[string]struct {
		probe         target.Probe
		phase, reason string // none where it is healthy
	}{
		"healthy":             {target.Probe{URL: http + "/health"}, "", ""},
		"refused":             {target.Probe{URL: address(gone, "http")}, "connect", "refused"},
		"closed at once":      {target.Probe{URL: address(s.shut, "http")}, "response", "closed"},
		"mail":                {target.Probe{URL: address(s.mail, "http")}, "response", "protocol"},
		"hangs":               {target.Probe{URL: http + "/hangs"}, "response", "timeout"},
		"stops":               {target.Probe{URL: http + "/stops"}, "body", "timeout"},
		"drops":               {target.Probe{URL: http + "/drops"}, "body", "closed"},
		"round":               {target.Probe{URL: http + "/round"}, "redirect", "too_many"},
		"no such page":        {target.Probe{URL: http + "/nowhere"}, "status", "unexpected"},
		"followed":            {target.Probe{URL: http + "/moved"}, "", ""},
		"a redirect expected": {target.Probe{URL: http + "/moved", Status: 301}, "", ""},
		"another redirect":    {target.Probe{URL: http + "/moved", Status: 302}, "status", "unexpected"},
		"not followed":        {target.Probe{URL: http + "/moved", Redirects: "none"}, "status", "unexpected"},
		"where it leads": {target.Probe{URL: http + "/moved", Status: 301, Headers: map[string]string{"Location": "^/login$"}},
			"", ""},
		"header":         {target.Probe{URL: http + "/health", Headers: map[string]string{"content-type": "json"}}, "", ""},
		"another header": {target.Probe{URL: http + "/down", Headers: map[string]string{"content-type": "json"}}, "header", "no_match"},
		"no header":      {target.Probe{URL: http + "/health", Headers: map[string]string{"X-A": ""}}, "header", "missing"},
		"body":           {target.Probe{URL: http + "/health", Body: `"status": ?"UP"`}, "", ""},
		"another body":   {target.Probe{URL: http + "/down", Body: `"status": ?"UP"`}, "body", "no_match"},
		"forbidden":      {target.Probe{URL: http + "/down", BodyWithout: `DOWN`}, "body", "forbidden"},
		"not forbidden":  {target.Probe{URL: http + "/health", BodyWithout: `DOWN`}, "", ""},

		"TLS":               {target.Probe{URL: https + "/health", CAFile: s.ca}, "", ""},
		"untrusted":         {target.Probe{URL: https + "/health"}, "tls", "untrusted"},
		"name":              {target.Probe{URL: named(https) + "/health", CAFile: s.ca}, "tls", "wrong_name"},
		"old":               {target.Probe{URL: s.old.URL, CAFile: s.ca}, "tls", "expired"},
		"early":             {target.Probe{URL: s.early.URL, CAFile: s.ca}, "tls", "not_yet_valid"},
		"asks":              {target.Probe{URL: s.asks.URL, CAFile: s.ca}, "tls", "tls_alert"},
		"asks, TLS 1.3":     {target.Probe{URL: s.asks13.URL, CAFile: s.ca}, "tls", "tls_alert"},
		"no TLS":            {target.Probe{URL: other(http, "https")}, "tls", "no_tls"},
		"closed before TLS": {target.Probe{URL: address(s.shut, "https")}, "tls", "closed"},

		"tcp":                {target.Probe{URL: other(http, "tcp")}, "", ""},
		"tcp refused":        {target.Probe{URL: address(gone, "tcp")}, "connect", "refused"},
		"greeting":           {target.Probe{URL: address(s.mail, "tcp"), Body: `^220 mail\.example `}, "", ""},
		"another greeting":   {target.Probe{URL: address(s.bye, "tcp"), Body: `^SSH-`}, "body", "no_match"},
		"greeting trickles":  {target.Probe{URL: address(s.drips, "tcp"), Body: `^SSH-`}, "body", "timeout"},
		"greeting stops":     {target.Probe{URL: address(s.mail, "tcp"), Body: `^SSH-`}, "body", "timeout"},
		"no greeting":        {target.Probe{URL: other(http, "tcp"), Body: `^220`}, "body", "timeout"},
		"closed at greeting": {target.Probe{URL: address(s.shut, "tcp"), Body: `^220`}, "body", "closed"},
		"tls":                {target.Probe{URL: other(https, "tls"), CAFile: s.ca}, "", ""},
		"tls untrusted":      {target.Probe{URL: other(https, "tls")}, "tls", "untrusted"},
		"tls asks":           {target.Probe{URL: other(s.asks.URL, "tls"), CAFile: s.ca}, "tls", "tls_alert"},
		"tls asks, 1.3":      {target.Probe{URL: other(s.asks13.URL, "tls"), CAFile: s.ca}, "tls", "tls_alert"},
		"tls asks, greeting": {target.Probe{URL: other(s.asks13.URL, "tls"), CAFile: s.ca, Body: "^220"}, "tls", "tls_alert"},
		"tls may, 1.3":       {target.Probe{URL: other(s.may13.URL, "tls"), CAFile: s.ca}, "", ""},
		"tls of mail":        {target.Probe{URL: address(s.mail, "tls")}, "tls", "no_tls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, why := asked(t, tc.probe)
			healthy := "upkeep_probe_healthy{server=\"s\"} 1\n"
			if tc.phase != "" {
				healthy = unhealthy(tc.phase, tc.reason)
			}
			if !strings.HasPrefix(got, healthy) || tc.phase == "" && strings.Contains(got, "failure") {
				t.Errorf("no\n%sin:\n%s(%v)", healthy, got, why)
			}
			if (why == nil) != (tc.phase == "") || why != nil && !strings.HasPrefix(why.Error(),
				tc.phase+" ("+tc.reason+"): ") || why != nil && strings.Contains(why.Error(), "s3cret") {
				t.Errorf("in words: %v", why)
			}
			secure := strings.HasPrefix(tc.probe.URL, "https") || strings.HasPrefix(tc.probe.URL, "tls")
			late := strings.HasPrefix(tc.probe.URL[strings.Index(tc.probe.URL, "://"):], s.asks13.URL[len("https"):])
			if has := strings.Contains(got, "tls_expiry"); has != (late || secure && tc.reason != "no_tls" &&
				tc.reason != "closed" && tc.reason != "tls_alert") {
				t.Errorf("the end of the certificate: %v:\n%s", has, got)
			}
		})
	}
}

// asked returns what a probe says, in figures and in words.
func asked(t *testing.T, p target.Probe) (string, error) {
	t.Helper()
	p.Name = "s"
	c := probe.HTTP(&p)
	ctx := t.Context()
	if strings.Contains(p.URL, "/hangs") || strings.Contains(p.URL, "/stops") || p.Body != "" { // the others end by themselves
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		ctx = limited
	}
	w := collectors.NewWriter(c)
	if err := c.Collect(ctx, w); err != nil {
		t.Fatal(err)
	}
	return string(w.Text()), w.Why()
}

// A name that DNS does not know fails in the phase of DNS, whatever the resolver here answers.
func TestNoName(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://upkeep-probe.invalid/", "tcp://upkeep-probe.invalid:25"} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		c := probe.HTTP(&target.Probe{Name: "s", URL: url})
		w := collectors.NewWriter(c)
		err := c.Collect(ctx, w)
		cancel()
		if got := string(w.Text()); err != nil || !strings.Contains(got, `phase="dns"`) {
			t.Errorf("%s: %v\n%s", url, err, got)
		}
	}
}

// The end of a certificate is what the service shows, also where it is refused.
func TestEndOfRefused(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for url, end := range map[string]time.Time{s.secure.URL: s.secure.Certificate().NotAfter,
		s.old.URL: s.old.Certificate().NotAfter} {
		got, _ := asked(t, target.Probe{URL: url})
		if want := fmt.Sprintf("tls_expiry_timestamp_seconds{server=\"s\"} %d\n", end.Unix()); !strings.Contains(got, want) {
			t.Errorf("no %s in:\n%s", want, got)
		}
	}
}

// A failure behind a redirect names where the redirect led, without what may be a secret.
func TestWhyAfterRedirect(t *testing.T) {
	t.Parallel()
	gone := listen(t, func(net.Conn) {})
	_ = gone.Close()
	dead := gone.Addr().String()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	for to, want := range map[string]string{
		"file:///etc/s3cret":                           "redirect (unexpected): redirected to file://…: that is no address of http or https",
		"http://ann:s3cret@" + dead + "/s3cret?s3cret": "connect (refused): redirected to http://" + dead + ": ",
		s.URL + "/login?token=s3cret":                  "status (unexpected): redirected to " + s.URL + ": the service answers with the HTTP status 404",
		"http://s3cret%zz/":                            "redirect (unexpected): the service redirects to what is no address",
	} {
		got, why := asked(t, target.Probe{URL: s.URL + "/?to=" + url.QueryEscape(to)})
		if why == nil || !strings.HasPrefix(why.Error(), want) || strings.Contains(why.Error(), "s3cret") {
			t.Errorf("%s: %v, want %s", to, why, want)
		}
		if !strings.Contains(got, "healthy{server=\"s\"} 0") {
			t.Errorf("%s:\n%s", to, got)
		}
	}
}
