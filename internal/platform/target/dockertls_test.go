package target_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// certificate writes a certificate that signs itself, and its key.
func certificate(t *testing.T, dir, name string) (cert, key string, pair tls.Certificate) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der},
		key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return cert, key, pair
}

// An engine on another machine is asked by TLS only; it is verified, and it verifies us.
func TestDockerTLS(t *testing.T) {
	dir := t.TempDir()
	ca, _, theirs := certificate(t, dir, "engine")
	cert, key, ours := certificate(t, dir, "upkeep")
	other, _, _ := certificate(t, dir, "other")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("API-Version", "1.41")
		_, _ = w.Write([]byte(`{"Version":"20.10.24"}`))
	}))
	pool := x509.NewCertPool()
	pool.AddCert(ours.Leaf)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{theirs}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	defer s.Close()
	host := strings.Replace(s.URL, "https://", "tcp://", 1)
	for name, tc := range map[string]struct {
		tls  target.DockerTLS
		want string // "" where it answers
	}{
		"both sides":     {target.DockerTLS{CAFile: ca, CertFile: cert, KeyFile: key}, ""},
		"another engine": {target.DockerTLS{CAFile: other, CertFile: cert, KeyFile: key}, "certificate"},
		"no client":      {target.DockerTLS{CAFile: ca}, "certificate"},
		"without TLS":    {target.DockerTLS{}, ""},
	} {
		d, err := target.NewDocker(target.DockerConfig{Name: "e", Host: host, Root: "/", TLS: tc.tls})
		if err != nil {
			t.Fatal(err)
		}
		version, err := d.Version(t.Context())
		d.Close()
		if name == "without TLS" {
			if err == nil {
				t.Error("it answers without TLS")
			}
			continue
		}
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) ||
			err == nil && version != "20.10.24" {
			t.Errorf("%s: %q, %v", name, version, err)
		}
	}
	for _, host := range []string{"tcp://192.0.2.1:2375", "tcp://proxy:2375", "tcp://0.0.0.0:2375"} {
		if _, err := target.NewDocker(target.DockerConfig{Name: "e", Host: host, Root: "/"}); err == nil {
			t.Errorf("%s is asked without TLS", host)
		}
	}
	if _, err := target.NewDocker(target.DockerConfig{Name: "e", Host: "unix:///x", Root: "/",
		TLS: target.DockerTLS{CAFile: ca}}); err == nil {
		t.Error("a socket has TLS")
	}
}
