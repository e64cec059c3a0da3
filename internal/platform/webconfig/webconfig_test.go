package webconfig_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/crypto/bcrypt"

	"github.com/ai-micro-service/upkeep/internal/platform/web"
	"github.com/ai-micro-service/upkeep/internal/platform/webconfig"
)

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// certify writes a certificate of 127.0.0.1 with a serial number, and its key.
func certify(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// serve serves "in" at every path of a router.
func serve(t *testing.T, file string) (address string) {
	t.Helper()
	return serveWith(t, file, slog.New(slog.DiscardHandler))
}

func serveWith(t *testing.T, file string, log *slog.Logger) (address string) {
	t.Helper()
	f, err := webconfig.New(file, log)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := web.New(slog.New(slog.DiscardHandler))
	r.Use(f.Middleware())
	in := func(g *gin.Context) { g.String(http.StatusOK, "in, by %s", g.Request.Proto) }
	r.Any("/", in)
	r.Any("/webhook/alertmanager", in)
	server := &http.Server{Handler: r}
	done := make(chan error, 1)
	go func() { done <- f.Serve(l, l, server) }()
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// ask makes a request and returns its answer, whose body is read.
func ask(t *testing.T, url string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // was read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestPasswords(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(t.TempDir(), "web.yaml"), "basic_auth_users: {ann: '"+string(hash)+"'}\n")
	f, err := webconfig.New(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	asked, done := 0, 0
	as := func(user, password string, allow error) bool {
		t.Helper()
		ok, err := f.Known(user, password, func() (func(), error) { asked++; return func() { done++ }, allow })
		if !errors.Is(err, allow) {
			t.Errorf("%s: %v", user, err)
		}
		return ok
	}
	for _, test := range []struct {
		user, password string
		known          bool
		asked          int
	}{
		{"ann", "wrong", false, 1},
		{"ann", "", false, 1},
		{"bob", "right", false, 1},
		{"ann", "right", true, 1},
		{"ann", "right", true, 0}, // what was right a moment ago costs nothing
		{"ann", "wrong", false, 1},
	} {
		asked, done = 0, 0
		if got := as(test.user, test.password, nil); got != test.known || asked != test.asked || done != asked {
			t.Errorf("%s with %q: %v, asked %d times", test.user, test.password, got, asked)
		}
	}
	if as("ann", "wrong", errors.New("too many")) {
		t.Error("let in without being asked")
	}
	before, there := f.Stamp("ann")
	if _, bob := f.Stamp("bob"); !there || bob {
		t.Error("the file has ann, and no bob")
	}
	write(t, file, "basic_auth_users: {bob: '"+string(hash)+"'}\n")
	if as("ann", "right", nil) {
		t.Error("a removed user is let in")
	}
	if after, _ := f.Stamp("ann"); bytes.Equal(before, after) {
		t.Error("the stamp of a removed user is the same")
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certify(t, dir, 1)
	address := serve(t, write(t, filepath.Join(dir, "web.yaml"),
		"tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"))
	serial := func() int64 {
		t.Helper()
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }() // nothing was written
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d, want 1", got)
	}
	certify(t, dir, 2)
	if got := serial(); got != 2 {
		t.Errorf("serial %d, want 2", got)
	}
}

func TestWrong(t *testing.T) {
	dir := t.TempDir()
	certify(t, dir, 1)
	for name, test := range map[string]struct{ text, want string }{
		"unknown key":    {"\nhttp_server_config: {http3: true}", "line 2: field http3 not found"},
		"a list":         {"basic_auth_users: hunter2", "line 1: cannot unmarshal"},
		"a header":       {"http_server_config: {headers: {X-Mine: x}}", `"X-Mine" can not be configured`},
		"no interval":    {"rate_limit: {interval: 1s}", "no request is answered"},
		"no hash":        {"basic_auth_users: {ann: hunter2}", `the password of user "ann" is no bcrypt hash`},
		"no certificate": {"tls_server_config: {cert_file: none.pem, key_file: key.pem}", "none.pem"},
		"old TLS": {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, min_version: TLS10}",
			"set TLS12 or TLS13"},
		"client type": {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: Maybe}",
			"ClientAuth"},
		"CA without type": {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}",
			"without a Client Auth Policy"},
		"CA is a key": {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: key.pem, " +
			"client_auth_type: RequireAndVerifyClientCert}", "holds no certificate"},
		"type without CA": {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: " +
			"RequireAndVerifyClientCert}", "must be set together"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := webconfig.New(write(t, filepath.Join(dir, "web.yaml"), test.text), slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("New: %v", err)
			}
		})
	}
}

