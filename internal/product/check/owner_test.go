package check_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/app"
	"github.com/ai-micro-service/upkeep/internal/product/check"
	"github.com/ai-micro-service/upkeep/internal/product/config"
)

// certificate returns one that signs itself, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// Another user who can write the configuration, the file of users or the one with the receivers decides who may do what
// and where secrets and links are sent: upkeep does not start with such a file, nor with a key of TLS that all can read.
func TestFilesOfOthers(t *testing.T) {
	dir := t.TempDir()
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	cert, key := certificate(t)
	texts := map[string]string{
		"web.yml":       "basic_auth_users: {ann: " + annHash + "}\ntls_server_config: {cert_file: tls.crt, key_file: tls.key}\n",
		"receivers.yml": "route: {receiver: r}\nreceivers: [{name: r}]\n", "tls.crt": cert, "tls.key": key,
		"embedded.yaml": sound + "web: {config_file: web.yml, users: {ann: view}}\nembedded: {alertmanager_file: receivers.yml}\n",
		"outside.yaml":  sound + "embedded: {enabled: false}\nnotify: {receivers_file: receivers.yml, places: [{name: r, receiver: r}]}\n",
	}
	for name, text := range texts {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(file string) error {
		t.Helper()
		c, source, err := config.Read(file, app.Known())
		if err != nil {
			t.Fatal(err)
		}
		_, err = check.Start(c, source)
		return err
	}
	own := func(name string, uid int, mode os.FileMode) {
		t.Helper()
		if err := os.Chown(name, uid, uid); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	const another = 65534
	for _, test := range []struct {
		config, name, place string
		readable            bool
	}{
		{"embedded.yaml", "embedded.yaml", "embedded.yaml:1: ", true}, {"embedded.yaml", "web.yml", "embedded.yaml:11: ", true},
		{"embedded.yaml", "receivers.yml", "embedded.yaml:12: ", true}, {"embedded.yaml", "tls.key", "embedded.yaml:11: ", false},
		{"outside.yaml", "outside.yaml", "outside.yaml:1: ", true}, {"outside.yaml", "receivers.yml", "outside.yaml:12: ", true},
	} {
		path := filepath.Join(dir, test.name)
		if err := refused(test.config); err != nil {
			t.Fatalf("%s with files of its own: %v", test.config, err)
		}
		own(test.name, 0, 0o644)
		if err := refused(test.config); (err == nil) != test.readable {
			t.Errorf("%s that all can read: %v", test.name, err)
		}
		own(test.name, 0, 0o666)
		if err := fmt.Sprint(refused(test.config)); !strings.Contains(err, test.place) || !strings.Contains(err, path+"\n") &&
			!strings.HasSuffix(err, path) {
			t.Errorf("%s that all can write: %s", test.name, err)
		}
		if os.Geteuid() == 0 {
			own(test.name, another, 0o600)
			if err := fmt.Sprint(refused(test.config)); !strings.Contains(err, test.place) ||
				!strings.Contains(err, fmt.Sprintf("belongs to user %d", another)) {
				t.Errorf("%s of another user: %s", test.name, err)
			}
		}
		own(test.name, 0, 0o600)
	}
}
