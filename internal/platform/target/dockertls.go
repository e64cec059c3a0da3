package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/files"
)

// A DockerTLS names the files by which an engine and we know each other. They are read for each
// connection, so that new certificates need no restart.
type DockerTLS struct{ CAFile, CertFile, KeyFile string }

// pemMost is more than a bundle of all public authorities has.
const pemMost = 4 << 20

func (t DockerTLS) used() bool { return t != DockerTLS{} }

// loopback reports whether a host is this machine itself, where no one is between us and a
// proxy. Another name is not: the name server could move it.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || host == "localhost"
}

// dial connects and verifies the engine.
func (t DockerTLS) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, _, err := files.Read(t.CAFile, pemMost)
		if err != nil {
			return nil, err
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", t.CAFile)
		}
	}
	if t.CertFile != "" || t.KeyFile != "" {
		cert, _, err := files.Read(t.CertFile, pemMost)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		if err := files.Secret(t.KeyFile); err != nil {
			return nil, err
		}
		key, _, err := files.Read(t.KeyFile, pemMost)
		if err != nil {
			return nil, fmt.Errorf("key of the client certificate: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", t.CertFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: c}
	return d.DialContext(ctx, network, address)
}

// NeedsTLS reports whether an address of an engine must not be asked without TLS: who is
// between could answer in its place, and is root on its machine.
func NeedsTLS(scheme, host string) bool { return scheme == "tcp" && !loopback(host) }