// Headers of the file are in every answer, and a file that became wrong lets no request in.
func TestHeaders(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "web.yaml"), "http_server_config: {headers: {X-Frame-Options: deny}}\n")
	address := serve(t, file)
	if res, text := ask(t, "http://"+address, nil); res.StatusCode != 200 ||
		res.Header.Get("X-Frame-Options") != "deny" {
		t.Errorf("%s %s %v", res.Status, text, res.Header)
	}
	write(t, file, "basic_auth_users: {ann: hunter2}\n")
	if res, text := ask(t, "http://"+address, nil); res.StatusCode != 500 || strings.Contains(text, "hunter2") {
		t.Errorf("a file that became wrong: %s %s", res.Status, text)
	}
}

// What comes too fast is refused. A delivery is refused so that Alertmanager repeats it.
func TestRateLimit(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "web.yaml"), "rate_limit: {interval: 1h, burst: 3}\n")
	address := "http://" + serve(t, file)
	for n, want := range []struct {
		path   string
		status int
	}{{"/", 200}, {"/webhook/alertmanager", 200}, {"/", 200}, {"/", 429}, {"/webhook/alertmanager", 503},
		{"/unknown", 429}} {
		res, _ := ask(t, address+want.path, nil)
		if res.StatusCode != want.status || (want.status > 400) != (res.Header.Get("Retry-After") != "") {
			t.Errorf("request %d, %s: %s, want %d", n, want.path, res.Status, want.status)
		}
	}
	write(t, file, "rate_limit: {interval: 1h, burst: 3}\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n")
	if res, _ := ask(t, address, nil); res.StatusCode != 429 {
		t.Errorf("a change of something else starts the limit anew: %s", res.Status)
	}
	write(t, file, "")
	if res, _ := ask(t, address, nil); res.StatusCode != 200 {
		t.Errorf("the limit was removed: %s", res.Status)
	}
}

// HTTP/2 is used unless the file turns it off.
func TestProtocol(t *testing.T) {
	dir := t.TempDir()
	certify(t, dir, 1)
	for more, want := range map[string]string{"": "HTTP/2.0", "http_server_config: {http2: false}\n": "HTTP/1.1"} {
		file := write(t, filepath.Join(t.TempDir(), "web.yaml"),
			"tls_server_config: {cert_file: "+dir+"/cert.pem, key_file: "+dir+"/key.pem}\n"+more)
		if _, text := ask(t, "https://"+serve(t, file), nil); text != "in, by "+want {
			t.Errorf("%s: %s, want %s", more, text, want)
		}
	}
}

// A file that becomes wrong while it is used lets no client in, and the log says once why, and
// when it is right again.
func TestBecomesWrong(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "web.yaml"), "rate_limit: {interval: 1ms, burst: 1000}\n")
	var log lockedBuffer
	address := serveWith(t, file, slog.New(slog.NewTextHandler(&log, nil)))
	status := func(want int) {
		t.Helper()
		for range 3 {
			if res, text := ask(t, "http://"+address, nil); res.StatusCode != want {
				t.Errorf("%s: %s", res.Status, text)
			}
		}
	}
	status(http.StatusOK)
	write(t, file, "basic_auth_users: {ann: hunter2}\n")
	status(http.StatusInternalServerError)
	write(t, file, "unknown: 1\n")
	status(http.StatusInternalServerError)
	write(t, file, "rate_limit: {interval: 1ms, burst: 1000}\n")
	status(http.StatusOK)
	var lines []string
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(line, "level=")
		lines = append(lines, strings.ReplaceAll(strings.TrimSpace(line), file, "FILE"))
	}
	want := []string{
		`ERROR msg="every request is refused until the web configuration file is corrected" err="web configuration FILE: the password of user \"ann\" is no bcrypt hash"`,
		`ERROR msg="every request is refused until the web configuration file is corrected" err="web configuration FILE: yaml: unmarshal errors:\n  line 1: field unknown not found in type web.Config"`,
		`INFO msg="the web configuration file is valid again; requests are answered"`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("the log:\n%s", strings.Join(lines, "\n"))
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
