// Package webconfig serves with TLS, checks users' passwords, and limits the rate of
// requests, as a web configuration file says. The file has the format that Prometheus
// and its exporters share; its types and its TLS come from prometheus/exporter-toolkit.
// The toolkit's own handler is not used: it answers 401 to a bearer token. The file is
// read at each connection and request, so that a renewed certificate or a removed user
// counts at once.
package webconfig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

// A File is a web configuration file, or none.
type File struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex
	now   *settings // what the file said when it was last read
	wrong string    // the error that was logged, "" while the file is right

	passwords
}

// settings are what a file says.
type settings struct {
	text    []byte
	config  *web.Config
	limiter *rate.Limiter // nil: there is no limit
}

// New reads a file and the certificates that it names, and says what is wrong with them.
// No part of a hash or of a key is in the error. An empty path means no file. A file
// that becomes wrong later is logged to log.
func New(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log, passwords: passwords{right: make(map[[32]byte]bool)}}
	if path == "" {
		return f, nil
	}
	s, err := f.read()
	if err == nil && s.config.TLSConfig.IsEnabled() {
		if _, err = tlsOf(s.config, true); err != nil {
			err = fmt.Errorf("web configuration %s: %w", path, err)
		}
	}
	if err == nil {
		if err = web.Validate(path); err != nil { // headers, too
			err = fmt.Errorf("web configuration %s: %w", path, err)
		}
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// read returns what the file says now. What has not changed is not parsed again.
func (f *File) read() (*settings, error) {
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("web configuration: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now != nil && bytes.Equal(f.now.text, text) {
		return f.now, nil
	}
	c, err := parse(f.path, text)
	if err != nil {
		return nil, err
	}
	s := &settings{text: text, config: c}
	switch limit := c.RateLimiterConfig; {
	case limit.Interval == 0:
	case f.now != nil && f.now.config.RateLimiterConfig == limit:
		s.limiter = f.now.limiter // it goes on counting
	default:
		s.limiter = rate.NewLimiter(rate.Every(limit.Interval), limit.Burst)
	}
	f.now = s
	return s, nil
}

// current returns what the file says now, as read does, and logs once when it becomes wrong
// and when it is right again. A file that cannot be understood lets no client in: it may be the
// one that removes a user.
func (f *File) current() (*settings, error) {
	s, err := f.read()
	var wrong string
	if err != nil {
		wrong = err.Error()
	}
	f.mu.Lock()
	changed := wrong != f.wrong
	f.wrong = wrong
	f.mu.Unlock()
	switch {
	case changed && err != nil:
		f.log.Error("every request is refused until the web configuration file is corrected", "err", err)
	case changed:
		f.log.Info("the web configuration file is valid again; requests are answered")
	}
	return s, err
}

// parse reads the text of a file, with the toolkit's defaults.
func parse(file string, text []byte) (*web.Config, error) {
	c := &web.Config{TLSConfig: web.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13},
		HTTPConfig: web.HTTPConfig{HTTP2: true}}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		// The parser repeats values, of which some are secrets.
		return nil, fmt.Errorf("web configuration %s: %s", file,
			regexp.MustCompile("`[^`]*`").ReplaceAllString(err.Error(), "a value"))
	}
	c.TLSConfig.SetDirectory(filepath.Dir(file))
	for name, hash := range c.Users {
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return nil, fmt.Errorf("web configuration %s: the password of user %q is no bcrypt hash", file, name)
		}
	}
	if limit := c.RateLimiterConfig; limit.Interval < 0 || limit.Interval > 0 && limit.Burst < 1 {
		return nil, fmt.Errorf("web configuration %s: rate_limit: interval and burst must be positive, else no "+
			"request is answered", file)
	}
	return c, nil
}

// tlsOf makes what crypto/tls takes. What the toolkit accepts and what would let in
// somebody who was meant to stay out is refused.
func tlsOf(c *web.Config, http2 bool) (*tls.Config, error) {
	if c.TLSConfig.MinVersion < tls.VersionTLS12 {
		return nil, errors.New("min_version is older than TLS12: set TLS12 or TLS13")
	}
	t, err := web.ConfigToTLSConfig(&c.TLSConfig)
	if err != nil {
		return nil, err
	}
	if (t.ClientCAs == nil) == (t.ClientAuth >= tls.VerifyClientCertIfGiven) {
		return nil, errors.New("client_ca_file and a client_auth_type that verifies certificates must be set together")
	}
	if t.ClientCAs != nil && t.ClientCAs.Equal(x509.NewCertPool()) {
		return nil, errors.New("client_ca_file holds no certificate")
	}
	t.NextProtos = []string{"h2", "http/1.1"}
	if !http2 {
		t.NextProtos = t.NextProtos[1:]
	}
	return t, nil
}

// Serve serves on l until the server is shut down, with TLS where the file has it; plain is what takes
// connections without TLS.
func (f *File) Serve(l, plain net.Listener, server *http.Server) error {
	if f.path == "" {
		return server.Serve(plain)
	}
	s, err := f.read()
	if err != nil {
		return err
	}
	if !s.config.TLSConfig.IsEnabled() {
		return server.Serve(plain)
	}
	http2 := s.config.HTTPConfig.HTTP2
	if !http2 {
		server.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	}
	server.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s, err := f.current()
			if err != nil {
				return nil, err
			}
			if !s.config.TLSConfig.IsEnabled() {
				return nil, errors.New("tls_server_config was taken out of the file; that needs a restart")
			}
			return tlsOf(s.config, http2)
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("every connection has a configuration of its own")
		},
	}
	return server.ServeTLS(l, "", "")
}

// passwords remembers which are right: bcrypt is slow by design.
type passwords struct {
	cache sync.Mutex
	right map[[32]byte]bool // of name, password and hash
}
