package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// A Gate decides who may change something: the holder of the token, or without a token
// every caller on the same machine. A page of another site must not make a person's
// browser do it.
type Gate struct {
	token  func() (string, error) // read at each request, so that a new file counts at once; nil: no token
	origin *http.CrossOriginProtection
}

// NewGate returns a Gate. token may be nil.
func NewGate(token func() (string, error)) *Gate {
	return &Gate{token: token, origin: http.NewCrossOriginProtection()}
}

// Authorize returns nil, or the status and the reason of a refusal.
func (g *Gate) Authorize(r *http.Request) (status int, err error) {
	if err := g.origin.Check(r); err != nil {
		return http.StatusForbidden, fmt.Errorf("the request comes from another site's page: %w", err)
	}
	if g.token == nil {
		return local(r)
	}
	want, err := g.token()
	if err != nil {
		return http.StatusInternalServerError, fmt.Errorf("web token: %w", err)
	}
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !ok:
		return http.StatusUnauthorized, errors.New("missing bearer token (web.token_file or web.token_env)")
	case want == "" || !equal(got, want):
		return http.StatusUnauthorized, errors.New("wrong bearer token (web.token_file or web.token_env)")
	}
	return 0, nil
}

// equal takes the same time for every token.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// local lets a request through that comes from this machine and means it: not
// from a local proxy for a remote caller, and not from a browser
// here whose page has had its own name lead to this address.
func local(r *http.Request) (status int, err error) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(name) != "" {
			return http.StatusForbidden,
				errors.New("the request comes through a proxy: changes through a proxy need web.token_file or " +
					"web.token_env")
		}
	}
	if host := hostOf(r.Host); host != "localhost" && net.ParseIP(host) == nil {
		return http.StatusForbidden,
			fmt.Errorf("without web.token_file or web.token_env, changes are accepted only under an IP address or "+
				"localhost, not under the name %q", host)
	}
	if ip := net.ParseIP(hostOf(r.RemoteAddr)); ip != nil && ip.IsLoopback() {
		return 0, nil
	}
	return http.StatusForbidden,
		errors.New("without web.token_file or web.token_env, changes are accepted only from this machine")
}

// hostOf returns an address without its port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// Guarded refuses every request that the gate does not let through.
func (g *Gate) Guarded() gin.HandlerFunc {
	return func(c *gin.Context) {
		if status, err := g.Authorize(c.Request); err != nil {
			reply(c, status, object{"error": err.Error()})
			c.Abort()
		}
	}
}

// Reading lets everybody read and asks of everybody else what Guarded asks.
func (g *Gate) Reading() gin.HandlerFunc {
	guarded := g.Guarded()
	return func(c *gin.Context) {
		if c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead {
			guarded(c)
		}
	}
}
