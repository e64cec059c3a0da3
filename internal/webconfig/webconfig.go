// Package webconfig serves with TLS and asks for a name and a password, as a web
// configuration file says. The file has the form that Prometheus and its
// exporters share, of which it takes tls_server_config and basic_auth_users; it
// is read again at each connection and request, so that a renewed certificate or
// a removed user counts at once.
package webconfig

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// A Config is what a file says.
type Config struct {
	TLS   *TLS              `yaml:"tls_server_config"`
	Users map[string]string `yaml:"basic_auth_users"` // name → bcrypt hash
}

// TLS is how connections are encrypted and who may make them.
type TLS struct {
	CertFile       string `yaml:"cert_file"`
	KeyFile        string `yaml:"key_file"`
	ClientAuthType string `yaml:"client_auth_type"`
	ClientCAFile   string `yaml:"client_ca_file"`
	MinVersion     string `yaml:"min_version"`
}

// Load reads a file and the certificates that it names, and says what is wrong
// with them. Nothing of a hash is shown.
func Load(file string) (*Config, error) {
	c, err := read(file)
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		if _, err := c.TLS.server(); err != nil {
			return nil, fmt.Errorf("web configuration %s: %w", file, err)
		}
	}
	return c, nil
}

// read reads the file alone.
func read(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("web configuration: %w", err)
	}
	c := new(Config)
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("web configuration %s (tls_server_config and basic_auth_users are known): %w", file, err)
	}
	if c.TLS != nil {
		dir := filepath.Dir(file)
		for _, path := range []*string{&c.TLS.CertFile, &c.TLS.KeyFile, &c.TLS.ClientCAFile} {
			if *path != "" && !filepath.IsAbs(*path) {
				*path = filepath.Join(dir, *path)
			}
		}
	}
	for name, hash := range c.Users {
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return nil, fmt.Errorf("web configuration %s: the password of user %q is no bcrypt hash", file, name)
		}
	}
	return c, nil
}

// server makes what crypto/tls wants.
func (t *TLS) server() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	switch t.MinVersion {
	case "", "TLS12":
	case "TLS13":
		c.MinVersion = tls.VersionTLS13
	default:
		return nil, fmt.Errorf("min_version is %q; TLS12 or TLS13 was expected", t.MinVersion)
	}
	types := map[string]tls.ClientAuthType{
		"": tls.NoClientCert, "NoClientCert": tls.NoClientCert, "RequestClientCert": tls.RequestClientCert, "RequireAnyClientCert": tls.RequireAnyClientCert,
		"VerifyClientCertIfGiven": tls.VerifyClientCertIfGiven, "RequireAndVerifyClientCert": tls.RequireAndVerifyClientCert,
	}
	auth, ok := types[t.ClientAuthType]
	if !ok {
		return nil, fmt.Errorf("client_auth_type %q is none of crypto/tls", t.ClientAuthType)
	}
	c.ClientAuth = auth
	if t.ClientCAFile != "" {
		text, err := os.ReadFile(t.ClientCAFile)
		if err != nil {
			return nil, fmt.Errorf("client_ca_file: %w", err)
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("client_ca_file %s holds no certificate", t.ClientCAFile)
		}
	}
	if (c.ClientCAs == nil) == (auth >= tls.VerifyClientCertIfGiven) {
		return nil, errors.New("client_ca_file and a client_auth_type that verifies by it stand together")
	}
	return c, nil
}

// Serve serves h on l until the server is shut down. Where file is empty there
// is neither encryption nor a password.
func Serve(l net.Listener, server *http.Server, file string) error {
	if file == "" {
		return server.Serve(l)
	}
	c, err := Load(file)
	if err != nil {
		return err
	}
	server.Handler = &asking{file: file, next: server.Handler, right: make(map[[32]byte]bool)}
	if c.TLS == nil {
		return server.Serve(l)
	}
	server.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := read(file)
			if err != nil {
				return nil, err
			}
			if c.TLS == nil {
				return nil, errors.New("tls_server_config was taken out of the file; that needs a restart")
			}
			return c.TLS.server()
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("every connection has a configuration of its own")
		},
	}
	return server.ServeTLS(l, "", "")
}

// asking lets a request through that names a user and the right password.
type asking struct {
	file string
	next http.Handler

	mu    sync.Mutex
	right map[[32]byte]bool // of name, password and hash: bcrypt is slow by design, once
}

// remembered bounds the passwords that are known to be right.
const remembered = 100

// ServeHTTP implements http.Handler.
func (a *asking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := read(a.file)
	if err != nil {
		http.Error(w, "the web configuration cannot be read; the log of the start says more", http.StatusInternalServerError)
		return
	}
	if len(c.Users) == 0 {
		a.next.ServeHTTP(w, r)
		return
	}
	name, password, ok := r.BasicAuth()
	if ok && a.known(c.Users, name, password) {
		a.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("WWW-Authenticate", "Basic")
	http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
}

// nobody is the hash that an unknown user's password is compared with, so that
// the time of an answer does not tell who there is.
const nobody = "$2a$10$7EqJtq98hPqEX7fNZaFWoOhiN0k2WlTpoEOVKTIn1F1pSW7mHIpwK"

func (a *asking) known(users map[string]string, name, password string) bool {
	hash, there := users[name]
	if !there {
		hash = nobody
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", name, password, hash))
	a.mu.Lock()
	right := a.right[key]
	a.mu.Unlock()
	if right {
		return true
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || !there {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.right) >= remembered {
		clear(a.right)
	}
	a.right[key] = true
	return true
}
