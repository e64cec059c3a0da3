package webconfig_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/ai-micro-service/upkeep/internal/webconfig"
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
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
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

func serve(t *testing.T, file string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "in") })}
	done := make(chan error, 1)
	go func() { done <- webconfig.Serve(l, server, file) }()
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

func TestPasswords(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(t.TempDir(), "web.yaml"), "basic_auth_users: {ann: '"+string(hash)+"'}\n")
	address := serve(t, file)
	ask := func(user, password string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close() // not read
		return res.StatusCode
	}
	for _, test := range []struct {
		user, password string
		status         int
	}{{"", "", 401}, {"ann", "wrong", 401}, {"ann", "", 401}, {"bob", "right", 401}, {"ann", "right", 200}, {"ann", "right", 200}, {"ann", "wrong", 401}} {
		if got := ask(test.user, test.password); got != test.status {
			t.Errorf("%s with %q: %d, want %d", test.user, test.password, got, test.status)
		}
	}
	write(t, file, "basic_auth_users: {bob: '"+string(hash)+"'}\n")
	if got := ask("ann", "right"); got != 401 {
		t.Errorf("a removed user: %d", got)
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certify(t, dir, 1)
	address := serve(t, write(t, filepath.Join(dir, "web.yaml"), "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"))
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
		"unknown key":     {"http_server_config: {http2: true}", "are known"},
		"no hash":         {"basic_auth_users: {ann: hunter2}", `the password of user "ann" is no bcrypt hash`},
		"no certificate":  {"tls_server_config: {cert_file: none.pem, key_file: key.pem}", "certificate"},
		"old TLS":         {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, min_version: TLS10}", "TLS12 or TLS13"},
		"client type":     {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: Maybe}", "client_auth_type"},
		"CA without type": {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}", "stand together"},
		"type without CA": {"tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: RequireAndVerifyClientCert}", "stand together"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := webconfig.Load(write(t, filepath.Join(dir, "web.yaml"), test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Load: %v", err)
			}
		})
	}
}
