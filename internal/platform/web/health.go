package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// healthPatience is how long an answer may take. It is less than Docker and Kubernetes give a probe that
// runs as a command.
const healthPatience = 5 * time.Second

// Health asks a running upkeep at base for a path like /-/healthy, without a login, and returns the status that it
// answers. On this machine it verifies no certificate: no secret is sent, and the name in the
// certificate is the one that others use.
func Health(ctx context.Context, base *url.URL, path string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String()+path, nil)
	if err != nil {
		return 0, err
	}
	ip := net.ParseIP(base.Hostname())
	h := &http.Client{Timeout: healthPatience, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: ip != nil && ip.IsLoopback()}, //nolint:gosec // as above
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := h.Do(r)
	if err != nil {
		return 0, fmt.Errorf("health: %w", err)
	}
	return res.StatusCode, res.Body.Close()
}
